"""What runs in the workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import _secateur
from .._calls import described
from .._errors import Error
from .._evaluation import compare_criteria, devices, evaluate
from .._network import Network
from .._profile_class import Profile
from .._profiling import merge, profile
from .blocks import Cut, samples
from .cluster import choose_device, ray


class Worker:
    """An actor that holds networks and the device."""

    def __init__(self, device: int | str, threads: int) -> None:
        # The library's threads begin with its first computation.
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        self._asked = device
        self.networks: list[Network] = []
        self._device: int | str | None = None
        self._kept: dict[str, Any] = {}

    @property
    def device(self) -> int | str:
        """The device to compute on."""
        if self._device is None:
            reserved = ray().get_runtime_context().get_accelerator_ids().get("GPU", [])
            self._device = choose_device(self._asked, reserved, devices() if reserved else ())
        return self._device

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns what an earlier part has made under this name, or makes it."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def run(
        self, function: Callable[..., tuple[Any, Any]], options: dict[str, Any], networks: Sequence[Any], *values: Any
    ) -> tuple[Any, Any]:
        """Computes a part: returns its small result and its large one. ``networks`` refers to bytes with their options."""
        if not self.networks:
            self.networks = [Network(onnx, **given) for onnx, given in ray().get(networks[0])]
        return function(self, options, *values)


def count(worker: Worker, options: dict[str, Any]) -> tuple[int, None]:
    """Returns the number of samples at a path."""
    net = worker.networks[0]
    found = described(net, options["path"], options["data"], "profile")
    return _secateur.count(net._native, {"data": None if found is None else found.fields}), None


def source(worker: Worker, options: Mapping[str, Any], blocks: Sequence[Any]) -> Any:
    """Returns the data of a part: a path, or samples from blocks of a data set."""
    if "path" in options:
        return options["path"]
    cuts: Sequence[Cut] = options["cuts"]
    return samples(cuts, blocks, worker.networks[0]._native.sample(), options["data"].get("transform"))


def profile_part(worker: Worker, options: dict[str, Any], *blocks: Any) -> tuple[int, bytes]:
    """Profiles a part of the data: returns the number of images, and the profile's bytes."""
    data = source(worker, options, blocks)
    found = profile(worker.networks[0], data, device=worker.device, **options["options"], **options["data"])
    return found.images, found.to_bytes()


def evaluate_part(worker: Worker, options: dict[str, Any], *blocks: Any) -> tuple[int, Any]:
    """Evaluates a network on a part of the data: returns the number of images, and the quality."""
    data = source(worker, options, blocks)
    against = worker.networks[1] if len(worker.networks) > 1 else None
    given = {**options["options"], **options["data"]}
    found = evaluate(worker.networks[0], data, against=against, device=worker.device, **given)
    return found.images, found


def compare_part(worker: Worker, options: dict[str, Any], *values: Any) -> tuple[int, Any]:
    """Measures a criterion and a repair at one budget: returns 1, and the comparison or the reason against it."""
    rest = list(values)
    statistics = rest.pop(0) if options["has_profile"] else None
    kept = statistics and worker.keep("profile", lambda: Profile.from_bytes(statistics))
    beside = len(options["cuts"]) if "cuts" in options else 0
    data = worker.keep("data", lambda: source(worker, options, rest[:beside]))
    given = {**options["options"], **options["data"]}
    if options["test"] is not None:
        test = {**options["test"], "data": options["data"]}
        given["test"] = worker.keep("test", lambda: source(worker, test, rest[beside:]))
    try:
        return 1, compare_criteria(worker.networks[0], data, profile=kept, device=worker.device, **given)
    except Error as error:
        if options["is_named"]:
            raise
        return 1, error


def merged(left: bytes, right: bytes) -> bytes:
    """Merges the bytes of two profiles, in this order."""
    return merge([Profile.from_bytes(left), Profile.from_bytes(right)]).to_bytes()
