"""Quantization: files that ONNX Runtime runs, the same bytes as the command line's, limits, palettes, budgets of bytes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import secateur

#: The folder of models and data beside the repository.
SHARED = Path(__file__).resolve().parents[3] / "shared"


def test_integers_run_in_onnx_runtime(demo: str, images: Any, tmp_path: Path) -> None:
    found = secateur.quantize(demo, images, device="cpu")
    model = onnx.load_from_string(found.onnx)
    onnx.checker.check_model(model)
    operators = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators and "BatchNormalization" not in operators
    assert found.after.bytes == len(found.onnx) < found.before.bytes and found.after.coded < found.before.coded
    assert found.layers and not found.kept and found.ranges and not found.sensitivity
    assert all(scale.scale > 0 and 0 <= scale.zero <= 255 for scale in found.scales.values())
    assert found.quality is not None and found.quality.images == 12
    assert found.quality.snr_db is not None and found.quality.snr_db > 20
    x = images[:2].transpose(0, 3, 1, 2).astype(np.float32) / 255
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(found.onnx, options).run(None, {"image": x})[0]
    assert np.allclose(found.model.run(x, device="cpu")["logits"], expected, atol=1e-4)
    found.save(tmp_path / "int8.onnx")
    assert (tmp_path / "int8.onnx").read_bytes() == found.onnx
    assert "layers" in repr(found) and pickle.loads(pickle.dumps(found.before)) == found.before


def test_the_bytes_are_those_of_the_command_line(demo: str, built_in: Path, tmp_path: Path) -> None:
    def line(*words: str) -> bytes:
        out = tmp_path / "quantized.onnx"
        data = ["--data", str(built_in), "--device", "cpu", "-q", "-o", str(out)]
        subprocess.run([sys.executable, "-m", "secateur", "quantize", demo, *words, *data], check=True)
        return out.read_bytes()

    how: dict[str, Any] = {"runtime": "tensorrt", "ranges": "percentile:99.9", "repair": "none"}
    found = secateur.quantize(demo, built_in, device="cpu", **how)
    assert found.onnx == line("--for", "tensorrt", "--ranges", "percentile:99.9", "--repair", "none")
    assert all(scale.zero == 0 for scale in found.scales.values())
    shared = secateur.quantize(demo, built_in, palette="4bit", device="cpu")
    assert shared.onnx == line("--palette", "4bit")
    assert shared.ranges is None and not shared.scales and shared.after.bytes < found.after.bytes


def page(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text.split('id="data">')[1].split("</script>")[0])
    return data


def test_reports_show_ranges_codebooks_and_layers(demo: str, images: Any, tmp_path: Path) -> None:
    first = secateur.quantize(demo, images, ranges="minmax", repair="none", device="cpu").layers[0]
    found = secateur.quantize(demo, images, ranges="minmax", repair="none", float_nodes=[first], device="cpu")
    found.report(tmp_path / "integers.html")
    shown = page(tmp_path / "integers.html")
    assert shown["summary"]["quality"]["agreement"] == found.quality.agreement  # type: ignore[union-attr]
    section = shown["quantization"]
    assert section["sizes"][0]["bytes"] == [found.before.bytes, found.after.bytes]
    assert {tensor["name"]: tensor["zero"] for tensor in section["tensors"]} == {
        name: scale.zero for name, scale in found.scales.items()
    }
    assert all(tensor["outside"] == 0 and sum(tensor["counts"]) > 0 for tensor in section["tensors"])
    assert {layer["name"]: layer["reason"] for layer in section["layers"] if layer["bits"] is None} == found.kept
    shared = secateur.quantize(demo, palette="4bit", device="cpu")
    shared.report(tmp_path / "palette.html")
    layers = page(tmp_path / "palette.html")["quantization"]["layers"]
    assert sum(len(layer["codebook"]) == 16 for layer in layers) > 0
    assert [layer["name"] for layer in layers if layer["codebook"]] == shared.layers


@pytest.mark.skipif(not SHARED.is_dir(), reason="the models and data of ../shared are not there")
def test_a_residual_network_keeps_its_accuracy() -> None:
    models, data = SHARED / "models", SHARED / "data/cifar10"
    how: dict[str, Any] = {"preset": "cifar10", "images": 64, "test": data / "test.npz", "ranges": "mse", "device": "cpu"}
    found = secateur.quantize(models / "cifar10_resnet20.onnx", data / "calibration.npz", **how)
    assert found.quality is not None and found.quality.top1 is not None and found.quality.top1_before is not None
    assert found.quality.top1 > found.quality.top1_before - 0.01 and found.quality.images == 1017
    assert len(found.layers) == 20 and not found.kept and found.after.bytes < 0.36 * found.before.bytes


def test_nodes_that_lose_most_stay_in_float(demo: str, images: Any) -> None:
    fast: dict[str, Any] = {"ranges": "minmax", "repair": "none", "metric": "snr", "device": "cpu"}
    all_layers = secateur.quantize(demo, images, min_quality=0, **fast)
    assert len(all_layers.tried) == 1 and not any(node.is_float for node in all_layers.sensitivity)
    assert all_layers.quality is not None and all_layers.quality.metric is not None
    better = all_layers.quality.metric.after + 1
    found = secateur.quantize(demo, images, min_quality=better, **fast)
    assert found.quality is not None and found.quality.metric is not None
    assert found.quality.metric.after >= better and len(found.layers) < len(all_layers.layers)
    assert {node.node for node in found.sensitivity if node.is_float and node.is_layer} == set(found.kept)
    first, last = found.sensitivity[0], found.sensitivity[-1]
    assert first.is_float and not last.is_float and first.snr_db < last.snr_db
    with pytest.raises(secateur.Refused, match="nodes in float") as refused:
        secateur.quantize(demo, images, min_quality=1e9, **fast)
    assert len(refused.value.tried) > 1 and not refused.value.attempts


def test_named_nodes_stay_in_float(demo: str, images: Any) -> None:
    whole = secateur.quantize(demo, images, ranges="minmax", repair="none", device="cpu")
    first = whole.layers[0]
    found = secateur.quantize(demo, images, ranges="minmax", repair="none", float_nodes=[first], device="cpu")
    assert list(found.kept) == [first] and found.layers == whole.layers[1:]


def test_prune_quantizes_the_result(demo: str, images: Any) -> None:
    fast: dict[str, Any] = {"keep_macs": 0.6, "criterion": "act-variance", "repair": "bias", "device": "cpu"}
    plain = secateur.prune(demo, images, **fast)
    assert plain.quantized_layers == 0 and plain.unquantized is None and not plain.formats
    found = secateur.prune(demo, images, quantize=secateur.Quantization(ranges="minmax"), **fast)
    assert found.quantized_layers > 0 and found.unquantized == plain.quality and found.after.bytes < plain.after.bytes
    assert found.onnx == secateur.quantize(plain, images, ranges="minmax", device="cpu").onnx


def test_a_budget_of_bytes_chooses_the_number_format(demo: str, images: Any) -> None:
    found = secateur.prune(demo, images, keep_bytes=0.4, device="cpu")
    assert len(found.onnx) <= 0.4 * found.before.bytes
    assert [trial.format for trial in found.formats] == ["float", "8-bit integers", "4-bit palette"]
    assert min(found.formats, key=lambda trial: trial.noise).format in found.cut.budget
    integers = secateur.prune(demo, images, keep_bytes=0.4, quantize=True, device="cpu")
    assert [trial.format for trial in integers.formats] == ["8-bit integers"] and integers.quantized_layers > 0


def test_requests_that_do_not_fit(demo: str, images: Any) -> None:
    with pytest.raises(secateur.InputError, match="integers need images"):
        secateur.quantize(demo, device="cpu")
    with pytest.raises(secateur.InputError, match="one limit"):
        secateur.quantize(demo, images, max_drop=1, min_quality=1, device="cpu")
    with pytest.raises(secateur.InputError, match="runtime"):
        secateur.quantize(demo, images, runtime="ncnn", device="cpu")
    with pytest.raises(secateur.InputError, match="no node has this name"):
        secateur.quantize(demo, images, float_nodes=["nothing"], device="cpu")
    with pytest.raises(TypeError, match="Quantization"):
        secateur.prune(demo, images, keep_macs=0.6, quantize=8)  # type: ignore[arg-type]
