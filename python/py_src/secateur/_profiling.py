"""The statistics pass."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _secateur
from ._calls import Protect, described, protected
from ._functions import as_criterion
from ._network import as_network
from ._profile_class import Profile
from ._progress import Progress, Reporter

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions


def profile(
    network: Any,
    data: Any,
    *,
    gram: str = "channel",
    by_class: bool = True,
    gradients: bool = False,
    histograms: bool = False,
    confidence: float | None = None,
    criterion: Any = None,
    keep_macs: float | None = None,
    keep_params: float | None = None,
    protect: Protect = (),
    seed: int = 0,
    training: Sequence[Any] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    batch: int | None = None,
    device: int | str = "auto",
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Profile:
    """Gathers the statistics of every layer over images.

    Args:
        network: A :class:`Network`, or what it takes: a path, bytes, an ``onnx.ModelProto``.
        data: Images, as :class:`Data` describes them.
        gram: Second moments of layer inputs: "channel" (for the criteria obd and obs), "patch" (for reconstruction; more time
            and memory), "both" or "none".
        by_class: False to gather nothing by class, even if labels are known.
        gradients: True to gather gradients of a loss for the criteria taylor and fisher, in a second pass.
        histograms: True to count the values of each tensor too, for the ranges of a quantization.
        confidence: Visit the images in random order, and stop when the cut by ``criterion`` (act-variance) and the budget
            (half of the MACs) is expected to be right to this share, between 0.5 and 1.
        criterion: Criterion of ``confidence``.
        keep_macs: Budget of ``confidence``: share of the MACs.
        keep_params: Budget of ``confidence``: share of the parameters.
        protect: Layers of the cut of ``confidence`` that keep all channels.
        seed: Seed of the random order.
        training: Earlier checkpoints of the training, the oldest first, for criteria that use them.
        checkpoint: File that receives the profile, also after Ctrl-C. If it exists and is incomplete, the pass continues; if
            it is complete, it is returned.
        batch: Images at once. Default: what the device's memory allows. The result does not depend on it.
        device: "auto" (a GPU if there is one), "cpu", a number, or a part of a name, as :func:`devices` lists them.
        progress: True for a bar (needs tqdm), or a function of stage, units done, and units in all (0 if unknown). If it
            returns False, the pass ends, and the profile is good for the images seen.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Profile`. Its ``statistics()`` are arrays by layer.

    Raises:
        InputError: Data that do not fit the network, or a ``checkpoint`` of another pass.
        KeyboardInterrupt: After Ctrl-C, within a batch. With ``checkpoint`` nothing is lost.

    Example:
        >>> statistics = profile("net.onnx", "images/", preset="imagenet").statistics()  # doctest: +SKIP
        >>> statistics["/layer1/conv1/Conv"]["post_apoz"]                                 # doctest: +SKIP
    """
    net = as_network(network)
    options: dict[str, Any] = {
        "gram": gram,
        "no_classes": not by_class,
        "gradients": gradients,
        "histograms": histograms,
        "confidence": confidence,
        "keep_macs": keep_macs,
        "keep_params": keep_params,
        "seed": seed,
        "training": [as_network(one)._native for one in training] or None,
        "checkpoint": checkpoint,
        "batch": batch,
        "device": device,
        "protect": protected(net, protect) or None,
        "criterion": as_criterion(criterion),
    }
    found = described(net, data, data_options, "profile", options)
    options["data"] = None if found is None else found.fields
    with Reporter(progress) as reporter:
        native, _, _ = _secateur.profile(net._native, reporter, options)
    return Profile._of(native)


def merge(profiles: Iterable[Any]) -> Profile:
    """Merges the profiles of parts of the data, in the order of their images.

    Args:
        profiles: Profiles of the same network and preprocessing, or their paths.

    Returns:
        The profile of all images. It equals that of one pass over them up to rounding: 1e-12 of each mean and moment.

    Raises:
        InputError: No profiles, profiles that differ in more than their images, or that share images.
    """
    loaded = [one if isinstance(one, Profile) else Profile(one) for one in profiles]
    return Profile._of(_secateur.Profile.merge([one._native for one in loaded]))
