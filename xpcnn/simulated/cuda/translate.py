"""From a kernel's CUDA text to a C++ file: nearly nothing changes, for include/ teaches C++ the words of CUDA."""

import re

from xpcnn.errors import KernelError

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')
LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\s*\([^)]*\)")
FUNCTION = re.compile(r"\b(?!if\b|for\b|while\b|switch\b)(\w+)\s*\([^;{}]*\)\s*\{")
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+([\w ()]+?)\s+(\w+)\s*\[\s*\]\s*;")
SHARED = re.compile(r"(?:static\s+)?((?:volatile\s+)?)__shared__\s+([^;=]+);")
DECLARATOR = re.compile(r"(.*?)(\w+)((?:\s*\[[^\]]*\])*)\s*", re.DOTALL)
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
    extern "C" __global__ void f(float* x) { typedef float simulated_s; simulated_s* s =
    (simulated_s*)simulated::dynamic_shared(sizeof(simulated_s), "s"); }
    """
    definitions = "".join(f"#define {name} {value}\n" for name, value in macros.items())
    body = COMMENT.sub(lambda found: "\n" * found[0].count("\n") or " ", code)
    for found in re.finditer("__shared__", body):
        if body.count("{", 0, found.start()) == body.count("}", 0, found.start()):
            raise KernelError(
                "a __shared__ variable outside all functions; declare it in the kernel that uses it"
            )
    body = DYNAMIC_SHARED.sub(
        r"typedef \1 simulated_\2; simulated_\2* \2 = (simulated_\2*)"
        r'simulated::dynamic_shared(sizeof(simulated_\2), "\2");',
        body,
    )
    body = SHARED.sub(_shared_variables, body)
    waiting = functions_that_wait(code)
    exports = "\n".join(
        f"SIMULATED_KERNEL({name}, {str(name in waiting).lower()})" for name in kernel_names(code)
    )
    return f'{definitions}#include "launch.h"\n#line 1 "kernel.cu"\n{body}\n{exports}\n'


def _shared_variables(found: re.Match[str]) -> str:
    """Write shared variables as references to their places in a block's memory.

    >>> print(_shared_variables(SHARED.match("__shared__ float s[4][9];")))
    typedef float simulated_s[4][9]; simulated_s& s =
    simulated::shared<simulated_s, struct simulated_tag_s>("s", alignof(simulated_s));
    """
    written = []
    kind = found[1]
    for number, declared in enumerate(re.split(r",(?![^\[(<]*[\])>])", found[2])):
        match = DECLARATOR.fullmatch(declared)
        if match is None:
            return found[0]  # which does not compile
        kind += "" if number else match[1].strip()
        name, lengths = match[2], match[3]
        written.append(
            f"typedef {kind} simulated_{name}{lengths}; simulated_{name}& {name} = "
            f'simulated::shared<simulated_{name}, struct simulated_tag_{name}>("{name}", alignof(simulated_{name}));'
        )
    return " ".join(written)


def parameter_names(code: str, kernel: str) -> list[str]:
    """Return the names of a kernel's parameters.

    >>> parameter_names('extern "C" __global__ void f(float* x, const int n) {}', "f")
    ['x', 'n']
    """
    code = COMMENT.sub(" ", code)
    for found in KERNEL.finditer(code):
        if found[1] == kernel:
            parameters = code[found.end() : code.index(")", found.end())]
            return [match[1] for part in parameters.split(",") if (match := re.search(r"(\w+)\s*$", part))]
    return []


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
