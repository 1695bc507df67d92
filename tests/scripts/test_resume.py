"""scripts/train.py --checkpoint-every and --resume: killed at any moment, a run ends in the bits of one left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xpcnn import models
from xpcnn.checkpoint import load_weights, read_config
from xpcnn.checkpoint._sealed import unseal
from xpcnn.errors import CheckpointError

# augmentation, an optimizer with state and a schedule; steps of a few milliseconds
RUN = ("--model", "lenet5", "--augment", "--limit", 60, "--batch-size", 10, "--epochs", 6, "--output", "run")
STEPS = 36
ALONE = {"OPENBLAS_NUM_THREADS": "1", "XPCNN_KERNELS": "pure"}
"""Of processes beside each other each computes on one core, and none waits for Numba before its first checkpoint."""
KEPT = ("weights.safetensors", "checkpoint.safetensors", "config.json")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(folder):
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines(folder)
    ]


def assert_same_run(first, second):
    for name in KEPT:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert without_times(first) == without_times(second)
    assert list(second.glob(".*")) == []  # nothing unfinished is left


@pytest.fixture(scope="module")
def undisturbed(train_script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run = train_script(*RUN, "--checkpoint-every", 1, cwd=folder, **ALONE)
    assert (run.returncode, run.stderr) == (0, "")
    return folder / "run"


def next_command(folder):
    """Go on where there is a checkpoint, which must then be whole, and begin where there is none yet."""
    file = folder / "run" / "checkpoint.safetensors"
    if not file.exists():
        return (*RUN, "--checkpoint-every", 1)
    arrays, _ = unseal(file)
    assert all(np.isfinite(array).all() for array in arrays.values())
    return "--resume", "run"


@pytest.mark.slow
def test_killed_at_random_moments_the_checkpoint_loads_and_the_end_is_the_same(
    train_script, undisturbed, tmp_path
):
    """Four runs beside each other, each killed six times: somewhere in its beginning, in a step, in a write."""

    def killed(folder, chance):
        """Start or go on, and kill; return whether it was killed before its end."""
        process = subprocess.Popen(
            train_script.command(*next_command(folder)), cwd=folder, env=train_script.environment(**ALONE),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with process:
            if chance.random() < 0.8:
                assert process.stdout.readline().startswith("lenet5 on mnist")  # it trains from here on
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
        return process.returncode != 0

    def chain(number):
        chance, kills, ends = random.Random(number), 0, 0
        while True:
            folder = tmp_path / f"{number}.{ends}"
            folder.mkdir()
            while kills < 6 and killed(folder, chance):
                kills += 1
            end = train_script(*next_command(folder), cwd=folder, **ALONE)
            assert (end.returncode, end.stderr) == (0, "")
            assert_same_run(undisturbed, folder / "run")
            ends += 1
            if kills == 6:
                return "resumed in epoch" in end.stdout

    with ThreadPoolExecutor(4) as pool:
        resumed = list(pool.map(chain, range(4)))
    assert any(resumed)  # on a machine so slow that nothing was ever saved the test would say nothing


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on(train_script, undisturbed, tmp_path):
    process = subprocess.Popen(
        train_script.command(*RUN, "--checkpoint-every", 1000), cwd=tmp_path, env=train_script.environment(**ALONE),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )  # fmt: skip
    with process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.startswith("train.py: interrupted after ")
    assert (
        f" of {STEPS} steps; go on with: python scripts/train.py --resume run; the weights are in run/"
        in stderr
    )
    load_weights(models.lenet5(), tmp_path / "run" / "weights.safetensors")
    end = train_script("--resume", "run", "--checkpoint-every", 1, cwd=tmp_path, **ALONE)  # which may be new
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout.splitlines()[1].startswith("resumed in epoch ")
    assert_same_run(undisturbed, tmp_path / "run")


# ---------------------------------------------------------------- what a resumed run may say


@pytest.fixture
def resumed(train_script, monkeypatch, capsys):
    """Run main() of the script in this process; return what it printed."""

    def run(folder, *arguments):
        monkeypatch.chdir(folder)
        assert train_script.module(monkeypatch, *arguments).main() == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def short(resumed, tmp_path):
    resumed(tmp_path, "--limit", 20, "--batch-size", 10, "--epochs", 2, "--schedule", "constant", "--model", "lenet5",
            "--output", "run", "--checkpoint-every", 3)  # fmt: skip
    return tmp_path


def test_a_finished_run_prints_its_result_and_changes_nothing(short, resumed):
    before = {path.name: path.read_bytes() for path in (short / "run").iterdir()}
    result = json.loads(resumed(short, "--resume", "run", "--json", "--quiet"))
    assert (result["epochs"], result["test_accuracy"]) == (2, lines(short / "run")[-1]["test_accuracy"])
    assert before == {path.name: path.read_bytes() for path in (short / "run").iterdir()}


def test_more_epochs_of_a_constant_schedule_are_those_of_the_longer_run(short, resumed, tmp_path_factory):
    longer = tmp_path_factory.mktemp("longer")
    resumed(short, "--resume", "run/", "--output", "run", "--epochs", 3, "--metrics", "numbers.jsonl")
    resumed(longer, "--limit", 20, "--batch-size", 10, "--epochs", 3, "--schedule", "constant", "--model", "lenet5",
            "--output", "run", "--checkpoint-every", 3)  # fmt: skip
    assert_same_run(longer / "run", short / "run")
    assert [
        line["epoch"] for line in map(json.loads, (short / "numbers.jsonl").read_text().splitlines())
    ] == [2, 3]


@pytest.mark.parametrize(
    ("flag", "value", "saved"),
    [("--lr", 0.1, 0.003), ("--model", "simple", "lenet5"), ("--epochs", 1, 2), ("--batch-size", 20, 10),
     ("--seed", 3, 0), ("--limit", 10, 20), ("--output", "elsewhere", "run"), ("--optimizer", "sgd", "adam")],
)  # fmt: skip
def test_a_flag_that_contradicts_the_checkpoint_is_an_error_with_both_values(
    short, train_script, monkeypatch, flag, value, saved
):
    script = train_script.module(monkeypatch, "--resume", "run", flag, value)
    with pytest.raises(
        CheckpointError, match=rf"checkpoint\.safetensors: {flag} is {saved} there, got {flag} {value};"
    ):
        script.main()


def test_a_flag_that_says_the_same_is_none(short, resumed):
    resumed(short, "--resume", "run", "--lr", 0.003, "--model", "lenet5", "--epochs", 2, "--limit", 20)


def test_more_epochs_of_another_schedule_are_refused(resumed, train_script, monkeypatch, tmp_path):
    resumed(tmp_path, "--limit", 10, "--batch-size", 10, "--epochs", 1, "--model", "lenet5", "--output", "run",
            "--checkpoint-every", 1)  # fmt: skip
    with pytest.raises(
        CheckpointError, match=r"--epochs is 1 there \(its one-cycle schedule is laid out over all epo"
    ):
        train_script.module(monkeypatch, "--resume", "run", "--epochs", 2).main()


def test_a_new_run_in_the_folder_keeps_the_former_s_checkpoint(short, resumed):
    former = (short / "run" / "checkpoint.safetensors").read_bytes()
    resumed(short, "--limit", 10, "--epochs", 1, "--model", "lenet5", "--output", "run")
    assert (short / "run" / "checkpoint.1.safetensors").read_bytes() == former
    assert not (short / "run" / "checkpoint.safetensors").exists()


def test_the_environment_may_name_another_backend_and_a_flag_a_third(short, train_script, monkeypatch):
    def chosen(*flags):
        return train_script.module(monkeypatch, "--resume", "run", *flags).arguments().backend

    monkeypatch.delenv("XPCNN_BACKEND", raising=False)
    assert chosen() == read_config(short / "run" / "checkpoint.safetensors")["backend"] == "numpy"
    monkeypatch.setenv("XPCNN_BACKEND", "simulated")
    assert chosen() is None  # left to the environment
    assert chosen("--backend", "cupy") == "cupy"


@pytest.mark.parametrize("what", ["nothing", "empty", "cut", "flipped"])
def test_a_checkpoint_that_cannot_be_resumed_is_one_sentence(short, train_script, what):
    file = short / "run" / "checkpoint.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes({"nothing": b"", "empty": b"", "cut": content[:1000], "flipped": content}[what])
    if what == "nothing":
        file.unlink()
    metrics = (short / "run" / "metrics.jsonl").read_bytes()
    run = train_script("--resume", "run", cwd=short)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("train.py: run/checkpoint.safetensors: ")
    assert {"nothing": "no such file", "empty": "is empty", "cut": "cut short", "flipped": "checksum"}[
        what
    ] in run.stderr
    assert (short / "run" / "metrics.jsonl").read_bytes() == metrics


def test_checkpoints_need_no_folder_to_be_named(resumed, tmp_path):
    out = resumed(tmp_path, "--model", "lenet5", "--limit", 20, "--epochs", 1, "--checkpoint-every", 1)
    folder = out.splitlines()[-1].removeprefix("saved in ").partition(";")[0]
    assert folder.startswith("runs/lenet5-mnist-")
    assert "resumed in epoch 1" in resumed(tmp_path, "--resume", folder)


def test_a_checkpoint_of_version_0_1_goes_on(short, resumed, monkeypatch):
    """Its configuration lacks what was added since; it tested on all images."""
    from xpcnn.commands import train

    old = {
        name: value
        for name, value in read_config(short / "run" / "checkpoint.safetensors").items()
        if name not in train.NEW
    }
    monkeypatch.setattr(train, "read_config", lambda file: old)
    assert "resumed in epoch 2" in resumed(short, "--resume", "run")
    assert json.loads((short / "run" / "config.json").read_text())["limit_test"] == "all"


def test_a_configuration_of_another_program_is_refused(short, train_script, monkeypatch):
    script = train_script.module(monkeypatch, "--resume", "run")
    monkeypatch.setattr(script, "read_config", lambda file: {"model": "lenet5", "lr": 0.1})
    with pytest.raises(CheckpointError, match="its configuration lacks augment, backend, batch_size"):
        script.main()


def test_other_kernels_are_said_in_one_line(short, train_script):
    run = train_script("--resume", "run", "--epochs", 3, cwd=short, XPCNN_KERNELS="reference")
    assert run.returncode == 0
    assert run.stdout.splitlines()[1].startswith("resumed in epoch ")
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(
        "train.py: run/checkpoint.safetensors: kernels is reference (was numpy)"
    ) or (run.stderr.startswith("train.py: run/checkpoint.safetensors: kernels is reference (was numba "))
    assert run.stderr.endswith(
        "so the training continues close to an uninterrupted one, but not to the bit\n"
    )


def test_another_number_of_threads_is_nothing_to_say(short, train_script):
    """The sums that threads share are cut into the same parts whatever their number."""
    run = train_script("--resume", "run", "--epochs", 3, cwd=short, XPCNN_THREADS="1")
    assert (run.returncode, run.stderr) == (0, "")
