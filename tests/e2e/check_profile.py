"""Compares profiles and criteria with NumPy, on ONNX Runtime's activations.

    python3 tests/e2e/check_profile.py target/release/secateur ../shared

For three trained networks, it checks moments, shares, standard errors, histograms of image means and Gram matrices of
every layer, then the scores of every criterion. Gradients are compared with differences of ONNX Runtime's loss. The
profile is read by `safetensors.numpy.load_file`.
"""

import gzip
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.numpy import load_file

from common import Program, Report, message

ACTIVATIONS = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Elu"}
LAYERS = {"Conv", "Gemm", "ConvTranspose"}


def near(got, expected, relative=1e-4, absolute=1e-6):
    """Compares within a tolerance relative to the largest magnitude; NaN equals only NaN."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    if got.shape != expected.shape:
        return False
    both_nan = np.isnan(got) & np.isnan(expected)
    largest = np.nanmax(np.abs(expected), initial=0.0)
    return bool(np.all(both_nan | (np.abs(got - expected) <= absolute + relative * largest)))


class Network:
    """A model with its observed values, computed by ONNX Runtime."""

    def __init__(self, path, x):
        self.model = path if isinstance(path, onnx.ModelProto) else onnx.load(path)
        graph = self.model.graph
        self.x = x
        self.weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.consumers = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {o.name for o in graph.output}
        self.layers = [n for n in graph.node if n.op_type in LAYERS]
        self.producers = {o: n for n in graph.node for o in n.output}

    def only_consumer(self, value):
        consumers = self.consumers.get(value, [])
        return consumers[0] if len(consumers) == 1 and value not in self.outputs else None

    def taps(self, layer):
        """Returns the value before the activation, the value after it, and the BatchNormalization node or None."""
        pre, norm = layer.output[0], None
        after = self.only_consumer(pre)
        if after is not None and after.op_type == "BatchNormalization":
            pre, norm = after.output[0], after
        after = self.only_consumer(pre)
        post = after.output[0] if after is not None and after.op_type in ACTIVATIONS else pre
        return pre, post, norm

    def run(self, names):
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend([onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names)])
        options = onnxruntime.SessionOptions()
        # Fusions would remove the observed values.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        feed = session.get_inputs()[0].name
        fixed = isinstance(session.get_inputs()[0].shape[0], int)
        parts = [self.x[i : i + 1] for i in range(len(self.x))] if fixed else [self.x]
        runs = [session.run(None, {feed: part}) for part in parts]
        values = [np.concatenate([np.asarray(run[k], np.float64) for run in runs]) for k in range(len(runs[0]))]
        return dict(zip(dict.fromkeys(names), values))

    def filters(self, layer):
        """Returns the weights, one row per filter, scaled by a following BatchNormalization."""
        w = self.weights[layer.input[1]].astype(np.float64)
        if layer.op_type == "ConvTranspose":
            w = w.swapaxes(0, 1)
        if layer.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in layer.attribute):
            w = w.T
        rows = w.reshape(len(w), -1)
        norm = self.taps(layer)[2]
        if norm is not None:
            scale, variance = (self.weights[norm.input[k]].astype(np.float64) for k in (1, 4))
            epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
            rows = rows * (scale / np.sqrt(variance + epsilon))[:, None]
        return rows


def per_channel(value):
    """Reshapes a value to N×C×positions."""
    return value.reshape(value.shape[0], value.shape[1], -1)


def error_of(features, gradient):
    """Returns the standard error by the delta method; features are N×F for a channel."""
    covariance = np.cov(features, rowvar=False)
    return np.sqrt(max(gradient @ covariance @ gradient, 0.0) / len(features))


def check_side(report, name, side, columns, value):
    x = per_channel(value)
    n = x.shape[1]
    flat = x.transpose(1, 0, 2).reshape(n, -1)
    mean, centred = flat.mean(1), flat - flat.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    lively = variance > 1e-8 * (mean**2 + 1e-12)
    with np.errstate(all="ignore"):
        skewness = (centred**3).mean(1) / variance**1.5
        kurtosis = (centred**4).mean(1) / variance**2
    features = np.stack([x.mean(2), (x**2).mean(2), np.abs(x).mean(2), (x > 0).mean(2)], axis=2)
    errors = {
        "mean_se": features[:, :, 0].std(0, ddof=1) / np.sqrt(len(x)),
        "variance_se": np.array([error_of(features[:, c, :2], np.array([-2 * mean[c], 1.0])) for c in range(n)]),
        "mean_abs_se": features[:, :, 2].std(0, ddof=1) / np.sqrt(len(x)),
        "frequency_se": features[:, :, 3].std(0, ddof=1) / np.sqrt(len(x)),
    }
    expected = {
        "count": np.full(n, flat.shape[1]),
        "mean": mean,
        "variance": variance,
        "mean_abs": np.abs(flat).mean(1),
        "min": flat.min(1),
        "max": flat.max(1),
        **errors,
    }
    # Rounding decides the sign of values close to zero.
    loose = {"frequency_se": 1e-3}
    wrong = [k for k, e in expected.items() if not near(columns[f"{name}/{side}/{k}"], e, absolute=loose.get(k, 1e-6))]
    got = {k: columns[f"{name}/{side}/{k}"] for k in ("skewness", "kurtosis", "frequency")}
    # Rounding dominates the higher moments of nearly constant channels.
    wrong += [k for k, e in (("skewness", skewness), ("kurtosis", kurtosis)) if not near(got[k][lively], e[lively], 1e-3)]
    if np.abs(got["frequency"] - (flat > 0).mean(1)).max() > 2e-3:
        wrong.append("frequency")
    counts = columns[f"{name}/{side}/histogram/counts"]
    if not np.array_equal(counts.sum(1), np.full(n, len(x))):
        wrong.append("histogram")
    return wrong


def unpack(packed, rows):
    """Returns the whole matrix from its packed lower triangle."""
    gram = np.zeros((rows + 1, rows + 1))
    gram[np.tril_indices(rows + 1)] = packed
    return gram + np.tril(gram, -1).T


def check_grams(report, network, header, columns, values):
    wrong = []
    for i, of in enumerate(header["grams"]):
        x = values[of["value"]]
        z = per_channel(x).transpose(1, 0, 2).reshape(x.shape[1], -1)
        z = np.vstack([z, np.ones(z.shape[1])])
        expected, got = z @ z.T, unpack(columns[f"gram/{i}"], of["rows"])
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected))) + 1e-12
        if np.abs(got - expected).max() > 1e-5 * scale.max() or not np.all(np.abs(got - expected) <= 1e-3 * scale + 1e-6):
            wrong.append(of["value"])
    report.check(header["grams"] and not wrong, "Gram matrices", f"{len(header['grams'])} tensors {wrong}")


def check_patches(report, program, folder, network, path):
    """Checks the Gram matrices of patches, including borders, separately for each group."""
    profile = folder / "patch.profile"
    code, result = program.json("profile", path, "--data", folder / "x.npz", "--images", 8, "--device", "cpu", "--gram", "patch",
                                "-o", profile)
    if not report.check(code == 0, "profile --gram patch", message(result) if code else f"{result['images']} images"):
        return
    columns = load_file(profile)
    with safe_open(profile, "np") as file:
        grams = json.loads(file.metadata()["secateur"])["grams"]
    values = network.run([g["value"] for g in grams if g["value"] in network.producers])
    by_name = {n.name: n for n in network.layers}
    wrong = []
    for i, of in enumerate(grams):
        layer = by_name[of["consumers"][0]]
        x = values[of["value"]] if of["value"] in values else network.x
        x = np.asarray(x[:8], np.float64)
        if layer.op_type != "Conv":
            patches = per_channel(x).transpose(1, 0, 2).reshape(1, x.shape[1], -1)
        else:
            attributes = {a.name: list(a.ints) or a.i for a in layer.attribute}
            kernel = network.weights[layer.input[1]].shape[2:]
            pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
            x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
            windows = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))[:, :, :: strides[0], :: strides[1]]
            groups = attributes.get("group", 1)
            patches = windows.transpose(1, 4, 5, 0, 2, 3).reshape(groups, of["rows"], -1)
        for group, (p, packed) in enumerate(zip(patches, columns[f"gram/{i}"].reshape(of["groups"], -1))):
            p = np.vstack([p, np.ones(p.shape[1])])
            if not near(unpack(packed, of["rows"]), p @ p.T, 1e-5):
                wrong.append((of["value"], group))
    report.check(grams and not wrong, "Gram matrices of patches", f"{len(grams)} layers {wrong[:3]}")


def expected_scores(network, layer, values, images):
    """Returns the scores of a layer's filters by criterion, computed in NumPy."""
    rows = network.filters(layer)
    pre, post, norm = network.taps(layer)
    x = per_channel(values[post])
    flat = x.transpose(1, 0, 2).reshape(x.shape[1], -1)
    scores = {
        "l1": np.abs(rows).sum(1),
        "l2": np.sqrt((rows**2).sum(1)),
        "mean": np.abs(rows.mean(1)),
        "variance": rows.var(1),
        "std": rows.std(1),
        "fpgm": np.array([np.sqrt(((rows - r) ** 2).sum(1)).sum() for r in rows]),
        "apoz": (flat > 0).mean(1),
        "act-mean": np.abs(flat.mean(1)),
        "act-variance": flat.var(1),
        "act-l1": np.abs(flat).mean(1),
    }
    if norm is not None:
        scores["bn-scale"] = np.abs(network.weights[norm.input[1]])
    consumer = network.only_consumer(post)
    if consumer is not None and consumer.op_type in ("Conv", "Gemm") and not any(a.name == "group" and a.i > 1 for a in consumer.attribute):
        w = network.filters(consumer)
        squares = (w**2).reshape(len(w), len(flat), -1).sum(axis=(0, 2))
        z = np.vstack([flat, np.ones(flat.shape[1])])
        h = z @ z.T / z.shape[1]
        scores["obd"] = 0.5 * np.diag(h)[:-1] * squares
        # With few positions per channel, rounding dominates the inverse.
        if z.shape[1] < 4 * len(z):
            return scores
        ridge = np.diag(np.append(np.full(len(flat), 1e-4 * np.diag(h)[:-1].mean()), 0.0))
        scores["obs"] = 0.5 * squares / np.diag(np.linalg.inv(h + ridge))[:-1]
    return scores


def check_criteria(report, program, folder, network, path, profile, values):
    """Checks the scores of filters that are not coupled with others."""
    layers = {n.name: n for n in network.layers}
    scores = {}
    for criterion in ["l1", "l2", "mean", "variance", "std", "fpgm", "bn-scale", "apoz", "act-mean", "act-variance",
                      "act-l1", "obd", "obs"]:
        cut = folder / "cut.json"
        code, result = program.json("plan", path, "--profile", profile, "--criterion", criterion, "--normalize", "none",
                                    "--remove-below=-1", "-o", cut)
        if criterion == "bn-scale" and code == 2 and "no BatchNormalization" in message(result):
            report.check(True, f"{criterion} refuses a layer without BatchNormalization", message(result)[:60])
            continue
        if code != 0:
            report.check(False, criterion, message(result))
            continue
        coupled = json.loads(cut.read_text())["coupled"]
        single = [c for c in coupled if len(c["members"]) == 1 and "blocked" not in c["why"]]
        wrong, compared = [], 0
        for name in {c["members"][0][0] for c in single}:
            if name not in scores:
                scores[name] = expected_scores(network, layers[name], values, None)
            if criterion not in scores[name]:
                continue
            own = [c for c in single if c["members"][0][0] == name]
            got = np.array([c["score"] for c in own])
            expected = scores[name][criterion][[c["members"][0][1] for c in own]]
            compared += len(own)
            if not near(got, expected, 2e-3 if criterion in ("apoz", "obs") else 1e-4):
                wrong.append(name)
        if criterion == "obs" and not compared:
            report.skip("criterion obs", "too few positions for its matrices")
            continue
        report.check(not wrong and compared, f"criterion {criterion}", f"{compared} filters {wrong}")


def gated(network, post, factors):
    """Returns the outputs for every image if the channels behind an activation are multiplied by factors."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    at = next(i for i, n in enumerate(graph.node) if post in n.output)
    for node in graph.node:
        for i, value in enumerate(node.input):
            if value == post:
                node.input[i] = post + "/gated"
    graph.initializer.append(numpy_helper.from_array(factors.astype(np.float32), post + "/gates"))
    graph.node.insert(at + 1, onnx.helper.make_node("Mul", [post, post + "/gates"], [post + "/gated"]))
    return Network(model, network.x).run([o.name for o in graph.output][:1]).popitem()[1]


def check_gradients(report, program, folder, network, path, values, labels):
    """Compares the gradients of some channels of every layer but the last with differences of the cross-entropy."""
    profile = folder / "gradients.profile"
    code, result = program.json("profile", path, "--data", folder / "x.npz", "--device", "cpu", "--gram", "none",
                                "--gradients", "-o", profile)
    if not report.check(code == 0, "gradients", message(result) if code else f"{result['images']} images"):
        return
    columns = load_file(profile)
    step, wrong, compared = 0.001, [], 0
    for layer in network.layers[:-1]:
        _, post, _ = network.taps(layer)
        channels = values[post].shape[1]
        expected = {}
        for c in sorted({0, channels // 2, channels - 1}):
            losses = []
            for factor in (1 + step, 1 - step):
                factors = np.ones((channels, *[1] * (values[post].ndim - 2)))
                factors[c] = factor
                scores = gated(network, post, factors)
                if any(n.op_type == "Softmax" for n in network.model.graph.node):
                    scores = np.log(scores)
                scores -= scores.max(1, keepdims=True)
                losses.append(np.log(np.exp(scores).sum(1)) - scores[np.arange(len(labels)), labels])
            g = (losses[0] - losses[1]) / (2 * step)
            expected[c] = ((g**2).sum(), sum(g[i : i + 32].mean() ** 2 for i in range(0, len(g) - 31, 32)))
        for k, name in enumerate(("squares", "batch_squares")):
            got = columns[f"{layer.name}/gates/{name}"][list(expected)]
            compared += len(expected)
            sums = np.array([sums[k] for sums in expected.values()])
            # The differences of single precision have errors, which matter for channels that hardly change the loss.
            largest = columns[f"{layer.name}/gates/{name}"].max()
            if (np.abs(got - sums) > 5e-2 * sums + 1e-2 * largest).any():
                wrong.append(f"{layer.name}/{name} {got} {sums}")
    report.check(not wrong and compared, "gradients of gates", f"{compared} sums {wrong}")


def check(report, program, shared, name, x, labels):
    path = shared / "models" / name
    network = Network(path, x)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        np.savez(folder / "x.npz", images=x, labels=labels)
        profile = folder / "a.profile"
        code, result = program.json("profile", path, "--data", folder / "x.npz", "--device", "cpu", "--criterion", "fpgm",
                                    "--batch", 7, "-o", profile)
        if not report.check(code == 0, f"{name}: profile", message(result) if code else f"{result['layers']} layers"):
            return
        columns = load_file(profile)
        with safe_open(profile, "np") as file:
            header = json.loads(file.metadata()["secateur"])
        report.check(header["images"] == len(x) and header["complete"], "the header", header["model"])
        wanted = [v for layer in network.layers for v in network.taps(layer)[:2]]
        values = network.run(wanted + [g["value"] for g in header["grams"]])
        values |= {g["value"]: x.astype(np.float64) for g in header["grams"] if g["value"] not in values}
        wrong = {}
        for layer in network.layers:
            pre, post, _ = network.taps(layer)
            for side, tap in (("pre", pre), ("post", post)):
                found = check_side(report, layer.name, side, columns, values[tap])
                if found:
                    wrong[f"{layer.name}/{side}"] = found
        report.check(not wrong, "statistics of every layer", f"{len(network.layers)} layers {wrong}")
        check_grams(report, network, header, columns, values)
        check_criteria(report, program, folder, network, path, profile, values)
        check_patches(report, program, folder, network, path)
        if len(x) >= 32:
            check_gradients(report, program, folder, network, path, values, labels)


def images(shared):
    """Yields for each network the images, preprocessed as described in SOURCES.md, and the labels."""
    cifar = np.load(shared / "data" / "cifar10" / "test.npz")
    keys = list(cifar.keys())
    pictures = cifar["images" if "images" in keys else keys[0]][:48]
    pictures = pictures.transpose(0, 3, 1, 2) if pictures.shape[-1] == 3 else pictures
    mean, std = (np.array(v, np.float32)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    labels = cifar["labels" if "labels" in keys else keys[1]][:48].astype(np.int64)
    yield "cifar10_resnet20.onnx", ((pictures / np.float32(255) - mean) / std).astype(np.float32), labels
    digits = gzip.open(next((shared / "data" / "mnist").glob("t10k-images*"))).read()
    digits = np.frombuffer(digits, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:48] / np.float32(255)
    yield "mnist_lenet_caffe.onnx", digits.astype(np.float32), np.arange(48) % 10
    noise = np.random.default_rng(0).normal(size=(8, 3, 224, 224)).astype(np.float32)
    yield "imagenet_mobilenet_v2_1.0_224_quant.onnx", noise, np.arange(8)


def main():
    program, shared, report = Program(sys.argv[1]), pathlib.Path(sys.argv[2]), Report()
    for name, x, labels in images(shared):
        check(report, program, shared, name, x, labels)
    report.finish()


if __name__ == "__main__":
    main()
