"""Batches that a thread prepares while the device works on those before, with the same bits as without it."""

from __future__ import annotations

import contextvars
import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from xpcnn.data.batches import Batches
from xpcnn.data.transformation import twin
from xpcnn.errors import DtypeError
from xpcnn.errors.checks import whole


class BatchLoader:
    """The batches of `feed`, of which a thread prepares up to `ahead` before they are asked for.

    ``train(..., progress=BatchLoader)`` is enough. The batches are the same to the bit, and so is the generator's state
    after each of them, so a checkpoint within an epoch stays right: the thread draws from a twin of the generator. If
    somebody else draws from the generator in between, what was prepared is dropped and prepared again.

    A transform runs in the thread, so it must draw from the generator that it is given and keep no state of its own.

    Parameters
    ----------
    feed : Batches
        From `batches`.
    ahead : int
        Batches in memory beside the one in use.

    Raises
    ------
    DtypeError
        For anything but `Batches`.
    ShapeError
        If `ahead` is not a whole number of at least 1.
    """

    def __init__(self, feed: Batches, ahead: int = 2) -> None:
        if not isinstance(feed, Batches):
            raise DtypeError(
                f"BatchLoader: expected batches, got {feed!r:.60}; pass batches(images, labels, 100)"
            )
        self.feed, self.ahead = feed, whole(ahead, "ahead", "BatchLoader")

    def __len__(self) -> int:
        return len(self.feed)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order, rng, context = self.feed.shuffled(), self.feed.rng, contextvars.copy_context()
        pool = ThreadPoolExecutor(1, thread_name_prefix="xpcnn-batches")
        waiting: deque[Future[Any]] = deque()
        own, begun, expected = twin(rng), 0, _state(rng)

        def prepare(number: int, generator: Any) -> tuple[Any, Any]:
            batch = self.feed.batch(order, number, generator)
            return batch, generator and generator.bit_generator.state

        try:
            for number in range(len(self)):
                if _state(rng) != expected:  # somebody drew from it
                    for stale in waiting:
                        stale.cancel()
                    waiting.clear()
                    own, begun = twin(rng), number
                while begun < min(number + 1 + self.ahead, len(self)):
                    waiting.append(pool.submit(context.run, prepare, begun, own))
                    begun += 1
                batch, state = waiting.popleft().result()
                if rng is not None:
                    rng.bit_generator.state = state
                    expected = _state(rng)
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _state(rng: Any) -> str:
    """Return the generator's state as text, which can be compared where a state holds arrays."""
    return "" if rng is None else json.dumps(rng.bit_generator.state, default=lambda array: array.tolist())
