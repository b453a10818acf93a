"""Exceptions, each also one of Python's own kinds where a caller would catch that."""

from __future__ import annotations

import os
import re
from typing import Any

from ._results import Attempt, FloatTrial

#: Functions of the library that the package calls otherwise.
_FUNCTIONS = {"eval": "evaluate", "inspect": "Network.summary", "run": "Network.run"}
#: What only the command can do, as the library calls it.
_COMMANDS = {
    "check()": "check",
    "eval()` and `try_presets": "eval --try-presets",
    "eval()` with `try_presets": "eval --try-presets",
    "plan()` with `help_criteria": "plan --help-criteria",
}


class Error(Exception):
    """An operation that failed.

    The text is a sentence, followed by lines that name the file, the node, what was expected, what came instead, and a
    remedy, as far as these are known.
    """

    #: The file concerned, if there is one.
    file: str | None = None
    #: The node of the network concerned, if there is one.
    node: str | None = None
    #: What can be done about it, if that is known.
    remedy: str | None = None

    def __str__(self) -> str:
        # OSError would show its number and file instead.
        return str(self.args[0]) if self.args else ""


class InputError(Error, ValueError):
    """An argument, data set, profile or cut that does not fit."""


class ModelError(Error, ValueError):
    """A model that violates the ONNX standard."""


class UnsupportedError(Error, NotImplementedError):
    """A valid model that uses an operator or shape that the engine does not support."""


class BudgetError(Error, ValueError):
    """A budget that cannot be met within the limits."""


class ProofError(Error, ArithmeticError):
    """A pruned network whose outputs differ from those of the masked original. Nothing is written then."""


class DeviceError(Error, RuntimeError):
    """A GPU, driver or adapter that fails or is missing."""


class OutOfMemoryError(Error, MemoryError):
    """Memory of the device or the host that does not suffice."""


class FileError(Error, OSError):
    """A file that cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """A file that does not exist."""


class Interrupted(Error):
    """An operation that the ``progress`` callback ended by returning False."""


class InternalError(Error, RuntimeError):
    """A fault of this package: please report it."""


class Refused(Error):
    """A result that the options refuse, such as a ``max_drop`` that no network meets, or a network that has collapsed.

    This is an honest no, not a failure: ``attempts`` has the networks that were evaluated.
    """

    #: The networks that were evaluated, the smallest first.
    attempts: list[Attempt] = []
    #: The quantized networks that were evaluated, those with the fewest nodes in float first.
    tried: list[FloatTrial] = []


_KINDS: dict[str, type[Error]] = {
    "input": InputError,
    "model": ModelError,
    "unsupported": UnsupportedError,
    "budget": BudgetError,
    "proof": ProofError,
    "device": DeviceError,
    "memory": OutOfMemoryError,
    "file": FileError,
    "interrupted": Interrupted,
}


def spoken(text: str) -> str:
    """Returns a sentence of the library with this package's functions; the names of options are the same."""
    for name, command in _COMMANDS.items():
        text = text.replace(f"`{name}`", f"the command `secateur {command}`")
    return re.sub(r"`([a-z_]+)\(\)`", lambda found: f"`secateur.{_FUNCTIONS.get(found[1], found[1])}()`", text)


def unfit(what: str, *, expected: str | None = None, got: str | None = None, remedy: str | None = None) -> InputError:
    """Returns the exception for an argument that does not fit, in the form of the library's."""
    details = [("expected", expected), ("got", got), ("remedy", remedy)]
    error = InputError("\n".join([what, *(f"  {label:>8}: {text}" for label, text in details if text is not None)]))
    error.remedy = remedy
    return error


def of_library(
    kind: str,
    text: str,
    file: Any = None,
    node: str | None = None,
    remedy: str | None = None,
    errno: int | None = None,
) -> Error:
    """Returns the exception for an error of the library, which calls this."""
    text = spoken(text)
    made = _KINDS.get(kind, InternalError)
    if made is FileError and errno is not None:
        made = MissingFileError if isinstance(OSError(errno, ""), FileNotFoundError) else FileError
    error = made(text)
    error.file = None if file is None else os.fspath(file)
    error.node = node
    error.remedy = None if remedy is None else spoken(remedy)
    if isinstance(error, FileError):
        error.errno = errno
        error.filename = error.file
    return error


def refused(text: str, attempts: list[dict[str, Any]]) -> Refused:
    """Returns the exception for a refusal of the library, which calls this."""
    error = Refused(spoken(text))
    error.attempts = [Attempt(**fields) for fields in attempts if "keep" in fields]
    error.tried = [FloatTrial(**fields) for fields in attempts if "float_nodes" in fields]
    return error
