"""Decisions which channels are removed, and pruned networks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _secateur
from ._calls import Protect, described, described_test, protected, statistics
from ._functions import as_criterion, as_metric
from ._network import Network, as_network
from ._progress import Progress, Reporter
from ._quantization import Quantization, quantization_options
from ._results import Attempt, Cost, Latency, Proof, Quality, Round, TrainingRecord, course_of
from ._training import Training, training_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions


class Cut:
    """A decision which channels are removed, as a file that can be read and edited (docs/cut.md)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Loads a cut from a file that :func:`plan`, :func:`prune` or the command line wrote."""
        self._native = _secateur.Cut.load(path)

    @classmethod
    def _of(cls, native: _secateur.Cut) -> Cut:
        cut = cls.__new__(cls)
        cut._native = native
        return cut

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the cut as a JSON file, whole or not at all."""
        self._native.save(path)

    def to_dict(self) -> dict[str, Any]:
        """Returns the contents of the file."""
        return self._native.fields()

    @property
    def criterion(self) -> str:
        """Criterion that scored channels."""
        return str(self.to_dict()["criterion"])

    @property
    def budget(self) -> str:
        """Budget, as the command line writes it."""
        return str(self.to_dict()["budget"])

    @property
    def removed(self) -> dict[str, list[int]]:
        """Removed output channels by the names of nodes, in ascending order."""
        removed: dict[str, list[int]] = {}
        for coupled in self.to_dict()["coupled"]:
            if not coupled["keep"]:
                for node, channel in coupled["members"]:
                    removed.setdefault(node, []).append(channel)
        return {node: sorted(channels) for node, channels in removed.items()}

    @property
    def weights(self) -> dict[str, list[list[int] | None]]:
        """Indices that stay on each axis of the initializers that become smaller, by name; None for all of them."""
        weights: dict[str, list[list[int] | None]] = self.to_dict()["weights"]
        return weights

    def __repr__(self) -> str:
        channels = sum(len(channels) for channels in self.removed.values())
        return f"<secateur.Cut by {self.criterion}, {self.budget}: {channels} channels>"


class Plan:
    """A decision with what is known of it, made by :func:`plan`."""

    #: The decision, for ``prune(network, data, cut=plan.cut)``.
    cut: Cut
    #: Expected share of the cut that is truly among the lowest scores; None if errors are unknown.
    confidence: float | None
    #: Latency, if it was the target.
    latency: Latency | None
    #: Networks that were evaluated on the way, the smallest first.
    attempts: list[Attempt]

    def __init__(self, native: _secateur.Cut, fields: dict[str, Any]) -> None:
        self.cut = Cut._of(native)
        self.confidence = fields["confidence"]
        self.latency = Latency.of(fields["latency"])
        self.attempts = [Attempt(**attempt) for attempt in fields["attempts"]]

    def __repr__(self) -> str:
        return f"<secateur.Plan: {self.cut!r}>"


@dataclass(frozen=True)
class FormatTrial:
    """A network in a number format that was tried for a budget of bytes."""

    #: Name of the number format.
    format: str
    #: Share of the parameters that was kept.
    keep_params: float
    #: Bytes of the file.
    bytes: int
    #: Squared error of the outputs on a few calibration images, as a share of the squared outputs.
    noise: float


class Result:
    """A pruned network with its proof, made by :func:`prune`."""

    #: Cost of the original.
    before: Cost
    #: Cost of the pruned network.
    after: Cost
    #: Proof that the outputs equal those of the original with masked channels.
    proof: Proof
    #: Outputs of both networks, compared on the images that judge; None without images.
    quality: Quality | None
    #: Quality before the training, if the network was trained.
    untrained: Quality | None
    #: Course of the training, if there was one.
    training: TrainingRecord | None
    #: Rounds before the last one, if the network was trained after each.
    rounds: list[Round]
    #: Number of removed channels.
    removed_channels: int
    #: Number of channels of the original.
    total_channels: int
    #: Repair that was applied: full, bn, bias or none.
    repair: str
    #: Number of layers that were refitted.
    refits: int
    #: Nodes at which an inexact cut mixes removed channels with others.
    inexact: list[str]
    #: Expected share of the cut that is truly among the lowest scores; None if errors are unknown.
    confidence: float | None
    #: True if the network is no better than chance: only without repair, or with ``force``, else it is refused.
    collapsed: bool
    #: Latency, if it was the target.
    latency: Latency | None
    #: Networks that a search evaluated, the smallest first.
    attempts: list[Attempt]
    #: Quality before the quantization, if the network was quantized.
    unquantized: Quality | None
    #: Number of layers with integer or shared weights.
    quantized_layers: int
    #: Number formats that were tried for ``keep_bytes``.
    formats: list[FormatTrial]

    def __init__(self, native: _secateur.Pruned) -> None:
        self._native = native
        fields = native.fields()
        self.before, self.after = Cost(**fields["before"]), Cost(**fields["after"])
        self.proof = Proof.of(fields["proof"])
        self.quality = None if fields["quality"] is None else Quality.of(fields["quality"])
        self.untrained = None if fields["untrained"] is None else Quality.of(fields["untrained"])
        self.training = None if fields["training"] is None else TrainingRecord.of(fields["training"])
        self.rounds = [Round.of(round) for round in fields["rounds"]]
        self.removed_channels = fields["removed_channels"]
        self.total_channels = fields["total_channels"]
        self.repair, self.refits = fields["repair"], fields["refits"]
        self.inexact, self.confidence = fields["inexact"], fields["confidence"]
        self.collapsed = fields["collapsed"]
        self.latency = Latency.of(fields["latency"])
        self.attempts = [Attempt(**attempt) for attempt in fields["attempts"]]
        self.unquantized = None if fields["unquantized"] is None else Quality.of(fields["unquantized"])
        self.quantized_layers = fields["quantized_layers"]
        self.formats = [FormatTrial(**trial) for trial in fields["formats"]]

    @property
    def onnx(self) -> bytes:
        """The contents of the pruned file, for example for ``onnxruntime.InferenceSession(result.onnx)``."""
        return self._native.onnx()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the pruned file, whole or not at all; external data become external again."""
        self._native.save(path)

    @property
    def cut(self) -> Cut:
        """The decision which channels were removed."""
        return Cut._of(self._native.cut())

    @property
    def original(self) -> Network:
        """The network that was pruned."""
        return Network._of(self._native.original())

    def curve(self) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the losses over the steps of all trainings as columns, for example for ``pandas.DataFrame``.

        The columns are those of :meth:`Finetuned.curve`; ``round`` counts from 1. They are empty without a training.
        """
        records = [*(round.training for round in self.rounds), *([self.training] if self.training else [])]
        return course_of(records)

    def report(
        self, path: str | os.PathLike[str], *, seconds: float = 3.0, progress: Progress = None
    ) -> None:
        """Writes an HTML page with every layer and channel, costs, accuracy, and times on this device.

        Args:
            path: HTML file to write, whole or not at all.
            seconds: Seconds for which both networks are timed in all; 0 leaves times out.
            progress: True for a bar, or a function, as in :func:`prune`.
        """
        with Reporter(progress) as reporter:
            self._native.report(path, seconds, reporter)

    def __repr__(self) -> str:
        share = self.after.macs / max(1, self.before.macs)
        return (
            f"<secateur.Result: {self.before.macs:,} → {self.after.macs:,} MACs ({share:.0%}), "
            f"{self.removed_channels} of {self.total_channels} channels removed>"
        )


def _decision(
    net: Network, function: str, data: Any, data_options: Any, given: dict[str, Any]
) -> dict[str, Any]:
    """Returns the library's options for arguments that plan and prune share."""
    test, protect, profile = given.pop("test"), given.pop("protect"), given.pop("profile")
    criterion, metric = given.pop("criterion"), given.pop("metric")
    found = described(net, data, data_options, function, {**given, "protect": protect, "criterion": criterion})
    judge = described_test(net, test, data, data_options)
    targets = judge or found
    return {
        **given,
        **statistics(profile),
        "protect": protected(net, protect) or None,
        "criterion": as_criterion(criterion),
        "metric": as_metric(metric, targets.targets if targets else None),
        "data": None if found is None else found.fields,
        "test": None if judge is None else judge.fields,
    }


def plan(
    network: Any,
    data: Any = None,
    *,
    keep_macs: float | None = None,
    keep_params: float | None = None,
    keep_latency: float | None = None,
    remove_below: float | None = None,
    max_drop: float | None = None,
    min_quality: float | None = None,
    criterion: Any = None,
    profile: Any = None,
    repair: str | None = None,
    normalize: str | None = None,
    scope: str = "global",
    round_to: int = 1,
    max_cut: float = 0.9,
    min_channels: int = 1,
    protect: Protect = (),
    seed: int = 0,
    require_confidence: float | None = None,
    test: Any = None,
    held_out: float | None = None,
    metric: Any = None,
    labels: str | os.PathLike[str] | None = None,
    peak: float | None = None,
    boxes: str | None = None,
    min_score: float | None = None,
    force: bool = False,
    batch: int | None = None,
    device: int | str = "auto",
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Plan:
    """Decides which channels are removed, and changes nothing.

    The arguments are those of :func:`prune`. ``repair`` is that of the networks that a search (``max_drop``,
    ``min_quality``) tries; "full" by default.

    Returns:
        The :class:`Plan`, whose ``cut`` can be saved, edited, and given to :func:`prune`.
    """
    net = as_network(network)
    given = {
        "keep_macs": keep_macs,
        "keep_params": keep_params,
        "keep_latency": keep_latency,
        "remove_below": remove_below,
        "max_drop": max_drop,
        "min_quality": min_quality,
        "criterion": criterion,
        "profile": profile,
        "repair": repair,
        "normalize": normalize,
        "scope": scope,
        "round_to": round_to,
        "max_cut": max_cut,
        "min_channels": min_channels,
        "protect": protect,
        "seed": seed,
        "require_confidence": require_confidence,
        "test": test,
        "held_out": held_out,
        "metric": metric,
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "force": force,
        "batch": batch,
        "device": device,
    }
    options = _decision(net, "plan", data, data_options, given)
    with Reporter(progress) as reporter:
        return Plan(*_secateur.plan(net._native, reporter, options))


def prune(
    network: Any,
    data: Any = None,
    *,
    keep_macs: float | None = None,
    keep_params: float | None = None,
    keep_bytes: float | None = None,
    keep_latency: float | None = None,
    remove_below: float | None = None,
    max_drop: float | None = None,
    min_quality: float | None = None,
    cut: Any = None,
    criterion: Any = None,
    profile: Any = None,
    repair: str | None = None,
    normalize: str | None = None,
    scope: str = "global",
    round_to: int = 1,
    max_cut: float = 0.9,
    min_channels: int = 1,
    protect: Protect = (),
    seed: int = 0,
    rounds: int = 1,
    finetune: float | Training | None = None,
    quantize: bool | Quantization = False,
    stamp: bool = False,
    require_confidence: float | None = None,
    test: Any = None,
    held_out: float | None = None,
    metric: Any = None,
    labels: str | os.PathLike[str] | None = None,
    peak: float | None = None,
    boxes: str | None = None,
    min_score: float | None = None,
    force: bool = False,
    batch: int | None = None,
    device: int | str = "auto",
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Result:
    """Removes the channels that matter least, refits the layers behind them, and proves the smaller network.

    One target is needed: a budget (``keep_…``, ``remove_below``), a quality (``max_drop``, ``min_quality``), or a ``cut``.

    Args:
        network: A :class:`Network`, or what it takes: a path, bytes, an ``onnx.ModelProto``.
        data: Images that decide, calibrate and judge, as :class:`Data` describes them. Labels are not needed. Without
            images, a criterion on weights such as "l1" decides, and nothing is repaired.
        keep_macs: Largest share of the multiply-accumulate operations to keep, 0 to 1.
        keep_params: Largest share of the parameters to keep.
        keep_bytes: Keep at most this share of the file's bytes. Channels and the number format (float, 8-bit integers, a
            palette of 4 bits) are chosen together, by the noise of the outputs; ``formats`` tells what was tried.
        keep_latency: Largest share of the latency of one image to keep, measured on the device.
        remove_below: Score below which every channel is removed.
        max_drop: Search for the smallest network that loses at most so much of the metric on the images that judge:
            percentage points of top-1, or of agreement with the original without labels.
        min_quality: Search for the smallest network whose metric is at least this; at most, if less is better.
        cut: Decision that was made before: a :class:`Cut`, or its path.
        criterion: Name of the criterion ("reconstruction" by default, "l1", "apoz" …; weighted sums such as
            "0.5*l1+0.5*apoz"; "file:SCORES.csv"), a function of :class:`LayerStatistics`, or a :class:`Criterion`.
        profile: :class:`Profile` of the network, or its path. With data, a path receives the statistics that are gathered,
            also after Ctrl-C: the same call continues.
        repair: Repair after the cut: "full" (all weights behind it, by least squares; the default with images), "bn" (means
            and variances), "bias" (means), or "none".
        normalize: How scores of different layers are made comparable: "none", "layer", "macs" or "params". Default: by
            layer; for reconstruction, taylor and fisher the cost that the budget counts.
        scope: "global" to let scores compete in the whole network, "layer" within each layer.
        round_to: Widths are kept multiples of this.
        max_cut: Largest share of its channels that a layer may lose, 0 to 1.
        min_channels: Least number of channels that a layer keeps.
        protect: Layers that keep all channels: regular expressions, or a function of the name.
        seed: Seed of the criterion "random", and of the order and the random changes of images in a training.
        rounds: Rounds of iterative pruning; after each, the network is repaired and profiled again. With ``finetune``, it
            is also trained after each (``rounds`` of the result).
        finetune: Passes over the images in a training of the pruned network, with the original as teacher, or a
            :class:`Training` with further options. The proof is that of the network before the training.
        quantize: True, or a :class:`Quantization`, to quantize the pruned network to 8-bit integers after all else.
        stamp: True to record the original and the cut in the metadata of the pruned file.
        require_confidence: Confidence below which a cut is refused.
        test: Other images that judge, all of them, with the preprocessing of ``data``.
        held_out: Share of the images that is held out to judge. Default: 0.2, but 0 if nothing is repaired or there are
            fewer than five.
        metric: Name ("top1", "top5", "agreement", "snr", "psnr", "ssim", "miou", "boxes"), a function of the outputs for an image and of
            what the data hold beside it, or a :class:`Metric`. Default: by outputs and labels.
        labels: Label images: a folder of masks or pictures with the names of the images, or an array file.
        peak: Largest value of pictures, for psnr and ssim.
        boxes: Columns of a row that describes a box, for the metric "boxes", such as "xyxy,score,class".
        min_score: Least score of a box that counts, 0.25 by default.
        force: True to go on although the original, or the pruned network, is no better than chance.
        batch: Images at once. Default: what the device's memory allows.
        device: "auto" (a GPU if there is one), "cpu", a number, or a part of a name, as :func:`devices` lists them.
        progress: True for a bar (needs tqdm), or a function of stage, units done, and units in all (0 if unknown). If it
            returns False, the operation ends with :class:`Interrupted`. If it has a method ``notice(text)``, that gets the
            notices, such as epoch and loss of a training.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Result`: ``onnx``, ``save(path)``, ``cut``, ``proof``, ``before``, ``after``, ``quality``, ``report(path)``.

    Raises:
        Refused: No network meets ``max_drop``, ``min_quality`` or ``require_confidence`` (``attempts`` shows those tried), or
            the pruned network is no better than chance.
        BudgetError: The budget cannot be met within ``max_cut``, ``min_channels`` and ``protect``.
        InputError: Data, labels or options that do not fit.
        ProofError: The outputs differ from those of the masked original.
        KeyboardInterrupt: After Ctrl-C, within a batch. A training with ``checkpoint`` can be resumed.

    Example:
        >>> result = prune("net.onnx", "images/", preset="imagenet", keep_macs=0.5)  # doctest: +SKIP
        >>> result.save("small.onnx")                                                # doctest: +SKIP
    """
    net = as_network(network)
    given = {
        "keep_macs": keep_macs,
        "keep_params": keep_params,
        "keep_bytes": keep_bytes,
        "keep_latency": keep_latency,
        "remove_below": remove_below,
        "max_drop": max_drop,
        "min_quality": min_quality,
        "cut": None if cut is None else (cut if isinstance(cut, Cut) else Cut(cut))._native,
        "criterion": criterion,
        "profile": profile,
        "repair": repair,
        "normalize": normalize,
        "scope": scope,
        "round_to": round_to,
        "max_cut": max_cut,
        "min_channels": min_channels,
        "protect": protect,
        "seed": seed,
        "rounds": rounds,
        "finetune": training_options(finetune),
        "quantize": quantization_options(quantize),
        "stamp": stamp,
        "require_confidence": require_confidence,
        "test": test,
        "held_out": held_out,
        "metric": metric,
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "force": force,
        "batch": batch,
        "device": device,
    }
    options = _decision(net, "prune", data, data_options, given)
    with Reporter(progress) as reporter:
        return Result(_secateur.prune(net._native, reporter, options))
