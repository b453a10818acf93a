#!/usr/bin/env python3
"""The same ONNX files through Secateur and its peers, in turn, in one run: a table of times and ratios.

    pip install onnx numpy onnxruntime ncnn pnnx tract
    pip install --target WEBGPU onnxruntime-webgpu
    python3 benches/peers/peers.py [MODEL.onnx …] [--device 0] [--batch 1 8] [--rounds 5] [--networks DIR]
        [--webgpu WEBGPU] [--engines WORD …] [--threads N]

Without files it makes VGG-16, ResNet-50 and MobileNetV2 with random weights (scripts/make_networks.py). Each round lets
every engine run for a while, one after the other, and keeps the median of its runs; the table has the medians over the
rounds, and ratios of times within a round, to an engine on the same kind of device. Engines that are not installed are named and
left out. Answers are compared with ONNX Runtime's first: an engine that computes something else is not timed. Times are
on the clock, transfers to and from the device included: on a busy machine only the ratios mean something. ncnn takes
one image at a time, so a batch is that many runs; it computes in the precision that it chooses by itself (fp16 storage
where the driver has it). ONNX Runtime WebGPU has the same module's name as ONNX Runtime, and so a folder of its own; it
refuses lavapipe of Mesa 22, and takes that of Mesa 25. tract always has one thread. A driver that is not the system's
own is named by VK_ICD_FILENAMES.
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


def made(folder):
    """The networks' paths; those that are not there yet are made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.onnx" for name in NETWORKS]
    for path in paths:
        if not path.exists():
            make_networks.make(path.stem, path)
    return paths


def shape_of(path):
    """The input's name, and its shape for one image."""
    value = onnx.load(path, load_external_data=False).graph.input[0]
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return value.name, [1] + [n or 224 for n in dims[1:]]


def repeat(run, seconds):
    """Median seconds of a run, of as many as there is time for, two at least."""
    times, begin = [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Runtime:
    """ONNX Runtime on the CPU: also the judge of answers."""

    name = "ONNX Runtime, CPU"

    def __init__(self, path, _work, args):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def answer(self, x):
        return self.session.run(None, {self.input: x})[0]

    def time(self, x, seconds):
        return repeat(lambda: self.answer(x), seconds)


class RuntimeWebGpu:
    """ONNX Runtime by WebGPU (Dawn), in a process of its own: webgpu.py."""

    name = "ONNX Runtime, WebGPU"

    def __init__(self, path, work, args):
        if args.webgpu is None:
            raise ImportError("--webgpu names no folder with onnxruntime-webgpu")
        self.path, self.work = path, work
        self.environment = {**os.environ, "PYTHONPATH": str(args.webgpu.resolve())}

    def command(self, x, *arguments):
        np.save(self.work / "x.npy", x)
        script = Path(__file__).with_name("webgpu.py")
        command = [sys.executable, script, self.path, self.work / "x.npy", *arguments]
        environment = self.environment
        done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, env=environment)
        return done.stdout

    def answer(self, x):
        self.command(x, "--answer", self.work / "y.npy")
        return np.load(self.work / "y.npy")

    def time(self, x, seconds):
        return float(self.command(x, "--seconds", seconds))


class Tract:
    """tract on the CPU."""

    name = "tract, CPU"

    def __init__(self, path, _work, _args):
        import tract

        self.tract, self.path, self.batch = tract, path, 0

    def answer(self, x):
        if len(x) != self.batch:
            network = self.tract.onnx().load(str(self.path))
            network.set_input_fact(0, ",".join(map(str, x.shape)) + ",f32")
            self.network, self.batch = network.into_model().into_runnable(), len(x)
        return self.network.run([x])[0].to_numpy()

    def time(self, x, seconds):
        self.answer(x)
        return repeat(lambda: self.answer(x), seconds)


class Ncnn:
    """ncnn by Vulkan or on the CPU; the file is converted by pnnx once."""

    vulkan = True
    name = "ncnn, Vulkan"

    def __init__(self, path, work, args):
        import ncnn

        # The converter is a program in that package; importing the package would ask for torch.
        pnnx = importlib.util.find_spec("pnnx")
        if pnnx is None:
            raise ImportError("there is no pnnx to convert the file")
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

    def answer(self, x):
        rows = []
        for image in x:
            extractor = self.net.create_extractor()
            extractor.input("in0", self.ncnn.Mat(np.ascontiguousarray(image)))
            rows.append(np.array(extractor.extract("out0")[1]).reshape(-1))
        return np.stack(rows)

    def time(self, x, seconds):
        self.answer(x)
        return repeat(lambda: self.answer(x), seconds)


class NcnnCpu(Ncnn):
    vulkan = False
    name = "ncnn, CPU"


class Secateur:
    """This program on an adapter; `bench` warms up and times by itself."""

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

    def answer(self, x):
        name = shape_of(self.path)[0]
        np.save(self.work / "x.npy", x)
        self.command("run", self.path, "--input", f"{name}={self.work / 'x.npy'}", "--output-dir", self.work / "out")
        return np.load(next((self.work / "out").glob("*.npy")))

    def time(self, x, seconds):
        answer = self.command("bench", self.path, "--batch", len(x), "--seconds", seconds, "--transfers")
        return answer["models"][0]["latency_ms"]["median"] / 1e3


class SecateurCpu(Secateur):
    name = "Secateur, CPU"

    def __init__(self, path, work, args):
        super().__init__(path, work, args)
        self.device = "cpu"


def engines(path, work, args, x):
    """Those that are here and give the right answers."""
    judge = Runtime(path, work, args)
    expected = judge.answer(x)
    found = []
    kinds = [Secateur, Ncnn, RuntimeWebGpu, SecateurCpu, Runtime, NcnnCpu, Tract]
    for kind in kinds:
        if args.engines and not any(word.lower() in kind.name.lower() for word in args.engines):
            continue
        try:
            engine = kind(path, work, args)
            shutil.rmtree(work / "out", ignore_errors=True)
            got = engine.answer(x)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", None) or "").strip().splitlines()[-1:]
            print(f"{kind.name} is left out: {error}", *said, file=sys.stderr)
            continue
        # Half precision is right to three digits.
        same = got.size == expected.size
        error = np.abs(got.reshape(-1) - expected.reshape(-1)).max() / np.abs(expected).max() if same else np.inf
        if not error < 0.05:
            print(f"{kind.name} computes something else for {path.name} ({error:.2g}): left out", file=sys.stderr)
            continue
        found.append(engine)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--secateur", default=REPOSITORY / "target/release/secateur")
    parser.add_argument("--device", default="0", help="the adapter for Secateur, as `secateur devices` numbers them")
    parser.add_argument("--ncnn-device", type=int, default=0, help="the same one, as ncnn numbers it")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="for each engine in a round")
    parser.add_argument("--threads", type=int, default=0, help="of engines on the CPU; 0 lets each choose")
    parser.add_argument("--engines", nargs="+", metavar="WORD", help="only those with one of these words in their names")
    parser.add_argument("--webgpu", type=Path, help="the folder that onnxruntime-webgpu was installed into")
    parser.add_argument("--networks", type=Path, help="where networks are made and kept")
    args = parser.parse_args()
    os.environ.setdefault("SECATEUR_CACHE", "")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        models = args.models or made(args.networks or work / "networks")
        for path in models:
            shape = shape_of(path)[1]
            for batch in args.batch:
                x = np.random.default_rng(0).standard_normal([batch, *shape[1:]], np.float32)
                table(path, batch, x, engines(path, work, args, x[:1]), args)


def table(path, batch, x, found, args):
    rounds = [[engine.time(x, args.seconds) for engine in found] for _ in range(args.rounds)]
    print(f"\n{path.stem}, batch {batch}, {args.rounds} rounds")
    print(f"{'engine':20} {'ms':>9}   times as fast as it is Secateur (lowest to highest round)")
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
