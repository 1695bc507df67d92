"""Arrays out of a pickle that is read and never run.

A pickle is a program for a machine with a stack. Of its instructions this reader knows those that write numbers, text,
bytes, tuples, lists and dictionaries down. REDUCE and BUILD, which call what a pickle names, are compared with what
NumPy writes for an array (`array_patterns`); nothing is called or built.

Source: Lib/pickletools.py of CPython, which describes every instruction.
"""

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any

from xpcnn.interop.book.array_patterns import Begun, Damaged, built, name, reduced, text

MOST_INSTRUCTIONS = 200_000
"""An array takes about 40 of them. Each may cost a Python object, so their number bounds the memory."""

_DIGITS = re.compile(rb"-?(0|[1-9][0-9]{0,18})")
_QUOTED = re.compile(rb"""['"](?:[^\\]|\\(?:[\\'"nrt]|x[0-9a-f]{2}))*['"]""", re.DOTALL)


def read(content: bytes) -> Any:
    """Return what a pickle of arrays holds: dictionaries, lists and tuples of arrays, numbers and text.

    The memory it takes is in proportion to `content`: no length in the file is believed.

    Raises
    ------
    NameRefused
        If it names anything that is no array.
    Damaged
        If it is no whole pickle of arrays.
    """
    return _Reader(content).run()


class _Reader:
    """The stack, the memo, and a place in the file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.frame = content, 0, 0  # a frame's end: nothing reaches across it
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == b".":
                break
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise Damaged(f"byte {self.at - 1} is {code!r}, which no pickle of arrays has")
            instruction(self)
        else:
            raise Damaged(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
        if len(self.stack) != 1 or self.marks:
            raise Damaged("it ends before what it began")
        return _finished(self.stack[0])

    # ---- the file

    def take(self, count: int) -> memoryview:
        rest = len(self.content) - self.at
        if not 0 <= count <= rest:
            raise Damaged(f"byte {self.at} should be followed by {count:,} bytes, and {rest:,} follow")
        if self.at < self.frame < self.at + count:
            raise Damaged(f"byte {self.at} reaches across the end of its frame")
        self.at += count
        return memoryview(self.content)[self.at - count : self.at]

    def number(self, format: str) -> Any:
        return struct.unpack(format, self.take(struct.calcsize(format)))[0]

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.at)
        if end < 0:
            raise Damaged("it ends in the middle of a line")
        return bytes(self.take(end + 1 - self.at)[:-1])

    # ---- the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Damaged(f"byte {self.at - 1} takes from an empty stack")
        return self.stack.pop()

    def last(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise Damaged(f"byte {self.at - 1} looks for a mark, and there is none")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self) -> Any:
        self.push(value := self.pop())
        return value

    def remember(self, place: int) -> None:
        self.memo[place] = self.top()

    def recall(self, place: int) -> None:
        if place not in self.memo:
            raise Damaged(f"byte {self.at - 1} recalls what was not remembered")
        self.push(self.memo[place])

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise Damaged("it appends to what is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise Damaged("it sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            key = key if isinstance(key, int) else text(key)
            if key is None:
                raise Damaged("the key of a dictionary is no text")
            target[key] = value

    def build(self) -> None:
        state = self.pop()
        built(self.top(), state)


def _finished(value: Any) -> Any:
    """Put arrays in the place of what stood for them, alone or in the outermost dictionary."""
    if isinstance(value, dict):
        return {key: _array(item) for key, item in value.items()}
    return _array(value)


def _array(value: Any) -> Any:
    if not isinstance(value, Begun):
        return value
    if value.array is None:
        raise Damaged("it ends in the middle of an array")
    return value.array


def _decoded(data: bytes | memoryview, encoding: str = "utf-8") -> str:
    try:
        return str(data, encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        raise Damaged("it has bytes that are no text") from None


def _quoted(line: bytes) -> bytes:
    """Read 'text' as Python 2 writes it, between quotes."""
    if not _QUOTED.fullmatch(line) or line[:1] != line[-1:]:
        raise Damaged("it has text without its quotes, or with an escape that Python 2 does not write")
    plain: bytes = codecs.escape_decode(line[1:-1])[0]
    return plain


def _integer(line: bytes) -> int:
    if not _DIGITS.fullmatch(line):
        raise Damaged("it has a number that is none")
    return int(line)


def _float(line: bytes) -> float:
    try:
        return float(line)
    except ValueError:
        raise Damaged("it has a number that is none") from None


def _long(data: memoryview) -> int:
    if len(data) > 16:
        raise Damaged(f"it has an integer of {len(data):,} bytes")
    return int.from_bytes(data, "little", signed=True)


def _protocol(reader: _Reader) -> None:
    if reader.at != 1 or reader.number("<B") > 5:
        raise Damaged("it is of a protocol after 5, or says twice of which")


def _frame(reader: _Reader) -> None:
    size = reader.number("<Q")
    if reader.at < reader.frame or size > len(reader.content) - reader.at:
        raise Damaged(f"it is cut short: a frame of {size:,} bytes is not there")
    reader.frame = reader.at + size


def _int(reader: _Reader) -> None:
    line = reader.line()
    reader.push(line == b"01" if line in (b"00", b"01") else _integer(line))


def _dictionary(reader: _Reader) -> None:
    values = reader.since_mark()
    reader.push({})
    reader.set_items(values)


_INSTRUCTIONS: dict[bytes, Callable[[_Reader], None]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": lambda r: r.marks.append(len(r.stack)),
    # numbers
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": _int,
    b"L": lambda r: r.push(_integer(r.line().removesuffix(b"L"))),
    b"J": lambda r: r.push(r.number("<i")),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"\x8a": lambda r: r.push(_long(r.take(r.number("<B")))),
    b"\x8b": lambda r: r.push(_long(r.take(r.number("<i")))),
    b"F": lambda r: r.push(_float(r.line())),
    b"G": lambda r: r.push(r.number(">d")),
    # bytes, and Python 2's text
    b"S": lambda r: r.push(_quoted(r.line())),
    b"T": lambda r: r.push(r.take(r.number("<i"))),
    b"U": lambda r: r.push(r.take(r.number("<B"))),
    b"B": lambda r: r.push(r.take(r.number("<I"))),
    b"C": lambda r: r.push(r.take(r.number("<B"))),
    b"\x8e": lambda r: r.push(r.take(r.number("<Q"))),
    b"\x96": lambda r: r.push(r.take(r.number("<Q"))),
    # text
    b"V": lambda r: r.push(_decoded(r.line(), "raw-unicode-escape")),
    b"X": lambda r: r.push(_decoded(r.take(r.number("<I")))),
    b"\x8c": lambda r: r.push(_decoded(r.take(r.number("<B")))),
    b"\x8d": lambda r: r.push(_decoded(r.take(r.number("<Q")))),
    # containers
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.since_mark())),
    b"\x85": lambda r: r.push(tuple(r.last(1))),
    b"\x86": lambda r: r.push(tuple(r.last(2))),
    b"\x87": lambda r: r.push(tuple(r.last(3))),
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.since_mark()),
    b"a": lambda r: r.append(r.last(1)),
    b"e": lambda r: r.append(r.since_mark()),
    b"}": lambda r: r.push({}),
    b"d": _dictionary,
    b"s": lambda r: r.set_items(r.last(2)),
    b"u": lambda r: r.set_items(r.since_mark()),
    # the memo
    b"p": lambda r: r.remember(_integer(r.line())),
    b"q": lambda r: r.remember(r.number("<B")),
    b"r": lambda r: r.remember(r.number("<I")),
    b"\x94": lambda r: r.remember(len(r.memo)),
    b"g": lambda r: r.recall(_integer(r.line())),
    b"h": lambda r: r.recall(r.number("<B")),
    b"j": lambda r: r.recall(r.number("<I")),
    # names, and what NumPy does with them
    b"c": lambda r: r.push(name(_decoded(r.line()), _decoded(r.line()))),
    b"\x93": lambda r: r.push(name(*r.last(2))),
    b"R": lambda r: r.push(reduced(*r.last(2))),
    b"b": lambda r: r.build(),
}
