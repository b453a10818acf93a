"""A comparison of criteria, from its single measurements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Error, unfit
from .._results import Comparison, Curve, Point


@dataclass(frozen=True)
class Setting:
    """A criterion with a repair at a budget."""

    #: Place among all settings, from 0.
    index: int
    #: Name, or an own criterion.
    criterion: Any
    #: Name of the repair.
    repair: str
    #: Share of the MACs.
    keep_macs: float

    @property
    def name(self) -> str:
        """Name of the criterion."""
        return self.criterion if isinstance(self.criterion, str) else str(self.criterion.name)

    @property
    def what(self) -> str:
        """Description for messages."""
        return f"the criterion {self.name} at {self.keep_macs} with repair {self.repair}"


def joined(settings: Sequence[Setting], found: Sequence[Comparison | Error]) -> Comparison:
    """Joins measurements to curves, the best mean quality first, as one comparison has them.

    Raises:
        InputError: No criterion could be measured.
    """
    curves: dict[tuple[str, str], Curve] = {}
    failures: dict[str, list[tuple[Setting, str]]] = {}
    original, metric = None, None
    for setting, result in zip(settings, found):
        if isinstance(result, Error):
            failures.setdefault(setting.name, []).append((setting, _message(result)))
            continue
        for curve in result.curves:
            known = curves.setdefault((curve.criterion, curve.repair), Curve(curve.criterion, curve.repair, []))
            known.points.extend(curve.points)
        original = original if result.original_top1 is None else result.original_top1
        metric = result.metric or metric
    left_out = [one for name, failed in failures.items() for one in _left_out(name, failed, settings)]
    if not curves:
        raise unfit(
            "no criterion could be measured",
            got=": ".join(left_out[0]) if left_out else None,
            remedy="set other keep_macs, or see what each criterion needs",
        )
    better = metric is None or metric.higher_is_better
    ordered = sorted(curves.values(), key=_mean, reverse=better)
    return Comparison(ordered, left_out, original, metric)


def _left_out(name: str, failed: Sequence[tuple[Setting, str]], settings: Sequence[Setting]) -> list[tuple[str, str]]:
    """Returns a criterion that could not score, or its budgets that could not be met, with the reasons."""
    reasons = {reason for _, reason in failed}
    if len(reasons) == 1 and len(failed) == sum(setting.name == name for setting in settings):
        return [(name, failed[0][1])]
    return [(f"{name} at {setting.keep_macs}", reason) for setting, reason in failed]


def _message(error: Error) -> str:
    """Returns an error in one line: the sentence, expected and got."""
    text = str(error)
    details = dict(re.findall(r"^ +(expected|got): (.*)$", text, re.MULTILINE))
    return ", ".join([text.split("\n")[0], *(f"{name} {details[name]}" for name in ("expected", "got") if name in details)])


def _quality(point: Point) -> float | None:
    for value in (point.value, point.top1, point.agreement, point.snr_db):
        if value is not None:
            return value
    return None


def _mean(curve: Curve) -> float:
    known = [value for point in curve.points if (value := _quality(point)) is not None]
    return sum(known) / max(1, len(curve.points))
