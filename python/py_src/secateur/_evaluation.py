"""Quality and speed of networks, comparisons of criteria, and devices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _secateur
from ._calls import described, described_test, statistics
from ._functions import as_criterion, as_metric
from ._network import as_network
from ._progress import Progress, Reporter
from ._results import (
    Benchmark,
    Comparison,
    Cost,
    Curve,
    Device,
    LayerTime,
    Measured,
    Point,
    Quality,
    Quantiles,
    Timing,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions


def evaluate(
    network: Any,
    data: Any,
    *,
    against: Any = None,
    metric: Any = None,
    labels: str | os.PathLike[str] | None = None,
    peak: float | None = None,
    boxes: str | None = None,
    min_score: float | None = None,
    batch: int | None = None,
    device: int | str = "auto",
    precision: str = "f32",
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Quality:
    """Measures accuracy, another metric, or the agreement with a reference.

    Args:
        network: A :class:`Network`, or what it takes: a path, bytes, an ``onnx.ModelProto``, a :class:`Result`.
        data: Images, with labels if they are known, as :class:`Data` describes them.
        against: Reference network to compare with, such as the original.
        metric: Name, function or :class:`Metric`, as in :func:`prune`.
        labels: Label images: a folder of masks or pictures with the names of the images, or an array file.
        peak: Largest value of pictures, for psnr and ssim.
        boxes: Columns of a row that describes a box, for the metric "boxes", such as "xyxy,score,class".
        min_score: Least score of a box that counts, 0.25 by default.
        batch: Images at once. Default: what the device's memory allows.
        device: "auto", "cpu", a number, or a part of a name, as :func:`devices` lists them.
        precision: Storage of values between layers, "f32" or "f16", which is compared with f32.
        progress: True for a bar, or a function, as in :func:`prune`.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Quality`. Shares are 0 to 1, a metric has its own unit.

    Example:
        >>> evaluate("small.onnx", "test/", against="net.onnx", preset="imagenet").agreement  # doctest: +SKIP
    """
    net = as_network(network)
    reference = None if against is None else as_network(against)
    options: dict[str, Any] = {
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "batch": batch,
        "device": device,
        "precision": precision,
    }
    found = described(net, data, data_options, "evaluate", {**options, "against": None, "metric": None})
    options["data"] = None if found is None else found.fields
    options["metric"] = as_metric(metric, found.targets if found else None)
    with Reporter(progress) as reporter:
        native = None if reference is None else reference._native
        return Quality.of(_secateur.evaluate(net._native, native, reporter, options))


def compare_criteria(
    network: Any,
    data: Any,
    *,
    criteria: Sequence[Any] = (),
    keep_macs: Sequence[float] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3),
    repair: str | Sequence[str] = "none",
    seeds: int = 3,
    profile: Any = None,
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
) -> Comparison:
    """Measures what remains of a network at the same budgets by several criteria.

    Args:
        network: A :class:`Network`, or what it takes.
        data: Images, as :class:`Data` describes them.
        criteria: Names, functions or :class:`Criterion` objects. Default: all that the statistics allow.
        keep_macs: Budgets, each a share of the MACs.
        repair: Repair after each cut, or several: "none", "bias", "bn", "full".
        seeds: Seeds of the criterion "random", whose mean counts.
        profile: :class:`Profile` of the network, or its path. Default: gathered from the data.
        test: Other images that judge.
        held_out: Share of the images that is held out to judge.
        metric: Name, function or :class:`Metric`, as in :func:`prune`.
        labels: Label images, as in :func:`evaluate`.
        peak: Largest value of pictures, for psnr and ssim.
        boxes: Columns of a row that describes a box, for the metric "boxes", such as "xyxy,score,class".
        min_score: Least score of a box that counts, 0.25 by default.
        force: True to go on although the original is no better than chance.
        batch: Images at once.
        device: As in :func:`prune`.
        progress: True for a bar, or a function, as in :func:`prune`.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Comparison`, with a :class:`Curve` for each criterion and repair, the best first.
    """
    net = as_network(network)
    options: dict[str, Any] = {
        "criteria": [as_criterion(one) for one in ([criteria] if isinstance(criteria, str) else criteria)],
        "keep_macs": [keep_macs] if isinstance(keep_macs, (int, float)) else list(keep_macs),
        "repairs": [repair] if isinstance(repair, str) else list(repair),
        "seeds": seeds,
        "held_out": held_out,
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "force": force,
        "batch": batch,
        "device": device,
        **statistics(profile),
    }
    found = described(net, data, data_options, "compare_criteria", {**options, "test": None, "metric": None})
    judge = described_test(net, test, data, data_options)
    targets = judge or found
    options["data"] = None if found is None else found.fields
    options["test"] = None if judge is None else judge.fields
    options["metric"] = as_metric(metric, targets.targets if targets else None)
    with Reporter(progress) as reporter:
        fields = _secateur.compare_criteria(net._native, reporter, options)
    curves = [
        Curve(curve["criterion"], curve["repair"], [Point(**point) for point in curve["points"]])
        for curve in fields["curves"]
    ]
    measured = None if fields["metric"] is None else Measured(**fields["metric"])
    return Comparison(curves, fields["left_out"], fields["original_top1"], measured)


def bench(
    networks: Iterable[Any],
    *,
    batch: int = 1,
    seconds: float = 5.0,
    transfers: bool = False,
    layers: bool = False,
    device: int | str = "auto",
    precision: str = "f32",
    progress: Progress = None,
) -> Benchmark:
    """Times networks in turn on one device, after a check of their outputs.

    Args:
        networks: Networks, or what :class:`Network` takes; speedups are against the first.
        batch: Images at once.
        seconds: Approximate seconds of measuring, in all.
        transfers: True to include the transfers of inputs and outputs.
        layers: True to time every layer by itself, too.
        device: "auto", "cpu", a number, or a part of a name, as :func:`devices` lists them.
        precision: Storage of values between layers, "f32" or "f16".
        progress: True for a bar, or a function, as in :func:`prune`.

    Returns:
        The :class:`Benchmark`, with a :class:`Timing` for each network.
    """
    all_networks = [as_network(one)._native for one in networks]
    options = {
        "batch": batch,
        "seconds": seconds,
        "transfers": transfers,
        "layers": layers,
        "device": device,
        "precision": precision,
    }
    with Reporter(progress) as reporter:
        fields = _secateur.bench(all_networks, reporter, options)
    return Benchmark([_timing(network) for network in fields["networks"]], fields["rounds"], fields["device"]["name"])


def _timing(fields: dict[str, Any]) -> Timing:
    speedup = fields.pop("speedup")
    rows = [LayerTime(**{**row, "latency_ms": Quantiles(*row["latency_ms"])}) for row in fields.pop("layers")]
    cost, latency = Cost(**fields.pop("cost")), Quantiles(*fields.pop("latency_ms"))
    return Timing(
        cost=cost,
        latency_ms=latency,
        speedup=None if speedup is None else Quantiles(*speedup),
        layers=rows,
        **fields,
    )


def devices() -> list[Device]:
    """Returns the devices of this machine; ``is_auto`` marks the one that "auto" takes."""
    found, auto, _ = _secateur.devices()
    listed = [
        Device(
            choice=device["index"],
            name=device["name"],
            backend=device["backend"],
            kind=device["kind"],
            driver=f"{device['driver']} {device['driver_info']}".strip(),
            f16=device["shader_f16"],
            is_auto=device["name"] == auto["name"] and device["backend"] == auto["backend"],
        )
        for device in found
    ]
    cpu = Device("cpu", "CPU", "cpu", "cpu", "", False, auto["backend"] == "cpu")
    return [*listed, cpu]
