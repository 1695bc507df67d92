"""scripts/train.py: its flags, what it prints, what it leaves on disk, and its ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from xpcnn import models
from xpcnn.backend._probe import probe_cupy
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.checkpoint.runs import Record
from xpcnn.commands import run as training_run
from xpcnn.errors import DivergenceError

KEYS = {"model", "backend", "epochs", "train_loss", "test_accuracy", "seconds", "images_per_second", "output"}


def is_one_sentence(run):
    return (
        run.stderr.startswith("train.py: ") and run.stderr.count("\n") == 1 and "Traceback" not in run.stderr
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_and_quiet_leave_one_line_on_stdout_and_none_on_stderr(trained):
    _, run = trained
    assert (run.returncode, run.stderr, run.stdout.count("\n")) == (0, "", 1)
    result = json.loads(run.stdout)
    assert result.keys() == KEYS
    assert (result["model"], result["backend"], result["epochs"]) == ("simple", "numpy", 2)
    assert result["images_per_second"] == pytest.approx(2 * 200 / result["seconds"])


def test_output_holds_weights_metrics_and_configuration(trained):
    folder, run = trained
    assert {path.name for path in (folder / "run").iterdir()} == {
        "weights.safetensors",
        "metrics.jsonl",
        "config.json",
    }
    metrics, result = lines(folder / "run" / "metrics.jsonl"), json.loads(run.stdout)
    assert [line["epoch"] for line in metrics] == [1, 2]
    assert metrics[-1].items() >= {name: result[name] for name in ("train_loss", "test_accuracy")}.items()
    assert sum(line["seconds"] for line in metrics) == pytest.approx(result["seconds"])
    assert lines(folder / "more" / "numbers.jsonl") == metrics
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config.items() >= {"model": "simple", "seed": 0, "limit": 200, "epochs": 2, "lr": 0.003}.items()
    _, metadata = read_weights(folder / "run" / "weights.safetensors")
    assert (metadata["model"], metadata["dataset"], metadata["steps"]) == ("simple", "mnist", "20")
    assert json.loads(metadata["config"]) == config


def test_limit_holds_for_the_test_images_too_unless_asked(trained, train_script, tmp_path):
    _, run = trained
    correct = json.loads(run.stdout)["test_accuracy"] * 200
    assert correct == pytest.approx(round(correct))
    seen = []
    for asked, images in (((), 20), (("--limit-test", 7), 7), (("--limit-test", "all"), 250)):
        run = train_script("--limit", 20, "--epochs", 1, "--model", "lenet5", "--json", *asked, cwd=tmp_path)
        config = json.loads(
            (tmp_path / json.loads(run.stdout.splitlines()[-1])["output"] / "config.json").read_text()
        )
        seen.append((config["limit_test"], images))
    assert seen == [(20, 20), (7, 7), ("all", 250)]


def test_one_seed_gives_equal_files_and_former_ones_are_kept(trained, train_script, tmp_path):
    folder, _ = trained
    arguments = ("--limit", 200, "--epochs", 2, "--batch-size", 20, "--output", "run", "--quiet")
    assert train_script(*arguments, cwd=tmp_path).stdout.startswith("test accuracy ")
    first = (tmp_path / "run" / "weights.safetensors").read_bytes()
    assert first == (folder / "run" / "weights.safetensors").read_bytes()

    # the second run leaves them where they can be found, and is itself another one
    assert train_script(*arguments, "--seed", 1, cwd=tmp_path).returncode == 0
    assert (tmp_path / "run" / "weights.1.safetensors").read_bytes() == first
    assert json.loads((tmp_path / "run" / "config.1.json").read_text())["seed"] == 0
    assert (
        len(lines(tmp_path / "run" / "metrics.1.jsonl"))
        == len(lines(tmp_path / "run" / "metrics.jsonl"))
        == 2
    )
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() != first


@pytest.mark.slow
def test_every_flag_arrives_and_backend_wins_over_the_environment(train_script, small_mnist, tmp_path):
    flags = {
        "model": "deep", "dataset": "mnist", "epochs": 1, "batch_size": 64, "optimizer": "adamw", "lr": 0.001,
        "schedule": "cosine", "warm_up": 2, "weight_decay": 0.01, "clip_norm": 1.0, "seed": 3, "backend": "numpy",
        "limit": 100,
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    run = train_script(
        *words, "--augment", "--data-dir", small_mnist, "--output", "run", cwd=tmp_path,
        XPCNN_BACKEND="cupy", XPCNN_DATA="nowhere",
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")  # no bar either: stderr is no terminal
    head, epoch, *_, last, where = run.stdout.splitlines()
    assert head == "deep on mnist: 100 images, 123,552 parameters, backend numpy"
    assert epoch.startswith("epoch 1/1  loss ")
    assert last.startswith("test accuracy ")
    assert where == "saved in run; go on with: python scripts/evaluate.py run"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config.items() >= (flags | {"augment": True}).items()
    load_weights(models.deep(), tmp_path / "run" / "weights.safetensors")


@pytest.mark.skipif(probe_cupy() is None, reason="CuPy works here")
def test_a_backend_that_cannot_run_is_one_sentence_and_leaves_nothing(train_script, tmp_path):
    run = train_script("--output", "run", "--json", cwd=tmp_path, XPCNN_BACKEND="cupy")
    assert (run.returncode, run.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert is_one_sentence(run)
    assert "run: " in run.stderr or "set it to" in run.stderr


@pytest.mark.parametrize("flag", ["--output", "--metrics"])
def test_a_place_that_cannot_be_written_to_is_known_before_the_first_step(train_script, tmp_path, flag):
    (tmp_path / "taken").write_text("mine")
    run = train_script(flag, "taken/below", cwd=tmp_path)
    assert run.returncode == 1
    assert is_one_sentence(run)
    assert "taken" in run.stderr
    assert "epoch 1" not in run.stdout
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_data_set_that_is_not_there_is_one_sentence(train_script, tmp_path):
    run = train_script("--data-dir", "nowhere", cwd=tmp_path)
    assert run.returncode == 1
    assert is_one_sentence(run)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--lr", "-1"), ("--lr", "0"), ("--lr", "nan"), ("--lr", "inf"), ("--lr", "fast"), ("--warm-up", "-1"),
        ("--weight-decay", "-0.1"), ("--clip-norm", "0"), ("--seed", "-1"), ("--epochs", "0"), ("--limit", "0"),
        ("--batch-size", "1.5"), ("--model", "vgg"), ("--backend", "tpu"), ("--epoch", "3"),
    ],
)  # fmt: skip
def test_bad_arguments_name_the_flag(train_script, monkeypatch, capsys, flag, value):
    with pytest.raises(SystemExit, match="2"):
        train_script.module(monkeypatch, flag, value).main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert flag in last
    assert value in last


def test_a_loss_that_is_not_finite_ends_in_one_sentence(train_script, tmp_path):
    run = train_script("--lr", "1e19", "--limit", 200, "--output", "run", cwd=tmp_path)
    assert run.returncode == 1
    assert is_one_sentence(run)
    assert "lower the learning rate" in run.stderr


def test_divergence_keeps_the_weights_of_the_last_whole_epoch(train_script, monkeypatch, tmp_path):
    script = train_script.module(monkeypatch, "--limit", 100, "--output", tmp_path / "run", "--quiet")
    true_train = training_run.train

    def diverging(*arguments, **options):
        yield next(true_train(*arguments, **options))
        raise DivergenceError("train: the loss became nan")

    monkeypatch.setattr(training_run, "train", diverging)
    with pytest.raises(DivergenceError, match=r"nan; the weights of epoch 1 are in .*weights\.safetensors"):
        script.main()
    load_weights(models.simple(), tmp_path / "run" / "weights.safetensors")
    assert len(lines(tmp_path / "run" / "metrics.jsonl")) == 1


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_in_evaluation_saves_the_weights(train_script, monkeypatch, capsys, tmp_path):
    script = train_script.module(monkeypatch, "--limit", 100, "--epochs", 2, "--output", "run")
    monkeypatch.chdir(tmp_path)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "evaluate", interrupted)
    assert script.main() == 130
    assert capsys.readouterr().err == (
        "train.py: interrupted after 1 of 2 steps; go on with: python scripts/train.py --resume run; "
        "the weights are in run/weights.safetensors\n"
    )
    load_weights(models.simple(), tmp_path / "run" / "weights.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
@pytest.mark.parametrize("output", [(), ("--output", "run")])
def test_ctrl_c_saves_the_weights(train_script, tmp_path, output):
    process = subprocess.Popen(
        train_script.command("--epochs", 100_000, "--metrics", "metrics.jsonl", *output), cwd=tmp_path,
        env=train_script.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )  # fmt: skip
    with process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        time.sleep(0.05)  # into the next epoch
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.startswith("train.py: interrupted after ")
    file = stderr.rpartition("the weights are in ")[2].strip()
    assert file == "run/weights.safetensors" if output else file.startswith("runs/simple-mnist-")
    load_weights(models.simple(), tmp_path / file)
    _, metadata = read_weights(tmp_path / file)
    assert f"interrupted after {metadata['steps']} of " in stderr
    assert int(metadata["steps"]) >= 6
    assert len(lines(tmp_path / "metrics.jsonl")) >= 2


def test_ctrl_c_in_two_runs_without_output_keeps_both(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    record = Record({"model": "simple", "dataset": "mnist"})
    record.save(models.simple(rng=0), 1)
    first = (tmp_path / "interrupted.safetensors").read_bytes()
    record.save(models.simple(rng=1), 2)
    assert (tmp_path / "interrupted.1.safetensors").read_bytes() == first


# ---------------------------------------------------------------- one run at a time


def started(script, folder, *arguments, until="epoch 1/"):
    """Start a run that would go on for long, and return it once it has printed so."""
    process = subprocess.Popen(
        script.command(*arguments), cwd=folder, env=script.environment(XPCNN_KERNELS="pure"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith(until):
            return process
    raise AssertionError(process.communicate())


LONG = ("--model", "lenet5", "--limit", 40, "--batch-size", 10, "--epochs", 100_000, "--checkpoint-every", 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends one process cleanly")
def test_a_second_run_in_one_folder_is_refused_and_the_first_goes_on(train_script, tmp_path):
    with started(train_script, tmp_path, *LONG, "--output", "run", "--metrics", "all.jsonl") as process:
        try:
            before = lines(tmp_path / "run" / "metrics.jsonl")
            for other in (
                ("--output", "run", "--limit", 20),
                ("--output", tmp_path / "run", "--limit", 20),
                ("--resume", "run"),
                ("--metrics", "all.jsonl", "--limit", 20),
            ):
                run = train_script(*other, cwd=tmp_path, XPCNN_KERNELS="pure")
                assert (run.returncode, run.stdout) == (1, ""), other
                assert is_one_sentence(run)
                assert f"process {process.pid} on " in run.stderr
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "go on with" in stderr
    metrics = lines(tmp_path / "run" / "metrics.jsonl")
    assert metrics[: len(before)] == before
    assert [line["epoch"] for line in metrics] == list(range(1, len(metrics) + 1))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors", "config.json", "metrics.jsonl", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_leaves_no_lock_behind(train_script, tmp_path):
    with started(train_script, tmp_path, *LONG, "--output", "run") as process:
        process.kill()
    with started(train_script, tmp_path, "--resume", "run", until="resumed in epoch") as process:
        process.kill()


# ---------------------------------------------------------------- SIGTERM


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM for one process")
def test_sigterm_ends_a_run_as_ctrl_c_does_with_143(train_script, tmp_path):
    with started(train_script, tmp_path, *LONG[:-2], "--output", "run") as process:
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stderr.startswith("train.py: ended by SIGTERM after ")
    assert stderr.endswith(
        "; go on with: python scripts/train.py --resume run; the weights are in run/weights.safetensors\n"
    )
    _, metadata = read_weights(tmp_path / "run" / "weights.safetensors")
    assert f"after {metadata['steps']} of " in stderr
    with started(train_script, tmp_path, "--resume", "run", until="resumed in epoch") as process:
        process.terminate()
        assert process.wait(60) == 143


@pytest.mark.usefixtures("_interruptible")
def test_a_step_that_sigterm_came_in_is_taken_to_its_end(train_script, monkeypatch, capsys, tmp_path):
    script = train_script.module(
        monkeypatch, "--limit", 100, "--batch-size", 10, "--epochs", 2, "--output", tmp_path / "run"
    )
    true = script.optimizers.Adam.step

    def step(self):
        if self.steps == 3:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)  # what came first or last does not matter
        true(self)

    monkeypatch.setattr(script.optimizers.Adam, "step", step)
    assert script.main() == 143
    assert capsys.readouterr().err.startswith("train.py: ended by SIGTERM after 4 of 20 steps; go on with")
    assert script.read_config(tmp_path / "run" / "checkpoint.safetensors")["limit"] == 100


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM for one process")
def test_sigterm_before_the_first_step_is_143_too(train_script, tmp_path):
    """While data are loaded, say: there is nothing to save."""
    program = (
        "import runpy, signal, sys; from xpcnn import data\n"
        "data.load = lambda *args, **kwargs: signal.raise_signal(signal.SIGTERM)\n"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(train_script.path)], cwd=tmp_path, env=train_script.environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (143, "", "train.py: ended by SIGTERM\n")


# ---------------------------------------------------------------- a disk that is full


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device without room")
def test_metrics_without_room_are_one_sentence_that_names_them(train_script, tmp_path):
    run = train_script("--limit", 20, "--epochs", 1, "--metrics", "/dev/full", cwd=tmp_path)
    assert run.returncode == 1
    assert is_one_sentence(run)
    assert run.stderr.startswith("train.py: /dev/full: No space left on device; make room")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device without room")
def test_an_output_without_room_is_one_sentence(train_script, tmp_path):
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            train_script.command("--limit", 20, "--epochs", 1), cwd=tmp_path, env=train_script.environment(),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("train.py: No space left on device; make room where the output goes")


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
def test_weights_without_room_are_one_sentence_that_names_them(train_script, tmp_path):
    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = subprocess.run(
        train_script.command("--limit", 20, "--epochs", 1, "--output", "run"), cwd=tmp_path,
        env=train_script.environment(XPCNN_KERNELS="pure"), capture_output=True, text=True, timeout=120,
        preexec_fn=limit,
    )  # fmt: skip
    assert run.returncode == 1
    assert is_one_sentence(run)
    assert run.stderr.startswith("train.py: run/weights.safetensors: File too large; ")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", "metrics.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_metrics_may_be_a_pipe(train_script, tmp_path):
    run = train_script("--limit", 20, "--epochs", 2, "--quiet", "--metrics", "/dev/stdout", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert [json.loads(line)["epoch"] for line in run.stdout.splitlines()[:2]] == [1, 2]


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupted_run_that_diverged_keeps_the_weights_that_are_there(
    train_script, monkeypatch, tmp_path
):
    script = train_script.module(monkeypatch, "--limit", 100, "--epochs", 2, "--output", tmp_path / "run")
    true, before = training_run.evaluate, []

    def evaluate(*args, **kwargs):
        if not before:
            before.append(0)
            return true(*args, **kwargs)
        before[0] = (tmp_path / "run" / "weights.safetensors").read_bytes()
        raise KeyboardInterrupt

    def diverged(*args):
        raise DivergenceError("the loss is no longer finite")

    monkeypatch.setattr(training_run, "evaluate", evaluate)
    monkeypatch.setattr("xpcnn.checkpoint.runs.save_checkpoint", diverged)
    with pytest.raises(DivergenceError):
        script.main()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before[0]
