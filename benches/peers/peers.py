#!/usr/bin/env python3
"""Benchmarks Secateur and other engines in turn on the same ONNX files, and prints times and ratios.

    pip install onnx numpy onnxruntime ncnn pnnx tract
    pip install --target WEBGPU onnxruntime-webgpu
    python3 benches/peers/peers.py [MODEL.onnx …] [--device 0] [--batch 1 8] [--rounds 5] [--networks DIR]
        [--webgpu WEBGPU] [--engines WORD …] [--threads N]

Without files, VGG-16, ResNet-50 and MobileNetV2 are generated with random weights (scripts/make_networks.py). In each
round every engine runs for a while, one after the other, and the median of its runs is kept. The table contains the
medians over the rounds, and ratios of times within a round between engines on the same kind of device. Engines that are
not installed are reported and skipped. Outputs are first compared with ONNX Runtime's: an engine with wrong outputs is
not timed.

Times are wall-clock times and include transfers to and from the device: on a busy machine only the ratios are
meaningful. ncnn takes one image at a time, so a batch is that many runs; it chooses its precision itself (fp16 storage
if the driver supports it). ONNX Runtime WebGPU shares its module name with ONNX Runtime, so it needs a folder of its
own; it refuses lavapipe of Mesa 22, and accepts that of Mesa 25. tract always uses one thread. VK_ICD_FILENAMES selects
a driver other than the system's.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))
import make_networks  # noqa: E402

NETWORKS = ["vgg16", "resnet50", "mobilenet_v2"]


def generated(folder):
    """Returns the networks' paths; generates missing files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.onnx" for name in NETWORKS]
    for path in paths:
        if not path.exists():
            make_networks.make(path.stem, path)
    return paths


def shape_of(path):
    """Returns the input's name, and its shape for one image."""
    value = onnx.load(path, load_external_data=False).graph.input[0]
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return value.name, [1] + [n or 224 for n in dims[1:]]


def repeat(run, seconds):
    """Returns the median seconds of a run, over at least two runs."""
    times, begin = [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Runtime:
    """ONNX Runtime on the CPU, also the reference for outputs."""

    name = "ONNX Runtime, CPU"

    def __init__(self, path, _work, args):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def output(self, x):
        return self.session.run(None, {self.input: x})[0]

    def time(self, x, seconds):
        return repeat(lambda: self.output(x), seconds)


class RuntimeWebGpu:
    """ONNX Runtime with WebGPU (Dawn), in a separate process: webgpu.py."""

    name = "ONNX Runtime, WebGPU"

    def __init__(self, path, work, args):
        if args.webgpu is None:
            raise ImportError("set --webgpu to a folder with onnxruntime-webgpu")
        self.path, self.work = path, work
        self.environment = {**os.environ, "PYTHONPATH": str(args.webgpu.resolve())}

    def command(self, x, *arguments):
        np.save(self.work / "x.npy", x)
        script = Path(__file__).with_name("webgpu.py")
        command = [sys.executable, script, self.path, self.work / "x.npy", *arguments]
        environment = self.environment
        done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, env=environment)
        return done.stdout

    def output(self, x):
        self.command(x, "--output", self.work / "y.npy")
        return np.load(self.work / "y.npy")

    def time(self, x, seconds):
        return float(self.command(x, "--seconds", seconds))


class Tract:
    """tract on the CPU."""

    name = "tract, CPU"

    def __init__(self, path, _work, _args):
        import tract

        self.tract, self.path, self.batch = tract, path, 0

    def output(self, x):
        if len(x) != self.batch:
            network = self.tract.onnx().load(str(self.path))
            network.set_input_fact(0, ",".join(map(str, x.shape)) + ",f32")
            self.network, self.batch = network.into_model().into_runnable(), len(x)
        return self.network.run([x])[0].to_numpy()

    def time(self, x, seconds):
        self.output(x)
        return repeat(lambda: self.output(x), seconds)


class Ncnn:
    """ncnn with Vulkan or on the CPU; pnnx converts the file once."""

    vulkan = True
    name = "ncnn, Vulkan"

    def __init__(self, path, work, args):
        import ncnn

        # The converter is an executable in this package; importing the package would require torch.
        pnnx = importlib.util.find_spec("pnnx")
        if pnnx is None:
            raise ImportError("pnnx, which converts the file, is not installed")
        stem = work / path.stem
        if not stem.with_suffix(".ncnn.param").exists():
            shutil.copy(path, stem.with_suffix(".onnx"))
            shape = "inputshape=" + str(shape_of(path)[1]).replace(" ", "")
            tool = Path(pnnx.origin).parent / "pnnx"
            subprocess.run([tool, stem.with_suffix(".onnx"), shape], check=True, capture_output=True)
        self.ncnn, self.net = ncnn, ncnn.Net()
        self.net.opt.use_vulkan_compute = self.vulkan
        if args.threads:
            self.net.opt.num_threads = args.threads
        if self.vulkan:
            self.net.set_vulkan_device(args.ncnn_device)
        self.net.load_param(str(stem.with_suffix(".ncnn.param")))
        self.net.load_model(str(stem.with_suffix(".ncnn.bin")))

    def output(self, x):
        rows = []
        for image in x:
            extractor = self.net.create_extractor()
            extractor.input("in0", self.ncnn.Mat(np.ascontiguousarray(image)))
            rows.append(np.array(extractor.extract("out0")[1]).reshape(-1))
        return np.stack(rows)

    def time(self, x, seconds):
        self.output(x)
        return repeat(lambda: self.output(x), seconds)


class NcnnCpu(Ncnn):
    vulkan = False
    name = "ncnn, CPU"


class Secateur:
    """Secateur on an adapter; `bench` does the warm-up and the timing."""

    name = "Secateur, device"

    def __init__(self, path, work, args):
        self.path, self.work, self.args = path, work, args
        self.device = args.device
        self.environment = dict(os.environ)
        if args.threads:
            self.environment["RAYON_NUM_THREADS"] = str(args.threads)

    def command(self, *arguments):
        command = [self.args.secateur, *arguments, "--device", self.device, "--json"]
        environment = self.environment
        done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, env=environment)
        return json.loads(done.stdout)

    def output(self, x):
        name = shape_of(self.path)[0]
        np.save(self.work / "x.npy", x)
        self.command("run", self.path, "--input", f"{name}={self.work / 'x.npy'}", "--output-dir", self.work / "out")
        return np.load(next((self.work / "out").glob("*.npy")))

    def time(self, x, seconds):
        result = self.command("bench", self.path, "--batch", len(x), "--seconds", seconds, "--transfers")
        return result["models"][0]["latency_ms"]["median"] / 1e3


class SecateurCpu(Secateur):
    name = "Secateur, CPU"

    def __init__(self, path, work, args):
        super().__init__(path, work, args)
        self.device = "cpu"


def engines(path, work, args, x):
    """Returns the installed engines with correct outputs."""
    expected = Runtime(path, work, args).output(x)
    found = []
    kinds = [Secateur, Ncnn, RuntimeWebGpu, SecateurCpu, Runtime, NcnnCpu, Tract]
    for kind in kinds:
        if args.engines and not any(word.lower() in kind.name.lower() for word in args.engines):
            continue
        try:
            engine = kind(path, work, args)
            shutil.rmtree(work / "out", ignore_errors=True)
            got = engine.output(x)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            details = (getattr(error, "stderr", None) or "").strip().splitlines()[-1:]
            print(f"{kind.name} is skipped: {error}", *details, file=sys.stderr)
            continue
        # Half precision has three correct digits.
        comparable = got.size == expected.size
        error = np.abs(got.reshape(-1) - expected.reshape(-1)).max() / np.abs(expected).max() if comparable else np.inf
        if not error < 0.05:
            print(f"{kind.name} has wrong outputs for {path.name} ({error:.2g}): skipped", file=sys.stderr)
            continue
        found.append(engine)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--secateur", default=REPOSITORY / "target/release/secateur")
    parser.add_argument("--device", default="0", help="the adapter for Secateur, by its number in `secateur devices`")
    parser.add_argument("--ncnn-device", type=int, default=0, help="this adapter's number in ncnn")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="per engine and round")
    parser.add_argument("--threads", type=int, default=0, help="for engines on the CPU; 0: their default")
    parser.add_argument("--engines", nargs="+", metavar="WORD", help="only engines whose names contain one of these words")
    parser.add_argument("--webgpu", type=Path, help="the folder in which onnxruntime-webgpu is installed")
    parser.add_argument("--networks", type=Path, help="the folder for generated networks")
    args = parser.parse_args()
    os.environ.setdefault("SECATEUR_CACHE", "")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        models = args.models or generated(args.networks or work / "networks")
        for path in models:
            shape = shape_of(path)[1]
            for batch in args.batch:
                x = np.random.default_rng(0).standard_normal([batch, *shape[1:]], np.float32)
                table(path, batch, x, engines(path, work, args, x[:1]), args)


def table(path, batch, x, found, args):
    rounds = [[engine.time(x, args.seconds) for engine in found] for _ in range(args.rounds)]
    print(f"\n{path.stem}, batch {batch}, {args.rounds} rounds")
    print(f"{'engine':20} {'ms':>9}   time divided by Secateur's (lowest to highest round)")
    for i, engine in enumerate(found):
        on_cpu = engine.name.endswith("CPU")
        ours = [j for j, e in enumerate(found) if isinstance(e, Secateur) and e.name.endswith("CPU") == on_cpu] or [0]
        times = [times[i] for times in rounds]
        ratios = sorted(times[i] / times[ours[0]] for times in rounds)
        middle = statistics.median(ratios)
        print(f"{engine.name:20} {1e3 * statistics.median(times):9.1f}   {middle:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
