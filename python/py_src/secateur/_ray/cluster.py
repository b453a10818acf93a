"""Ray itself, and how many workers its cluster has room for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import unfit
from .._results import Device


def ray() -> Any:
    """Returns the module ``ray``, connected to a cluster; without one it starts on this machine."""
    try:
        module: Any = importlib.import_module("ray")
    except ImportError as error:
        raise ImportError('secateur.ray needs Ray: pip install "ray[data]"') from error
    if not module.is_initialized():
        module.init()
    return module


def value(module: Any, reference: Any) -> Any:
    """Returns a value of Ray's object store, or raises the exception of the task that should have made it."""
    try:
        return module.get(reference)
    except module.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise cause if isinstance(cause, Exception) else error from None


def losses(module: Any) -> tuple[type[Exception], ...]:
    """Returns Ray's exceptions for a process or an object that is gone, so that computing again may help."""
    failures = module.exceptions
    # Ray ends processes itself if the memory of their machine runs out, and reports that by a class of its own.
    return (
        failures.RayActorError,
        failures.WorkerCrashedError,
        failures.ObjectLostError,
        failures.OutOfMemoryError,
        failures.NodeDiedError,
    )


def reason(error: Exception) -> str:
    """Returns the first line of one of Ray's exceptions."""
    return " ".join(str(error).split("\n")[0].split())


@dataclass(frozen=True)
class Workers:
    """The workers of an operation."""

    #: Number of workers.
    count: int
    #: GPUs of each.
    gpus: float
    #: Threads of each.
    threads: int

    @classmethod
    def of(cls, num_gpus: float | None, concurrency: int | None, resources: Mapping[str, float], nodes: int) -> Workers:
        """Chooses workers for the resources of a cluster: one for each GPU; without GPUs, one for each machine."""
        gpus = resources.get("GPU", 0.0)
        each = float(gpus >= 1) if num_gpus is None else float(num_gpus)
        if each < 0:
            raise unfit("num_gpus does not fit", expected="a number from 0", got=str(num_gpus), remedy="for example 1")
        if concurrency is not None and concurrency < 1:
            raise unfit(
                "concurrency does not fit",
                expected="a whole number from 1",
                got=str(concurrency),
                remedy="leave it out for a worker on each GPU, or on each machine",
            )
        count = concurrency or (max(1, int(gpus / each)) if each else max(1, nodes))
        if each * count > gpus:
            raise unfit(
                "the cluster has too few GPUs for the workers",
                expected=f"{each * count:g} GPUs: {each:g} for each of {count} workers",
                got=f"{gpus:g}",
                remedy="set num_gpus to 0 or to a share of a GPU, or lower concurrency",
            )
        return cls(count, each, max(1, int(resources.get("CPU", 1.0)) // count))


def choose_device(asked: int | str, reserved: Sequence[str], devices: Sequence[Device]) -> int | str:
    """Returns the device of a worker: the GPU that Ray has reserved for it, unless one was asked for by name."""
    if asked != "auto" or not reserved:
        return asked
    gpus = [device for device in devices if device.kind in ("discrete", "integrated", "virtual")]
    # An adapter may be listed once for each interface.
    gpus = [device for device in gpus if device.backend == gpus[0].backend]
    number = int(reserved[0]) if reserved[0].isdigit() else 0
    if number >= len(gpus):
        raise unfit(
            "the GPU that Ray has reserved for a worker is not visible to Vulkan",
            expected=f"GPU {number}",
            got=f"{len(gpus)} GPUs",
            remedy='install Vulkan\'s driver in the image of the workers, or set num_gpus=0 and device="cpu"',
        )
    return gpus[number].choice
