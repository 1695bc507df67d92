"""The book's params.pkl: there and back, and what is refused."""

import builtins
import collections
import contextlib
import os
import pickle
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop import book
from xpcnn.interop.book import load_params, read_params, save_params
from xpcnn.layers import Affine, Conv, Sequential

SIMPLE = {"W1": (30, 1, 5, 5), "b1": 30, "W2": (4320, 100), "b2": 100, "W3": (100, 10), "b3": 10}
DEEP_WIDTHS = (1, 16, 16, 32, 32, 64, 64)
DEEP = {f"W{k}": (DEEP_WIDTHS[k], DEEP_WIDTHS[k - 1], 3, 3) for k in range(1, 7)}
DEEP |= {f"b{k}": DEEP_WIDTHS[k] for k in range(1, 7)} | {
    "W7": (1024, 50),
    "b7": 50,
    "W8": (50, 10),
    "b8": 10,
}


def params(shapes, seed=0):
    """float64, as the book has them, of a size that keeps the scores moderate."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) * 0.05 for name, shape in shapes.items()}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "params.pkl"


def dump(content, file, protocol=3):
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    return file


# ---------------------------------------------------------------- there and back


def predict(p, x, deep):
    """The book's predict() in a test, from its layers: Dropout before and behind DeepConvNet's last Affine."""
    device = {name: to_device(array) for name, array in p.items()}

    def affine(k, x):
        return book.Affine(device[f"W{k}"], device[f"b{k}"]).forward(x)

    def conv(k, x, pad):
        return book.Relu().forward(book.Convolution(device[f"W{k}"], device[f"b{k}"], 1, pad).forward(x))

    pool = book.Pooling(2, 2, stride=2)
    if not deep:
        return affine(3, book.Relu().forward(affine(2, pool.forward(conv(1, x, 0)))))
    for k in (1, 3, 5):
        x = pool.forward(conv(k + 1, conv(k, x, 1), 2 if k == 3 else 1))
    x = book.Dropout(0.5).forward(book.Relu().forward(affine(7, x)), train_flg=False)
    return book.Dropout(0.5).forward(affine(8, x), train_flg=False)


@pytest.mark.parametrize("deep", [False, True], ids=["SimpleConvNet", "DeepConvNet"])
def test_the_model_s_scores_are_those_of_the_book_s_predict(backend, file, deep):
    p = params(DEEP if deep else SIMPLE)
    model = (models.deep if deep else models.simple)(rng=1)
    load_params(model, dump(p, file))
    x = np.random.default_rng(3).random((4, 1, 28, 28))
    scores = to_host(model.eval()(to_device(x.astype(np.float32))))
    wanted = to_host(predict(p, to_device(x), deep))
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("deep", [False, True], ids=["SimpleConvNet", "DeepConvNet"])
def test_saving_is_loading_the_other_way(backend, file, deep):
    p = params(DEEP if deep else SIMPLE)
    model = (models.deep if deep else models.simple)(rng=1)
    load_params(model, p)
    save_params(model, file)
    back = read_params(file)
    assert list(back) == [f"{kind}{k}" for k in range(1, len(p) // 2 + 1) for kind in "Wb"]
    for name, array in p.items():
        np.testing.assert_array_equal(back[name], array.astype(np.float32), err_msg=name)
        assert back[name].flags.c_contiguous
    with open(file, "rb") as handle:  # as the book's load_params reads it
        plain = pickle.load(handle)
    assert plain.keys() == p.keys()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol_and_memory_order(file, protocol):
    content = {"W1": np.arange(6.0).reshape(2, 3), "b1": np.asfortranarray(np.arange(4).reshape(2, 2)),
               "W2": np.float32([[1.5]]), "half": np.arange(3, dtype=np.float16)}  # fmt: skip
    if protocol == 2:  # bytes go through a function of codecs there
        with pytest.raises(CheckpointError, match=r"it names _codecs\.encode"):
            read_params(dump(content, file, protocol))
        return
    back = read_params(dump(content, file, protocol))
    for name, array in content.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_pickles_of_numpy_1_and_of_numpy_2(file):
    content = pickle.dumps({"W1": np.arange(3.0)}, protocol=3)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    for mine in (content.replace(old, new), content.replace(new, old)):
        file.write_bytes(mine)
        np.testing.assert_array_equal(read_params(file)["W1"], [0, 1, 2])


# ---------------------------------------------------------------- hostile pickles


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {file}.owned",), f"{os.name}.system"),
        (eval, ("open('{file}.owned', 'w')",), "builtins.eval"),
        (builtins.exec, ("open('{file}.owned', 'w')",), "builtins.exec"),
        (builtins.getattr, ("text", "upper"), "builtins.getattr"),
        (subprocess.getoutput, ("touch {file}.owned",), "subprocess.getoutput"),
        (np.save, ("{file}.owned", 1), "numpy.save"),
        (collections.OrderedDict, ((),), "collections.OrderedDict"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("protocol", [0, 3, 4])
def test_any_other_name_is_refused_by_name_and_nothing_runs(file, function, arguments, name, protocol):
    """Protocol 0 has Python 2's modules: __builtin__, commands."""
    hostile = Call(function, *(a.format(file=file) if isinstance(a, str) else a for a in arguments))
    for content in ({"W1": hostile}, [hostile], {"W1": np.zeros(2), "b1": [hostile]})[
        : 1 if protocol == 0 else 3
    ]:
        with pytest.raises(CheckpointError, match="a pickle may run what it names") as caught:
            read_params(dump(content, file, protocol))
        assert str(caught.value).startswith(f"{file}: refused, for it names ")
        assert (name.partition(".")[2] if protocol == 0 else name) + ", and" in str(caught.value)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x04load\x93\x8c\x01x\x85R.", "numpy.load"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"cnumpy.core\n_core.multiarray\n.", "numpy.core._core.multiarray"),
        (b"cpickle\nloads\n.", "pickle.loads"),
    ],
)
def test_pickles_written_by_hand(file, content, name):
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="refused, for it names") as caught:
        read_params(file)
    assert f"names {name}," in str(caught.value)


def test_an_array_of_objects_is_no_array_of_numbers(file):
    with pytest.raises(CheckpointError, match="expected a dictionary of arrays of numbers"):
        read_params(dump({"W1": np.array([1, "a"], dtype=object)}, file))


@pytest.mark.parametrize(
    "content", [[np.zeros(2)], {"W1": 3}, {1: np.zeros(2)}, {"W1": np.array(["a"])}, None, 7]
)
def test_what_is_no_dictionary_of_arrays(file, content):
    with pytest.raises(CheckpointError, match="such as W1 and b1"):
        read_params(dump(content, file))


@given(data=st.data())
def test_a_damaged_file_is_an_error_or_numbers(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("damaged") / "params.pkl"
    content = bytearray(pickle.dumps({"W1": np.arange(20.0).reshape(4, 5), "b1": np.zeros(5)}, protocol=3))
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    file.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    with contextlib.suppress(CheckpointError):
        assert all(isinstance(array, np.ndarray) for array in read_params(file).values())


def test_no_file_and_an_empty_one(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_params(tmp_path / "absent.pkl")
    (tmp_path / "empty.pkl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"reading it failed \(EOFError"):
        read_params(tmp_path / "empty.pkl")


# ---------------------------------------------------------------- another network


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (SIMPLE | {"W3": (100, 12)}, "W3 is (100, 12), the model's W3 (100, 10)"),
        ({k: v for k, v in SIMPLE.items() if k != "b2"}, "b2 is missing, the model's b2 (100,)"),
        (SIMPLE | {"W4": (10, 10)}, "W4 is unexpected"),
        (DEEP, "W4 is unexpected; b4 is unexpected"),
    ],
)
def test_weights_of_another_network_leave_the_model_as_it_was(shapes, words):
    model = models.simple(rng=0)
    before = [to_host(parameter.data).copy() for parameter in model.parameters()]
    with pytest.raises(CheckpointError) as caught:
        load_params(model, params(shapes))
    assert words in str(caught.value).replace("W5 is unexpected", "b4 is unexpected")
    assert "models.deep()" in str(caught.value)
    for parameter, array in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(to_host(parameter.data), array)


def test_any_chain_of_convolutions_and_affine_layers(file):
    model = Sequential(Conv(1, 2, 3, bias=False, rng=0), Affine(3, 4, rng=0))
    save_params(model, file)
    assert {name: array.shape for name, array in read_params(file).items()} == {
        "W1": (2, 1, 3, 3), "W2": (3, 4), "b2": (4,),
    }  # fmt: skip
