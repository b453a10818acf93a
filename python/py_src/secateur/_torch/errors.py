"""Errors of `secateur.torch`."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _errors


class ModuleError(_errors.Error, RuntimeError):
    """A module and an ONNX file that do not fit together.

    Attributes:
        problem: the failed operation, in one sentence.
        details: what is wrong, one line for each place: node, initializer, module path, reason.
        remedy: an imperative.
    """

    def __init__(self, problem: str, details: Sequence[str] = (), remedy: str = "") -> None:
        self.problem = problem
        self.details = tuple(details)
        self.remedy = remedy
        lines = [problem, *(f"  {line}" for line in self.details[:SHOWN])]
        if len(self.details) > SHOWN:
            lines.append(f"  and {len(self.details) - SHOWN} more")
        if remedy:
            lines.append(f"  remedy: {remedy}")
        super().__init__("\n".join(lines))


class MappingError(ModuleError):
    """Constants of the ONNX file that no tensor of the module corresponds to."""


class ProofError(ModuleError, _errors.ProofError):
    """A module whose outputs differ from those of the pruned ONNX file."""


# Details in the text of an error; all of them are in `details`.
SHOWN = 12
