"""Pruning: results, the same bytes as the command line's, criteria and metrics of callers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

import secateur

FAST: dict[str, Any] = {"keep_macs": 0.6, "criterion": "act-variance", "repair": "bias", "device": "cpu"}


def run(onnx_bytes: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = ort.InferenceSession(onnx_bytes)
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.asarray(session.run(None, {"image": x})[0])


def test_a_result_is_a_smaller_network_with_a_proof(demo: str, images: Any, tmp_path: Path) -> None:
    result = secateur.prune(demo, images, **FAST)
    assert result.proof.passed and result.proof.exact and result.proof.inputs > 0
    assert result.after.macs <= 0.6 * result.before.macs < result.before.macs
    assert 0 < result.removed_channels < result.total_channels
    assert result.quality is not None and result.quality.agreement is not None
    assert result.repair == "bias" and result.refits > 0
    assert run(result.onnx, images).shape == run(result.original.onnx, images).shape
    onnx.checker.check_model(onnx.load_from_string(result.onnx))
    result.save(tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").read_bytes() == result.onnx
    assert secateur.Network(result).macs == result.after.macs
    assert "MACs" in repr(result)


@pytest.mark.parametrize("source", ["path", "Path", "bytes", "bytearray", "proto", "Network"])
def test_a_network_is_a_path_or_bytes_or_a_message(source: str, demo: str, model: Any, images: Any) -> None:
    content = Path(demo).read_bytes()
    given: dict[str, Any] = {
        "path": demo,
        "Path": Path(demo),
        "bytes": content,
        "bytearray": bytearray(content),
        "proto": model,
        "Network": secateur.Network(demo),
    }
    expected = secateur.prune(demo, keep_macs=0.7, criterion="l1", device="cpu")
    found = secateur.prune(given[source], keep_macs=0.7, criterion="l1", device="cpu")
    assert found.onnx == expected.onnx


def test_the_bytes_are_those_of_the_command_line(demo: str, images: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for at, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{at:03}.png")
    small, cut = tmp_path / "small.onnx", tmp_path / "cut.json"
    words = ["prune", demo, "--data", str(folder), "--keep-macs", "0.5", "--seed", "7", "--device", "cpu", "-q"]
    subprocess.run([sys.executable, "-m", "secateur", *words, "-o", str(small)], check=True)
    options: dict[str, Any] = {"keep_macs": 0.5, "seed": 7, "device": "cpu"}
    for data in (folder, images, [Image.fromarray(image) for image in images]):
        result = secateur.prune(demo, data, **options)
        assert result.onnx == small.read_bytes(), type(data)
    result.cut.save(cut)
    words = ["prune", demo, "--cut", str(cut), "--data", str(folder), "--device", "cpu", "-q"]
    subprocess.run([sys.executable, "-m", "secateur", *words, "-o", str(small)], check=True)
    assert secateur.prune(demo, images, cut=cut, device="cpu").onnx == small.read_bytes()
    words = ["prune", demo, "--keep-macs", "0.5", "--criterion", "random", "--seed", "7", "--device", "cpu", "-q"]
    subprocess.run([sys.executable, "-m", "secateur", *words, "-o", str(small)], check=True)
    by_seed = [
        secateur.prune(demo, keep_macs=0.5, criterion="random", seed=seed, device="cpu").onnx for seed in (7, 8)
    ]
    assert by_seed[0] == small.read_bytes() != by_seed[1], "the seed decides"


def test_a_cut_can_be_saved_edited_and_applied(demo: str, images: Any, tmp_path: Path) -> None:
    planned = secateur.plan(demo, images, keep_macs=0.7, criterion="apoz", device="cpu")
    assert planned.cut.criterion == "apoz" and "0.7" in planned.cut.budget
    assert planned.confidence is not None and 0 <= planned.confidence <= 1
    planned.cut.save(tmp_path / "cut.json")
    cut = secateur.Cut(tmp_path / "cut.json")
    assert cut.to_dict() == planned.cut.to_dict() and cut.removed and cut.weights
    by_object = secateur.prune(demo, images, cut=planned.cut, device="cpu")
    by_file = secateur.prune(demo, images, cut=tmp_path / "cut.json", device="cpu")
    assert by_object.onnx == by_file.onnx and by_object.cut.removed == cut.removed
    sizes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load_from_string(by_file.onnx).graph.initializer}
    for name, axes in cut.weights.items():
        for axis, indices in enumerate(axes):
            assert indices is None or name not in sizes or sizes[name][axis] == len(indices)


def test_a_function_is_a_criterion(demo: str, images: Any) -> None:
    layers: list[secateur.LayerStatistics] = []

    def variance(layer: secateur.LayerStatistics) -> Any:
        layers.append(layer)
        return layer["post_variance"]

    own = secateur.prune(demo, images, **{**FAST, "criterion": variance})
    assert own.onnx == secateur.prune(demo, images, **FAST).onnx
    assert own.cut.criterion == "variance"
    layer = layers[0]
    assert layer.weight is not None and layer.weight.shape[0] == layer.channels
    assert layer.statistics["post_mean"].shape == (layer.channels,) and layer.op == "Conv"
    with pytest.raises(KeyError, match="post_mean"):
        layer["nonsense"]
    largest = secateur.Criterion(
        lambda layer: np.abs(layer.weight).max(axis=tuple(range(1, layer.weight.ndim))),  # type: ignore[arg-type,union-attr]
        name="largest",
        activations=False,
    )
    assert secateur.prune(demo, keep_macs=0.8, criterion=largest, device="cpu").cut.criterion == "largest"
    comparison = secateur.compare_criteria(
        demo, images, criteria=["act-variance", variance], keep_macs=[0.8, 0.6], device="cpu"
    )
    assert {curve.criterion for curve in comparison} == {"act-variance", "variance"}
    assert comparison.curves[0].points == comparison.curves[1].points


def test_a_criterion_must_score_every_channel(demo: str) -> None:
    with pytest.raises(secateur.InputError, match=r"(?s)does not score every channel.*shape \(1,\)"):
        secateur.prune(demo, keep_macs=0.8, criterion=lambda layer: [1.0], device="cpu")
    with pytest.raises(ZeroDivisionError):
        secateur.prune(demo, keep_macs=0.8, criterion=lambda layer: 1 / 0, device="cpu")
    with pytest.raises(secateur.InputError, match="not finite"):
        secateur.prune(demo, keep_macs=0.8, criterion=lambda layer: [np.nan] * layer.channels, device="cpu")


def test_a_function_is_a_metric(demo: str, images: Any, classes: Any) -> None:
    def is_right(outputs: Any, label: Any) -> float:
        assert outputs["logits"].shape == (1, 10)
        return 100.0 * (int(outputs["logits"].argmax()) == label)

    metric = secateur.Metric(is_right, unit="%")
    found = secateur.evaluate(demo, (images, classes), metric=metric, device="cpu").metric
    assert found is not None and (found.name, found.unit, found.after) == ("is_right", "%", 100.0)
    # Values of any kind beside images are passed on, also for a share that is held out.
    boxes = [{"box": [at], "label": int(label)} for at, label in enumerate(classes)]
    seen: list[int] = []

    def of_box(outputs: Any, target: Any) -> float:
        seen.append(target["box"][0])
        return float(int(outputs["logits"].argmax()) == target["label"])

    result = secateur.prune(demo, list(zip(images, boxes)), metric=of_box, **FAST)
    assert result.quality is not None and result.quality.metric is not None
    assert result.quality.metric.before == 1.0 and set(seen) == set(range(4, 60, 5))
    assert result.quality.metric.drop == 1.0 - result.quality.metric.after

    def error_rate(outputs: Any, targets: Any) -> float:
        wrong = [int(out["logits"].argmax()) != target for out, target in zip(outputs, targets)]
        return sum(wrong) / len(wrong)

    whole = secateur.Metric(error_rate, over_set=True, higher_is_better=False)
    found = secateur.evaluate(demo, (images, classes), metric=whole, device="cpu").metric
    assert found is not None and found.after == 0.0 and not found.higher_is_better and found.error is None


def test_a_search_finds_or_refuses(demo: str, images: Any, classes: Any) -> None:
    data = (images, classes)
    result = secateur.prune(demo, data, max_drop=30, criterion="l1", repair="bias", device="cpu")
    assert result.attempts and result.after.macs < result.before.macs

    def original_only(outputs: Any, label: Any) -> float:
        original_only.calls += 1  # type: ignore[attr-defined]
        return float(-original_only.calls)  # type: ignore[attr-defined]

    original_only.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(secateur.Refused, match="refused") as caught:
        secateur.prune(
            demo, data, min_quality=1e9, metric=original_only, criterion="l1", repair="none", device="cpu"
        )
    assert caught.value.attempts and isinstance(caught.value.attempts[0], secateur.Attempt)
    assert "`min_quality`" in str(caught.value) and "--" not in str(caught.value)


def test_a_report_is_a_page(demo: str, images: Any, tmp_path: Path) -> None:
    result = secateur.prune(demo, images, **FAST)
    result.report(tmp_path / "page.html", seconds=0.2)
    page = (tmp_path / "page.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "act-variance" in page


def test_profiles_are_stored_and_used(demo: str, images: Any, tmp_path: Path) -> None:
    profile = secateur.profile(demo, images, gram="both", device="cpu", checkpoint=tmp_path / "net.profile")
    loaded = secateur.Profile(tmp_path / "net.profile")
    sent = pickle.loads(pickle.dumps(profile))
    for other in (loaded, sent):
        assert other.to_bytes() == profile.to_bytes()
    assert secateur.profile(demo, images, gram="both", device="cpu", checkpoint=tmp_path / "net.profile").images == 60
    plans = [
        secateur.plan(demo, profile=given, keep_macs=0.7, device="cpu").cut.to_dict()
        for given in (profile, loaded, tmp_path / "net.profile")
    ]
    assert plans[0] == plans[1] == plans[2]
    other = secateur.prune(demo, keep_macs=0.8, criterion="l1", device="cpu")
    with pytest.raises(secateur.InputError, match="of another model"):
        secateur.plan(other.onnx, profile=profile, keep_macs=0.7, device="cpu")


def test_layers_can_be_protected(demo: str) -> None:
    first = secateur.Network(demo).summary()["layers"][0]["name"]
    for protect in (first, [f"^{first}$"], lambda name: name == first):
        result = secateur.prune(demo, keep_macs=0.7, criterion="l1", protect=protect, device="cpu")
        assert first not in result.cut.removed and result.cut.removed
    with pytest.raises(secateur.InputError, match="protect matches no layer"):
        secateur.prune(demo, keep_macs=0.7, criterion="l1", protect="nothing", device="cpu")
    with pytest.raises(secateur.InputError, match="not a regular expression"):
        secateur.prune(demo, keep_macs=0.7, criterion="l1", protect="(", device="cpu")


def test_networks_are_run_timed_and_summarized(demo: str, images: Any) -> None:
    network = secateur.Network(demo)
    x = images[:2].transpose(0, 3, 1, 2).astype(np.float32) / 255
    for given in (x, {"image": x}):
        found = network.run(given, device="cpu")
        assert np.allclose(found["logits"], run(network.onnx, images[:2]), atol=1e-4)
    assert network.inputs == {"image": (3, 32, 32)}
    assert network.params > 0 and network.path == demo and "demo.onnx" in repr(network)
    small = secateur.prune(demo, keep_macs=0.5, criterion="l1", device="cpu")
    times = secateur.bench([network, small], seconds=0.5, layers=True, device="cpu")
    assert len(times.networks) == 2 and times.device == "CPU"
    assert times.networks[1].speedup is not None and times.networks[0].layers
    assert secateur.devices()[-1].choice == "cpu"
    assert sum(device.is_auto for device in secateur.devices()) == 1
