"""The modules that need Numba are not searched for examples where it is not installed."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("numba") else ["xpcnn/kernels/numba/*"]
