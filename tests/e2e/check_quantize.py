"""Compares the quantization with ONNX Runtime's.

    python3 tests/e2e/check_quantize.py target/release/secateur ../shared [PART …]

Parts, all by default:

- `ranges`: ranges of activations, against those of `onnxruntime.quantization`'s calibrators on the same images.
- `integers`: files of 8-bit integers. ONNX Runtime runs them with its integer operators, without optimizations it agrees
  with `secateur run`, and the outputs are at least as near to the original's as those of `quantize_static`'s best method.
  The environment variable NETWORKS, a list with commas, chooses other networks.
"""

import collections
import contextlib
import io
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.quantization.calibrate import EntropyCalibrater, MinMaxCalibrater, PercentileCalibrater

from common import (
    Program, Report, file_name, message, ort_outputs, own_inputs, pictures, run_model, session, worst_error,
)

# Networks and numbers of images: residual blocks with BatchNormalization, convolutions with pooling, and Fire modules.
NETWORKS = {"cifar10_resnet20": 32, "mnist_lenet_caffe": 100, "imagenet_squeezenet1.1": 2}
# Relative to the largest magnitude: other orders of f32 sums in the layers before.
SUMS = 1e-4
# A histogram has 64 bins an octave, so a bin is at most this part of its values wide.
BIN = 1 / 64
# Bins of ONNX Runtime's histograms.
ORT_BINS = 4096


class Images(CalibrationDataReader):
    """All images as one batch: ONNX Runtime's histograms depend on the order of several batches."""

    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def calibrated(calibrater, path, feeds, folder, **options):
    """Returns the range of every tensor by one of ONNX Runtime's calibrators."""
    augmented = pathlib.Path(folder) / f"{calibrater.__name__}.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        calibration = calibrater(str(path), augmented_model_path=str(augmented), **options)
        calibration.augment_graph()
        calibration.create_inference_session()
        calibration.collect_data(Images(feeds))
        found = calibration.compute_data()
    return {name: tuple(float(np.ravel(v)[0]) for v in data.range_value) for name, data in found.items()}


def activations(path, feeds, names):
    """Returns the values of tensors over all images, as ONNX Runtime computes them without fusions."""
    model = onnx.load(path)
    known = {i.name for i in model.graph.input}
    del model.graph.output[:]
    model.graph.output.extend([onnx.ValueInfoProto(name=n) for n in names if n not in known])
    runs = session(model)
    computed = [o.name for o in runs.get_outputs()]
    values = {name: [] for name in names}
    for feed in feeds:
        for name, value in [*feed.items(), *zip(computed, runs.run(computed, feed))]:
            if name in values:
                values[name].append(np.ravel(value))
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in values.items()}


def covering(low, high):
    """Extends a range to zero, which every range of the program contains."""
    return min(low, 0.0), max(high, 0.0)


def squared_error(x, low, high, steps):
    """Returns the mean squared error of values that are rounded to the steps of a range."""
    step = (high - low) / steps
    below = np.round(-low / step)
    return float(np.mean((x - (np.clip(np.round(x / step), -below, steps - below)) * step) ** 2))


def divergence(x, low, high, steps, side=2048):
    """Returns the KL divergence of the quantized distribution, by the definition in docs/statistics.md."""
    x = x[x != 0]
    far = np.abs(x).max()
    width = far / side
    counts = np.histogram(x, 2 * side, (-far, far))[0].astype(np.float64)
    first = min(max(int(round(low / width)) + side, 0), 2 * side - 1)
    past = min(max(int(round(high / width)) + side, first + 1), 2 * side)
    inside = counts[first:past]
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[past:].sum()
    centers = (np.arange(first, past) + 0.5 - side) * width
    level = np.round(centers / ((high - low) / steps)).astype(int)
    level -= level.min()
    kept = np.bincount(level, inside)
    nonempty = np.bincount(level, p > 0)
    q = np.maximum((kept / np.maximum(nonempty, 1))[level], 1e-4)
    p, q = p / p.sum(), q / inside.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


def spread(x):
    """Spreads values evenly over the bins of a histogram, 64 an octave: the distribution that the definition is of."""
    x = x[x != 0]
    mantissa, exponent = np.frexp(np.abs(x))
    bins = np.floor((2 * mantissa - 1) * 64)
    low, high = (np.ldexp(1 + (bins + end) / 64, exponent - 1) for end in (0, 1))
    _, place, counts = np.unique(np.sign(x) * low, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    rank = np.empty(len(x))
    rank[order] = np.arange(len(x)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.sign(x) * (low + (high - low) * (rank + 0.5) / counts[place])
    return np.clip(values, x.min(), x.max())


def check_extremes(report, name, values, found, theirs):
    """The minimum and the maximum are those of ONNX Runtime's MinMaxCalibrater."""
    worst = 0.0
    for tensor in found:
        x, ours = values[tensor["tensor"]], tensor["asymmetric"]["minmax"]
        largest = np.abs(x).max()
        for expected in [covering(x.min(), x.max()), covering(*theirs[tensor["tensor"]])]:
            worst = max(worst, np.abs(np.subtract(ours, expected)).max() / largest)
        worst = max(worst, abs(tensor["symmetric"]["minmax"][1] - largest) / largest)
    report.check(worst <= SUMS, f"{name}: minmax as MinMaxCalibrater", f"{worst:.1e} of the largest magnitude")


def check_percentiles(report, name, values, found, theirs, symmetric):
    """Percentiles are within a bin of NumPy's, and within a bin of either histogram of PercentileCalibrater's."""
    kind = "symmetric" if symmetric else "asymmetric"
    worst, worst_ort = 0.0, 0.0
    for tensor in found:
        x, (low, high) = values[tensor["tensor"]], tensor[kind]["percentile:99.999"]
        largest = np.abs(x).max()
        if symmetric:
            exact = np.percentile(np.abs(x), 99.999, method="inverted_cdf")
            # ONNX Runtime narrows the range to the minimum and the maximum.
            pairs = [(high, exact, np.abs(theirs[tensor["tensor"]]).max())]
        else:
            ends = np.percentile(x, [0.0005, 99.9995], method="inverted_cdf")
            pairs = zip((low, high), covering(*ends), covering(*theirs[tensor["tensor"]]))
        for ours, exact, ort in pairs:
            # Their edge is the one below the value, and their bins have 2/ORT_BINS of the magnitude (1/ORT_BINS for the
            # histogram of magnitudes).
            worst = max(worst, abs(ours - exact) / (abs(exact) * BIN + SUMS * largest))
            worst_ort = max(worst_ort, abs(ours - ort) / (abs(ort) * BIN + (2 / ORT_BINS + SUMS) * largest))
    report.check(worst <= 1, f"{name}: {kind} percentiles as NumPy", f"{worst:.2f} of a bin")
    report.check(worst_ort <= 1, f"{name}: {kind} percentiles as PercentileCalibrater", f"{worst_ort:.2f} of two bins")


def check_entropy(report, name, values, found, theirs):
    """No range of EntropyCalibrater's, and none of a grid, has a clearly smaller KL divergence.

    Thresholds themselves cannot be compared: the divergence hardly changes over a wide range of them, and jumps as bins
    and levels come to lie upon each other. ONNX Runtime moves bins that do not fill a level to the last one. Nor can tensors with many zeros: ONNX Runtime spreads them over
    their level, although integers represent zeros exactly.
    """
    worst, clipped = 0.0, 0
    for tensor in found:
        x = values[tensor["tensor"]]
        far = np.abs(x).max()
        low, high = tensor["asymmetric"]["entropy"]
        whole = covering(x.min(), x.max())
        even = spread(x)
        kl = lambda low, high: divergence(even, low, high, 255)
        others = [kl(max(whole[0], -t), min(whole[1], t)) for t in far * np.arange(1, 17) / 16]
        ort = covering(*theirs[tensor["tensor"]])
        least = min(others + [kl(*ort)])
        ours = kl(low, high)
        # Values count as evenly spread within a bin. The divergence of n values over b bins varies by sqrt(b/2)/n.
        nonzero = x[x != 0]
        bins = min(2048, len(np.unique(nonzero)))
        worst = max(worst, (ours - least) / (0.1 * least + 2 * np.sqrt(bins / 2) / len(nonzero)))
        clipped += high - low < 0.9 * (whole[1] - whole[0])
    report.check(worst <= 1, f"{name}: entropy as EntropyCalibrater", f"{worst:.2f} of the tolerance, {clipped} clipped")


def check_squares(report, name, values, found, others):
    """No other method's range, and none of a grid, has a smaller squared error."""
    worst = 0.0
    for tensor in found:
        x = values[tensor["tensor"]]
        if len(np.unique(x)) <= 1024:
            # Some range represents pixels without any error, which no density of values shows.
            continue
        # The squared error of n rounded values has a relative standard error of 0.9/sqrt(n), the best of many less.
        tolerance = 0.01 + 2 / np.sqrt(len(x))
        whole = covering(x.min(), x.max())
        asymmetric = [covering(*theirs[tensor["tensor"]]) for theirs in others]
        asymmetric += [(whole[0] * f, whole[1] * g) for f in (0.3, 0.6, 1) for g in np.arange(3, 11) / 10]
        symmetric = [(-t, t) for t in np.abs(x).max() * np.arange(5, 21) / 20]
        for kind, steps, tried in [("asymmetric", 255, asymmetric), ("symmetric", 254, symmetric)]:
            least = min(squared_error(x, low, high, steps) for low, high in tried if high > low)
            worst = max(worst, (squared_error(x, *tensor[kind]["mse"], steps) / least - 1) / tolerance)
    report.check(worst <= 1, f"{name}: mse no worse than any other", f"{worst:.2f} of the tolerance")


# Images that calibrate, images that judge, and the least number of fused operators of integers.
INTEGERS = {
    "cifar10_resnet20": (256, 500, {"QLinearConv": 19, "QLinearAdd": 9, "QGemm": 1}),
    "mnist_lenet_caffe": (200, 1000, {"QLinearConv": 2, "QGemm": 2}),
    "sr_espcn_x3": (4, 2, {"QLinearConv": 4}),
}
# Signal-to-noise ratios of two methods are equal up to this, in dB.
NOISE = 0.5


def logits(path, x, batch=50):
    """Returns ONNX Runtime's first output, with optimizations, as users run it."""
    runs = session(path, True)
    name = runs.get_inputs()[0].name
    size = batch if isinstance(runs.get_inputs()[0].shape[0], str) else 1
    return np.concatenate([runs.run(None, {name: part})[0] for part in np.split(x, range(size, len(x), size))])


def snr_db(got, wanted):
    return 10 * np.log10(np.sum(np.square(wanted, dtype=np.float64)) / np.sum(np.square(got - wanted, dtype=np.float64)))


def fused(path, folder):
    """Returns the number of nodes of each type after ONNX Runtime's optimizations."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{folder}/optimized.onnx"
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return collections.Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def static(path, feeds, method, out):
    """Quantizes a file by ONNX Runtime's own tool."""
    with contextlib.redirect_stdout(io.StringIO()):
        prepared = f"{out}.prepared.onnx"
        quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
        quantize_static(prepared, out, Images(feeds), per_channel=True, calibrate_method=method)


def integers(report, program, shared):
    chosen = os.environ.get("NETWORKS")
    networks = {name: INTEGERS.get(name, (200, 200, {})) for name in chosen.split(",")} if chosen else INTEGERS
    for name, (fit, judge, expected) in networks.items():
        path = shared / f"models/{name}.onnx"
        (feed, dims) = own_inputs(onnx.load(path))[0]
        dims = [d if isinstance(d, int) else 96 for d in dims[1:]]
        images = pictures(shared, name, [fit + judge, *dims])
        x, test = images[:fit], images[fit:]
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", x)
            out = f"{folder}/int8.onnx"
            code, result = program.json("quantize", path, "--data", f"{folder}/x.npy", "-o", out)
            if not report.check(code == 0, f"{name}: quantized", message(result)[:90]):
                continue
            onnx.checker.check_model(onnx.load(out))
            counts = fused(out, folder)
            report.check(all(counts[op] >= n for op, n in expected.items()), f"{name}: fused", str(dict(counts))[:90])
            inputs = {feed: test[:1]}
            _, result, ours = run_model(program, out, inputs, f"{folder}/run", "cpu")
            theirs = {file_name(name): value for name, value in ort_outputs(out, inputs).items()}
            # A sum near the middle of two integers may be rounded to either, which changes the output by a step.
            same = [np.abs(ours[n] - theirs[n]) <= 1e-4 * np.abs(theirs[n]).max() for n in theirs if n in ours]
            ties = sum(int(np.sum(~part)) for part in same)
            close = len(same) == len(theirs) and worst_error(ours, theirs) <= 0.02
            fits = close and ties <= 1e-3 * sum(part.size for part in same)
            report.check(fits, f"{name}: as ONNX Runtime without optimizations", f"{ties} ties")
            wanted = logits(path, test)
            found = snr_db(logits(out, test), wanted)
            others = {}
            for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile):
                static(path, [{feed: part} for part in np.split(x, len(x))], method, f"{folder}/ort.onnx")
                others[method.name] = snr_db(logits(f"{folder}/ort.onnx", test), wanted)
            text = ", ".join(f"{name} {snr:.1f}" for name, snr in others.items())
            best = max(others.values())
            report.check(found >= best - NOISE, f"{name}: as near as quantize_static", f"{found:.1f} dB ({text})")


def ranges(report, program, shared):
    for name, count in NETWORKS.items():
        path = shared / f"models/{name}.onnx"
        model = onnx.load(path)
        (feed, dims) = own_inputs(model)[0]
        x = pictures(shared, name, [count, *dims[1:]])
        batches = [x] if isinstance(dims[0], str) else np.split(x, count)
        feeds = [{feed: batch} for batch in batches]
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", x)
            profile = f"{folder}/x.profile"
            code, result = program.json(
                "profile", path, "--data", f"{folder}/x.npy", "--histograms", "--gram", "none", "-o", profile
            )
            if not report.check(code == 0 and result.get("histograms"), f"{name}: histograms", message(result)[:90]):
                continue
            found = program.json("show", profile)[1]["values"]
            values = activations(path, feeds, [tensor["tensor"] for tensor in found])
            whole = all(t["values"] == values[t["tensor"]].size and not t["nan"] + t["infinite"] for t in found)
            report.check(whole, f"{name}: every value is counted", f"{len(found)} tensors")
            minmax = calibrated(MinMaxCalibrater, path, feeds, folder)
            percent = {s: calibrated(PercentileCalibrater, path, feeds, folder, num_bins=ORT_BINS, symmetric=s)
                       for s in (False, True)}
            entropy = calibrated(EntropyCalibrater, path, feeds, folder, num_bins=ORT_BINS, num_quantized_bins=256)
        # ONNX Runtime's calibrators leave out tensors that no chosen operator reads or writes.
        found = [t for t in found if all(t["tensor"] in one for one in [minmax, entropy, *percent.values()])]
        report.check(len(found) >= 5, f"{name}: tensors in common", f"{len(found)}")
        check_extremes(report, name, values, found, minmax)
        for symmetric in (False, True):
            check_percentiles(report, name, values, found, percent[symmetric], symmetric)
        check_entropy(report, name, values, found, entropy)
        check_squares(report, name, values, found, [minmax, percent[False], entropy])


PARTS = {"ranges": ranges, "integers": integers}


def main():
    program, shared, report = Program(sys.argv[1]), pathlib.Path(sys.argv[2]), Report()
    for part in sys.argv[3:] or PARTS:
        PARTS[part](report, program, shared)
    report.finish()


if __name__ == "__main__":
    main()
