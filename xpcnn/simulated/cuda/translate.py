"""From a kernel's CUDA text to a C++ file. Little changes: include/ defines the words of CUDA for a C++ compiler."""

import re

from xpcnn.errors import KernelError

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')
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

    A kernel runs on fibers if anything in its text waits at a barrier or a shuffle.
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
    fibers = "true" if WAITS.search(body) else "false"
    exports = "\n".join(f"SIMULATED_KERNEL({name}, {fibers})" for name in kernel_names(code))
    return f'{definitions}#include "launch.h"\n#line 1 "kernel.cu"\n{body}\n{exports}\n'


def _shared_variables(found: re.Match[str]) -> str:
    """Write shared variables as references to their places in a block's memory."""
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
    """Return the names of a kernel's parameters."""
    code = COMMENT.sub(" ", code)
    for found in KERNEL.finditer(code):
        if found[1] == kernel:
            parameters = code[found.end() : code.index(")", found.end())]
            return [match[1] for part in parameters.split(",") if (match := re.search(r"(\w+)\s*$", part))]
    return []
