"""Progress, notices, and the way in which a callback ends an operation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Union

from ._errors import spoken

#: True for a bar (needs tqdm), or a function of stage, units done, and units in all (0 if unknown). A function that also has
#: a method ``notice(text)`` gets the notices, such as epoch and loss of a training.
Progress = Union[None, bool, Callable[[str, int, int], object]]

_log = logging.getLogger("secateur")


class Reporter:
    """The receiver of the library's progress and notices."""

    def __init__(self, progress: Progress) -> None:
        self._bar: Any = None
        self._stage = ""
        self._call: Callable[[str, int, int], object] | None = None
        self._notice: Callable[[str], object] | None = getattr(progress, "notice", None)
        if progress is True:
            self._call = self._draw
        elif callable(progress):
            self._call = progress
        elif progress not in (None, False):
            raise TypeError(f"progress takes True, None, or a function, got {progress!r}")

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def advance(self, stage: str, done: int, total: int) -> bool:
        """Reports progress; returns whether to go on."""
        return self._call is None or self._call(stage, done, total) is not False

    def notice(self, text: str, is_warning: bool) -> None:
        """Logs a sentence of the library, and shows it with the progress."""
        text = spoken(text)
        _log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
        if self._notice is not None:
            self._notice(text)
        if self._bar is not None and self._stage == "training" and not is_warning:
            self._bar.set_postfix_str(text)

    def _draw(self, stage: str, done: int, total: int) -> bool:
        if stage != self._stage or self._bar is None or done < self._bar.n:
            self._close()
            try:
                from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]
            except ImportError as error:
                raise ImportError("progress=True needs tqdm: pip install tqdm, or give a function") from error
            self._bar = tqdm(desc=stage, total=total or None, leave=False)
            self._stage = stage
        self._bar.update(done - self._bar.n)
        return True

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
