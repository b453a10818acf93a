"""Criteria and metrics that are functions of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from ._errors import unfit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerStatistics:
    """The statistics of one layer, for a criterion. ``layer["post_mean"]`` is a column of ``statistics``."""

    #: Name of the node.
    node: str
    #: Name of the ONNX operator.
    op: str
    #: Number of output channels, each of which gets a score.
    channels: int
    #: Weights as the file stores them (for Conv: output channels first), or None if they are computed.
    weight: npt.NDArray[np.float32] | None
    #: Statistics by name, one number for each channel: weight_l1, post_mean, post_variance … (docs/profile.md).
    statistics: Mapping[str, Floats]
    #: Sums of the images' spatial means after the activation, [classes, channels]; empty without labels.
    class_sums: Floats

    def __getitem__(self, name: str) -> Floats:
        if name not in self.statistics:
            raise KeyError(f"{self.node} has no statistic {name!r}; it has {', '.join(self.statistics)}")
        return self.statistics[name]


class Criterion:
    """A pruning criterion that is a function of a layer's statistics.

    Args:
        function: Takes a :class:`LayerStatistics`, and returns one score for each channel. Channels with low scores are
            removed first. Scores of different layers are divided by the layer's mean unless ``normalize`` says otherwise.
        name: Name in cuts and reports. Default: that of the function.
        activations: Whether it needs statistics of activations, which are gathered from images. Default: if there are
            images or a profile.
        classes: Whether it needs ``class_sums``, which are gathered from labelled images.

    Example:
        >>> import numpy as np
        >>> largest = Criterion(lambda layer: np.abs(layer.weight).max(axis=(1, 2, 3)), name="largest", activations=False)
    """

    def __init__(
        self,
        function: Callable[[LayerStatistics], Any],
        *,
        name: str | None = None,
        activations: bool | None = None,
        classes: bool = False,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a criterion is a name or a function, got {function!r}")
        self.function = function
        self.name = name or getattr(function, "__name__", "custom")
        self.activations = activations
        self.classes = classes

    def score(
        self,
        node: str,
        op: str,
        channels: int,
        columns: Mapping[str, bytes],
        weight: tuple[tuple[int, ...], bytes] | None,
        sums: bytes,
    ) -> list[float]:
        """Scores a layer; the library calls this."""
        statistics = {name: np.frombuffer(values, "<f8") for name, values in columns.items()}
        weights = None if weight is None else np.frombuffer(weight[1], "<f4").reshape(weight[0])
        by_class = np.frombuffer(sums, "<f8").reshape(-1, channels)
        layer = LayerStatistics(node, op, channels, weights, statistics, by_class)
        scores = np.asarray(self.function(layer), dtype=np.float64)
        if scores.shape != (channels,):
            raise unfit(
                f"the criterion {self.name} does not score every channel of the layer {node}",
                expected=f"an array of shape ({channels},)",
                got=f"shape {scores.shape}",
                remedy="return one score for each channel",
            )
        return [float(score) for score in scores]


class Metric:
    """A measure of a network's outputs that is a function.

    Args:
        function: Takes the outputs for one image, a dictionary of arrays by name with a batch axis of 1, and what the data
            hold beside the image (its class index, mask, boxes …, or None); returns a number, of which the mean counts.
            With ``over_set=True`` it takes two lists, outputs and targets of all images, and returns a number for them all
            (mAP, F1 …); no standard error is known then.
        name: Name in results and reports. Default: that of the function.
        unit: Unit of the values, such as "%". Losses of percentages are in points.
        higher_is_better: False if smaller numbers are better.
        over_set: Whether the function takes all images at once.

    Example:
        >>> def iou(outputs, mask):
        ...     found = outputs["mask"][0, 0] > 0
        ...     return 100 * (found & mask).sum() / max(1, (found | mask).sum())
        >>> metric = Metric(iou, unit="%")
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        *,
        name: str | None = None,
        unit: str = "",
        higher_is_better: bool = True,
        over_set: bool = False,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a metric is a name or a function, got {function!r}")
        self.function = function
        self.name = name or getattr(function, "__name__", "custom")
        self.unit = unit
        self.higher_is_better = higher_is_better
        self.over_set = over_set


class BoundMetric:
    """A metric with the values that the data hold beside images."""

    def __init__(self, metric: Metric, targets: Sequence[Any] | None) -> None:
        self.metric = metric
        self.targets = targets
        self.name, self.unit, self.higher_is_better = metric.name, metric.unit, metric.higher_is_better

    def start(self) -> Meter:
        """Starts a measurement; the library calls this."""
        return Meter(self.metric, self.targets)


class Meter:
    """A measurement under way, to which the library adds images."""

    def __init__(self, metric: Metric, targets: Sequence[Any] | None) -> None:
        self._metric = metric
        self._targets = targets
        self._all: tuple[list[dict[str, npt.NDArray[Any]]], list[Any]] = ([], [])

    def add(
        self, outputs: list[tuple[str, str, tuple[int, ...], bytes]], label: int | None, index: int
    ) -> float | None:
        """Adds an image, and returns its value unless all images are measured at once."""
        arrays = {name: np.frombuffer(data, dtype).reshape(shape) for name, dtype, shape, data in outputs}
        target = self._targets[index] if self._targets else label
        if self._metric.over_set:
            self._all[0].append(arrays)
            self._all[1].append(target)
            return None
        return float(self._metric.function(arrays, target))

    def finish(self) -> float | None:
        """Returns the value of all images, if they are measured at once."""
        return float(self._metric.function(*self._all)) if self._metric.over_set else None


def as_criterion(given: Any) -> Union[str, Criterion, None]:
    """Returns a criterion for a name, a function or a criterion."""
    return given if given is None or isinstance(given, (str, Criterion)) else Criterion(given)


def as_metric(given: Any, targets: Sequence[Any] | None) -> Union[str, BoundMetric, None]:
    """Returns a metric for a name, a function or a metric."""
    if given is None or isinstance(given, str):
        return given
    return BoundMetric(given if isinstance(given, Metric) else Metric(given), targets)
