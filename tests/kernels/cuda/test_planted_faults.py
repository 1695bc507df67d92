"""Faults that once went unseen, planted into the kernels' own texts: each must turn a check red, for ever.

A fault whose text no longer occurs fails: move it to where the text went.
"""

import re
from pathlib import Path
from typing import NamedTuple

import cuda_huge
import numpy as np
import pytest
from cuda_examples import check, host_module
from cuda_half_sums import HALF_SUMS
from cuda_huge import HUGE
from cuda_ptx import check_arithmetic

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import launch, source, substitutes
from xpcnn.kernels.cuda.launch import macros
from xpcnn.simulated.cuda import RawModule

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiler")]

FILES = sorted({signature.file for signature in source.signatures().values()})


class Fault(NamedTuple):
    """In a file's text, with its headers pasted in, `old` becomes `new`; then `check` is to fail with `complaint`."""

    file: str
    old: str
    new: str
    check: str
    complaint: str = ""


def steps():
    """The step of a grid of 2^32 threads."""
    probe = 'extern "C" __global__ void k(long long* x) { gridDim.x = 1 << 24, blockDim.x = 256, *x = element_step(); }'
    found = np.zeros(1, np.int64)
    module = RawModule(code=launch.text("relu.cu") + probe, options=macros(index=64))
    module.get_function("k")((1,), (1,), (found,))
    assert found[0] == 2**32


def labels():
    """A label out of range gives NaN, which shows, and reads nothing that belongs to others."""
    found = substitutes(host_module)
    for label in (2**40, -(2**63), 2**31, -(10**6), 3, -1):
        given = np.array([1, label])
        p = np.full((2, 3), 1 / 3, np.float32)
        loss, probabilities = found["softmax_cross_entropy"](p, given)
        assert np.isnan(loss)
        np.testing.assert_allclose(probabilities, p, rtol=1e-6)
        dlogits = found["softmax_cross_entropy_backward"](p, given)
        np.testing.assert_allclose(dlogits[0], [1 / 6, -1 / 3, 1 / 6], rtol=1e-6)
        assert np.isnan(dlogits[1]).all()


CHECKS = {
    **{f"huge {name}": function for name, function in HUGE.items()},
    **{f"half {name}": function for name, function in HALF_SUMS.items()},
    **{f"values {name}": lambda name=name: check({name}) for name in substitutes(host_module)},
    "labels": labels,
    "steps": steps,
}

LOOP = "for (index_t element = first_element()", "for (int element = (int)first_element()"
OVERFLOW, OUTSIDE = "overflow: ", "out of bounds: "


def products():
    """Positions and lengths in 32 bits, where an array has more than 2^31 elements."""
    for name, signature in source.signatures().items():  # the loop of each kernel that has one
        text = source.text(signature.file)
        start = text.index(f" {name}(\n")
        if (loop := text.find(LOOP[0], start)) >= 0 and loop < text.find("\n}\n", start):
            head = text[start : loop + len(LOOP[0])]
            yield Fault(signature.file, head, head.replace(*LOOP), f"huge {name}")
    for file, lost, kernel in (
        ("im2col.cu", "(index_t)C * KH", "im2col"),
        ("col2im.cu", "(index_t)N * C", "col2im"),
        ("max_pool.cu", "(index_t)N * C * OH", "max_pool"),
        ("max_pool.cu", "(index_t)N * C * H", "max_pool_backward"),
        ("average_pool.cu", "(index_t)N * C * OH", "average_pool"),
        ("average_pool.cu", "(index_t)N * C * H", "average_pool_backward"),
    ):
        yield Fault(file, lost, lost.removeprefix("(index_t)"), f"huge {kernel}", OVERFLOW)
    yield Fault("keep_mask.cu", "(index_t)blockIdx.x * blockDim", "blockIdx.x * blockDim", "huge keep_mask")
    yield Fault(
        "keep_mask.cu", "counter[0] + (u64)element", "counter[0] + (unsigned int)element", "huge keep_mask"
    )
    yield Fault("relu.cu", "(index_t)gridDim.x * blockDim.x", "gridDim.x * blockDim.x", "steps")
    for file, kernel in (
        ("im2col.cu", "im2col"),
        ("max_pool.cu", "max_pool"),
        ("max_pool.cu", "max_pool_backward"),
    ):
        yield Fault(file, "index_t n, int c, int h", "int n, int c, int h", f"huge {kernel}", OVERFLOW)
    yield Fault("col2im.cu", "index_t c, int i, int j", "int c, int i, int j", "huge col2im", OVERFLOW)
    yield Fault("max_pool.cu", "const index_t window", "const int window", "huge max_pool_backward", OUTSIDE)
    yield Fault("im2col.cu", "index_t rest = element", "index_t rest = (int)element", "huge im2col")
    yield Fault(
        "max_pool.cu",
        "index_t image = element;  //",
        "index_t image = (int)element;  //",
        "huge max_pool",
    )
    for old, kernel in (
        ("(o * N + n) * P + p", "add_bias"),
        ("(n * O + o) * P + p", "filters_first"),
        ("values[o * L + l]", "row_sum"),
    ):
        yield Fault("conv.cu", old, narrow(old, "onNOPpLl"), f"huge {kernel}", OVERFLOW)
    yield Fault("conv.cu", "size = N * O * P", "size = (int)N * (int)O * (int)P", "huge add_bias", OVERFLOW)
    sums = "(m / P * C + c) * P + m % P"
    yield Fault(
        "batch_norm.cu", f"x[{sums}]", f"x[{narrow(sums, 'mPCc')}]", "huge batch_statistics", OVERFLOW
    )
    yield Fault(
        "batch_norm.cu",
        f"element = {sums}",
        f"element = {narrow(sums, 'mPCc')}",
        "huge batch_norm_sums",
        OVERFLOW,
    )
    for kernel, old in (
        ("sample_norm", "r * L + l"),
        ("sample_norm_backward", "r * L + l"),
        ("sample_norm_parameters", sums),
    ):
        yield Fault("sample_norm.cu", old, narrow(old, "rLlmPCc"), f"huge {kernel}", OVERFLOW)
    for kernel in ("batch_norm", "batch_norm_dx"):
        text = source.text("batch_norm.cu")
        start = text.index(f" {kernel}(\n")
        old = text[start : text.index("N * C * P", start) + 9]
        yield Fault("batch_norm.cu", old, old[:-9] + narrow("N * C * P", "NCP"), f"huge {kernel}", OVERFLOW)
    for kernel in ("cross_entropy_of_labels", "cross_entropy_of_rows"):
        yield Fault("softmax_cross_entropy.cu", "m * D", "(int)m * (int)D", f"huge {kernel}", OVERFLOW)
        yield Fault(
            "softmax_cross_entropy.cu", "M * D;", "(int)M * (int)D;", f"huge {kernel}_backward", OVERFLOW
        )


def narrow(formula, names):
    """Return the formula with a cast to int before each of its variables."""
    return re.sub(rf"\b([{names}])\b", r"(int)\1", formula)


def half_sums():
    """Sums kept in what arrays hold: each declaration of a sum, with the kernel whose sum it is.

    `mean` is not among them: all its arrays are in single, so it has no other type to keep a sum in.
    """
    for file, old, name in (
        ("col2im.cu", "real sum = 0;", "col2im"),
        ("max_pool.cu", "real sum = 0;", "max_pool_backward"),
        ("average_pool.cu", "real total, lost;", "average_pool"),
        ("average_pool.cu", "real sum", "average_pool_backward"),
        ("conv.cu", "real total, lost;", "row_sum"),
        ("batch_norm.cu", "real count, mean, squares;", "batch_statistics"),
        ("batch_norm.cu", "real total, lost;", "batch_norm_sums"),
        ("sample_norm.cu", "real count, mean, squares;", "sample_norm"),
        ("sample_norm.cu", "real total, lost;", "sample_norm_backward"),
        ("sample_norm.cu", "real total, lost;", "sample_norm_parameters"),
        ("softmax_cross_entropy.cu", "real largest = -infinity(), sum = 0;", "sum_over_classes"),
    ):
        yield Fault(file, old, old.replace("real", "storage"), f"half {name}", "Not equal to tolerance")


REDUCED = {
    "conv.cu": "conv_backward",
    "softmax_cross_entropy.cu": "softmax_cross_entropy",
    "batch_norm.cu": "batch_statistics",
    "sample_norm.cu": "group_norm",
}


def warps_and_blocks():
    """What threads do together."""
    for file, op in REDUCED.items():
        yield Fault(file, "0xffffffffu", "0x0000ffffu", f"values {op}", "a mask without its own lane: ")
    for file, partial in (("conv.cu", "real partial[32]"), ("batch_norm.cu", "Moments partial[32]")):
        yield Fault(file, partial, partial.replace("32", "4"), f"values {REDUCED[file]}", OUTSIDE)
    pointer = "real* p = partial; p[warp + 28] = value;"  # no array whose length the compiler knows
    yield Fault("conv.cu", "partial[warp] = value;", f"{{ {pointer} }}", "values conv_backward", OUTSIDE)
    yield Fault("conv.cu", "real partial[32];", "real partial[32]; __shared__ double more[6140];",
                "values conv_backward", "a block has 49152 at most")  # fmt: skip
    added = "sums[o] = sums[o] + sum;"
    yield Fault(
        "conv.cu",
        "if (threadIdx.x == 0) sums[o] = sum;",
        added,
        "values conv_backward",
        "a race: ",
    )
    yield Fault(
        "col2im.cu", "x[element] = (storage)sum;", "x[0] = x[0] + (storage)sum;", "values col2im", "a race: "
    )
    yield Fault(
        "relu.cu", "(real)x[element];", "((const float2*)(x + element))->x;", "values relu", "misaligned: "
    )
    yield Fault("relu.cu", "y[element] = (storage)(", "y[element + 1] = (storage)(", "values relu", OUTSIDE)
    for old, new, op in (
        ("x > 0 ? x : a * x", "x", "leaky_relu"),
        ("value > 0 ? dy : a * dy", "dy", "leaky_relu_backward"),
        ("raised > b ? b : raised", "raised", "clip"),
        ("a < value && value < b", "a < value", "clip_backward"),
        ("x >= 0 ? 1 : e", "1", "sigmoid"),
        ("(1 - value)", "(1 + value)", "sigmoid_backward"),
        ("TANH: return tanh(x)", "TANH: return x", "tanh"),
        ("1 - value * value", "1 - value", "tanh_backward"),
        ("SILU: return x * sigmoid(x)", "SILU: return sigmoid(x)", "silu"),
        ("value * (1 - s)", "value * s", "silu_backward"),
        ("erfc(-x", "erfc(x", "gelu"),
        ("value * normal_density", "normal_density", "gelu_backward"),
        ("{ LEAKY_RELU, CLIP, SIGMOID, TANH,", "{ LEAKY_RELU, CLIP, TANH, SIGMOID,", "tanh"),
    ):
        yield Fault("activation.cu", old, new, f"values {op}")
    for old, new, op in (
        ("element / P % C;", "element % C;", "group_norm"),
        ("weight[element / P % C]", "weight[element % C]", "group_norm_backward"),
        ("r = element / L", "r = m / P", "group_norm_backward"),
        ("normalized * mean_product", "mean_product", "layer_norm_backward"),
        ("lanes == 32", "false", "group_norm_backward"),
    ):
        yield Fault("sample_norm.cu", old, new, f"values {op}")
    yield Fault(
        "softmax_cross_entropy.cu", "0 <= label && label < D ? shift", "true ? shift", "labels", OUTSIDE
    )
    yield Fault("softmax_cross_entropy.cu", "0 <= label && label < D ? (real)", "true ? (real)", "labels")


FAULTS = [*products(), *half_sums(), *warps_and_blocks()]


def plant(monkeypatch, fault):
    text = source.text(fault.file)
    assert fault.old in text, f"{fault.file} no longer has {fault.old!r}: move the fault to where it went"
    planted = text.replace(fault.old, fault.new)
    assert planted != text
    monkeypatch.setattr(launch, "text", lambda file: planted if file == fault.file else source.text(file))


@pytest.mark.parametrize("name", ["labels", "steps"])
def test_green_as_it_stands(name):
    """The other checks have tests of their own: test_values, test_huge, test_half_sums."""
    CHECKS[name]()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.check}: {fault.new[-50:]!r}")
def test_a_planted_fault_turns_a_check_red(monkeypatch, fault):
    plant(monkeypatch, fault)
    with pytest.raises((KernelError, AssertionError), match=fault.complaint or None) as caught:
        CHECKS[fault.check]()
    assert "does not compile" not in str(caught.value)


def test_a_fault_whose_text_is_gone_fails(monkeypatch):
    with pytest.raises(AssertionError, match=r"relu\.cu no longer has 'gone'"):
        plant(monkeypatch, Fault("relu.cu", "gone", "", "values relu"))


# ---------------------------------------------------------------- the launcher


def both_widths():
    """One device computes with 32-bit positions, and then with 64."""
    device = launch.Device(host_module)
    x, y = np.ones(6, np.float32), np.zeros(6, np.float32)
    cols = np.zeros((1, 1, 1, 1, 2, 3), np.float32)
    lengths = dict.fromkeys(("N", "C", "KH", "KW", "SH", "SW", "DH", "DW"), 1)
    sizes = {"H": 2, "W": 3, "OH": 2, "OW": 3, "top": 0, "left": 0, "fill": 0}
    device.launch("im2col", 6, x=x.reshape(1, 1, 2, 3), cols=cols, **lengths, **sizes)
    device.launch("relu", 6, x=x, y=y, size=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_huge, "Device", lambda module: device)
        HUGE["im2col"]()
        HUGE["relu"]()


def test_one_device_serves_both_widths():
    both_widths()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("key = (signature.name, *variant)", "key = (signature.name, variant[0], variant[2])"),
        ("64 if types[\"index_t\"] is LONG else 32", "32"),
        ("largest >= WIDE", "largest > 2**40"),
    ],
)  # fmt: skip
def test_a_launcher_that_forgets_the_width_turns_red(monkeypatch, old, new):
    text = Path(launch.__file__).read_text(encoding="utf-8")
    assert old in text, f"launch.py no longer has {old!r}: move the fault to where it went"
    names = {"__name__": launch.__name__, "__file__": launch.__file__}
    planted = text.replace(old, new)
    if "variant[0]" in new:
        planted = planted.replace(
            "self._functions[other.name, *variant]", "self._functions[other.name, variant[0], variant[2]]"
        )
    exec(compile(planted, launch.__file__, "exec"), names)
    monkeypatch.setattr(launch, "Device", names["Device"])
    with pytest.raises((KernelError, AssertionError)):
        both_widths()


# ---------------------------------------------------------------- options, and the arithmetic that they allow


def test_options_that_change_results_are_refused(monkeypatch):
    assert launch.OPTIONS == ("-std=c++17", "-ftz=true")
    for option in ("--use_fast_math", "-use_fast_math", "--prec-div=false", "--fmad=false", "-O0"):
        monkeypatch.setattr(launch, "OPTIONS", ("-std=c++17", "-ftz=true", option))
        with pytest.raises(KernelError, match=f"the option {option} is not simulated"):
            check({"relu"})


@pytest.mark.parametrize("storage", [16, 32])
@pytest.mark.parametrize("file", FILES)
def test_float_kernels_are_exact_and_without_double(file, storage):
    check_arithmetic(source.text(file), macros(storage))


def test_fast_math_shows_in_the_instructions():
    with pytest.raises(AssertionError, match="an approximation: div"):
        check_arithmetic(source.text("average_pool.cu"), (*macros(32), "--use_fast_math"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("relu.cu", "value < 0 ? 0 : value", "value < 0 ? 0 : value * 1.1"),
        ("col2im.cu", "real sum = 0;", "double sum = 0;"),
        ("update.cu", "step * m", "(double)step * m"),
        ("conv.cu", "real sum = block_sum", "double sum = 0.1 * block_sum"),
        ("batch_norm.cu", "1 / sqrt(", "1.0 / sqrt("),
        ("activation.cu", "exp(-x * x / 2)", "exp(-x * x * 0.5)"),
        ("sample_norm.cu", "1 / sqrt(", "1.0 / sqrt("),
        ("softmax_cross_entropy.cu", "exp((real)row[d]", "exp((double)row[d]"),
    ],
)
def test_double_arithmetic_shows_in_the_instructions(file, old, new):
    text = source.text(file)
    assert old in text, f"{file} no longer has {old!r}: move the fault to where it went"
    with pytest.raises(AssertionError, match="double arithmetic in a float kernel"):
        check_arithmetic(text.replace(old, new), macros(32))
