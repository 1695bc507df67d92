"""The innermost loops of convolution: a tile of results stays in the vector registers during the whole sum.

                 vector 0   vector 1   vector 2           P = 4 filters, V = 3 vectors of numbers q of an output row
    filter 0        +          +          +
    filter 1        +          +          +               y: for each tap k, V vectors of x are loaded; for each filter
    filter 2        +          +          +               its weight is broadcast and multiply-added to V sums
    filter 3        +          +          +
                                                          dW: columns are taps; for each vector of q, V vectors of x and
    a + is a register of sums, one for each lane          P of dy are loaded, and in the end the lanes are added up

Numba has no vectors, so these functions write LLVM's instructions. The caller gives the size of a tile, P by V, as the
lengths of two tuples, `unroll_p` and `unroll_v`: lengths are part of a tuple's type, so that the loops over p and v are
unrolled here, and the machine code has one loop, over k or q.

References
----------
Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008, for tiles in
registers. Dukhan, "The Indirect Convolution Algorithm", arXiv:1907.02129, for offsets in place of im2col.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

Value = Any
"""A value of LLVM's: a number, a pointer or a vector in the machine code."""

machine_code: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic
"""Numba's decorator, with types: the decorated function returns a signature, and the function that writes the code."""


def _registers() -> tuple[int, int]:
    """Return the bytes of this processor's vector registers, and how many there are."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


REGISTER_BYTES, REGISTERS = _registers()

VECTORS = {1: 8, 2: 5, 4: 3, 6: 2} if REGISTERS == 16 else {1: 15, 2: 10, 4: 6, 6: 4}
"""V for each P: the P*V sums, V vectors of x and a weight fill the registers, or all but a few."""


@machine_code
def sum_of_taps(
    typing: Any, unroll_p: Any, unroll_v: Any, x: Any, at: Any, taps: Any, k: Any, count: Any, weight: Any, first: Any,
    bias: Any, o: Any, add: Any, y: Any, to: Any, line: Any,
) -> Any:  # fmt: skip
    """y[p, q] = bias[p] + sum over `count` k of weight[k, p] x[taps[k] + q], for P filters and V vectors of q.

    All arrays are flat: x begins at `at`, the taps at `k`, weight (K,P) at `first`, bias (P,) at `o`, and y at `to`;
    filter p of y begins p * `line` later. With `add`, the sum begins with y[p, q] in place of bias[p].
    """
    P, V, i = unroll_p.count, unroll_v.count, types.intp
    signature = types.void(unroll_p, unroll_v, x, i, taps, i, i, weight, i, bias, i, types.boolean, y, i, i)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        code = Code(context, builder, signature, arguments, x.dtype)
        _, _, pixels, at, offsets, k, count, factors, first, biases, o, add, results, to, line = code.values
        rows = [code.gep(results, builder.add(to, builder.mul(line, code.integer(p)))) for p in range(P)]
        biases, sums = code.gep(biases, o), code.variables(P, V)
        with builder.if_else(add) as (go_on, begin):
            with go_on:
                code.set(sums, [[code.load_vector(row, v) for v in range(V)] for row in rows])
            with begin:
                code.set(sums, [[code.spread(code.load(biases, p))] * V for p in range(P)])
        pixels, offsets, factors = code.gep(pixels, at), code.gep(offsets, k), code.gep(factors, first)
        with cgutils.for_range(builder, count) as loop:
            source = code.gep(pixels, code.load(offsets, loop.index))
            vectors = [code.load_vector(source, v) for v in range(V)]
            column = code.gep(factors, builder.mul(loop.index, code.integer(P)))
            for p in range(P):
                factor = code.spread(code.load(column, p))
                for v in range(V):
                    code.multiply_add(sums[p][v], factor, vectors[v])
        for row, variables in zip(rows, sums, strict=True):
            for v, variable in enumerate(variables):
                code.store_vector(builder.load(variable), row, v)
        return context.get_dummy_value()

    return signature, write


@machine_code
def add_products(
    typing: Any, unroll_p: Any, unroll_v: Any, dy: Any, d_at: Any, rows: Any, o: Any, x: Any, at: Any, taps: Any,
    k: Any, count: Any, dweight: Any, to: Any, line: Any,
) -> Any:  # fmt: skip
    """dweight[p, v] += sum over q of dy[rows[p] + q] x[taps[v] + q], for P filters, V taps and `count` vectors of q.

    All arrays are flat: dy begins at `d_at`, rows at `o`, x at `at`, taps at `k`, and dweight at `to`; filter p of
    dweight begins p * `line` later.
    """
    P, V, i = unroll_p.count, unroll_v.count, types.intp
    signature = types.void(unroll_p, unroll_v, dy, i, rows, i, x, i, taps, i, i, dweight, i, i)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        code = Code(context, builder, signature, arguments, x.dtype)
        _, _, d, d_at, lines, o, pixels, at, offsets, k, count, results, to, line = code.values
        sums = code.variables(P, V)
        code.set(sums, [[ir.Constant(code.vector, None)] * V] * P)  # zeros
        d, lines, pixels, offsets = (
            code.gep(array, begin) for array, begin in ((d, d_at), (lines, o), (pixels, at), (offsets, k))
        )
        gradients = [code.gep(d, code.load(lines, p)) for p in range(P)]
        sources = [code.gep(pixels, code.load(offsets, v)) for v in range(V)]
        with cgutils.for_range(builder, count) as loop:
            q = builder.mul(loop.index, code.integer(code.lanes))
            vectors = [code.load_vector(code.gep(source, q), 0) for source in sources]
            for p in range(P):
                factor = code.load_vector(code.gep(gradients[p], q), 0)
                for v in range(V):
                    code.multiply_add(sums[p][v], factor, vectors[v])
        for p in range(P):
            row = code.gep(results, builder.add(to, builder.mul(line, code.integer(p))))
            for v in range(V):
                place = code.gep(row, code.integer(v))
                builder.store(builder.fadd(builder.load(place), code.sum(builder.load(sums[p][v]))), place)
        return context.get_dummy_value()

    return signature, write


class Code:
    """Writes LLVM's instructions for the two tiles: pointers into arrays, vectors that fill a register."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, dtype: Any) -> None:
        self.builder = builder
        self.values = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        real = context.get_value_type(dtype)
        self.bytes = context.get_abi_sizeof(real)
        self.lanes = REGISTER_BYTES // self.bytes
        self.vector = ir.VectorType(real, self.lanes)

    def integer(self, number: int) -> Value:
        return ir.Constant(ir.IntType(64), number)

    def gep(self, pointer: Value, index: Value) -> Value:
        return self.builder.gep(pointer, [index])

    def load(self, pointer: Value, index: Value) -> Value:
        return self.builder.load(self.gep(pointer, self.integer(index) if isinstance(index, int) else index))

    def load_vector(self, pointer: Value, v: int) -> Value:
        return self.builder.load(self._vectors(pointer, v), align=self.bytes)

    def store_vector(self, value: Value, pointer: Value, v: int) -> None:
        self.builder.store(value, self._vectors(pointer, v), align=self.bytes)

    def _vectors(self, pointer: Value, v: int) -> Value:
        return self.builder.bitcast(self.gep(pointer, self.integer(v * self.lanes)), self.vector.as_pointer())

    def spread(self, number: Value) -> Value:
        """Return a vector with one number in every lane."""
        zero = ir.Constant(ir.IntType(32), 0)
        return self._pick(
            self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, zero),
            [0] * self.lanes,
        )

    def sum(self, value: Value) -> Value:
        """Add up the lanes of a vector: one half to the other until a single lane is left."""
        half = self.lanes // 2
        while half:
            halves = (self._pick(value, list(range(at, at + half))) for at in (0, half))
            value, half = self.builder.fadd(*halves), half // 2
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    def _pick(self, value: Value, lanes: list[int]) -> Value:
        chosen = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), chosen)

    def variables(self, P: int, V: int) -> list[list[Value]]:
        """Return P x V vectors, which LLVM keeps in registers."""
        return [[self._variable() for _ in range(V)] for _ in range(P)]

    def _variable(self) -> Value:
        return cgutils.alloca_once(self.builder, self.vector)  # type: ignore[no-untyped-call, unused-ignore]

    def set(self, variables: list[list[Value]], values: list[list[Value]]) -> None:
        for row, of_row in zip(variables, values, strict=True):
            for variable, value in zip(row, of_row, strict=True):
                self.builder.store(value, variable)

    def multiply_add(self, variable: Value, a: Value, b: Value) -> None:
        """Add a b to a variable, in one instruction where the processor has it."""
        product = self.builder.fmul(a, b, flags=("contract",))
        self.builder.store(
            self.builder.fadd(self.builder.load(variable), product, flags=("contract",)), variable
        )
