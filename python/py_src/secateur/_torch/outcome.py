"""The outcome of `apply`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Applied:
    """The proof of a module that was cut.

    Attributes:
        max_abs_err: the largest difference of two outputs.
        max_rel_err: the largest difference, as a share of the output's largest magnitude.
        outputs: the number of outputs compared.
        changed: names of the tensors with a new shape, with the old and the new one.
        biases: module paths that now have a bias.
        warnings: what remains different though the outputs are equal.
    """

    max_abs_err: float
    max_rel_err: float
    outputs: int
    changed: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    biases: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
