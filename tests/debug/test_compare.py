import functools

import numpy as np
import pytest

from xpcnn import backend, data
from xpcnn.backend import use_backend
from xpcnn.commands import main as command
from xpcnn.debug.compare import Comparison, Difference, Quantity, compare, difference, report, running
from xpcnn.errors import BackendError
from xpcnn.simulated.judge import why_no_judge

needs_the_device = pytest.mark.skipif(why_no_judge() is not None, reason=str(why_no_judge()))
REFERENCES = ("numpy:reference", "simulated:reference")
QUICK = {"steps": 2, "batch_size": 4}


@pytest.fixture(autouse=True)
def _read_once(monkeypatch):
    """MNIST is unpacked once, for all tests of this file."""
    monkeypatch.setattr(data, "load", MNIST)


MNIST = functools.cache(data.load)


@pytest.fixture
def wrong(monkeypatch):
    """Plant a wrong kernel on NumPy, for the reference to be compared with."""

    def plant(name, kernel):
        with use_backend("numpy") as active:
            monkeypatch.setitem(active.kernels, name, kernel)  # of every later use of this backend

    return plant


# ---------------------------------------------------------------- agreement


@needs_the_device
@pytest.mark.parametrize("model", ["simple", "lenet5"])
def test_the_references_agree_bit_for_bit(model):
    comparison = compare(REFERENCES, model, **QUICK)
    assert comparison.diverged is None
    assert comparison.largest.relative == 0
    assert report(comparison) == "numpy:reference and simulated:reference agree bit for bit in 2 steps."


@needs_the_device
def test_dropout_masks_are_identical():
    assert compare(REFERENCES, "deep", steps=1, batch_size=2).largest.relative == 0


def test_tuned_kernels_agree_within_rounding_and_the_largest_difference_is_reported():
    comparison = compare(("numpy", "numpy:reference"), "simple", **QUICK)
    assert comparison.diverged is None
    assert 0 < comparison.largest.relative < 1e-5
    assert "agree within 1e-05 in 2 steps.\nLargest: step " in report(comparison)
    assert f"relative difference {comparison.largest.relative:.1e}." in report(comparison)


def test_a_backend_agrees_with_itself_for_another_seed():
    numpy = ("numpy", "numpy")
    assert compare(numpy, seed=1, **QUICK).largest.relative == 0


# ---------------------------------------------------------------- planted faults


@pytest.mark.parametrize(
    ("op", "layer", "what"),
    [
        ("conv", "0 Conv(1, 30, 5)", "output"),
        ("relu", "1+2 ReLU() + Pooling(2)", "output"),
        ("max_pool", "1+2 ReLU() + Pooling(2)", "output"),
        ("affine", "4 Affine(4320, 100)", "output"),
        ("softmax_cross_entropy", "criterion", "loss"),
        ("softmax_cross_entropy_backward", "criterion", "gradient of the logits"),
        ("affine_backward", "6 Affine(100, 10)", "gradient of its input"),
        ("relu_backward", "5 ReLU()", "gradient of its input"),
        ("max_pool_backward", "1+2 ReLU() + Pooling(2)", "gradient of its input"),
        ("conv_backward", "0 Conv(1, 30, 5)", "gradient of weight"),
        ("momentum_update", "0.weight", "value after the step"),
    ],
)
def test_a_wrong_kernel_is_found_at_its_layer(wrong, op, layer, what):
    from xpcnn import ops

    sound = getattr(ops, op).__wrapped__

    def faulty(*args, **kwargs):
        result = sound(*args, **kwargs)
        if result is None:  # an update, in place
            args[0][...] *= 1.001
            return None
        return tuple(part if part is None else part * part.dtype.type(1.001) if part.dtype.kind == "f" else part
                     for part in result) if isinstance(result, tuple) else result * 1.001  # fmt: skip

    wrong(op, faulty)
    found = compare(("numpy", "numpy:reference"), **QUICK).diverged
    assert (found.step, found.layer, found.what) == (1, layer, what)
    assert found.relative == pytest.approx(1e-3, rel=0.05)


def test_a_kernel_that_goes_wrong_later_is_found_at_its_step(wrong):
    from xpcnn import ops

    calls = []

    def faulty(x):
        calls.append(x)
        return ops.relu.__wrapped__(x) + x.dtype.type(
            len(calls) > 2
        )  # two ReLUs a step: from the second step on

    wrong("relu", faulty)
    found = compare(("numpy", "numpy:reference"), **QUICK).diverged
    assert (found.step, found.layer, found.what) == (2, "1+2 ReLU() + Pooling(2)", "output")


def test_the_report_has_the_numbers():
    found = Difference(3, "2 Pooling(2)", "output", 0.25, (0, 1), 4.0, 3.0)
    before = Difference(2, "0 Conv(1, 3, 3)", "output", 3e-7, (0,), 1.0, 1.0)
    assert report(Comparison(("numpy", "simulated"), 1e-5, 3, found, before)) == (
        "numpy and simulated diverge at step 3, in layer 2 Pooling(2): output.\n"
        "element (0, 1): 4 on numpy, 3 on simulated; the relative difference 2.5e-01 is above the tolerance of 1e-05.\n"
        "All results before it are within 3.0e-07."
    )


# ---------------------------------------------------------------- the measure


def quantity(values):
    return Quantity("layer", "output", np.asarray(values, np.float32))


@pytest.mark.parametrize(
    ("first", "second", "relative"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0, 4.0], [1.0, 4.0], 0.25),
        ([0.0], [0.0], 0.0),
        ([np.nan], [np.nan], 0.0),
        ([np.inf], [np.inf], 0.0),
        ([np.nan, 1], [0.0, 1], np.inf),
        ([np.inf, 1], [1.0, 1], np.inf),
        ([], [], 0.0),
        (2.0, 1.0, 0.5),
    ],
)
def test_differences_are_relative_to_the_largest_element(first, second, relative):
    assert difference(1, quantity(first), quantity(second)).relative == relative
    assert difference(1, quantity(second), quantity(first)).relative == relative


def test_other_shapes_are_infinitely_different():
    found = difference(1, quantity([1.0]), quantity([[1.0]]))
    assert found.relative == np.inf
    assert found.what == "output: shapes (1,) and (1, 1)"


# ---------------------------------------------------------------- which kernels


def test_running_without_kernels_leaves_the_backend_as_it_was():
    with use_backend("numpy") as active:
        own = dict(active.kernels)
        with running("numpy:reference") as inner:
            assert inner.kernels == {}
            assert backend.active_backend() is inner
            with running("numpy:tuned") as tuned:
                assert tuned.kernels == own
        assert backend.active_backend() is active
        assert active.kernels == own


def test_pure_leaves_out_what_numba_compiles():
    with running("numpy:pure") as pure:
        assert {
            kernel.__module__.replace(".cpu.", ".").split(".")[2] for kernel in pure.kernels.values()
        } == {"plain"}


def test_unknown_kernels_are_refused():
    with pytest.raises(
        BackendError, match="kernels 'fast' of 'numpy:fast' are unknown; write one of: tuned, pure, reference"
    ):
        compare(("numpy", "numpy:fast"), **QUICK)


# ---------------------------------------------------------------- the command


@needs_the_device
def test_the_command_reports_agreement(capsys):
    status = command.main(
        ["compare", "numpy", "simulated", "--steps", "1", "--batch-size", "4", "--kernels", "reference"]
    )
    assert status == 0
    assert (
        capsys.readouterr().out == "numpy:reference and simulated:reference agree bit for bit in 1 steps.\n"
    )


def test_the_command_reports_a_difference(capsys, wrong):
    wrong("relu", lambda x: x)
    assert command.main(["compare", "numpy", "numpy:reference", "--steps", "1", "--batch-size", "4"]) == 1
    assert "diverge at step 1, in layer 1+2 ReLU() + Pooling(2): output." in capsys.readouterr().out


def test_the_command_says_in_a_sentence_what_cannot_run(capsys):
    assert command.main(["compare", "numpy", "opencl", "--steps", "1"]) == 2
    assert capsys.readouterr().err.startswith("compare: backend 'opencl' is unknown")


@pytest.mark.parametrize("wrong", [["compare", "numpy"], ["compare", "numpy", "numpy", "--steps", "0"], ["campare"],
                                   ["compare", "numpy", "numpy", "--tolerance", "-1"]])  # fmt: skip
def test_wrong_arguments_are_refused(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(wrong)
    assert "usage: python -m xpcnn" in capsys.readouterr().err
