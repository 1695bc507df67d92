"""The progress bar of `fit`: tqdm's, for a notebook or a terminal."""

import warnings
from collections.abc import Iterable
from typing import Any


def bar(batches: Iterable[Any], title: str, shown: bool) -> Iterable[Any]:
    """Return the batches, with a bar that vanishes after the last one."""
    return _tqdm()(batches, title, leave=False, disable=not shown)  # type: ignore[no-any-return]


def write(line: str, shown: bool) -> None:
    """Write a line above the bar."""
    if shown:
        _tqdm().write(line)


def _tqdm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the bar of text
        from tqdm.auto import tqdm
    return tqdm
