import numpy as np
import pytest
from simulated.conftest import recording

from xpcnn.backend import synchronize, to_device, to_host, xp
from xpcnn.errors import BackendError
from xpcnn.simulated.events import CaptureError

FORBIDDEN = {
    "upload": (lambda x: to_device(np.ones(3)), "asarray.*upload before the capture"),
    "upload of a list": (lambda x: xp.asarray([1.0]), "asarray.*upload before"),
    "list as index": (lambda x: x[[0, 1]], "list as index"),
    "set": (lambda x: x.set(np.ones((2, 2), np.float32)), r"\.set\(\)"),
    "download": (to_host, r"\.get\(\).*download after the capture"),
    "float": (lambda x: float(x[0, 0]), r"float\(\).*download after"),
    "item": (lambda x: x[0, 0].item(), r"\.item\(\)"),
    "bool": (lambda x: bool(x[0, 0]), r"bool\(\)"),
    "print": (lambda x: f"{x}", r"(str|format)\(\)"),
    "synchronize": (lambda x: synchronize(), r"synchronize\(\).*only being recorded"),
    "event": (lambda x: xp.cuda.get_current_stream().record().synchronize(), r"event\.synchronize\(\)"),
    "is the stream done": (lambda x: xp.cuda.get_current_stream().done, r"stream\.done.*only being recorded"),
    "is the event done": (lambda x: xp.cuda.Event().done, r"event\.done.*only being recorded"),
    "asynchronous download": (lambda x: xp.asnumpy(x, blocking=False), r"\.get\(\)"),
    "mask": (lambda x: x[x > 0], r"getitem with a boolean mask.*use xp\.where"),
    "mask in an assignment": (lambda x: x.__setitem__(x > 0, 0.0), "setitem with a boolean mask"),
    "nonzero": (lambda x: x.nonzero(), r"nonzero.*use xp\.where"),
    "argwhere": (lambda x: xp.argwhere(x), "argwhere"),
    "where of one": (lambda x: xp.where(x), "where"),
    "unique": (lambda x: xp.unique(x), "unique"),
    "random": (lambda x: xp.random.standard_normal((2,)), r"random\.standard_normal.*cuRAND.*counter_bits"),
    "matmul": (lambda x: x @ x, "matmul.*cuBLAS with a handle and a workspace of one's own"),
    "xp.matmul": (lambda x: xp.matmul(x, x), "matmul.*cuBLAS"),
    "dot": (lambda x: x.dot(x), "dot.*cuBLAS"),
    "xp.dot": (lambda x: xp.dot(x, x), "dot.*cuBLAS"),
    "tensordot": (lambda x: xp.tensordot(x, x), "tensordot.*cuBLAS"),
    "einsum": (lambda x: xp.einsum("ij,jk->ik", x, x), "einsum.*cuBLAS"),
    "linalg": (lambda x: xp.linalg.inv(x), "inv.*cuBLAS"),
}


@pytest.fixture
def x():
    return to_device(np.eye(2, dtype=np.float32) + 1)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_capture_forbids(x, name):
    call, message = FORBIDDEN[name]
    call(x)  # outside all is well
    with pytest.raises(CaptureError, match=message), recording():
        call(x)
    call(x)


def test_what_a_capture_allows(x):
    with recording():
        y = xp.maximum(x * 2 - 1, 0).sum(axis=0, keepdims=True)
        y = xp.where(y > 1, xp.exp(y), xp.zeros_like(y))
        x[0, :] = xp.pad(y, ((0, 0), (0, 0))).reshape(-1)
        x += xp.concatenate([y, y])
        xp.take_along_axis(x, xp.zeros((2, 1), xp.int64), axis=1)
        assert x.shape == (2, 2)


def test_the_error_names_the_line_and_is_a_backend_error(x):
    with (
        pytest.raises(
            BackendError, match=r"float\(\) at simulated/test_events\.py:\d+: the stream is capturing"
        ),
        recording(),
    ):
        float(x.sum())


def test_a_survey_collects_and_lets_pass(x):
    with recording(survey=True) as forbidden:
        y = x @ x
        assert float(y[0, 0]) == 5
    assert [call for call, _, _ in forbidden] == ["matmul", "float()"]
    assert all(site.startswith("simulated/test_events.py") for _, site, _ in forbidden)
    float(y[0, 0])
    assert len(forbidden) == 2
