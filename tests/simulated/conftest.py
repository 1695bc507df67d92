"""The simulated device, active and without kernels: NumPy's functions are the oracle here."""

import inspect
import textwrap
from contextlib import contextmanager

import pytest

from xpcnn.backend import synchronize, use_backend, xp
from xpcnn.debug.compare import running
from xpcnn.simulated import capturing
from xpcnn.simulated.judge import why_no_judge


@pytest.fixture(autouse=True)
def _on_the_device():
    if why_no_judge():
        pytest.skip(why_no_judge())
    with running("simulated:reference"):
        yield


@pytest.fixture
def tuned():
    """The same with its CUDA kernels, where there is a compiler."""
    with use_backend("simulated") as backend:
        yield backend


@contextmanager
def recording(*state, survey=False):
    """A capture in a stream of its own, which begins and ends with nothing under way."""
    synchronize()
    with xp.cuda.Stream(non_blocking=True) as stream:
        try:
            with capturing(*state, survey=survey) as forbidden:
                yield forbidden
        finally:
            stream.synchronize()


def planted(function, sound, fault, **more):
    """The function with one piece of its text replaced, and more names that it may use."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(sound) == 1, f"{function.__name__} no longer says {sound!r} once"
    names = dict(vars(inspect.getmodule(function))) | more
    text = compile(
        source.replace(sound, fault).replace("@accelerated\n", ""), inspect.getsourcefile(function), "exec"
    )
    exec(text, names)
    return names[function.__name__]
