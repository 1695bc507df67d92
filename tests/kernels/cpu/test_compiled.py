"""Numba's kernels beyond the small examples: real layers, NaN and infinity, other registers; and life without Numba."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpcnn
from xpcnn import kernels, ops
from xpcnn.errors import BackendError
from xpcnn.geometry import Window

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
CLOSE = {"float32": 1e-5, "float64": 1e-12}


@pytest.fixture
def compiled():
    pytest.importorskip("numba")
    substitutes = kernels.load("numpy", "tuned")
    assert substitutes["conv"].__module__ == "xpcnn.kernels.cpu.compiled.conv", kernels.remark("numpy")
    return substitutes


def images(seed, shape, dtype="float32"):
    """Return (N,C,H,W) whose memory order is (H,C,W,N)."""
    N, C, H, W = shape
    values = np.random.default_rng(seed).standard_normal((H, C, W, N))
    return values.astype(dtype).transpose(3, 1, 0, 2)


def numbers(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_near(found, wanted, dtype):
    """The norm of the difference is small against that of the whole."""
    assert (found.shape, found.dtype) == (wanted.shape, np.dtype(dtype))
    assert np.linalg.norm(found - wanted) <= CLOSE[dtype] * np.linalg.norm(wanted)


# ---------------------------------------------------------------- the layers that they are for


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("N", [100, 33])
@pytest.mark.parametrize(
    ("shape", "O", "window"),
    [
        ((1, 28, 28), 30, Window(5)),  # simple
        ((1, 28, 28), 6, Window(5, padding=2)),  # lenet5
        ((6, 14, 14), 16, Window(5)),
        ((1, 28, 28), 16, Window(3, padding=1)),  # deep
        ((16, 14, 14), 32, Window(3, padding=1)),
        ((32, 14, 14), 32, Window(3, padding=2)),
        ((64, 8, 8), 64, Window(3, padding=1)),
        ((16, 32, 32), 32, Window(3, 2, 1)),  # resnet20
        ((16, 15, 15), 24, Window(1, 2)),
    ],
)
def test_convolution_is_near_the_textbooks(compiled, shape, O, window, N, dtype):
    x, weight = images(0, (N, *shape), dtype), numbers(1, O, shape[0], *window.size, dtype=dtype)
    bias, dy = numbers(2, O, dtype=dtype), images(3, (N, O, *window.output_size(*shape[1:])), dtype)
    x64, weight64, bias64, dy64 = (a.astype("float64") for a in (x, weight, bias, dy))
    assert_near(
        compiled["conv"](x, weight, bias, window), ops.conv.__wrapped__(x64, weight64, bias64, window), dtype
    )
    found = compiled["conv_backward"](dy, x, weight, window)
    wanted = ops.conv_backward.__wrapped__(dy64, x64, weight64, window)
    for one, other in zip(found, wanted, strict=True):
        assert_near(one, other, dtype)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("mean", [0, 100])
def test_normalisation_is_near_the_textbooks(compiled, mean, dtype):
    x, dy = (
        images(0, (100, 16, 32, 32), dtype) + np.dtype(dtype).type(mean),
        images(1, (100, 16, 32, 32), dtype),
    )
    weight, bias = numbers(2, 2, 16, dtype=dtype)
    statistics = ops.batch_statistics.__wrapped__(x.astype("float64"))
    for one, other in zip(compiled["batch_statistics"](x), statistics, strict=True):
        assert_near(one, other, dtype)
    mean_, variance = (values.astype(dtype) for values in statistics)
    x64, dy64, *of_channels = (a.astype("float64") for a in (x, dy, weight, bias, mean_, variance))
    found = compiled["batch_norm"](x, weight, bias, mean_, variance, 1e-5)
    assert_near(found, ops.batch_norm.__wrapped__(x64, *of_channels, 1e-5), dtype)
    weight64, _, mean64, variance64 = of_channels
    for of_batch in (True, False):
        found = compiled["batch_norm_backward"](dy, x, weight, mean_, variance, 1e-5, of_batch)
        wanted = ops.batch_norm_backward.__wrapped__(dy64, x64, weight64, mean64, variance64, 1e-5, of_batch)
        for one, other in zip(found, wanted, strict=True):
            assert_near(one, other, dtype)


def test_the_same_call_gives_the_same_bits(compiled):
    x, weight, dy = images(0, (100, 6, 14, 14)), numbers(1, 16, 6, 5, 5), images(2, (100, 16, 10, 10))
    once, again = (compiled["conv_backward"](dy, x, weight, Window(5)) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------- what must not be lost


def with_values(shape, *values):
    array = images(0, shape)
    for seed, value in enumerate(values, 1):
        array[np.random.default_rng(seed).random(shape) < 0.1] = value
    return array


def test_nan_and_infinity_go_where_they_go_in_the_textbook(compiled):
    x = with_values((5, 3, 9, 9), np.inf, -np.inf, np.nan)
    few = images(1, (5, 3, 9, 9))
    few[2, 1, 3, 3], few[3, 0, 5, 5] = np.nan, np.inf
    weight, bias = numbers(1, 7, 3, 3, 3), numbers(2, 7)
    calls = [
        ("relu", (x,)),
        ("relu_backward", (x, np.nan_to_num(x))),
        ("relu_backward", (few, x)),
        ("conv", (few, weight, bias, Window(3, padding=1))),
        ("batch_norm", (few, *numbers(3, 3, 3), np.ones(3, "float32"), 1e-5)),
    ]
    for window in (Window(2, 2), Window(2, 2, 1), Window(3, 2), Window(3, 1, 1)):
        calls.append(("max_pool", (x, window)))
        dy = with_values((5, 3, *window.output_size(9, 9)), np.nan, np.inf)
        winner = ops.max_pool.__wrapped__(x, window)[1]
        calls.append(("max_pool_backward", (dy, winner, (9, 9), window)))
    for name, arguments in calls:
        with np.errstate(invalid="ignore"):
            wanted = getattr(ops, name).__wrapped__(*arguments)
        found = compiled[name](*arguments)
        for one, other in zip(*((a if isinstance(a, tuple) else (a,)) for a in (found, wanted)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=f"{name}{arguments}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("N", [1, 3, 5, 33])
def test_a_weight_gradient_reads_no_pixel_that_its_tap_does_not(compiled, N, value):
    """The first taps do not read the last column; a vector that goes beyond a row's end reads it, beside zeros."""
    x, weight, dy = images(0, (N, 4, 9, 9)), numbers(1, 5, 4, 3, 3), images(2, (N, 5, 7, 7))
    x[..., 8] = value
    with np.errstate(invalid="ignore"):
        _, wanted, _ = ops.conv_backward.__wrapped__(dy, x, weight, Window(3))
    _, found, _ = compiled["conv_backward"](dy, x, weight, Window(3))
    assert np.isfinite(wanted[..., :2]).all()
    np.testing.assert_allclose(found[..., :2], wanted[..., :2], rtol=1e-4, atol=1e-4)
    assert not np.isfinite(found[..., 2]).any()


def test_what_it_cannot_compile_numpys_kernel_computes(compiled):
    x, weight = numbers(0, 2, 3, 5, 5).astype("float16"), numbers(1, 2, 3, 3, 3).astype("float16")
    assert compiled["conv"](x, weight, None, Window(3)).dtype == "float16"
    assert compiled["relu"](x).dtype == "float16"
    assert compiled["max_pool"](x, Window(2, 2))[0].dtype == "float16"
    assert compiled["batch_statistics"](x)[0].dtype == "float32"  # as in the textbook
    assert compiled["conv"](x.astype(">f4"), weight.astype(">f4"), None, Window(3)).shape == (2, 2, 3, 3)


def test_no_compiled_loop_reads_beyond_an_array(compiled):
    """They check no bounds: arrays that do not fit together go to NumPy, which raises."""
    x, weight = numbers(0, 2, 3, 5, 5), numbers(1, 4, 3, 3, 3)
    dy, winner = numbers(2, 2, 3, 2, 2), np.zeros((2, 3, 2, 2), np.uint8)
    flat = numbers(3, 6)
    for name, arguments in (
        ("conv", (x[:, :2], weight, None, Window(3))),
        ("conv", (x, weight, numbers(2, 3), Window(3))),
        ("conv_backward", (numbers(2, 3, 4, 3, 3), x, weight, Window(3))),
        ("max_pool_backward", (dy[..., :1, :], np.repeat(winner, 2, axis=3), (5, 5), Window(2, 2))),
        ("batch_norm", (x, *np.ones((4, 2), "float32"), 1e-5)),
        ("batch_norm_backward", (dy, x, *np.ones((3, 3), "float32"), 1e-5, True)),
        ("momentum_update", (flat, flat[:5], flat.copy(), 0.1, 0.9)),
    ):
        with pytest.raises(ValueError, match=r"broadcast|reshape|matmul"):
            compiled[name](*arguments)


@needs_numba
@pytest.mark.parametrize(("width", "registers"), [("64", "32"), ("16", "16")])
def test_other_processors_registers_give_the_same(width, registers):
    """LLVM makes vectors that this processor lacks of those that it has."""
    program = """
import sys
import llvmlite.binding, numba
numba.njit(lambda: 0)()  # it has now looked up for which processor it compiles
known = {"64": {"avx512f": True}, "16": {}}[sys.argv[1]]
llvmlite.binding.get_host_cpu_features = lambda: known
import numpy as np
from xpcnn import kernels, ops
from xpcnn.geometry import Window
from xpcnn.kernels.cpu.compiled import tiles
assert (tiles.REGISTER_BYTES, tiles.REGISTERS) == tuple(map(int, sys.argv[1:])), tiles.REGISTERS
compiled = kernels.load("numpy", "tuned")
assert compiled["conv"].__module__ == "xpcnn.kernels.cpu.compiled.conv"
rng = np.random.default_rng(0)
for C, O in ((3, 4), (7, 6), (3, 1), (1, 2)):
    x, weight, window = rng.standard_normal((9, C, 6, 7)), rng.standard_normal((O, C, 5, 5)), Window(5, padding=2)
    y = compiled["conv"](x, weight, None, window)
    np.testing.assert_allclose(y, ops.conv.__wrapped__(x, weight, None, window), rtol=1e-10)
    for found, wanted in zip(
        compiled["conv_backward"](y, x, weight, window), ops.conv_backward.__wrapped__(y, x, weight, window)
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
"""
    # kept in no cache: its key is the processor, not the registers that this test pretends
    run(program, width, registers, NUMBA_CACHE_DIR="/dev/null/none")


# ---------------------------------------------------------------- where it is not, or does not work


def run(program, *arguments, folder=None, said="", **environment):
    """Run a program in a process of its own, which may say one thing on stderr; return what it printed."""
    package = folder or Path(xpcnn.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(package), "XPCNN_KERNELS": "", **environment}
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    ran = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("\n") == bool(said), ran.stderr
    assert ran.stderr.startswith(said), ran.stderr
    return ran.stdout


@needs_numba
def test_numba_is_imported_when_the_backend_opens_and_not_before():
    seen = "print('numba' in sys.modules)"
    program = f"import sys, xpcnn, xpcnn.models; {seen}; xpcnn.set_backend('numpy'); {seen}"
    assert run(program).split() == ["False", "True"]
    assert run(program, XPCNN_KERNELS="pure").split() == ["False", "False"]


def test_without_numba_numpys_kernels_run_and_nothing_is_said():
    program = """
import sys, importlib.util as util
found = util.find_spec
util.find_spec = lambda name, package=None: None if name == "numba" else found(name, package)
import xpcnn
backend = xpcnn.set_backend("numpy")
print(backend.kernels["conv"].__module__, "umba" in backend.remark)
"""
    assert run(program).split() == ["xpcnn.kernels.cpu.plain.conv", "False"]


@pytest.mark.parametrize(
    "broken",
    [
        "raise ImportError('Numba needs NumPy 1.0 or less. Got NumPy 2.4.')",
        "raise SystemError('no LLVM')",
        "",
    ],
)
def test_a_numba_that_does_not_work_is_reported_and_numpys_kernels_run(tmp_path, broken):
    """A module that does not import, or that has nothing of Numba."""
    (tmp_path / "numba.py").write_text(broken)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import xpcnn
backend = xpcnn.set_backend("numpy")
print(backend.kernels["conv"].__module__, backend.remark, sep="; ")
"""
    said = run(program, said="xpcnn: NumPy's kernels run: numba is installed but does not compile (")
    assert said.startswith("xpcnn.kernels.cpu.plain.conv; ")
    assert "numba is installed but does not compile" in said
    assert not broken or broken.split("'")[1] in said


@needs_numba
def test_where_nothing_can_be_written_it_compiles_for_itself(tmp_path):
    """A package that is read-only, and no home: root may write anywhere, so files stand in the way of folders."""
    shutil.copytree(
        Path(xpcnn.__file__).parent, tmp_path / "xpcnn", ignore=shutil.ignore_patterns("__pycache__", "mnist")
    )
    (tmp_path / "xpcnn/kernels/cpu/compiled/__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    home = str(tmp_path / "home")
    program = "import xpcnn; print(xpcnn.__file__, xpcnn.set_backend('numpy').kernels['conv'].__module__)"
    said = run(
        program,
        folder=tmp_path,
        HOME=home,
        XDG_CACHE_HOME=home,
        LOCALAPPDATA=home,
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert said.split() == [str(tmp_path / "xpcnn/__init__.py"), "xpcnn.kernels.cpu.compiled.conv"]


@needs_numba
def test_machine_code_is_kept_until_any_source_changes(tmp_path):
    """Numba by itself looks at the file of the function alone, and not at what was compiled into it."""
    package = tmp_path / "xpcnn"
    shutil.copytree(
        Path(xpcnn.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "mnist")
    )
    program = """
import xpcnn
xpcnn.set_backend("numpy")
from xpcnn.kernels.cpu.compiled.correlation import correlate
print(sum(correlate.stats.cache_hits.values()), sum(correlate.stats.cache_misses.values()))
"""
    cached = {"folder": tmp_path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(program, **cached).split() == ["0", "1"]
    assert run(program, **cached).split() == ["1", "0"]
    with (package / "kernels/cpu/compiled/tiles.py").open("a") as file:
        file.write("\n")
    assert run(program, **cached).split() == ["0", "1"]


def test_no_choice_but_those_known(monkeypatch):
    monkeypatch.setenv("XPCNN_KERNELS", "numba")
    with pytest.raises(BackendError, match="tuned, pure, reference"):
        kernels.remark("numpy")
