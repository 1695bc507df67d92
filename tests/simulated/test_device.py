import numpy as np
import pytest

from xpcnn.backend import to_host, xp
from xpcnn.commands.diagnosis import gpu_rows
from xpcnn.simulated import ledger
from xpcnn.simulated.rules import DRAWS


def test_streams_and_the_runtime_wait():
    with ledger() as counts:
        xp.cuda.get_current_stream().synchronize()
        xp.cuda.runtime.deviceSynchronize()
    assert counts.synchronisations == 2
    assert repr(xp.cuda.get_current_stream()) == "<the null stream of the simulated device>"


def test_there_is_no_gpu_to_tell_about():
    assert xp.cuda.runtime.getDeviceCount() == 0
    assert gpu_rows(xp) == []


@pytest.mark.parametrize("name", DRAWS)
def test_random_functions_draw_on_the_device(name):
    arguments = {
        "rand": (2, 3),
        "randn": (2, 3),
        "permutation": (6,),
        "randint": (0, 5, (2, 3)),
        "uniform": (0, 1, (2, 3)),
        "normal": (0, 1, (2, 3)),
        "choice": (5, (2, 3)),
    }.get(name, ((2, 3),))
    drawn = getattr(xp.random, name)(*arguments)
    assert isinstance(drawn, xp.ndarray)
    assert drawn.size == 6


def test_a_seed_repeats_and_dtype_is_taken():
    draws = []
    for _ in range(2):
        xp.random.seed(3)
        draws.append(to_host(xp.random.standard_normal(4, dtype=np.float32)))
    np.testing.assert_array_equal(*draws)
    assert draws[0].dtype == np.float32


def test_random_functions_bind_cupys_signature():
    with pytest.raises(TypeError):
        xp.random.standard_normal(4, chunks=2)
