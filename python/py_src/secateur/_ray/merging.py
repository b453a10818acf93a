"""Ordered merging of results that arrive in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class OrderedMerge:
    """A merge of neighbours: parts 0 and 1, parts 2 and 3, then these two …

    Which parts are merged depends on their number alone, not on the order in which they arrive, so rounding does not either.
    """

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self._merge = merge
        #: Merged parts by level and place: 2^level parts from place · 2^level on.
        self._open: dict[tuple[int, int], Any] = {}

    def add(self, index: int, one: Any) -> None:
        """Adds a part by its place, from 0."""
        level = 0
        while (neighbour := self._open.pop((level, index ^ 1), None)) is not None:
            one = self._merge(one, neighbour) if index % 2 == 0 else self._merge(neighbour, one)
            level, index = level + 1, index // 2
        self._open[level, index] = one

    def finish(self) -> Any:
        """Returns all parts merged; None without parts."""
        left = None
        for level, index in sorted(self._open, key=lambda place: place[1] << place[0]):
            one = self._open[level, index]
            left = one if left is None else self._merge(left, one)
        return left
