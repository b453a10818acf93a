"""The quality of a network on a whole data set, from its qualities on the parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .._errors import unfit
from .._results import Measured, Quality

#: Metrics that count images.
_SHARES = ("top-1", "top-5", "agreement")
_RATIO = "SNR"


def joined(parts: Sequence[Quality], is_own: bool) -> Quality:
    """Joins the qualities on parts of a data set; ``is_own`` if the metric is a function of the caller.

    Raises:
        InputError: The metric is no mean over images, or parts were judged differently.
    """
    images = sum(part.images for part in parts)
    first = parts[0]
    for part in parts:
        alike = (part.classified, part.metric and part.metric.name) == (
            first.classified,
            first.metric and first.metric.name,
        )
        if not alike:
            raise unfit(
                "parts of the data set are judged differently",
                expected=_judged(first),
                got=_judged(part),
                remedy='set metric to "agreement" or "snr", or call secateur.evaluate',
            )
    noise = _sum(parts, _noise)
    signal = _sum(parts, lambda part: part.signal)
    snr = None
    if noise is not None and signal is not None:
        snr = math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal > 0 else -math.inf
    errors = [part.max_abs_err for part in parts]
    kl = _sum(parts, lambda part: None if part.kl is None else part.kl * part.images)
    return Quality(
        images=images,
        top1=_share(parts, lambda part: part.top1),
        top5=_share(parts, lambda part: part.top5),
        top1_before=_share(parts, lambda part: part.top1_before),
        top5_before=_share(parts, lambda part: part.top5_before),
        agreement=_share(parts, lambda part: part.agreement),
        kl=None if kl is None else kl / images,
        snr_db=snr,
        signal=signal,
        max_abs_err=None if None in errors else max(error for error in errors if error is not None),
        metric=_metric([part.metric for part in parts if part.metric is not None], snr, is_own),
        classified=first.classified,
        unclassified=first.unclassified,
    )


def _judged(part: Quality) -> str:
    metric = "no metric" if part.metric is None else part.metric.name
    return f"{metric}, classes of {part.classified or 'no output'}"


def _sum(parts: Sequence[Quality], get: Callable[[Quality], float | None]) -> float | None:
    values = [get(part) for part in parts]
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _share(parts: Sequence[Quality], get: Callable[[Quality], float | None]) -> float | None:
    """Returns the share of all images, from counts in whole numbers."""

    def count(part: Quality) -> float | None:
        share = get(part)
        return None if share is None else round(share * part.images)

    counted = _sum(parts, count)
    return None if counted is None else counted / sum(part.images for part in parts)


def _noise(part: Quality) -> float | None:
    if part.snr_db is None or part.signal is None:
        return None
    return 0.0 if part.snr_db == math.inf else part.signal / 10 ** (part.snr_db / 10)


def _metric(parts: Sequence[Measured], snr: float | None, is_own: bool) -> Measured | None:
    if not parts:
        return None
    first, images = parts[0], sum(part.images for part in parts)

    def mean(get: Callable[[Measured], float]) -> float:
        return math.fsum(get(part) * part.images for part in parts) / images

    has_before = all(part.before is not None for part in parts)
    before = mean(lambda part: part.before or 0.0) if has_before and first.name != _RATIO else first.before
    after = mean(lambda part: part.after)
    if is_own:
        error = _error_of_mean(parts, has_before)
    elif first.name in _SHARES:
        error = _error_of_share(parts, images, before, after)
    elif first.name == _RATIO and snr is not None:
        # Contributions of single images to the ratio are unknown here.
        after, error = snr, None
    else:
        raise unfit(
            f"the metric {first.name} of a set is not known from its parts",
            expected="top1, top5, agreement, snr, or a function whose mean over images counts",
            remedy="call secateur.evaluate, or set metric to one of these",
        )
    return Measured(first.name, first.unit, first.higher_is_better, before, after, error, images)


def _error_of_mean(parts: Sequence[Measured], has_before: bool) -> float | None:
    """Returns the standard error of a mean from those of parts, by the sums of squared deviations."""
    images = sum(part.images for part in parts)

    def value(part: Measured) -> float:
        return part.after - (part.before or 0.0) if has_before else part.after

    whole = math.fsum(value(part) * part.images for part in parts) / images
    squares = []
    for part in parts:
        if part.error is None and part.images > 1:
            return None
        squares.append((part.error or 0.0) ** 2 * part.images * (part.images - 1))
        squares.append(part.images * (value(part) - whole) ** 2)
    return math.sqrt(math.fsum(squares) / (images - 1) / images) if images > 1 else None


def _error_of_share(parts: Sequence[Measured], images: int, before: float | None, after: float) -> float | None:
    """Returns the standard error of a percentage: Wilson's, or for a difference that of Agresti and Min (2005)."""
    if before is None:
        share = after / 100
        return 100 * math.sqrt(share * (1 - share) / images + 0.25 / images**2) / (1 + 1 / images)
    changed = 0.0
    for part in parts:
        if part.error is None or part.before is None:
            return None
        # The error follows from the numbers of images that are better and worse, so their sum follows from the error.
        number, difference = part.images + 2, (part.before - part.after) * part.images / 100
        changed += round((part.error * number / 100) ** 2 + difference**2 / number - 1)
    number, difference = images + 2, (before - after) * images / 100
    return 100 * math.sqrt(max(0.0, changed + 1 - difference**2 / number)) / number
