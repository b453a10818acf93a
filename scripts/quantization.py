"""Measures the table of 8-bit integers in docs/quantize.md, and prints it as Markdown.

    python3 scripts/quantization.py target/release/secateur ../shared [NETWORK ...] [--device cpu] [--out FOLDER]

The folder contains models/ and data/, as for the end-to-end checks. Every network is quantized by `secateur quantize` and
by `quantize_static` of ONNX Runtime with each of its methods, from the same images. ONNX Runtime judges all files on images
that calibrated nothing. If the package openvino is installed, it opens the file that follows its conventions. Needs
numpy, Pillow, onnx and onnxruntime.
"""

import argparse
import contextlib
import csv
import gzip
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

METHODS = (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile)
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def scaled(pixels, offset, scale):
    column = lambda v: np.reshape(v, (-1, 1, 1))
    return np.ascontiguousarray((pixels - column(offset)) / column(scale), np.float32)


def cifar(data):
    sets = [np.load(data / f"cifar10/{name}.npz") for name in ("calibration", "test")]
    x = [scaled(s["images"], np.multiply(255, IMAGENET_MEAN), np.multiply(255, IMAGENET_STD)) for s in sets]
    return x[0][:512], x[1], sets[1]["labels"]


def mnist(data):
    def idx(name, start):
        return np.frombuffer(gzip.open(data / f"mnist/{name}.gz").read(), np.uint8)[start:]

    digits = lambda name: idx(name, 16).reshape(-1, 1, 28, 28) / np.float32(256)
    return digits("train-images-idx3-ubyte")[:1024], digits("t10k-images-idx3-ubyte"), idx("t10k-labels-idx1-ubyte", 8)


def photographs(data, mode, size):
    with open(data / "imagenet-like/labels.csv", encoding="utf-8") as file:
        rows = sorted((row["file"], int(row["label"])) for row in csv.DictReader(file))
    opened = (Image.open(data / "imagenet-like" / name).convert(mode) for name, _ in rows)
    pixels = np.stack([np.atleast_3d(np.asarray(i.resize(size, Image.BILINEAR))) for i in opened])
    return pixels.transpose(0, 3, 1, 2), np.array([label for _, label in rows])


def imagenet(offset, scale, bgr=False, first=0, fit=100):
    """Returns a reader: every second photograph judges, of the others some calibrate."""

    def read(data):
        pixels, labels = photographs(data, "RGB", (224, 224))
        x = scaled(pixels[:, ::-1] if bgr else pixels, offset, scale)
        return x[::2][:fit], x[1::2], labels[1::2] + first

    return read


def faces(data):
    """The network has no data here: photographs, of which the original's classes count."""
    pixels, _ = photographs(data, "L", (64, 64))
    x = scaled(pixels, 127.5, 127.5)
    return x[::2], x[1::2], None


def luma(path):
    return np.asarray(Image.open(path).convert("YCbCr"))[:, :, 0]


def low(plane):
    h, w = (n // 3 * 3 for n in plane.shape)
    plane = plane[:h, :w]
    return plane, np.asarray(Image.fromarray(plane).resize((w // 3, h // 3), Image.BICUBIC)) / np.float32(255)


def resolution(data):
    photos = sorted((data / "imagenet-like").glob("*.jpg"))[:200]
    fit = np.stack([low(luma(photo))[1][None, :84, :84] for photo in photos])
    return fit, [low(luma(path)) for path in sorted((data / "set5").glob("*_GT.png"))], None


NETWORKS = {
    "cifar10_resnet20": cifar,
    "cifar10_resnet56": cifar,
    "mnist_lenet_caffe": mnist,
    "imagenet_squeezenet1.1": imagenet([104, 117, 123], 1, bgr=True),
    "imagenet_darknet_tiny": imagenet(0, 255),
    "imagenet_mobilenet_v2_1.0_224_quant": imagenet(128, 128, first=1),
    "emotion_mini_xception": faces,
    "sr_espcn_x3": resolution,
}


def outputs(path, x, batch=50):
    """Returns ONNX Runtime's first output, as users run it: with integer operators."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    runs = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = runs.get_inputs()[0].name
    parts = [x] if len(x) <= batch else np.array_split(x, len(x) // batch)
    return np.concatenate([runs.run(None, {name: part})[0] for part in parts])


def psnr(path, pairs):
    """Returns the mean PSNR over Set5, on luma, without a border of three pixels."""
    values = []
    for plane, small in pairs:
        got = np.clip(outputs(path, small[None, None])[0, 0] * 255, 0, 255)
        error = (got - plane.astype(np.float64))[3:-3, 3:-3]
        values.append(10 * np.log10(255**2 / np.mean(error**2)))
    return float(np.mean(values))


class Reader(CalibrationDataReader):
    def __init__(self, name, x):
        self.feeds = iter({name: image[None]} for image in x)

    def get_next(self):
        return next(self.feeds, None)


def static(path, x, method, out):
    """Quantizes a file by ONNX Runtime's own tool."""
    name = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    with contextlib.redirect_stdout(io.StringIO()):
        prepared = f"{out}.prepared.onnx"
        quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
        quantize_static(prepared, out, Reader(name, x), per_channel=True, calibrate_method=method)


def quantize(args, path, x, out, *options):
    np.save(args.out / "x.npy", x)
    line = [args.program, "quantize", path, "--data", args.out / "x.npy", "--preset", "raw", "-o", out, "--device",
            args.device, "--json", "--quiet", *options]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, line))}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def openvino_agreement(args, path, x, fit):
    """Returns the share of images with ONNX Runtime's class, or the peak signal to the largest difference, as a text."""
    try:
        import openvino
    except ImportError:
        return "–"
    out = args.out / "openvino.onnx"
    quantize(args, path, fit, out, "--for", "openvino")
    run = openvino.Core().compile_model(str(out), "CPU")
    found = [run(image[None])[run.output(0)] for image in x]
    expected = [outputs(out, image[None]) for image in x]
    if found[0].ndim == 4 and found[0].shape[2] > 1:
        largest = max(np.abs(f - e).max() / np.abs(e).max() for f, e in zip(found, expected))
        return f"{-20 * np.log10(largest):.0f} dB"
    return f"{100 * np.mean([f.argmax() == e.argmax() for f, e in zip(found, expected)]):.0f} %"


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def measure(args, name):
    path = args.shared / f"models/{name}.onnx"
    fit, test, labels = NETWORKS[name](args.shared / "data")
    shown = {}
    if isinstance(test, list):
        judge, unit = (lambda file: psnr(file, test)), "PSNR, dB"
        few = [small[None] for _, small in test]
    else:
        whole = outputs(path, test).reshape(len(test), -1)
        classes = whole.argmax(1) if labels is None else labels
        unit = "agreement, %" if labels is None else "top-1, %"
        judge = lambda file: 100 * float(np.mean(outputs(file, test).reshape(len(test), -1).argmax(1) == classes))
        few = test[:50]
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            try:
                static(path, fit, method, f"{folder}/{method.name}.onnx")
                shown[method.name] = f"{judge(f'{folder}/{method.name}.onnx'):.2f}"
            except Exception as error:  # a tool that fails is a result, too
                shown[method.name] = f"fails ({type(error).__name__})"
    out = args.out / f"{name}.onnx"
    found = quantize(args, path, fit, out)
    size = 100 * found["after"]["bytes"] / found["before"]["bytes"]
    row(name, len(fit), unit, f"{judge(path):.2f}", *(shown[m.name] for m in METHODS), f"**{judge(out):.2f}**",
        found["ranges"], f"{size:.0f}", openvino_agreement(args, path, few, fit))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/quantization"))
    args = parser.parse_args()
    if unknown := set(args.networks) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(NETWORKS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}\n")
    row("network", "images", "measure", "float", *(f"`quantize_static`, {m.name}" for m in METHODS), "secateur",
        "ranges", "bytes, %", "OpenVINO as ONNX Runtime")
    row(*("---",) * 11)
    for name in args.networks or NETWORKS:
        measure(args, name)


if __name__ == "__main__":
    main()
