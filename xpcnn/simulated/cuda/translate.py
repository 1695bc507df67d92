"""From a kernel's CUDA text to a C++ file: nearly nothing changes, for include/ teaches C++ the words of CUDA."""

import re

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')
LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\s*\([^)]*\)")
FUNCTION = re.compile(r"\b(?!if\b|for\b|while\b|switch\b)(\w+)\s*\([^;{}]*\)\s*\{")
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
WAITS = re.compile(r"__sync|__shfl")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def kernel_names(code: str) -> list[str]:
    """Return the names of the kernels that a text defines."""
    return KERNEL.findall(COMMENT.sub("", code))


def to_cpp(code: str, macros: dict[str, str]) -> str:
    """Return the C++ text of a library with two functions a kernel, ``simulated_run_*`` and ``simulated_types_*``.

    >>> print(
    ...     to_cpp(
    ...         'extern "C" __global__ void f(float* x) { extern __shared__ float s[]; }', {}
    ...     ).splitlines()[2]
    ... )
    extern "C" __global__ void f(float* x) { float* s = (float*)simulated::dynamic_shared(); }
    """
    definitions = "".join(f"#define {name} {value}\n" for name, value in macros.items())
    body = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)simulated::dynamic_shared();", code)
    waiting = functions_that_wait(code)
    exports = "\n".join(
        f"SIMULATED_KERNEL({name}, {str(name in waiting).lower()})" for name in kernel_names(code)
    )
    return f'{definitions}#include "launch.h"\n#line 1 "kernel.cu"\n{body}\n{exports}\n'


def functions_that_wait(code: str) -> set[str]:
    """Return the functions that reach a barrier or a shuffle, themselves or by what they call: they need fibers."""
    code = LAUNCH_BOUNDS.sub("", COMMENT.sub("", code))
    bodies = {found[1]: _body(code, found.end()) for found in FUNCTION.finditer(code)}
    waiting = {name for name, body in bodies.items() if WAITS.search(body)}
    while True:
        more = {
            name
            for name, body in bodies.items()
            if name not in waiting and waiting.intersection(re.findall(r"\w+", body))
        }
        if not more:
            return waiting
        waiting |= more


def _body(code: str, start: int) -> str:
    depth = 1
    for end in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[end], 0)
        if depth == 0:
            return code[start:end]
    return code[start:]
