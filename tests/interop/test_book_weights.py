"""The book's params.pkl: there and back, and what is refused."""

import builtins
import collections
import contextlib
import io
import os
import pickle
import pickletools
import subprocess
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop import book
from xpcnn.interop.book import load_params, read_params, save_params
from xpcnn.interop.book.array_patterns import Damaged, NameRefused
from xpcnn.interop.book.pickled import read as read_content
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


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_memory_order(file, protocol):
    content = {"W1": np.arange(6.0).reshape(2, 3), "b1": np.asfortranarray(np.arange(4).reshape(2, 2)),
               "W2": np.float32([[1.5]]), "half": np.arange(3, dtype=np.float16), "none": np.zeros((0, 3)),
               "one": np.array(3.5), "big": np.arange(300.0).astype(">f4"), "bytes": np.arange(200, dtype=np.uint8),
               "axes": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
               "steps": np.arange(8.0)[::2]}  # fmt: skip
    content["again"] = content["W1"]
    back = read_params(dump(content, file, protocol))
    assert_same(back, pickle.loads(file.read_bytes()))
    assert_same(back, {name: array.astype(back[name].dtype) for name, array in content.items()})
    assert back["b1"].flags.f_contiguous
    assert back["again"] is back["W1"]
    for array in back.values():
        assert array.flags.writeable
        assert array.flags.owndata


def test_pickles_of_numpy_1_and_of_numpy_2(file):
    content = pickle.dumps({"W1": np.arange(3.0)}, protocol=3)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    for mine in (content.replace(old, new), content.replace(new, old)):
        file.write_bytes(mine)
        np.testing.assert_array_equal(read_params(file)["W1"], [0, 1, 2])


PYTHON_2 = {
    0: b"""(dp0\nS'W1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7
(I1\n(I1\nL2L\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00
S'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?\\x9a\\x99\\x99\\x99\\x99\\x99\\xb9\\xbf'\np15\ntp16\nbs.""",
    2: b"\x80\x02}q\x01U\x02W1q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05"
    b"U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x01K\x02\x86q\tcnumpy\ndtype\nq\nU\x02f8q\x0bK\x00K\x01\x87q\x0cRq\r(K\x03U\x01<q\x0eNNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0fb\x89U\x10\0\0\0\0\0\0\xf8?\x9a\x99\x99\x99\x99\x99\xb9\xbftbs.",
}


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


@pytest.mark.filterwarnings(r"ignore:dtype\(\)")  # NumPy 2.4's, of what Python 2 wrote
@pytest.mark.parametrize("protocol", PYTHON_2)
def test_pickles_of_python_2(file, protocol):
    file.write_bytes(PYTHON_2[protocol])
    assert_same(read_params(file), {"W1": np.array([[1.5, -0.1]])})
    assert_same(read_params(file), pickle.loads(PYTHON_2[protocol], encoding="latin1"))


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


HEAD = b"\x80\x04}\x8c\x02W1cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
F8 = b"cnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R"
ORDER = b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array(shape=b"K\x02\x85", dtype=F8 + ORDER, order=b"\x89", data=b"C\x10" + bytes(16)):
    return HEAD + b"(K\x01" + shape + dtype + order + data + b"tbs."


def test_the_array_of_the_next_test_is_one_before_it_is_spoilt(file):
    file.write_bytes(array())
    assert_same(read_params(file), {"W1": np.zeros(2)})


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"s.",  # begun, and without a state: whatever memory held
        array(dtype=F8),  # without its order
        array(dtype=F8 + ORDER + ORDER),
        # what reached a decref of any address: a dtype copied, and its state given as NumPy's own __setstate__ takes it
        array(dtype=F8 + b"(K\x03\x8c\x01|NNNJ\x40\0\0\0J\x08\0\0\0K\x3ftb"),
        array(dtype=F8 + b"(K\x04\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00}tb"),
        array(dtype=F8.replace(b"\x89\x88", b"\x88\x88") + ORDER),
        array(dtype=F8.replace(b"f8", b"O8") + ORDER),
        array(dtype=F8.replace(b"f8", b"V8") + ORDER),
        array(dtype=b"K\x08" + ORDER),
        array(data=b"C\x0f" + bytes(15)),
        array(data=b"\x8c\x10" + bytes(16)),
        array(data=b"]"),
        array(shape=b"K\x03\x85"),
        array(shape=b"J\xff\xff\xff\xff\x85"),
        array(shape=b"\x88K\x02\x86"),
        array(shape=b"G" + bytes(8) + b"\x85"),
        array(shape=b"(" + b"J\xff\xff\xff\x7f" * 5 + b"K\x00t", data=b"C\x00"),
        array(shape=b"(" + b"K\x01" * 64 + b"K\x02t"),
        array(shape=b"K\x02"),
        array(order=b"K\x02"),
        array()[:-1] + b"(K\x01K\x02\x85" + F8 + ORDER + b"\x89C\x10" + bytes(16) + b"tb.",  # a second state
        b"\x80\x04}r\xff\xff\xff\x0e",  # 4 GB, as a memo of the pickle module's
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x04\x8b\xff\xff\xff\xff.",
        b"T\xff\xff\xff\xff.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"}" * 1_000_000 + b".",
        b"(" * 1_000_000 + b".",
        b"]\x94h\x00a.",  # a list of itself
        b"}\x94\x8c\x01ah\x00s.",
        b"\x80\x05}\x97.",  # a buffer from elsewhere
        b"\x80\x04P1\n.",
        b"\x80\x04\x82\x01.",
        b"\x80\x06}.",
        b"",
    ],
)
def test_what_is_no_whole_array_is_refused_and_takes_no_memory(file, content):
    file.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read_params(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_bytes_that_many_arrays_share_are_refused_before_they_are_copied(file):
    one = HEAD[HEAD.index(b"cnumpy") :] + b"(K\x01J\0\0\x02\0\x85" + F8 + ORDER + b"\x89%stbs"
    data = b"B\0\0\x10\0" + bytes(1 << 20) + b"q\0"
    parts = [b"\x8c\x04%04d" % number + one % (b"h\0" if number else data) for number in range(100)]
    file.write_bytes(b"\x80\x04}" + parts[0] + b".")
    assert_same(read_params(file), {"0000": np.zeros(1 << 17)})
    file.write_bytes(b"\x80\x04}" + b"".join(parts) + b".")
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="its arrays are larger than the file"):
        read_params(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def valid_files():
    """Small files of every kind that there is."""
    content = {"W1": np.arange(6.0).reshape(2, 3), "b1": np.asfortranarray(np.ones((2, 2), np.float32))}
    for protocol in range(6):
        written = pickle.dumps(content, protocol)
        yield written
        yield written.replace(b"numpy._core", b"numpy.core") if protocol < 4 else written
        yield pickletools.optimize(written)
    yield from PYTHON_2.values()


class Restricted(pickle._Unpickler):
    """The oracle: Python's own, not in C, where a memo takes 4 GB, and NumPy's own functions."""

    def find_class(self, module, name):
        assert module.split(".")[0] in ("numpy", "_codecs", "builtins", "__builtin__"), module
        return super().find_class(module, name)


def mutant(rng, files):
    """A valid file with a few bytes changed, lost, inserted, or taken from another place or file."""
    content = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 4)):
        at, other = rng.integers(len(content)), files[rng.integers(len(files))]
        piece, length = rng.integers(len(other)), int(rng.integers(1, 9))
        match rng.integers(6):
            case 0:
                content[at] ^= 1 << rng.integers(8)
            case 1:
                content[at] = rng.choice(
                    list(
                        b"(.0123]}abcdeghijlopqrstuRNIKMJLTUSXVBC\x80\x85\x86\x87\x88\x89\x93\x94\x95\x96\xff\0"
                    )
                )
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = other[piece : piece + length]
            case 4:
                content[at : at + length] = other[piece : piece + length]
            case 5:
                content[at:at] = content[at : at + length]
        content = content or bytearray(b".")
    return bytes(content)


@pytest.mark.filterwarnings(r"ignore:dtype\(\)")  # NumPy 2.4's, of what Python 2 wrote
def test_twenty_thousand_mutants_are_errors_or_what_pickle_reads(file):
    rng, files, admitted = np.random.default_rng(0), list(valid_files()), 0
    for _ in range(20_000):
        content = mutant(rng, files)
        try:
            found = read_content(content)
        except (Damaged, NameRefused):
            continue
        if not isinstance(found, dict) or not all(isinstance(a, np.ndarray) for a in found.values()):
            continue
        admitted += 1
        wanted = Restricted(io.BytesIO(content), encoding="latin1").load()
        assert_same(found, wanted)
    assert admitted > 500  # or it tried nothing


def test_mutants_of_a_file_end_in_one_kind_of_error(file):
    rng, files = np.random.default_rng(1), list(valid_files())
    for _ in range(300):
        file.write_bytes(mutant(rng, files))
        with contextlib.suppress(CheckpointError):
            assert all(isinstance(array, np.ndarray) for array in read_params(file).values())


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
    with pytest.raises(
        CheckpointError, match=r"reading it failed \(byte 0 should be followed by 1 bytes, and 0 follow"
    ):
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
