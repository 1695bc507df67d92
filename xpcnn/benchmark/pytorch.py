"""The same training in PyTorch, as its users would write it."""

from collections.abc import Callable
from typing import Any

from xpcnn.backend import active_backend
from xpcnn.benchmark.machine import threads
from xpcnn.benchmark.memory import Memory
from xpcnn.benchmark.phases import Training
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError
from xpcnn.interop.torch import network
from xpcnn.interop.torch._modules import require_torch
from xpcnn.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSprop


class TorchTraining(Training):
    """A workload in PyTorch, eager, in float32, with all threads of the machine, or on the GPU where ours is on one.

    Parameters
    ----------
    work : Workload
        Our network is built first, and copied; the batches are ours.
    channels_last : bool
        Images and weights are stored as (N,H,W,C), with which PyTorch's convolutions are faster on many machines.
    """

    def __init__(self, work: Workload, channels_last: bool) -> None:
        self.torch = torch = require_torch()
        on_gpu = active_backend().asynchronous
        if on_gpu and not torch.cuda.is_available():
            raise BenchmarkError("this PyTorch sees no GPU, and ours is on one; install PyTorch for CUDA")
        torch.backends.cudnn.allow_tf32 = False  # float32 is float32 on both sides
        self.device = torch.device("cuda" if on_gpu else "cpu")
        if not on_gpu:
            torch.set_num_threads(threads())
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        model = work.network().train()
        self.network = network(model, work.input_shape).to(self.device, memory_format=self.format)
        self.optimizer = twin(work.new_optimizer(model), self.network.parameters())
        self.feed, self.criterion = work.feed(), torch.nn.CrossEntropyLoss()
        self.versions = {"pytorch": version()}

    def run(self, mark: Callable[[str], object]) -> None:
        images, labels = map(self.torch.from_numpy, next(self.feed))
        self.images = images.to(self.device, memory_format=self.format)
        labels = labels.to(self.device).long()
        mark("data")
        loss = self.criterion(self.network(self.images), labels)
        self.loss = loss.detach()
        mark("forward")
        self.optimizer.zero_grad()
        loss.backward()
        mark("backward")
        self.optimizer.step()
        mark("update")

    def watch_memory(self) -> Callable[[], Memory]:
        if self.device.type != "cuda":
            return super().watch_memory()
        cuda = self.torch.cuda
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        return lambda: Memory(cuda.max_memory_allocated() - before, "PyTorch's allocator")

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


def twin(optimizer: Optimizer, parameters: Any) -> Any:
    """Return PyTorch's optimizer of the same formula and the same numbers as ours.

    Raises
    ------
    BenchmarkError
        For one that has no counterpart here.
    """
    kinds, lr = require_torch().optim, optimizer.lr
    match optimizer:
        case Momentum():  # ours has lr inside the velocity: with a constant lr it is the same
            return kinds.SGD(parameters, lr, optimizer.momentum, nesterov=isinstance(optimizer, Nesterov))
        case Adam():
            kind = kinds.AdamW if isinstance(optimizer, AdamW) else kinds.Adam
            return kind(parameters, lr, optimizer.betas, optimizer.eps, optimizer.weight_decay)
        case SGD():
            return kinds.SGD(parameters, lr)
        case AdaGrad():
            return kinds.Adagrad(parameters, lr, eps=optimizer.eps)
        case RMSprop():
            return kinds.RMSprop(parameters, lr, optimizer.decay, optimizer.eps)
    raise BenchmarkError(
        f"{type(optimizer).__name__} has no counterpart in PyTorch here; take sgd, momentum or adam"
    )


def version() -> str:
    """Return what PyTorch's times depend on."""
    torch = require_torch()
    count = torch.get_num_threads()
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{torch.__version__}, {count} thread{'s' * (count != 1)}, {vectors}"
