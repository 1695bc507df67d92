"""A graph taken apart into Sequential, Residual, Sum, Parallel and Product.

Whatever parts at one value must join again at an Add, a Concat or a Mul. Read from its output backwards, the graph
takes itself apart: between two values through which every path comes stands a chain of layers, and at a join one
chain for each branch.
"""

from collections.abc import Sequence

from xpcnn.interop.onnx._graph import JOINS, Graph
from xpcnn.interop.onnx._node import Node
from xpcnn.interop.onnx._reshape import tidy
from xpcnn.layers import Identity, Layer, Parallel, Product, Residual, Sequential, Sum

SUMS = ("Add", "Sum")


class Branches:
    """Knows of every value the last one before it that all paths to it come through: its gate."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.order, self.gate = {graph.start: 0}, {graph.start: graph.start}
        self.used: set[str] = set()
        self.concats: dict[tuple[str, ...], str] = {}
        for output, node in self.nodes.items():
            self.order[output] = len(self.order)
            self._share_prefix(node)
            self.gate[output] = self.common(node.sources)

    def model(self) -> Sequential:
        """The whole graph."""
        layers = self.chain(self.graph.start, self.graph.end)
        for output, node in self.nodes.items():
            if output not in self.used:
                raise node.refusal("nothing leads from it to the output")
        return Sequential(*layers)

    def common(self, values: Sequence[str]) -> str:
        """The last value that every path from the start to these comes through."""
        first, *others = values
        for other in others:
            while first != other:
                if self.order[first] < self.order[other]:
                    other = self.gate[other]
                else:
                    first = self.gate[first]
        return first

    def chain(self, start: str, end: str) -> list[Layer]:
        """The layers that lead from one value to another, read backwards."""
        layers: list[Layer] = []
        while end != start:
            node = self._take(end)
            if is_join(node):
                end = self.gate[end]
                layers.append(self._join(node, end))
            else:
                layers += reversed(node.layers)
                (end,) = node.sources
        return tidy(layers[::-1])

    def _take(self, output: str) -> Node:
        node = self.nodes[output]
        if output in self.used:
            raise node.refusal("paths part at it that do not join as Residual, Parallel and Product do")
        self.used.add(output)
        return node

    def _join(self, node: Node, gate: str) -> Layer:
        if node.operator in SUMS:
            return self._sum(node, gate, self._addends(node))
        branches = [_one(self.chain(gate, source)) for source in node.sources]
        if node.operator == "Concat":
            return Parallel(*branches)
        shapes = [self.graph.shapes[source] for source in node.sources]
        body = (
            1
            if len(shapes[0]) == len(shapes[1])
            and shapes[0][1:] != shapes[1][1:]
            and set(shapes[0][1:]) == {1}
            else 0
        )
        return Product(branches[1 - body], branches[body])

    # ---- sums: in which order they are taken is free, so it is chosen so that branches join --------------

    def _addends(self, node: Node) -> list[str]:
        """What a sum adds up, with that of the sums that nobody else reads."""
        addends: list[str] = []
        for source in node.sources:
            inner = self.nodes.get(source)
            if inner is not None and inner.operator in SUMS and is_join(inner) and inner.readers == 1:
                self._take(source)
                addends += self._addends(inner)
            else:
                addends.append(source)
        return addends

    def _sum(self, node: Node, gate: str, addends: list[str]) -> Layer:
        """Branches from the gate to each addend; those that share a part of their way are one branch, a sum itself."""
        branches: list[list[Layer]] = []
        for group in self._groups(gate, addends):
            if len(group) == 1:
                branches.append(self.chain(gate, group[0]))
                continue
            inner = self.common(group)
            if inner == gate:
                raise node.refusal("paths part before it that do not join as Residual and Parallel do")
            branches.append([*self.chain(gate, inner), self._sum(node, inner, group)])
        if len(branches) == 1:
            return _one(branches[0])
        branches.sort(key=lambda layers: not layers)  # the identity last: it is the shortcut
        return (Residual if len(branches) == 2 else Sum)(*(_one(layers) for layers in branches))

    def _groups(self, gate: str, addends: list[str]) -> list[list[str]]:
        groups: list[tuple[set[str], list[str]]] = []
        for addend in addends:
            way, group = self._between(gate, addend), [addend]
            for other in [other for other in groups if way and other[0] & way]:
                groups.remove(other)
                way, group = way | other[0], other[1] + group
            groups.append((way, group))
        return [group for _, group in groups]

    def _between(self, gate: str, value: str) -> set[str]:
        """The values on all paths from the gate to a value, the gate left out."""
        found: set[str] = set()
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if value != gate and value not in found:
                found.add(value)
                waiting += self.nodes[value].sources
        return found

    def _share_prefix(self, node: Node) -> None:
        """Read [a, b, c] as [[a, b], c] where [a, b] was joined before: so a dense block joins all that came before."""
        if node.operator == "Concat":
            whole = tuple(node.sources)
            for length in range(len(whole) - 1, 1, -1):
                if (shorter := self.concats.get(whole[:length])) is not None:
                    node.sources = [shorter, *whole[length:]]
                    break
            self.concats[whole] = node.output


def is_join(node: Node) -> bool:
    return node.operator in JOINS and len(node.sources) > 1


def _one(layers: list[Layer]) -> Layer:
    return layers[0] if len(layers) == 1 else Sequential(*layers) if layers else Identity()
