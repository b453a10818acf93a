"""Data of callers, divided into parts for workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .._data import Data, check_options
from .._errors import unfit
from .blocks import blocks_of, divided, is_dataset
from .pool import Part, Pool
from .worker import count

#: The library sums over this many images at once, so these sums are equal in parts that are multiples of it.
_UNIT = 64


class Input:
    """Data, a path or a data set of Ray, with their options."""

    def __init__(self, ray: Any, data: Any, options: Mapping[str, Any], function: str) -> None:
        check_options(options, function)
        whole = Data(data, **options)
        self._ray = ray
        self.source = whole.source
        self.options = {name: value for name, value in whole.options.items() if value is not None}
        if "shard" in self.options:
            raise unfit("a shard of data that are divided among workers", remedy="leave out `shard`")
        if is_dataset(self.source):
            if "sample" in self.options:
                raise unfit(
                    "a choice at random from a data set of Ray",
                    remedy="leave out `sample`, and call random_sample or random_shuffle of the data set",
                )
            most = self.options.pop("images", None)
            if most is not None:
                self.source = self.source.limit(most)
        elif isinstance(self.source, (str, os.PathLike)):
            self.source = os.fspath(self.source)
        else:
            raise TypeError(
                f"{function} takes a path that all workers can read, or a ray.data.Dataset, got "
                f"{type(self.source).__name__}: for arrays, ray.data.from_numpy(x)"
            )

    @property
    def is_path(self) -> bool:
        """True for a path, False for a data set of Ray."""
        return isinstance(self.source, str)

    def count(self, pool: Pool) -> int:
        """Returns the number of samples."""
        if not self.is_path:
            return int(self.source.count())
        part = Part(-1, f"the count of {self.source}", count, {"path": self.source, "data": self.options})
        return next(int(found) for _, found, _ in pool.results(iter([part])))

    def parts(self, pool: Pool, size: int, function: Any, options: Mapping[str, Any]) -> Iterator[Part]:
        """Yields parts of at least ``size`` samples but for the last; they do not depend on the number of workers."""
        if size < 1 or size % _UNIT:
            raise unfit(
                "images_per_part does not fit",
                expected=f"a multiple of {_UNIT}",
                got=str(size),
                remedy=f"for example {16 * _UNIT}",
            )
        base = {"options": options, "data": self.options}
        if self.is_path:
            # With so few shards each begins at a multiple of the unit.
            shards = max(1, self.count(pool) // size)
            for at in range(shards):
                data = self.options if shards == 1 else {**self.options, "shard": (at, shards)}
                what = f"part {at + 1} of {shards} of {self.source}"
                yield Part(at, what, function, {**base, "data": data, "path": self.source})
            return
        first = 0
        for at, (rows, refs, cuts) in enumerate(divided(blocks_of(self._ray, self.source), size)):
            yield Part(at, f"rows {first} to {first + rows - 1}", function, {**base, "cuts": cuts}, refs)
            first += rows
        if first == 0:
            raise unfit("the data set has no rows", remedy="check the filter or the limit of the data set")

    def whole(self) -> tuple[dict[str, Any], list[Any]]:
        """Returns a description of all data for a worker, and references to their blocks."""
        if self.is_path:
            return {"path": self.source}, []
        blocks = list(blocks_of(self._ray, self.source))
        if all(start == stop for _, (start, stop) in blocks):
            raise unfit("the data set has no rows", remedy="check the filter or the limit of the data set")
        return {"cuts": [cut for _, cut in blocks]}, [ref for ref, _ in blocks]
