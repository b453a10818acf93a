"""Statistics, evaluations and comparisons on a cluster, by Ray.

    import ray
    import secateur.ray

    ray.init()                                   # this machine; or ray.init("auto") for a cluster
    dataset = ray.data.read_parquet("s3://bucket/train/", columns=["image", "label"])
    profile = secateur.ray.profile("net.onnx", dataset, preset="imagenet")
    result = secateur.prune("net.onnx", "val/", profile=profile, keep_macs=0.5, preset="imagenet")

Data are a ``ray.data.Dataset``, or a path as on the command line that all workers can read. A data set has rows with an
image and its label, in columns such as "image" and "label", or columns named as the network's inputs; images are arrays of
H×W×C or C×H×W. The data are divided into parts of ``images_per_part`` images in their order, and workers compute one part
after the other, so results do not depend on the number of workers. A part whose worker dies is computed again.

Ray is imported when a function is called (``pip install "ray[data]"``). docs/cluster.md compares it with job arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._profile_class import Profile
from ._progress import Progress
from ._ray.errors import WorkerError
from ._results import Comparison, Quality

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions

__all__ = ["WorkerError", "compare_criteria", "evaluate", "profile"]


def profile(
    network: Any,
    dataset: Any,
    *,
    num_gpus: float | None = None,
    concurrency: int | None = None,
    images_per_part: int = 1024,
    retries: int = 3,
    gram: str = "channel",
    by_class: bool = True,
    gradients: bool = False,
    histograms: bool = False,
    batch: int | None = None,
    device: int | str = "auto",
    actor_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Profile:
    """Gathers the statistics of every layer on the workers of a cluster.

    Args:
        network: A :class:`secateur.Network`, or what it takes. Its bytes are sent to the workers.
        dataset: A ``ray.data.Dataset``, or a path that all workers can read.
        num_gpus: GPUs for each worker; shares such as 0.5 are allowed. Default: 1 if the cluster has GPUs, else 0.
        concurrency: Number of workers. Default: one for each GPU; without GPUs one for each machine, with all its threads.
        images_per_part: Images after which a worker returns a profile, a multiple of 64. A worker that dies costs at most
            this many images; each part costs the transfer and the merge of a profile. Of a path, parts are larger by up to
            this many images.
        retries: How often Ray starts a worker again that has died.
        gram: Second moments of layer inputs, as in :func:`secateur.profile`.
        by_class: False to gather nothing by class.
        gradients: True to gather gradients for the criteria taylor and fisher.
        histograms: True to count the values of each tensor too, for the ranges of a quantization.
        batch: Images at once. The result does not depend on it.
        device: Device of each worker. With "auto" and GPUs it is the GPU that Ray has reserved for the worker.
        actor_options: More options of Ray for the workers, such as ``{"resources": {"fast": 1}}``. Workers reserve no CPUs, so
            that Ray Data can use them; with ``num_cpus`` leave some of them free.
        progress: True for a bar, or a function of stage, images done, and 0. If it returns False, the operation ends.
        **data_options: Preprocessing and selection, as :class:`secateur.Data` describes them, without ``shard``; of a data
            set also without ``sample``.

    Returns:
        The :class:`secateur.Profile`. It equals that of one machine up to rounding, 1e-12 of each mean and moment; its
        bits do not depend on ``concurrency``.

    Raises:
        ImportError: Ray is not installed.
        InputError: Data that do not fit the network, a data set without rows, too few GPUs.
        WorkerError: Workers die again and again on one part.
        Interrupted: ``progress`` has returned False.
    """
    from ._ray import operations

    cluster = operations.Cluster(
        num_gpus, concurrency, images_per_part, retries, device, actor_options, progress
    )
    options = {
        "gram": gram,
        "by_class": by_class,
        "gradients": gradients,
        "histograms": histograms,
        "batch": batch,
    }
    return operations.profile(cluster, network, dataset, options, data_options)


def evaluate(
    network: Any,
    dataset: Any,
    *,
    against: Any = None,
    metric: Any = None,
    num_gpus: float | None = None,
    concurrency: int | None = None,
    images_per_part: int = 1024,
    retries: int = 3,
    batch: int | None = None,
    device: int | str = "auto",
    precision: str = "f32",
    actor_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Quality:
    """Measures accuracy, or the agreement with a reference, on the workers of a cluster.

    Args:
        network: A :class:`secateur.Network`, or what it takes, such as a :class:`secateur.Result`.
        dataset: A ``ray.data.Dataset``, or a path that all workers can read.
        against: Reference network to compare with, such as the original.
        metric: "top1", "top5", "agreement", "snr", or a function or :class:`secateur.Metric` of single images.
        num_gpus: GPUs for each worker, as in :func:`profile`.
        concurrency: Number of workers, as in :func:`profile`.
        images_per_part: Images that a worker evaluates at a time, a multiple of 64.
        retries: How often Ray starts a worker again that has died.
        batch: Images at once.
        device: Device of each worker, as in :func:`profile`.
        precision: Storage of values between layers, "f32" or "f16".
        actor_options: More options of Ray for the workers.
        progress: True for a bar, or a function, as in :func:`profile`.
        **data_options: Preprocessing and selection, as in :func:`profile`.

    Returns:
        The :class:`secateur.Quality` of all images, as :func:`secateur.evaluate` measures it. Two things differ: the metric
        "snr" has no standard error, and of several outputs each part takes the one with the lowest ratio.

    Raises:
        InputError: A metric that is no mean over images, such as miou or boxes; and as in :func:`profile`.
        WorkerError: Workers die again and again on one part.
    """
    from ._ray import operations

    cluster = operations.Cluster(
        num_gpus, concurrency, images_per_part, retries, device, actor_options, progress
    )
    networks = [network] if against is None else [network, against]
    options = {"metric": metric, "batch": batch, "precision": precision}
    return operations.evaluate(cluster, networks, dataset, options, data_options)


def compare_criteria(
    network: Any,
    dataset: Any,
    *,
    criteria: Sequence[Any] = (),
    keep_macs: Sequence[float] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3),
    repair: str | Sequence[str] = "none",
    seeds: int = 3,
    profile: Any = None,
    test: Any = None,
    held_out: float | None = None,
    metric: Any = None,
    force: bool = False,
    num_gpus: float | None = None,
    concurrency: int | None = None,
    images_per_part: int = 1024,
    retries: int = 3,
    batch: int | None = None,
    device: int | str = "auto",
    actor_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Comparison:
    """Measures what remains of a network by several criteria, each with each budget and repair as a task.

    Every worker reads all images: limit them with ``images``.

    Args:
        network: A :class:`secateur.Network`, or what it takes.
        dataset: A ``ray.data.Dataset``, or a path that all workers can read.
        criteria: Names, functions or :class:`secateur.Criterion` objects. Default: all that the statistics allow.
        keep_macs: Budgets, each a share of the MACs.
        repair: Repair after each cut, or several: "none", "bias", "bn", "full".
        seeds: Seeds of the criterion "random", whose mean counts.
        profile: :class:`secateur.Profile` of the network, or its path. Default: gathered by the workers; if images are held
            out, by each task for itself.
        test: Other images that judge, a data set or a path.
        held_out: Share of the images that is held out to judge. Default: 0.2 if something is repaired, else 0.
        metric: Name, function or :class:`secateur.Metric`, as in :func:`secateur.prune`.
        force: True to go on although the original is no better than chance.
        num_gpus: GPUs for each worker, as in :func:`profile`.
        concurrency: Number of workers, as in :func:`profile`.
        images_per_part: Images of each part of the profile, a multiple of 64.
        retries: How often Ray starts a worker again that has died.
        batch: Images at once.
        device: Device of each worker, as in :func:`profile`.
        actor_options: More options of Ray for the workers.
        progress: True for a bar, or a function of stage, tasks done, and tasks in all.
        **data_options: Preprocessing and selection, as in :func:`profile`.

    Returns:
        The :class:`secateur.Comparison` that :func:`secateur.compare_criteria` returns.

    Raises:
        InputError: As in :func:`profile`; a criterion that was named but cannot be measured.
        WorkerError: Workers die again and again on one task.
    """
    from ._ray import operations

    cluster = operations.Cluster(
        num_gpus, concurrency, images_per_part, retries, device, actor_options, progress
    )
    asked = {
        "criteria": criteria,
        "keep_macs": keep_macs,
        "repair": repair,
        "profile": profile,
        "held_out": held_out,
    }
    options = {"seeds": seeds, "metric": metric, "force": force, "batch": batch}
    return operations.compare_criteria(cluster, network, dataset, test, asked, options, data_options)
