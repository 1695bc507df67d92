"""Substitutes for the CPU: `plain` in NumPy, `compiled` by Numba; memory order, threads and workspace are shared."""
