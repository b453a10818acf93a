"""Data sets of Ray, divided into parts of the same number of rows in the order of the rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._items import Item, Reader

#: Rows of a block, from the first to the one after the last.
Cut = tuple[int, int]


def is_dataset(data: Any) -> bool:
    """Returns whether data are a data set of Ray."""
    return hasattr(data, "iter_internal_ref_bundles")


def blocks_of(ray: Any, dataset: Any) -> Iterator[tuple[Any, Cut]]:
    """Yields references to the blocks of a data set in order, each with its range of rows, as they are computed."""
    options = dataset.context.execution_options
    before = options.preserve_order
    options.preserve_order = True
    try:
        for bundle in dataset.iter_internal_ref_bundles():
            blocks = list(zip(bundle.block_refs, bundle.metadata))
            cuts = getattr(bundle, "slices", None) or [None] * len(blocks)
            for (ref, metadata), cut in zip(blocks, cuts):
                if cut is not None:
                    yield ref, (cut.start_offset, cut.end_offset)
                    continue
                rows = metadata.num_rows
                yield ref, (0, ray.get(ray.remote(_rows).remote(ref)) if rows is None else rows)
    finally:
        options.preserve_order = before


def divided(blocks: Iterator[tuple[Any, Cut]], size: int) -> Iterator[tuple[int, list[Any], list[Cut]]]:
    """Yields parts of so many rows: the number of rows, references to blocks, and the ranges of their rows.

    The parts depend on the rows alone, not on the blocks that hold them.
    """
    refs: list[Any] = []
    cuts: list[Cut] = []
    count = 0
    for ref, (start, stop) in blocks:
        while start < stop:
            end = min(stop, start + size - count)
            refs.append(ref)
            cuts.append((start, end))
            count += end - start
            start = end
            if count == size:
                yield count, refs, cuts
                refs, cuts, count = [], [], 0
    if count:
        yield count, refs, cuts


def samples(cuts: Sequence[Cut], blocks: Sequence[Any], inputs: list[Item], transform: Callable[[Any], Any] | None) -> Any:
    """Returns rows of blocks as arrays by column; as a list of rows if arrays differ in shape, or for a function."""
    tables = [_columns(block, start, stop) for block, (start, stop) in zip(blocks, cuts)]
    if transform is None:
        whole = _joined(tables)
        # Rows and whole columns are named alike, so missing columns are found here.
        x, _ = Reader.split_mapping(whole, inputs)
        if all(array is not None and array.dtype != object for array in x.values()):
            return whole
    return [
        {name: column[row] for name, column in table.items()}
        for table in tables
        for row in range(len(next(iter(table.values()), ())))
    ]


def _joined(tables: Sequence[dict[str, npt.NDArray[Any]]]) -> dict[str, Any]:
    """Returns the columns of several tables as one; None for a column of several shapes or types."""

    def join(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
        alike = {(array.shape[1:], array.dtype) for array in arrays}
        return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays)) if len(alike) == 1 else None

    return {name: join([table[name] for table in tables]) for name in tables[0]}


def _accessor(block: Any) -> Any:
    accessors: Any = importlib.import_module("ray.data.block").BlockAccessor
    return accessors.for_block(block)


def _columns(block: Any, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
    columns: dict[str, npt.NDArray[Any]] = _accessor(_accessor(block).slice(start, stop)).to_numpy()
    return columns


def _rows(block: Any) -> int:
    return int(_accessor(block).num_rows())
