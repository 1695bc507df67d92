"""Deleting any one __syncthreads() turns the check of its kernel red."""

import re

import numpy as np
import pytest
from cuda_examples import check, host_module

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import launch, source
from xpcnn.simulated.cuda import every_schedule

BARRIER = re.compile(r"__syncthreads\(\);")

USERS = {
    "conv.cu": {"conv_backward"},
    "softmax_cross_entropy.cu": {"softmax_cross_entropy"},
    "batch_norm.cu": {"batch_statistics", "batch_norm_backward"},
}
"""The files with a barrier, their own or an included one, and the ops whose kernels wait at it."""

PLANTED = [(file, number) for file in USERS for number in range(len(BARRIER.findall(source.text(file))))]


def test_no_other_file_has_a_barrier():
    files = {signature.file for signature in source.signatures().values()}
    assert {file for file in files if BARRIER.search(source.text(file))} == set(USERS)


@pytest.fixture
def without(monkeypatch):
    def delete(file, number):
        text = source.text(file)
        start, end = [found.span() for found in BARRIER.finditer(text)][number]
        planted = text[:start] + text[end:]
        monkeypatch.setattr(launch, "text", lambda name: planted if name == file else source.text(name))

    return delete


@pytest.mark.parametrize(("file", "number"), PLANTED)
def test_a_missing_barrier_shows(compiler, without, file, number):
    check(USERS[file])  # green as it stands
    without(file, number)
    with pytest.raises((KernelError, AssertionError)):
        check(USERS[file])


def one_launch(kernel):
    """Launch one kernel with a barrier, whose work is spread over all eight warps of a block."""
    rng, f = np.random.default_rng(0), np.float32
    x, dy = (rng.standard_normal((4, 2, 200)).astype(f) for _ in range(2))
    pairs = [np.ones(2, f) for _ in range(4)]
    arguments = {
        "row_sum": {"values": x, "sums": pairs[0], "O": 2, "L": 800},
        "mean": {"values": x[0, 0].copy(), "result": np.ones((), f), "M": 200},
        "batch_statistics": {"x": x, "mean": pairs[0], "variance": pairs[1], "N": 4, "C": 2, "P": 200},
        "batch_norm_sums": {
            "dy": dy, "x": x, "mean": pairs[0], "variance": pairs[1], "dweight": pairs[2], "dbias": pairs[3],
            "eps": 1e-3, "N": 4, "C": 2, "P": 200,
        },
    }[kernel]  # fmt: skip
    with every_schedule():
        launch.Device(host_module).launch(kernel, 512, **arguments)


@pytest.mark.parametrize("kernel", ["row_sum", "mean", "batch_statistics", "batch_norm_sums"])
def test_each_kernel_that_waits_is_caught_by_itself(compiler, monkeypatch, kernel):
    one_launch(kernel)
    file = source.signatures()[kernel].file
    monkeypatch.setattr(launch, "text", lambda name: BARRIER.sub("", source.text(file)))
    with pytest.raises(KernelError, match=f"{kernel}: .*(race|no thread wrote)"):
        one_launch(kernel)
