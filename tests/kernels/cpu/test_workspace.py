"""The bytes of workspace, which a thread takes along when it ends."""

import gc
import threading

import numpy as np

from xpcnn import kernels
from xpcnn.backend import use_backend
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.workspace import budget, workspace, workspace_bytes, workspace_held


def on_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_what_each_thread_holds_is_counted_until_it_ends():
    gc.collect()
    before, seen = workspace_held(), []

    def work():
        workspace((10, 25), np.float32)
        workspace((5,), np.float32)  # fits into the same buffer
        seen.append(workspace_held() - before)
        workspace((500,), np.float64)  # takes the place of the smaller one
        seen.append(workspace_held() - before)

    on_a_thread(work)
    assert seen == [1000, 4000]
    gc.collect()
    assert workspace_held() == before


def test_a_thread_has_the_same_part_whatever_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("XPCNN_WORKSPACE", "1600")
    for number in (1, 2, 3, 16, 64):
        monkeypatch.setattr(threads, "count", lambda number=number: number)
        assert budget() == 100
    monkeypatch.setenv("XPCNN_WORKSPACE", "1")
    assert budget() == 1


def test_a_backend_tells_it_where_its_kernels_have_one(monkeypatch):
    monkeypatch.setenv("XPCNN_WORKSPACE", "12345")
    with use_backend("numpy"):
        assert kernels.workspace("numpy") == (workspace_held(), 12345)
    assert kernels.workspace("no such backend") is None
    assert workspace_bytes() == 12345
