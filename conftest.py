"""The environment that every test starts from, the same on every machine; and the options of this suite.

Variables that change results are removed before NumPy is imported, here and for the processes that tests start: whether
a test passes must not depend on the shell that it was started from. BLAS has one thread, and the kernels have as many
as `--kernel-threads` says, whatever the number of cores.
"""

import importlib.util
import os

import pytest

# ---------------------------------------------------------------- the environment

FAMILIES = ("XPCNN_", "OMP_", "OPENBLAS_", "GOTO_", "MKL_", "BLIS_", "VECLIB_", "NUMBA_", "NPY_")
KEPT = {
    "XPCNN_GPU_TESTS",  # which tests: tests/gpu/conftest.py
    "XPCNN_GPU_POOL",
    "XPCNN_SIMULATED_CACHE",  # where compiled code is kept
    "NUMBA_CACHE_DIR",
    "OPENBLAS_CORETYPE",  # without these some builds crash on some machines
    "OPENBLAS_L2_SIZE",
}
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

for name in [name for name in os.environ if name.startswith(FAMILIES) and name not in KEPT]:
    del os.environ[name]
os.environ |= dict.fromkeys(BLAS_THREADS, "1")

# ---------------------------------------------------------------- options


def pytest_addoption(parser):
    group = parser.getgroup("xpcnn")
    group.addoption(
        "--kernel-threads", type=int, default=2, metavar="N",
        help="threads of the kernels, in this process and in those that tests start (default 2)",
    )  # fmt: skip
    group.addoption("--nothing-skipped", action="store_true", help="a test that is skipped has failed")


def pytest_configure(config):
    os.environ["XPCNN_THREADS"] = str(config.getoption("--kernel-threads"))


def pytest_report_header(config):
    return f"kernels: {config.getoption('--kernel-threads')} threads"


def pytest_collection_modifyitems(items):
    """Refuse a test whose name has an address in it: several processes could not agree on the tests to share."""
    if named := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give these parameters an id of their own: {', '.join(named[:3])}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    _refuse_to_skip(item.config, outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    _refuse_to_skip(collector.config, outcome.get_result())


def _refuse_to_skip(config, report):
    if config.getoption("--nothing-skipped") and report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr
        report.outcome, report.longrepr = "failed", f"{reason}; nothing may be skipped with --nothing-skipped"


# The modules that need Numba are not searched for examples where it is not installed.
collect_ignore_glob = [] if importlib.util.find_spec("numba") else ["xpcnn/kernels/cpu/compiled/*"]
