"""One call of a model is one pass: what each forward saves for its backward, and for how long.

Every forward of a layer leaves a `Frame` on that layer's stack, and the matching backward takes it off again. So a
layer may be used in several places of a pass: backward takes its frames in reverse order. The next pass forgets what
an unfinished one has left, so memory does not grow.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Literal, TypeAlias

from xpcnn.errors import BackwardError, DtypeError, ShapeError


class Pass:
    """A pass: an identity, and the thread that began it."""

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread = get_ident()


_forward: ContextVar[Pass | None] = ContextVar("xpcnn pass under way", default=None)
_backward: ContextVar[Pass | None] = ContextVar("xpcnn pass that backward is in", default=None)
_saving: ContextVar[bool] = ContextVar("xpcnn saving for backward", default=True)


Direction: TypeAlias = Literal["forward", "backward"]
Observer: TypeAlias = Callable[[Literal["enter", "leave"], Any, Direction, Any], None]
"""Is called with the layer, the direction, and what goes in or comes out."""

_observers: ContextVar[tuple[Observer, ...]] = ContextVar("xpcnn observers of layers", default=())


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Inside the ``with`` block let `observer` see every forward and backward of every layer, in this context."""
    token = _observers.set((*_observers.get(), observer))
    try:
        yield
    finally:
        _observers.reset(token)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside the ``with`` block layers save nothing for backward: for evaluation, in less memory.

    It holds for this thread and this asyncio task alone.
    """
    token = _saving.set(False)
    try:
        yield
    finally:
        _saving.reset(token)


@contextmanager
def one_pass() -> Iterator[None]:
    """Make all calls inside the ``with`` block one pass, so that one model can be called several times before backward.

    Call `backward` once for each call, in reverse order.

    Examples
    --------
    >>> from xpcnn.backend import xp
    >>> from xpcnn.layers import Affine
    >>> branch, left, right = Affine(4, 2), xp.ones((3, 4), "f"), xp.zeros((3, 4), "f")
    >>> with one_pass():
    ...     difference = branch(left) - branch(right)
    >>> for dy in (-difference, difference):  # for the right branch, then for the left one
    ...     dx = branch.backward(dy)
    """
    token = _forward.set(under_way() or Pass())
    try:
        yield
    finally:
        _forward.reset(token)


def under_way() -> Pass | None:
    """Return the pass of this context: that of a forward, or of a backward that calls forward again; None outside."""
    return _forward.get() or _backward.get()


class Frame:
    """What one forward leaves for its backward: saved values, and the shape and dtype of y."""

    __slots__ = ("kind", "saved")
    saved: list[tuple[Any, ...]]
    kind: Any


class Frames:
    """The stack of a layer, the pass that it belongs to, and the threads that are in its forward or backward."""

    __slots__ = ("in_backward", "in_forward", "of", "stack")

    def __init__(self) -> None:
        self.of: Pass | None = None
        self.stack: list[Frame] = []
        self.in_forward: set[int] = set()
        self.in_backward: set[int] = set()

    def push(self, current: Pass) -> Frame | None:
        """Begin a frame in the pass `current`; inside no_grad() forget what this thread has left, and return None."""
        if not _saving.get():
            if self.stack and (self.of is None or self.of.thread == get_ident()):
                self.stack.clear()
            return None
        if self.of is not current:
            self.of, self.stack = current, []
        frame = Frame()
        frame.saved, frame.kind = [], None
        self.stack.append(frame)
        return frame


class FramesOf:
    """The attribute `_frames` of a layer: made when it is first read, and from then on found in the layer itself."""

    def __get__(self, layer: Any, kind: type[Any]) -> Frames:
        frames: Frames = vars(layer).setdefault("_frames", Frames())  # one for all threads
        return frames


def recorded(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's forward: it opens a frame, and notes the shape and dtype of y in it."""

    @functools.wraps(forward)
    def wrapper(self: Any, *inputs: Any, **options: Any) -> Any:
        frames, thread = self._frames, get_ident()
        if thread in frames.in_forward:  # a subclass calls it through super()
            return forward(self, *inputs, **options)
        current = _forward.get() or _backward.get()
        if current is None:
            with one_pass():
                return wrapper(self, *inputs, **options)
        observers = _observers.get()
        frames.in_forward.add(thread)
        try:
            for observer in observers:
                observer("enter", self, "forward", inputs[0] if len(inputs) == 1 else inputs)
            frame = frames.push(current)
            y = forward(self, *inputs, **options)
            for observer in observers:
                observer("leave", self, "forward", y)
            if frame is not None:
                frame.kind = _kind(y)
            return y
        finally:
            frames.in_forward.discard(thread)

    return wrapper


def checked(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's backward: it takes the frame of the matching forward, and dy must have the shape of y.

    A backward that has no argument `need_dx` is called without it.
    """
    arguments = inspect.signature(backward).parameters
    optional = "need_dx" in arguments or any(p.kind is p.VAR_KEYWORD for p in arguments.values())

    @functools.wraps(backward)
    def wrapper(self: Any, dy: Any, need_dx: bool = True) -> Any:
        wanted = (need_dx,) if optional else ()
        frames, thread = self._frames, get_ident()
        if thread in frames.in_backward:  # a subclass calls it through super()
            return backward(self, dy, *wanted)
        if not frames.stack:
            raise BackwardError(missing(self))
        outer, frame, observers = _backward.get(), frames.stack[-1], _observers.get()
        if outer is not None and frames.of is not outer:
            raise BackwardError(
                f"{self}: its last forward() was not part of the call whose backward() is under way; "
                "call the model again before backward(), or put all calls into: with one_pass()"
            )
        _check(dy, frame.kind, self)
        for observer in observers:
            observer("enter", self, "backward", dy)
        token = _backward.set(frames.of) if outer is None else None
        frames.in_backward.add(thread)
        try:
            dx = backward(self, dy, *wanted)
        finally:
            frames.in_backward.discard(thread)
            if token is not None:
                _backward.reset(token)
        if frames.stack and frames.stack[-1] is frame:
            frames.stack.pop()
        for observer in observers:
            observer("leave", self, "backward", dx)
        return dx

    return wrapper


def missing(who: object) -> str:
    """Say that backward() has no forward() to belong to."""
    return (
        f"{who}: backward() called without a matching forward(); call the layer on x first, once for each backward(), "
        "outside of no_grad()"
    )


def _kind(y: Any) -> Any:
    """Return (shape, dtype) of an array, a list of these for several, None for anything else."""
    shape, dtype = getattr(y, "shape", None), getattr(y, "dtype", None)
    if shape is not None and dtype is not None:
        return shape, dtype
    return [_kind(array) for array in y] if isinstance(y, (list, tuple)) else None


def _check(dy: Any, kind: Any, who: object) -> None:
    """Raise unless dy has the shape and the dtype of y: with another one the gradient would be wrong."""
    if kind is None:
        return
    if type(kind) is list:
        count = len(dy) if isinstance(dy, (list, tuple)) else 1
        if not isinstance(dy, (list, tuple)) or count != len(kind):
            raise ShapeError(
                f"{who}: expected {len(kind)} gradients, one for each output, got {count}; pass a list of them"
            )
        for each, of_each in zip(dy, kind, strict=True):
            _check(each, of_each, who)
        return
    shape, dtype = kind
    if getattr(dy, "shape", None) != shape:
        raise ShapeError(
            f"{who}: expected dy of {shape}, the shape of y, got {getattr(dy, 'shape', type(dy).__name__)}; "
            "pass the gradient of the loss with respect to this output"
        )
    if dy.dtype != dtype:
        raise DtypeError(
            f"{who}: expected dy of {dtype}, the dtype of y, got {dy.dtype}; pass dy.astype({str(dtype)!r})"
        )
