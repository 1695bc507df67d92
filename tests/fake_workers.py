"""Workers of a benchmark that start no process: they answer what a test says, and note what they were asked."""


class FakeWorker:
    """Stands in for processes.Worker. `seconds` gives a step's phases by the worker's name."""

    def __init__(self, log, seconds, losses, name, environment=None):
        self.log, self.name, self.environment = log, name, dict(environment or {})
        self.seconds, self.its_losses, self.opened = seconds, losses, []

    def __enter__(self):
        self.log.append((self.name, "begins", self.environment))
        return self

    def __exit__(self, *_):
        self.log.append((self.name, "ends", {}))

    def ask(self, do, **arguments):
        self.log.append((self.name, do, arguments))
        return getattr(self, do)(**arguments)

    def open(self, workload, **_):
        self.opened.append(workload)
        return {
            "number": len(self.opened) - 1, "memory": 2_000_000, "how": "by magic", "seconds": 0.1,
            "operations": {"data": 0, "forward": 10**9, "backward": 2 * 10**9, "update": 0},
            "multiply_adds": 5 * 10**6, "parameters": 433_890,
        }  # fmt: skip

    def losses(self, workload, count, **_):
        return self.its_losses(self.name)[:count]

    def steps(self, number, count, idle=0):
        return [self.seconds(self.name, self.opened[number])] * count

    def layers(self, number, count, idle=0):
        place = {"name": "0", "kind": "Conv", "shape": [3, 4, 4], "forward": 10**9, "backward": 10**9}
        return {"places": [place], "seconds": [[[0.001, 0.002], [0.003, 0.004]]] * count}

    def operators(self, number, count, idle=0):
        slow = 4 if self.name.startswith("reference") else 1
        return {
            "calls": {"conv": 2, "softmax": 1},
            "seconds": {"conv": 0.002 * slow, "softmax": 0.001},
            "kernels": [] if slow > 1 else ["conv"],
        }

    def machine(self):
        return {"cpu": "a processor", "backend": "numpy", "kernels": "conv", "pytorch": "9.9"}

    def peak(self):
        return 100.0

    def workspace(self):
        return 1_000_000, 4_000_000


class Stage:
    """The workers' answers, to be set before they are asked; and what they were asked."""

    def __init__(self):
        self.log = []
        self.seconds = lambda name, workload: [0.0, 0.01, 0.02, 0.0]
        self.losses = lambda name: [2.0, 1.5, 1.25]

    def worker(self, name, environment=None, program=()):
        return FakeWorker(
            self.log,
            lambda *args: self.seconds(*args),
            lambda who: self.losses(who),
            name,
            environment,
        )

    def asked(self, do):
        return [(name, arguments) for name, what, arguments in self.log if what == do]
