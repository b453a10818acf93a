"""The operations on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _secateur
from .._errors import Interrupted, unfit
from .._functions import Metric, as_criterion
from .._network import as_network
from .._profile_class import Profile
from .._progress import Progress, Reporter
from .._results import Comparison, Quality
from . import worker
from .cluster import Workers, losses, ray, reason, value
from .comparisons import Setting, joined
from .errors import worker_error
from .inputs import Input
from .merging import OrderedMerge
from .pool import Part, Pool
from .qualities import joined as joined_quality

#: The share of images that a comparison with repairs holds out, and the least number of images of which it does.
_HELD_OUT, _LEAST = 0.2, 5


@dataclass(frozen=True)
class Cluster:
    """How an operation uses the cluster."""

    num_gpus: float | None
    concurrency: int | None
    images_per_part: int
    retries: int
    device: int | str
    actor_options: Mapping[str, Any] | None
    progress: Progress

    def pool(self, module: Any, networks: Sequence[Any]) -> Pool:
        """Starts workers that hold networks."""
        if self.retries < 0:
            raise unfit(
                "retries does not fit", expected="a whole number from 0", got=str(self.retries), remedy="for example 3"
            )
        alive = sum(bool(node["Alive"]) for node in module.nodes())
        workers = Workers.of(self.num_gpus, self.concurrency, module.cluster_resources(), alive)
        given = [as_network(network).__reduce__()[1] for network in networks]
        return Pool(module, workers, self.device, module.put(given), self.retries, self.actor_options)

    def results(self, pool: Pool, parts: Iterator[Part], stage: str, total: int = 0) -> Iterator[tuple[Part, Any]]:
        """Yields parts with references to their results, and reports progress: the sum of their small results."""
        done = 0
        with Reporter(self.progress) as reporter:
            for part, status, result in pool.results(parts):
                done += status
                if not reporter.advance(stage, done, total):
                    raise Interrupted("the progress function ended the operation")
                yield part, result


def profile(cluster: Cluster, network: Any, dataset: Any, options: Mapping[str, Any], data: Mapping[str, Any]) -> Profile:
    """Gathers a profile on the workers."""
    module = ray()
    given = Input(module, dataset, data, "secateur.ray.profile")
    with cluster.pool(module, [network]) as pool:
        merged = _profile(cluster, pool, module, given, options)
        try:
            return Profile.from_bytes(value(module, merged))
        except losses(module) as error:
            raise worker_error("a merge of profiles", reason(error)) from error


def _profile(cluster: Cluster, pool: Pool, module: Any, given: Input, options: Mapping[str, Any]) -> Any:
    """Returns a reference to the bytes of a profile."""
    merge = module.remote(worker.merged).options(num_cpus=0)
    merged = OrderedMerge(merge.remote)
    parts = given.parts(pool, cluster.images_per_part, worker.profile_part, options)
    for part, result in cluster.results(pool, parts, "gathering statistics"):
        merged.add(part.index, result)
    found = merged.finish()
    # Workers must live until their results are merged.
    module.wait([found])
    return found


def evaluate(
    cluster: Cluster,
    networks: Sequence[Any],
    dataset: Any,
    options: Mapping[str, Any],
    data: Mapping[str, Any],
) -> Quality:
    """Evaluates a network on the workers, and a reference if there is one."""
    metric = options["metric"]
    is_own = metric is not None and not isinstance(metric, str)
    if isinstance(metric, Metric) and metric.over_set:
        raise unfit(
            f"the metric {metric.name} takes all images at once, which no worker has",
            remedy="call secateur.evaluate, or measure image by image (over_set=False)",
        )
    module = ray()
    given = Input(module, dataset, data, "secateur.ray.evaluate")
    found: dict[int, Quality] = {}
    with cluster.pool(module, networks) as pool:
        parts = given.parts(pool, cluster.images_per_part, worker.evaluate_part, options)
        for part, result in cluster.results(pool, parts, "evaluating"):
            found[part.index] = value(module, result)
    return joined_quality([found[index] for index in sorted(found)], is_own)


def compare_criteria(
    cluster: Cluster,
    network: Any,
    dataset: Any,
    test: Any,
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    data: Mapping[str, Any],
) -> Comparison:
    """Compares criteria on the workers: one part for each criterion, budget and repair."""
    module = ray()
    given = Input(module, dataset, data, "secateur.ray.compare_criteria")
    left_out = ("images", "sample")
    beside = {name: value for name, value in data.items() if name not in left_out}
    judge = None if test is None else Input(module, test, beside, "secateur.ray.compare_criteria")
    named, budgets, repairs = (_listed(asked[name]) for name in ("criteria", "keep_macs", "repair"))
    patches = dict(_secateur.criteria())
    criteria = [as_criterion(one) for one in (named or patches)]
    settings = [
        Setting(at, criterion, repair, keep)
        for at, (criterion, repair, keep) in enumerate(
            (criterion, repair, keep) for criterion in criteria for repair in repairs for keep in budgets
        )
    ]
    if not settings:
        raise unfit("nothing to compare", remedy="give at least one budget and one repair")
    with cluster.pool(module, [network]) as pool:
        share = None if judge is not None else asked["held_out"]
        if judge is None and share is None:
            repaired = any(repair != "none" for repair in repairs)
            share = _HELD_OUT if repaired and given.count(pool) >= _LEAST else 0.0
        statistics = asked["profile"]
        shared = None
        if statistics is not None:
            loaded = statistics if isinstance(statistics, Profile) else Profile(statistics)
            shared = module.put(loaded.to_bytes())
        elif not share and any(not patches.get(str(one), False) for one in criteria):
            # All images decide, so one pass serves all criteria without moments of patches.
            shared = _profile(cluster, pool, module, given, {"criterion": "fpgm", "batch": options["batch"]})
        described, blocks = given.whole()
        tested, more = (None, []) if judge is None else judge.whole()

        def part(setting: Setting) -> Part:
            has_profile = shared is not None and (statistics is not None or not patches.get(str(setting.criterion), False))
            own = {"criteria": [setting.criterion], "keep_macs": [setting.keep_macs], "repair": [setting.repair]}
            whole = {
                **described,
                "options": {**options, **own, "held_out": share},
                "data": given.options,
                "test": tested,
                "is_named": bool(named),
                "has_profile": has_profile,
            }
            refs = [*([shared] if has_profile else []), *blocks, *more]
            return Part(setting.index, setting.what, worker.compare_part, whole, refs)

        found: dict[int, Any] = {}
        parts = (part(setting) for setting in settings)
        for one, result in cluster.results(pool, parts, "comparing criteria", len(settings)):
            found[one.index] = value(module, result)
    return joined(settings, [found[setting.index] for setting in settings])


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, (str, int, float)) or callable(given) else list(given)
