"""Quantization: 8-bit integers, shared weights, and the sizes of files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import _secateur
from ._calls import described, described_test
from ._functions import as_metric
from ._network import Network, as_network
from ._progress import Progress, Reporter
from ._results import FloatTrial, Quality

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions


@dataclass(frozen=True)
class Quantization:
    """The options of 8-bit integers, for the argument ``quantize`` of :func:`prune`.

    The arguments are those of :func:`quantize`.

    Example:
        >>> Quantization(runtime="tensorrt").repair
        'full'
    """

    #: Runtime whose conventions the integers follow: "ort", "tensorrt" or "openvino".
    runtime: str = "ort"
    #: Method that chooses the ranges of activations: "minmax", "percentile", "percentile:P", "entropy" or "mse"; None for
    #: the best one on a few images.
    ranges: str | None = None
    #: Names of nodes that stay in float.
    float_nodes: Sequence[str] = ()
    #: Repair of the layers: "full", or "none" to round each weight for itself.
    repair: str = "full"


def quantization_options(given: bool | Quantization | None) -> dict[str, Any] | None:
    """Returns the library's options for True or a :class:`Quantization`."""
    if given is None or given is False:
        return None
    if given is True:
        given = Quantization()
    if not isinstance(given, Quantization):
        raise TypeError(f"quantize takes True, False or a Quantization, got {given!r}")
    return {**asdict(given), "float_nodes": list(given.float_nodes)}


@dataclass(frozen=True)
class FileSize:
    """The size of a file, as it is and under entropy coding (docs/quantize.md)."""

    #: Bytes of the file.
    bytes: int
    #: Bytes after gzip at its highest level.
    gzip: int
    #: Bytes with a Huffman code for each tensor, its table, and the rest of the file after gzip.
    huffman: int
    #: The same with rANS.
    rans: int
    #: Coded bits for each weight.
    bits_per_weight: float

    @property
    def coded(self) -> int:
        """Bytes under the better one of the two codes."""
        return min(self.huffman, self.rans)


@dataclass(frozen=True)
class ActivationScale:
    """The scale and zero point of a tensor: ``x ≈ scale · (q - zero)``."""

    #: Distance of adjacent values.
    scale: float
    #: Integer that represents zero.
    zero: int
    #: Least value of the range from which the scale was computed.
    low: float
    #: Largest value of that range.
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """The loss by one node."""

    #: Name of the node.
    node: str
    #: True for a layer with weights, False for a node such as a sum.
    is_layer: bool
    #: Squared error of the network's outputs, as a share of their squares, if only this node has integers.
    noise: float
    #: True if the node stays in float.
    is_float: bool

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio of the outputs, in decibels."""
        return math.inf if self.noise == 0 else -10 * math.log10(self.noise)


class Quantized:
    """A network after its quantization, made by :func:`quantize`."""

    #: Names of the layers with integer or shared weights.
    layers: list[str]
    #: Reasons by the names of layers that stay in float, or that could not be refitted.
    kept: dict[str, str]
    #: Size of the original.
    before: FileSize
    #: Size of the quantized network.
    after: FileSize
    #: Outputs of both networks, compared on the images that judge; None without images.
    quality: Quality | None
    #: Method that chose the ranges of activations; None for a palette.
    ranges: str | None
    #: Scales by the names of the tensors that are rounded.
    scales: dict[str, ActivationScale]
    #: Loss by each node alone, the largest first; empty without ``max_drop`` and ``min_quality``.
    sensitivity: list[Sensitivity]
    #: Networks that were evaluated for ``max_drop`` or ``min_quality``.
    tried: list[FloatTrial]

    def __init__(self, native: _secateur.Quantized, start: Network) -> None:
        self._native, self._start = native, start
        fields = native.fields()
        self.layers, self.kept = fields["layers"], dict(fields["kept"])
        self.before, self.after = FileSize(**fields["before"]), FileSize(**fields["after"])
        self.quality = None if fields["quality"] is None else Quality.of(fields["quality"])
        self.ranges = fields["ranges"]
        self.scales = {name: ActivationScale(**scale) for name, scale in (fields["scales"] or {}).items()}
        self.sensitivity = [Sensitivity(**node) for node in fields["sensitivity"] or []]
        self.tried = [FloatTrial(**trial) for trial in fields["tried"] or []]

    @property
    def model(self) -> Network:
        """The quantized network, with the options of the network before."""
        return self._start._with(self.onnx)

    @property
    def onnx(self) -> bytes:
        """The contents of the quantized file, for example for ``onnxruntime.InferenceSession(result.onnx)``."""
        return self._native.onnx()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the quantized file, whole or not at all; external data become external again."""
        self._native.save(path)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes an HTML page with sizes and quality before and after, ranges with histograms or codebooks, and layers."""
        self._native.report(path)

    def __repr__(self) -> str:
        share = self.after.bytes / max(1, self.before.bytes)
        return (
            f"<secateur.Quantized: {len(self.layers)} layers, {self.before.bytes:,} → {self.after.bytes:,} bytes "
            f"({share:.0%})>"
        )


def quantize(
    network: Any,
    data: Any = None,
    *,
    runtime: str = "ort",
    ranges: str | None = None,
    float_nodes: Sequence[str] = (),
    max_drop: float | None = None,
    min_quality: float | None = None,
    palette: str | None = None,
    repair: str = "full",
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
) -> Quantized:
    """Quantizes a network to 8-bit integers in QDQ form, or shares its weights, and judges the result.

    Args:
        network: A :class:`Network`, or what it takes: a path, bytes, an ``onnx.ModelProto``, a :class:`Result` of
            :func:`prune`.
        data: Images that calibrate and judge, as :class:`Data` describes them. Labels are not needed. A palette can do
            without images.
        runtime: Runtime whose conventions the integers follow. "ort": activations in uint8, biases in int32. "tensorrt":
            activations in int8 without a zero point. "openvino": activations in uint8, biases in float.
        ranges: Method that chooses the ranges of activations: "minmax", "percentile", "percentile:P", "entropy" or "mse".
            Default: the one whose outputs are nearest to the original's on 64 calibration images.
        float_nodes: Names of nodes that stay in float.
        max_drop: Largest loss of the metric, in its unit. Nodes that lose most stay in float until it is met;
            ``sensitivity`` tells the loss by each.
        min_quality: Least value of the metric, in place of ``max_drop``.
        palette: Shared weights in place of integers: "4bit", "6bit" or "8bit" for an index into each layer's codebook.
        repair: Repair of the layers: "full", or "none" to round each weight for itself.
        test: Other images that judge, all of them, with the preprocessing of ``data``.
        held_out: Share of the images that is held out to judge. Default: 0.2, but 0 if there are fewer than five.
        metric: Name, function or :class:`Metric`, as in :func:`prune`.
        labels: Label images: a folder of masks or pictures with the names of the images, or an array file.
        peak: Largest value of pictures, for psnr and ssim.
        boxes: Columns of a row that describes a box, for the metric "boxes", such as "xyxy,score,class".
        min_score: Least score of a box that counts, 0.25 by default.
        force: True to go on although the preprocessing is certainly wrong.
        batch: Images at once. Default: what the device's memory allows.
        device: "auto" (a GPU if there is one), "cpu", a number, or a part of a name, as :func:`devices` lists them.
        progress: True for a bar, or a function, as in :func:`prune`.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Quantized`: ``model``, ``onnx``, ``save(path)``, ``layers``, ``kept``, ``before``, ``after``, ``quality``,
        ``scales``, ``sensitivity``, ``report(path)``.

    Raises:
        InputError: Data or options that do not fit, or integers without data.
        UnsupportedError: An operator set below 13, or a network without a layer that can be quantized.
        Refused: No network within ``max_drop`` or ``min_quality``.

    Example:
        >>> small = quantize("net.onnx", "images/", preset="imagenet")  # doctest: +SKIP
        >>> small.save("int8.onnx")                                      # doctest: +SKIP
    """
    net = as_network(network)
    options: dict[str, Any] = {
        "runtime": runtime,
        "ranges": ranges,
        "float_nodes": list(float_nodes),
        "max_drop": max_drop,
        "min_quality": min_quality,
        "palette": palette,
        "repair": repair,
        "held_out": held_out,
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "force": force,
        "batch": batch,
        "device": device,
    }
    found = described(net, data, data_options, "quantize", {**options, "test": None, "metric": None})
    judge = described_test(net, test, data, data_options)
    targets = judge or found
    options["data"] = None if found is None else found.fields
    options["test"] = None if judge is None else judge.fields
    options["metric"] = as_metric(metric, targets.targets if targets else None)
    with Reporter(progress) as reporter:
        return Quantized(_secateur.quantize(net._native, reporter, options), net)
