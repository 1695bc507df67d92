"""The ops are tested twice: with the backend's substitutes, and as the textbook has them."""

import dataclasses

import pytest

from xpcnn.backend import active_backend


@pytest.fixture(autouse=True, params=["tuned", "reference"])
def _kernels(request, monkeypatch):
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend")  # it chooses first
    if request.param == "reference":
        monkeypatch.setattr("xpcnn.backend._active", dataclasses.replace(active_backend(), kernels={}))
