"""The checked launcher: what it refuses, with whose name, and what it compiles."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import OPS, launch, source
from xpcnn.kernels.cuda.launch import Device

X = np.ones(6, np.float32)


@pytest.fixture
def device():
    """A device whose module is NumPy and compiles nothing: what is launched is listed."""
    launched = []

    class Module:
        def __init__(self, code, options):
            self.options = options

        def get_function(self, name):
            return lambda grid, block, args: launched.append((name, grid, block, args, self.options))

    found = Device(SimpleNamespace(ndarray=np.ndarray, RawModule=Module))
    found.launched = launched
    return found


def relu(device, threads=6, **changes):
    device.launch("relu", threads, **{"x": X, "y": np.zeros(6, np.float32), "size": 6, **changes})


def test_a_right_launch_has_typed_numbers_and_enough_blocks(device):
    relu(device)
    (launched,) = device.launched
    name, grid, block, (x, _, size), options = launched
    assert (name, grid, block, x is X, size, size.dtype) == ("relu", (1,), (256,), True, 6, np.int32)
    assert {"-std=c++17", "-DXPCNN_STORAGE=32", "-DXPCNN_INDEX=32"} <= set(options)
    relu(device, threads=257)
    assert device.launched[-1][1] == (2,)


def test_nothing_to_do_is_no_launch(device):
    empty = np.zeros(0, np.float32)
    relu(device, threads=0, x=empty, y=empty, size=0)
    assert device.launched == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"x": X.astype(np.int32)}, "argument 'x': expected float16 or float32 or float64, got int32"),
        ({"x": X.astype(np.float64)}, "argument 'y': expected float64, got float32"),
        ({"y": np.zeros(6, np.float64)}, "argument 'y': expected float32, got float64"),
        ({"x": np.ones((3, 4), np.float32).T[:2, :3]}, r"argument 'x': .*strides.*ascontiguousarray"),
        ({"x": X[::2], "size": 3}, "argument 'x': expected a C-contiguous array"),
        ({"size": None}, "argument 'size': expected a number, got NoneType"),
        ({"size": 7}, "argument 'x': expected size = 7 elements, got 6"),
        ({"y": np.zeros(5, np.float32)}, "argument 'y': expected size = 6 elements, got 5"),
        ({"size": 6.5}, "argument 'size': expected an integer"),
        ({"size": 2**31}, "argument 'size': expected an integer from -2147483648 to 2147483647"),
        ({"size": "6"}, "argument 'size': expected a number, got str"),
        ({"size": np.array([6])}, "argument 'size': expected a number, got ndarray"),
        ({"x": [1.0] * 6}, "argument 'x': expected float16 or float32 or float64, got list"),
        ({"z": X}, "unknown arguments: z; it takes x, y, size"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(device, changes, complaint):
    with pytest.raises(KernelError, match=f"^relu: {complaint}"):
        relu(device, **changes)
    assert device.launched == []


def test_a_missing_argument_and_an_unknown_kernel(device):
    with pytest.raises(KernelError, match=r"^relu: expected 3 arguments; missing: y$"):
        device.launch("relu", 6, x=X, size=6)
    with pytest.raises(KernelError, match=r"^rleu: no such kernel; there are .*relu"):
        device.launch("rleu", 6)


def test_a_host_array_among_device_arrays():
    class DeviceArray:
        dtype, size = np.dtype(np.float32), 6

    device = Device(SimpleNamespace(ndarray=DeviceArray))
    with pytest.raises(
        KernelError, match=r"argument 'x': expected a .* array, got numpy.ndarray; pass to_device"
    ):
        relu(device)


def test_a_grid_has_its_limit(device):
    with pytest.raises(KernelError, match=r"^relu: .* blocks, and a grid has 2147483647"):
        relu(device, threads=2**39 + 256)


def test_a_python_float_becomes_what_the_parameter_is(device):
    theta = np.ones(6, np.float16)
    device.launch("sgd_update", 6, theta=theta, g=theta.astype(np.float32), lr=0.1, size=6)
    assert device.launched[0][3][2].dtype == np.float32  # sums and numbers are float where storage is half
    theta = np.ones(6)
    device.launch("sgd_update", 6, theta=theta, g=theta.copy(), lr=0.1, size=6)
    assert device.launched[1][3][2].dtype == np.float64


def test_arrays_of_real_alone_say_which_it_is(device):
    for dtype in (np.float32, np.float64):
        device.launch("mean", 1, values=np.ones(3, dtype), result=np.empty((), dtype), M=3)
    with pytest.raises(KernelError, match="'result': expected float64, got float32"):
        device.launch("mean", 1, values=np.ones(3), result=np.empty((), np.float32), M=3)
    with pytest.raises(KernelError, match="'values': expected float32, got float16"):
        device.launch("mean", 1, values=np.ones(3, np.float16), result=np.empty((), np.float16), M=3)


def test_a_block_larger_than_the_kernel_was_compiled_for(device, monkeypatch):
    monkeypatch.setattr(launch, "THREADS", 512)
    with pytest.raises(KernelError, match="blocks of 512, but __launch_bounds__ says 256"):
        relu(device)


# ---------------------------------------------------------------- what the launcher reads in the .cu files


def test_every_pointer_has_a_shape_and_every_kernel_its_bounds():
    for signature in source.signatures().values():
        assert signature.threads == 256, signature.name
        numbers = {parameter.name for parameter in signature.parameters if not parameter.pointer}
        for parameter in signature.parameters:
            if parameter.pointer:
                assert parameter.shape, f"{signature.name}: {parameter.name}"
                assert all(name in numbers or name.isdigit() for name in parameter.shape), signature.name


def test_a_text_stands_alone_and_has_each_header_once():
    text = source.text("conv.cu")
    assert '#include "' not in text
    assert text.count("block_sum(real value)") == 1
    assert text.count("first_element() {") == 1


def test_the_kernel_in_the_documentation_is_the_one_that_runs():
    page = (source.FOLDER.parents[2] / "docs" / "kernels.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```cuda\n(.*?)```", page, re.DOTALL)
    assert shown in (source.FOLDER / "relu.cu").read_text(encoding="utf-8")


def test_each_kernel_file_has_its_python_file_and_the_other_way_round():
    beside = {path.stem for path in source.FOLDER.glob("*.py")}
    files = {path.stem for path in source.FOLDER.glob("*.cu")}
    assert files <= beside
    assert beside - files == {"__init__", "geometry", "launch", "source"}
    assert {op.__module__.rpartition(".")[2] for op in OPS} <= files


@pytest.mark.parametrize("file", sorted(source.FOLDER.glob("*.cu*")), ids=lambda path: path.name)
def test_a_file_begins_with_a_comment_and_a_kernel_file_with_a_drawing(file):
    """The drawing shows where the data is, and the text beside it says what a thread, a warp or a block does."""
    head = file.read_text(encoding="utf-8").partition("#include")[0].partition("#pragma")[0]
    assert head.startswith("// ")
    if file.suffix == ".cu":
        drawing = [line for line in head.splitlines() if line.startswith("//     ")]
        assert len(drawing) >= 3, "no drawing"
        assert "responsible for" in file.read_text(encoding="utf-8")
        assert any(word in file.read_text(encoding="utf-8") for word in ("thread is", "warp is", "block is"))


def test_signatures_say_where_they_stand():
    relu = source.signatures()["relu"]
    assert relu.file == "relu.cu"
    assert [parameter.name for parameter in relu.parameters] == ["x", "y", "size"]
    assert [parameter.const for parameter in relu.parameters] == [True, False, False]
