"""Shared parts of the end-to-end checks: the program, ONNX Runtime, real inputs, the report."""

import gzip
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image

# For a whole network in f32, with the accumulated rounding of its layers; also the tolerance of the program's proof.
TOLERANCE = 1e-4


class Report:
    """A table of verdicts, printed immediately; `finish` ends the script."""

    def __init__(self):
        self.count = {"ok": 0, "FAILED": 0, "skipped": 0}

    def row(self, verdict, name, detail=""):
        self.count[verdict] += 1
        print(f"{verdict:8}  {name:52}  {' '.join(str(detail).split())}", flush=True)

    def check(self, condition, name, detail=""):
        self.row("ok" if condition else "FAILED", name, detail)
        return bool(condition)

    def skip(self, name, reason):
        self.row("skipped", name, reason)

    def finish(self):
        """Prints the totals and exits. A report without any check is a failure, too."""
        c = self.count
        print(f"{c['ok']} passed, {c['FAILED']} failed, {c['skipped']} skipped")
        sys.exit(1 if c["FAILED"] or not c["ok"] else 0)


class Program:
    """The program under test."""

    def __init__(self, path):
        self.path = str(pathlib.Path(path).resolve())

    def __call__(self, *arguments, timeout=900):
        """Runs a command; returns exit code, stdout, stderr. After the timeout the code is None."""
        command = [self.path, *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return None, "", f"no end after {timeout} s"
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def json(self, *arguments, timeout=900):
        """Runs a command with --json; returns exit code and object (an error object if it failed)."""
        code, out, err = self(*arguments, "--json", timeout=timeout)
        try:
            return code, json.loads(out)
        except ValueError:
            return code, {"error": {"message": f"not JSON: {out[:200]!r}; stderr: {err[:300]!r}"}}

    def adapters(self):
        """Returns the adapters that `devices` lists."""
        code, listed = self.json("devices")
        if code != 0:
            sys.exit(f"`devices` failed: {listed}")
        return listed["devices"]


def message(result):
    """Returns the texts of an error object on one line."""
    error = result.get("error", result) if isinstance(result, dict) else result
    text = " ".join(str(v) for v in error.values() if v) if isinstance(error, dict) else str(error)
    return re.sub(r"\s+", " ", text)


def session(model, optimise=False):
    """Creates an ONNX Runtime session for a file or a message."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def ort_outputs(model, feeds, optimise=False):
    """Returns ONNX Runtime's outputs by name."""
    s = session(model, optimise)
    names = [o.name for o in s.get_outputs()]
    return dict(zip(names, s.run(names, feeds)))


def relative_error(got, expected):
    """Returns max|got - expected| / max|expected|; infinite for different shapes and for NaN."""
    if got.shape != expected.shape:
        return float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    error = np.abs(got - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-30)
    return float("inf") if np.isnan(error) else float(error)


def worst_error(got, expected):
    """Returns the largest relative error over outputs by name; infinite if one is missing."""
    if got.keys() != expected.keys():
        return float("inf")
    return max(relative_error(got[name], expected[name]) for name in expected)


def own_inputs(model):
    """Returns names and dimensions (numbers or symbols) of the inputs without initializers.

    Older files list their initializers among the inputs."""
    constants = {t.name for t in model.graph.initializer}
    return [
        (i.name, [d.dim_value or d.dim_param for d in i.type.tensor_type.shape.dim])
        for i in model.graph.input
        if i.name not in constants
    ]


def concrete(dims, batch):
    """Replaces symbols in a shape: the batch on the first axis, otherwise the sides of a small non-square image."""
    free = iter((64, 56))
    return [d if isinstance(d, int) else batch if axis == 0 else next(free) for axis, d in enumerate(dims)]


def random_feeds(model, batch=2, seed=0):
    """Returns standard normal numbers for every input, and 0 to 2 for integers."""
    rng = np.random.default_rng(seed)
    types = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}

    def numbers(name, shape):
        drawn = rng.standard_normal(shape) if types[name].kind == "f" else rng.integers(0, 3, shape)
        return np.asarray(drawn, types[name])

    return {name: numbers(name, concrete(dims, batch)) for name, dims in own_inputs(model)}


def file_name(value):
    """Returns the name of the file to which `run` writes a value."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", value) + ".npy"


def run_model(program, path, feeds, folder, device):
    """Calls `secateur run`; returns exit code, JSON object, and outputs by file name."""
    pathlib.Path(folder).mkdir(parents=True)
    arguments = []
    for index, (name, array) in enumerate(feeds.items()):
        np.save(f"{folder}/input{index}.npy", array)
        arguments += ["--input", f"{name}={folder}/input{index}.npy"]
    out = pathlib.Path(folder) / "out"
    code, result = program.json("run", path, *arguments, "--output-dir", out, "--device", device)
    return code, result, {f.name: np.load(f) for f in out.glob("*.npy")} if out.is_dir() else {}


# Preprocessing of each network (SOURCES.md): channels, offset to subtract, divisor.
PICTURES = {
    "cifar10": ("rgb", np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255),
    "det_yolox": ("bgr", 0, 1),
    "emotion": ("gray", 127.5, 127.5),
    "face_ultraface": ("rgb", 127, 128),
    "imagenet_darknet": ("rgb", 0, 255),
    "imagenet_mobilenet": ("rgb", 128, 128),
    "imagenet_squeezenet": ("bgr", np.array([104, 117, 123]), 1),
    "mnist_cntk": ("gray", 0, 1),
    "mnist_lenet": ("gray", 0, 256),
    "seg_deeplab": ("rgb", 128, 128),
    "sr_espcn": ("gray", 0, 255),
    "style_candy": ("bgr", 0, 1),
    "vww": ("rgb", 0, 255),
}


def mnist(shared):
    """Returns the 10,000 test digits, u8 N×28×28."""
    with gzip.open(f"{shared}/data/mnist/t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)


def pictures(shared, name, shape):
    """Returns real images, preprocessed for the named model, in this N×C×H×W shape."""
    channels, offset, scale = next(v for k, v in PICTURES.items() if name.startswith(k))
    count, _, height, width = shape
    if name.startswith("mnist"):
        images = mnist(shared)[:count, None]
    elif name.startswith("cifar10"):
        images = np.load(f"{shared}/data/cifar10/test.npz")["images"][:count]
    else:
        files = sorted(pathlib.Path(f"{shared}/data/imagenet-like").glob("*.jpg"))[:count]
        opened = [Image.open(f).convert("L" if channels == "gray" else "RGB").resize((width, height)) for f in files]
        images = np.stack([np.atleast_3d(np.asarray(i)).transpose(2, 0, 1) for i in opened])
    if channels == "bgr":
        images = images[:, ::-1]
    column = lambda v: np.reshape(v, (-1, 1, 1))
    return np.ascontiguousarray((images - column(offset)) / column(scale), np.float32)
