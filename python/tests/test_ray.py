"""Tests of `secateur.ray` on this machine: a cluster of two workers, some of which are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ray = pytest.importorskip("ray", reason="ray is not installed: the tests of secateur.ray are left out")
pytest.importorskip("ray.data", reason="ray[data] is not installed: the tests of secateur.ray are left out")

import secateur  # noqa: E402
import secateur.ray as sr  # noqa: E402
from secateur._ray.blocks import divided  # noqa: E402
from secateur._ray.cluster import Workers, choose_device  # noqa: E402
from secateur._ray.merging import OrderedMerge  # noqa: E402

#: Preprocessing of the demo's images.
RECIPE: dict[str, Any] = {"mean": 0.5, "std": 0.25}
#: Small parts, so that there are several.
PARTS: dict[str, Any] = {"images_per_part": 64, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # Ray would kill workers while other programs need the memory of this machine.
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images with labels, as a file."""
    import subprocess
    import sys

    file = tmp_path_factory.mktemp("ray") / "images.npz"
    words = ["demo", "--write-images", str(file), "--count", "300", "--seed", "5"]
    subprocess.run([sys.executable, "-m", "secateur", *words], check=True)
    return file


@pytest.fixture(scope="module")
def arrays(stored: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """300 images, N×H×W×C, with labels."""
    with np.load(stored) as file:
        images, labels = file["images"], file["labels"]
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels.astype(np.int64)


@pytest.fixture(scope="module")
def dataset(arrays: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> Any:
    """The images in blocks of uneven sizes."""
    x, y = arrays
    ends = [0, 1, 50, 170, 171, 300]
    blocks = [{"image": x[a:b], "label": y[a:b]} for a, b in zip(ends, ends[1:])]
    first, *others = [ray.data.from_blocks([_table(block)]) for block in blocks]
    return first.union(*others)


def _table(columns: dict[str, Any]) -> Any:
    from ray.data.block import BlockAccessor

    return BlockAccessor.batch_to_block(columns)


@pytest.fixture(scope="module")
def local(arrays: tuple[NDArray[np.uint8], NDArray[np.int64]], demo: str) -> secateur.Profile:
    return secateur.profile(demo, arrays, device="cpu", **RECIPE)


def assert_equal(got: secateur.Profile, expected: secateur.Profile, tolerance: float = 1e-12) -> None:
    """All that a profile's file holds: statistics, histograms, class sums and Gram matrices."""
    load = pytest.importorskip("safetensors.numpy").load
    ours, others = load(got.to_bytes()), load(expected.to_bytes())
    assert sorted(ours) == sorted(others) and len(ours) > 100
    for name, wanted in others.items():
        scale = np.abs(np.where(np.isfinite(wanted), wanted, 0)).max(initial=1e-300)
        np.testing.assert_allclose(ours[name], wanted, rtol=tolerance, atol=tolerance * scale, err_msg=name)
    assert got.images == expected.images and got.complete


def test_the_profile_of_a_cluster_is_that_of_one_machine(demo: str, dataset: Any, local: secateur.Profile) -> None:
    seen: list[tuple[str, int, int]] = []
    two = sr.profile(demo, dataset, concurrency=2, progress=lambda *now: seen.append(now), **PARTS, **RECIPE)
    assert_equal(two, local)
    assert sorted(done for _, done, _ in seen)[-1] == 300 and len(seen) == 5
    one = sr.profile(demo, dataset, concurrency=1, **PARTS, **RECIPE)
    assert one.to_bytes() == two.to_bytes(), "the number of workers changes no bit"
    assert two.class_means().keys() == local.class_means().keys() and two.class_means()


def test_a_path_needs_no_ray_data(demo: str, stored: Path) -> None:
    expected = secateur.profile(demo, stored, device="cpu", **RECIPE)
    assert_equal(sr.profile(demo, stored, concurrency=2, **PARTS, **RECIPE), expected)
    whole = sr.profile(demo, stored, images=70, device="cpu", **RECIPE)
    assert_equal(whole, secateur.profile(demo, stored, images=70, device="cpu", **RECIPE), 0)


def test_rows_may_have_other_names_and_shapes(
    demo: str, arrays: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    x, y = arrays
    items = [{"photo": np.pad(x[i], ((0, i % 3), (0, 0), (0, 0))), "kind": int(y[i])} for i in range(70)]
    resized = {**RECIPE, "resize": (32, 32)}
    # The function is sent to the workers by value.
    transform: Callable[[Any], Any] = eval("lambda row: (row['photo'], int(row['kind']))")
    expected = secateur.profile(demo, items, transform=transform, device="cpu", **resized)
    got = sr.profile(demo, ray.data.from_items(items), transform=transform, concurrency=2, **PARTS, **resized)
    assert_equal(got, expected)
    renamed = ray.data.from_items(items).rename_columns({"photo": "image", "kind": "label"})
    assert_equal(sr.profile(demo, renamed, concurrency=1, **PARTS, **resized), expected)


def killer(mark: Path) -> Callable[[Any], Any]:
    """Returns a transformation that once ends the process that calls it, in the middle of a part."""
    number, file = int(signal.SIGKILL), str(mark)

    def transform(row: Any) -> Any:
        if int(row["row"]) == 100:
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), number)
        return row["image"], int(row["label"])

    return transform


@pytest.mark.parametrize("retries", [0, 2])
def test_a_worker_that_is_killed_changes_nothing(
    demo: str,
    arrays: tuple[NDArray[np.uint8], NDArray[np.int64]],
    local: secateur.Profile,
    tmp_path: Path,
    retries: int,
) -> None:
    x, y = arrays
    rows = ray.data.from_blocks([_table({"image": x, "label": y, "row": np.arange(len(x))})])
    mark = tmp_path / "killed"
    parts: list[int] = []
    survived = sr.profile(
        demo,
        rows,
        concurrency=2,
        retries=retries,
        transform=_by_value(killer(mark)),
        progress=lambda _, done, __: parts.append(done),
        **PARTS,
        **RECIPE,
    )
    assert mark.exists(), "a worker was killed"
    assert_equal(survived, local)
    assert len(parts) == 5, "each part counts once"


def _by_value(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns the function for workers that cannot import this file."""
    import sys

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return function


@pytest.mark.parametrize("kind", ["OutOfMemoryError", "NodeDiedError", "ObjectLostError"])
def test_a_worker_that_ray_gives_up_is_replaced(
    demo: str, dataset: Any, local: secateur.Profile, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What Ray reports if the memory of a machine runs out, or if a machine is gone, instead of the result of a part."""
    from secateur._ray import pool

    get, seen = pool.value, []

    def failing(module: Any, reference: Any) -> Any:
        found = get(module, reference)
        seen.append(found)
        if len(seen) in asked:
            made = getattr(ray.exceptions, kind)
            raise made("0" * 56, "", "") if kind == "ObjectLostError" else made("the machine is gone\nmore")
        return found

    monkeypatch.setattr(pool, "value", failing)
    asked = range(2, 3)
    assert_equal(sr.profile(demo, dataset, concurrency=2, **PARTS, **RECIPE), local)
    assert len(seen) == 6, "one part was computed twice"
    seen.clear()
    asked = range(1, 9)
    with pytest.raises(sr.WorkerError, match="every worker dies on rows"):
        sr.profile(demo, dataset, concurrency=1, **PARTS, **RECIPE)


def test_an_actor_that_ray_ends_for_good_is_replaced(demo: str, dataset: Any, local: secateur.Profile) -> None:
    from secateur._ray import pool

    actors: list[Any] = []
    start = pool.Pool._start

    def noted(self: Any) -> Any:
        actors.append(start(self))
        return actors[-1]

    killed: list[Any] = []

    def progress(_: str, done: int, __: int) -> None:
        if not killed:
            killed.append(actors[1])
            ray.kill(actors[1], no_restart=True)

    pool.Pool._start = noted  # type: ignore[method-assign]
    try:
        survived = sr.profile(demo, dataset, concurrency=2, progress=progress, **PARTS, **RECIPE)
    finally:
        pool.Pool._start = start  # type: ignore[method-assign]
    assert killed and len(actors) == 3
    assert_equal(survived, local)


def test_a_part_that_ends_every_worker_is_an_error(demo: str, dataset: Any) -> None:
    def transform(row: Any) -> Any:
        os._exit(1)

    with pytest.raises(sr.WorkerError, match=r"every worker dies on rows \d+ to \d+\n +got: .*\n +remedy: see Ray"):
        sr.profile(demo, dataset, concurrency=1, retries=0, transform=_by_value(transform), **PARTS, **RECIPE)


def test_data_that_do_not_fit_are_errors(demo: str, dataset: Any, arrays: Any, stored: Path) -> None:
    with pytest.raises(secateur.InputError, match="lacks an input[^$]*got: photo, label"):
        sr.profile(demo, dataset.rename_columns({"image": "photo"}), concurrency=1, **PARTS)
    with pytest.raises(secateur.InputError, match="the data set has no rows"):
        sr.profile(demo, dataset.limit(0), concurrency=1, **PARTS)
    with pytest.raises(secateur.MissingFileError):
        sr.profile(demo, "nowhere.npz", concurrency=1, **PARTS)
    with pytest.raises(TypeError, match="from_numpy"):
        sr.profile(demo, arrays[0])
    with pytest.raises(secateur.InputError, match="remedy: leave out `shard`"):
        sr.profile(demo, stored, shard=(0, 2))
    with pytest.raises(secateur.InputError, match="random_sample"):
        sr.profile(demo, dataset, sample=3, images=4)
    with pytest.raises(secateur.InputError, match="a multiple of 64"):
        sr.profile(demo, dataset, images_per_part=100)
    with pytest.raises(secateur.InputError, match="too few GPUs"):
        sr.profile(demo, dataset, num_gpus=1, concurrency=2)
    with pytest.raises(TypeError, match="did you mean preset"):
        sr.profile(demo, dataset, presett="unit")  # type: ignore[call-arg]
    with pytest.raises(secateur.Interrupted):
        sr.profile(demo, dataset, concurrency=1, progress=lambda *_: False, **PARTS, **RECIPE)


def test_ray_is_imported_late(monkeypatch: pytest.MonkeyPatch, demo: str) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "ray\[data\]"'):
        sr.profile(demo, "images/")


def brightness(outputs: Any, label: Any) -> float:
    return float(next(iter(outputs.values())).max()) + int(label)


@pytest.mark.parametrize("metric", [None, "top5", "agreement", "snr", brightness])
@pytest.mark.parametrize("is_against", [True, False])
def test_an_evaluation_is_that_of_one_machine(
    demo: str, dataset: Any, arrays: Any, metric: Any, is_against: bool
) -> None:
    if not is_against and metric in ("agreement", "snr"):
        pytest.skip("this metric needs a reference")
    small = secateur.prune(demo, criterion="l1", keep_macs=0.7, device="cpu")
    against = {"against": demo} if is_against else {}
    if callable(metric):
        _by_value(metric)
    expected = secateur.evaluate(small, arrays, metric=metric, device="cpu", **against, **RECIPE)
    got = sr.evaluate(small, dataset, metric=metric, concurrency=2, **against, **PARTS, **RECIPE)
    for name, wanted in vars(expected).items():
        found = getattr(got, name)
        if name == "metric":
            assert found is not None and (found.name, found.images) == (wanted.name, 300)
            assert found.after == pytest.approx(wanted.after, rel=1e-12)
            assert found.before == (pytest.approx(wanted.before, rel=1e-12) if is_against else None)
            if metric != "snr":
                assert found.error == pytest.approx(wanted.error, rel=1e-9)
        elif name in ("kl", "snr_db", "signal"):
            assert found == (wanted if wanted is None else pytest.approx(wanted, rel=1e-12)), name
        else:
            assert found == wanted, name


def test_metrics_of_sets_are_refused(demo: str, dataset: Any) -> None:
    metric = secateur.Metric(lambda outputs, targets: 1.0, name="map", over_set=True)
    with pytest.raises(secateur.InputError, match="takes all images at once"):
        sr.evaluate(demo, dataset, metric=metric)


@pytest.mark.parametrize("repair", ["none", ["none", "bias"]])
def test_a_comparison_is_that_of_one_machine(demo: str, dataset: Any, arrays: Any, repair: Any) -> None:
    few = (arrays[0][:100], arrays[1][:100])
    asked: dict[str, Any] = {"keep_macs": [0.7, 0.4], "repair": repair, "criteria": ["l1", "act-variance"], "force": True}
    expected = secateur.compare_criteria(demo, few, device="cpu", **asked, **RECIPE)
    got = sr.compare_criteria(demo, dataset, images=100, concurrency=2, **asked, **PARTS, **RECIPE)
    assert len(got.curves) == len(expected.curves) and got.original_top1 == expected.original_top1
    for ours, others in zip(got, expected):
        assert (ours.criterion, ours.repair) == (others.criterion, others.repair)
        assert ours == others


def test_criteria_that_cannot_be_measured_are_left_out(demo: str, stored: Path) -> None:
    asked: dict[str, Any] = {"keep_macs": [0.6], "images": 40, "force": True, "seeds": 1}
    expected = secateur.compare_criteria(demo, stored, device="cpu", **asked, **RECIPE)
    got = sr.compare_criteria(demo, stored, concurrency=2, **asked, **PARTS, **RECIPE)
    assert sorted(name for name, _ in got.left_out) == sorted(name for name, _ in expected.left_out)
    assert [curve.criterion for curve in got] == [curve.criterion for curve in expected]


def test_networks_can_be_pickled(demo: str) -> None:
    import pickle

    net = secateur.Network(demo, inexact=True)
    again = pickle.loads(pickle.dumps(net))
    assert again.sha256 == net.sha256
    assert again._native.options() == net._native.options() == (True, [], [])


def test_rows_are_divided_as_counted_from_the_first() -> None:
    blocks = [("a", (0, 3)), ("b", (0, 0)), ("c", (2, 9)), ("d", (0, 1))]
    assert list(divided(iter(blocks), 4)) == [
        (4, ["a", "c"], [(0, 3), (2, 3)]),
        (4, ["c"], [(3, 7)]),
        (3, ["c", "d"], [(7, 9), (0, 1)]),
    ]


def test_merges_are_ordered_however_results_arrive() -> None:
    def merged(order: list[int]) -> str:
        merge = OrderedMerge(lambda left, right: f"({left} {right})")
        for index in order:
            merge.add(index, str(index))
        return str(merge.finish())

    found = {merged(order) for order in ([0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 2, 5, 1, 4])}
    assert found == {"((((0 1) (2 3)) (4 5)) 6)"}


def test_workers_fit_the_cluster() -> None:
    eight = {"GPU": 8.0, "CPU": 64.0}
    assert Workers.of(None, None, eight, 2) == Workers(8, 1.0, 8)
    assert Workers.of(0.5, None, eight, 2) == Workers(16, 0.5, 4)
    assert Workers.of(0, None, eight, 2) == Workers(2, 0.0, 32)
    assert Workers.of(None, None, {"CPU": 6.0}, 3) == Workers(3, 0.0, 2)
    for wrong in ((-1, None), (None, 0), (1, 9)):
        with pytest.raises(secateur.InputError):
            Workers.of(*wrong, eight, 2)


def test_a_worker_takes_the_gpu_that_is_reserved_for_it() -> None:
    def device(choice: int, kind: str, backend: str = "vulkan") -> secateur.Device:
        return secateur.Device(choice, f"adapter {choice}", backend, kind, "", True, False)

    found = [device(0, "cpu"), device(1, "discrete"), device(2, "discrete"), device(3, "discrete", "gl")]
    assert choose_device("auto", ["1"], found) == 2
    assert choose_device("auto", [], found) == "auto" and choose_device("cpu", ["0"], found) == "cpu"
    with pytest.raises(secateur.InputError, match="not visible to Vulkan"):
        choose_device("auto", ["2"], found)
