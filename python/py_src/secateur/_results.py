"""Results as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    #: Multiply-accumulate operations for one image.
    macs: int
    #: Parameters: weights and biases.
    params: int
    #: Bytes of the file, and of its external data.
    bytes: int


@dataclass(frozen=True)
class Constants:
    """Removed channels that were constant, and so became part of biases."""

    #: Number of constant channels, without those that were zero.
    channels: int
    #: Number of layers to whose biases they were added.
    layers: int
    #: Layers for which that is exact only inside padded borders, or only on average between strides.
    borders: list[str]
    #: Largest difference of the outputs due to these layers, as a share of their largest magnitude.
    difference: float | None


@dataclass(frozen=True)
class Proof:
    """A comparison of the pruned network with the original whose removed channels are masked to zero."""

    #: Number of inputs on which both were compared.
    inputs: int
    #: Largest absolute difference of values that must agree.
    max_abs_err: float
    #: Largest difference divided by the largest magnitude of the masked original's value.
    max_rel_err: float
    #: True if all differences are within the tolerance. Without that there is no result.
    passed: bool
    #: True if all outputs must agree; False for a cut of an ``inexact`` network.
    exact: bool
    #: For an inexact cut, the largest relative difference of the outputs: the effect of the cut.
    difference: float | None = None
    #: Constant channels among the removed ones, if there are any.
    constants: Constants | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Proof:
        """Creates a proof from the library's fields."""
        constants = fields.pop("constants", None)
        return cls(**fields, constants=None if constants is None else Constants(**constants))


@dataclass(frozen=True)
class Measured:
    """The value of a metric for a network, and for the original."""

    #: Name of the metric.
    name: str
    #: Unit of the values: ``%``, ``dB``, or nothing.
    unit: str
    #: True if larger values are better.
    higher_is_better: bool
    #: Value of the original or reference; infinite for a ratio to its own outputs, None without one.
    before: float | None
    #: Value of the network.
    after: float
    #: Standard error of the difference; without a reference, that of ``after``.
    error: float | None
    #: Number of images.
    images: int

    @property
    def drop(self) -> float | None:
        """Loss against the reference, in the metric's unit: positive if the network is worse."""
        if self.before is None:
            return None
        return self.before - self.after if self.higher_is_better else self.after - self.before


@dataclass(frozen=True)
class Quality:
    """The outputs of a network, against labels and against those of a reference."""

    #: Number of images.
    images: int
    #: Share of images whose label has the largest score, 0 to 1; None without labels or classes.
    top1: float | None
    #: Share of images whose label is among the five largest scores; None for five classes or fewer.
    top5: float | None
    #: Top-1 of the reference.
    top1_before: float | None
    #: Top-5 of the reference.
    top5_before: float | None
    #: Share of images with the reference's class, 0 to 1.
    agreement: float | None
    #: Mean Kullback-Leibler divergence from the reference's class probabilities, in nats.
    kl: float | None
    #: Signal-to-noise ratio to the reference's outputs in decibels; infinite if they are equal.
    snr_db: float | None
    #: Sum of squares of the reference's outputs, which ``snr_db`` is about.
    signal: float | None
    #: Largest absolute difference of the outputs.
    max_abs_err: float | None
    #: The metric that judges, if there is one.
    metric: Measured | None
    #: Name of the output that was judged as a classification.
    classified: str | None
    #: Reason why no output was judged as a classification.
    unclassified: str | None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Quality:
        """Creates a quality from the library's fields."""
        metric = fields.pop("metric")
        return cls(**fields, metric=None if metric is None else Measured(**metric))


@dataclass(frozen=True)
class Quantiles:
    """A median with the first and last decile."""

    #: Median of the values.
    median: float
    #: First decile: a tenth of the values is below.
    p10: float
    #: Last decile: a tenth of the values is above.
    p90: float


@dataclass(frozen=True)
class FloatTrial:
    """A quantized network that was evaluated for a limit of quality."""

    #: Number of nodes that stay in float beside those that were asked for.
    float_nodes: int
    #: The metric, in its unit.
    value: float
    #: Loss of the metric, in its unit.
    drop: float
    #: Standard error of the loss; None if it is unknown.
    error: float | None


@dataclass(frozen=True)
class Latency:
    """A latency as a share of the original's, measured side by side."""

    #: Share that was asked for.
    asked: float
    #: Share that was measured.
    measured: Quantiles

    @classmethod
    def of(cls, fields: dict[str, Any] | None) -> Latency | None:
        """Creates a latency from the library's fields, if there are any."""
        return None if fields is None else cls(fields["asked"], Quantiles(*fields["measured"]))


@dataclass(frozen=True)
class Attempt:
    """A network that a search evaluated."""

    #: Share of the cost that was asked for.
    keep: float
    #: Top-1, 0 to 1, if there are labels.
    top1: float | None
    #: Share of images with the original's class, 0 to 1.
    agreement: float | None
    #: Value of the metric, in its unit.
    value: float
    #: Loss of the metric, in its unit.
    drop: float


@dataclass(frozen=True)
class TrainingPoint:
    """The mean losses of a training since the point before."""

    #: Number of finished steps.
    step: int
    #: Weighted sum of the losses.
    loss: float
    #: Each loss, in the order of the record's ``losses``.
    losses: list[float]
    #: Learning rate at the end.
    rate: float
    #: Seconds since the start of the training.
    seconds: float


@dataclass(frozen=True)
class TrainingRecord:
    """The course of a training."""

    #: Number of steps in all.
    steps: int
    #: Steps that were made, those before a resumption included.
    made: int
    #: Images of a step.
    batch: int
    #: Highest learning rate.
    rate: float
    #: True if the learning rate was found by a range test.
    found_rate: bool
    #: Schedule of the learning rate: cosine, one-cycle or constant.
    schedule: str
    #: Rule by which parameters changed, adamw or sgd, with its numbers.
    optimizer: dict[str, Any]
    #: Weight decay of the layers' weights.
    decay: float
    #: Weights of the losses, and the temperature by which class scores are divided.
    objective: dict[str, float]
    #: Layers whose features are compared with the teacher's: "last", "stages", or names with commas between them.
    features: str
    #: Strengths of the random changes of images.
    augment: dict[str, Any]
    #: Seed of the order and the random changes of images.
    seed: int
    #: Penalty that shrinks groups of weights, such as "group-lasso:0.1".
    penalty: str | None
    #: True if BatchNormalization used the statistics of each batch.
    train_bn: bool
    #: Number of groups that the penalty made zero, and of all groups.
    zero_groups: list[int] | None
    #: Names of the losses.
    losses: list[str]
    #: Number of trained numbers.
    parameters: int
    #: Nodes through which no gradient passes.
    stops: list[str]
    #: Mean losses, one point for each epoch since the start or the resumption.
    curve: list[TrainingPoint]
    #: Mean losses over equal numbers of steps, at most 100 points.
    course: list[TrainingPoint]
    #: Step at which the training diverged, if it did; the weights are those of the epoch before.
    diverged: int | None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> TrainingRecord:
        """Creates a record from the library's fields."""
        curve, course = ([TrainingPoint(**point) for point in fields.pop(name)] for name in ("curve", "course"))
        return cls(**fields, curve=curve, course=course)

    def __str__(self) -> str:
        text = f"{self.made:,} steps of {self.batch} images, {self.parameters:,} parameters"
        if not self.curve:
            return text
        return f"{text}, loss {self.curve[0].loss:.4f} → {self.curve[-1].loss:.4f}"


def course_of(records: Sequence[TrainingRecord]) -> dict[str, npt.NDArray[np.float64]]:
    """Returns the courses of several trainings in a row as one column for each number."""
    rows: dict[str, list[float]] = {"round": [], "step": [], "loss": [], "rate": [], "seconds": []}
    rows |= {name: [] for name in (records[0].losses if records else [])}
    for at, record in enumerate(records, 1):
        for point in record.course:
            numbers = [at, point.step, point.loss, point.rate, point.seconds, *point.losses]
            for column, number in zip(rows.values(), numbers):
                column.append(number)
    return {name: np.asarray(column, dtype=np.float64) for name, column in rows.items()}


@dataclass(frozen=True)
class Round:
    """A round before the last of a network that was trained after each."""

    #: Budget of the round, as the command line writes it.
    budget: str
    #: Quality before the training.
    untrained: Quality
    #: Course of the training.
    training: TrainingRecord
    #: Quality after the training.
    quality: Quality

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Round:
        """Creates a round from the library's fields."""
        untrained, quality = Quality.of(fields["untrained"]), Quality.of(fields["quality"])
        return cls(fields["budget"], untrained, TrainingRecord.of(fields["training"]), quality)


@dataclass(frozen=True)
class Point:
    """The quality that a criterion leaves at one budget."""

    #: Share of the MACs.
    keep_macs: float
    #: Top-1, 0 to 1, if there are labels.
    top1: float | None = None
    #: Share of images with the original's class, 0 to 1.
    agreement: float | None = None
    #: Signal-to-noise ratio to the original's outputs in decibels.
    snr_db: float | None = None
    #: Value of the metric, if one is named.
    value: float | None = None
    #: Standard error of the first of value, top1, agreement and snr_db that is known, in its unit.
    error: float | None = None


@dataclass(frozen=True)
class Curve:
    """The quality that a criterion and a repair leave, one point for each budget that could be met."""

    #: Name of the criterion.
    criterion: str
    #: Repair after each cut.
    repair: str
    #: Points in the order of the budgets.
    points: list[Point]


@dataclass(frozen=True)
class Comparison:
    """Curves of several criteria, the best mean quality first."""

    #: The curves.
    curves: list[Curve]
    #: Criteria, or criteria at a budget, that could not be measured, with the reason.
    left_out: list[tuple[str, str]]
    #: Top-1 of the original, if there are labels.
    original_top1: float | None
    #: The metric of the original, if one is named.
    metric: Measured | None

    def __iter__(self) -> Iterator[Curve]:
        return iter(self.curves)


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer."""

    #: Name of the node.
    node: str
    #: Milliseconds for a batch.
    latency_ms: Quantiles
    #: Share of the network's time, 0 to 1.
    share: float
    #: Multiply-accumulate operations of a batch.
    macs: int
    #: Billions of floating-point operations a second; a MAC counts as two.
    gflops: float
    #: Gigabytes read and written a second.
    gbytes_per_s: float


@dataclass(frozen=True)
class Timing:
    """The measured performance of a network."""

    #: MACs, parameters and bytes.
    cost: Cost
    #: Number of images of a batch, which the file may fix.
    batch: int
    #: Milliseconds for a batch.
    latency_ms: Quantiles
    #: Images a second, at the median.
    images_per_s: float
    #: Billions of floating-point operations a second; a MAC counts as two.
    gflops: float
    #: How many times faster than the first network, from runs side by side; None for an unrelated network.
    speedup: Quantiles | None
    #: Difference in inputs or outputs that makes the network unrelated to the first.
    unrelated: str | None
    #: With f16, signal-to-noise ratio of the outputs to those in f32, in decibels.
    snr_db: float | None
    #: Times of the layers in the order of execution, if they were asked for.
    layers: list[LayerTime] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """The measured performance of several networks, timed in turn."""

    #: The networks in the order given.
    networks: list[Timing]
    #: Rounds that were counted.
    rounds: int
    #: Name of the device.
    device: str

    def __iter__(self) -> Iterator[Timing]:
        return iter(self.networks)


@dataclass(frozen=True)
class Device:
    """A device on which networks can run."""

    #: What the argument ``device`` takes: a number, or "cpu".
    choice: int | str
    #: Name of the adapter.
    name: str
    #: API: vulkan, metal, dx12 or cpu.
    backend: str
    #: Kind: discrete, integrated, virtual, cpu or other.
    kind: str
    #: Driver and its version.
    driver: str
    #: True if values between layers can be stored as f16.
    f16: bool
    #: True for the device that "auto" takes.
    is_auto: bool
