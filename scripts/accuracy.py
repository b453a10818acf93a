"""Measures the figures of docs/accuracy.md, and prints its tables as Markdown.

    python3 scripts/accuracy.py target/release/secateur ../shared [PART ...] [--device cpu] [--out target/accuracy]

Parts: cifar, mnist, imagenet, resolution, style, criteria, training, schedules, deep_compression; by default all (some
hours on two cores).
The folder contains models/ and data/, as for the end-to-end checks. Only `resolution` needs numpy and Pillow.
"""

import argparse
import csv
import json
import pathlib
import resource
import subprocess
import sys
import time

SEEDS = (1, 2, 3)
MNIST = ["--scale", 256, "--mean", 0, "--std", 1]
IMAGENET = ["--resize", "224x224"]
NETWORKS = {
    "imagenet_squeezenet1.1": [*IMAGENET, "--scale", 1, "--channels", "bgr", "--mean", "104,117,123", "--std", 1],
    "imagenet_darknet_tiny": [*IMAGENET, "--scale", 255, "--mean", 0, "--std", 1],
    "imagenet_mobilenet_v2_1.0_224_quant": [*IMAGENET, "--scale", 1, "--mean", 128, "--std", 128, "--label-offset", 1],
}


class Program:
    def __init__(self, path, shared, device, out):
        self.path, self.shared, self.device, self.out = path, shared, device, out

    def json(self, *args):
        """Runs a command; returns its JSON object and its seconds."""
        line = [self.path, *map(str, args), "--json", "--quiet", "--device", self.device]
        begin = time.time()
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout), time.time() - begin

    def model(self, name):
        return self.shared / "models" / f"{name}.onnx"

    def data(self, name):
        return self.shared / "data" / name


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def head(*cells):
    print()
    row(*cells)
    row(*("---" for _ in cells))


def percent(share):
    return "–" if share is None else f"{100 * share:.2f}"


def seeded(program, name, budget, recipe, calibration, test, images):
    """Prints one row: three calibration sets, evaluated on separate test images."""
    after, agreement, seconds = [], [], []
    for seed in SEEDS:
        small = program.out / f"{name}.onnx"
        result, took = program.json(
            "prune", program.model(name), "--data", calibration, *recipe, "--images", images, "--sample", seed,
            "--test", test, *budget, "-o", small,
        )
        before = result["top1"]["before"]
        after.append(result["top1"]["after"])
        agreement.append(result["agreement"])
        seconds.append(took)
    mean = lambda values: sum(values) / len(values)
    row(name, f"{budget[0][2:]} {budget[1]}", images, percent(before), ", ".join(map(percent, after)),
        f"**{percent(mean(after))}**", percent(mean(agreement)), f"{mean(seconds):.0f}")


SEEDED = ("network", "budget", "images", "top-1 before", "top-1 after, by seed", "mean", "agreement", "seconds")


def cifar(program):
    head(*SEEDED)
    data = program.data("cifar10")
    for name, keep in [("cifar10_resnet56", 0.5), ("cifar10_resnet56", 0.35), ("cifar10_resnet20", 0.5)]:
        seeded(program, name, ("--keep-macs", keep), ["--preset", "cifar10"], data / "calibration.npz",
               data / "test.npz", 1024)


def mnist(program):
    head(*SEEDED)
    data = program.data("mnist")
    for images in (1024, 4096):
        for budget in ("--keep-macs", "--keep-params"):
            seeded(program, "mnist_lenet_caffe", (budget, 0.15), MNIST, data / "train-images-idx3-ubyte.gz",
                   data / "t10k-images-idx3-ubyte.gz", images)


def imagenet(program):
    head("network", "MACs kept", "top-1 before", "after", "drop", "agreement", "SNR, dB", "seconds")
    for name, recipe in NETWORKS.items():
        for keep in (0.9, 0.8, 0.7):
            result, took = program.json(
                "prune", program.model(name), "--data", program.data("imagenet-like"), *recipe, "--held-out", 0.5,
                "--keep-macs", keep, "-o", program.out / f"{name}.onnx",
            )
            before, after = result["top1"]["before"], result["top1"]["after"]
            row(name, f"{keep:.2f}", percent(before), percent(after), f"{100 * (before - after):.1f}",
                percent(result["agreement"]), f"{result['snr_db']:.1f}", f"{took:.0f}")
    print(f"\nlargest memory of one run: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB")


def luma(path):
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("YCbCr"))[:, :, 0]


def smaller(plane, factor):
    """Crops a plane to a multiple of the factor; returns it with its bicubic reduction."""
    import numpy as np
    from PIL import Image

    h, w = (n // factor * factor for n in plane.shape)
    plane = plane[:h, :w]
    return plane, np.asarray(Image.fromarray(plane).resize((w // factor, h // factor), Image.BICUBIC))


def psnr(program, network, factor=3):
    """Returns the mean PSNR over Set5, on luma, without a border of `factor` pixels."""
    import numpy as np

    values = []
    for truth in sorted(program.data("set5").glob("*_GT.png")):
        plane, low = smaller(luma(truth), factor)
        np.save(program.out / "y.npy", (low / np.float32(255))[None, None].astype(np.float32))
        program.json("run", network, "--input", f"y={program.out / 'y.npy'}", "--output-dir", program.out / "sr")
        (found,) = (program.out / "sr").glob("*.npy")
        got = np.clip(np.load(found)[0, 0] * 255, 0, 255)
        inner = (slice(factor, -factor),) * 2
        values.append(10 * np.log10(255**2 / np.mean((got[inner] - plane[inner].astype(np.float64)) ** 2)))
    return sum(values) / len(values)


def resolution(program):
    import numpy as np

    photos = sorted(program.data("imagenet-like").glob("*.jpg"))[:200]
    low = [smaller(luma(photo), 3)[1][:84, :84] for photo in photos]
    np.save(program.out / "luma.npy", (np.stack(low)[:, None] / np.float32(255)).astype(np.float32))
    name = "sr_espcn_x3"
    before = psnr(program, program.model(name))
    head("network", "MACs kept", "PSNR on Set5 before, dB", "after", "loss", "SNR to the original, dB", "seconds")
    for keep in (0.9, 0.8, 0.7, 0.5):
        small = program.out / f"{name}.onnx"
        result, took = program.json(
            "prune", program.model(name), "--data", program.out / "luma.npy", "--preset", "raw", "--keep-macs", keep,
            "-o", small,
        )
        after = psnr(program, small)
        row(name, f"{keep:.2f}", f"{before:.3f}", f"{after:.3f}", f"{before - after:.3f}",
            f"{result['snr_db']:.1f}", f"{took:.0f}")


def style(program):
    name = "style_candy"
    head("network", "MACs kept", "repair", "SNR to the original, dB", "seconds")
    for keep in (0.9, 0.7):
        for repair in ("none", "full"):
            result, took = program.json(
                "prune", program.model(name), "--data", program.data("imagenet-like"), "--images", 60, "--resize",
                "128x128", "--scale", 1, "--mean", 0, "--std", 1, "--channels", "bgr", "--keep-macs", keep, "--repair",
                repair, "-o", program.out / f"{name}.onnx",
            )
            row(name, f"{keep:.2f}", repair, f"{result['snr_db']:.1f}", f"{took:.0f}")


def criteria(program):
    data, out = program.data("cifar10"), program.out
    result, took = program.json(
        "compare-criteria", program.model("cifar10_resnet20"), "--data", data / "calibration.npz", "--preset",
        "cifar10", "--images", 1024, "--sample", 1, "--test", data / "test.npz", "--repair", "none,bn,full", "--csv",
        out / "criteria.csv", "--plot", out / "criteria.svg",
    )
    with open(out / "criteria.csv", newline="") as file:
        points = {(p["repair"], p["criterion"], p["keep_macs"]): p for p in csv.DictReader(file)}
    budgets = sorted({key[2] for key in points}, reverse=True)
    for repair in ("none", "bn", "full"):
        head(f"repair {repair}", *budgets)
        for curve in (c["criterion"] for c in result["curves"] if c["repair"] == repair):
            of = [points.get((repair, curve, b)) for b in budgets]
            row(curve, *(f"{100 * float(p['top1']):.1f}" if p else "–" for p in of))
    for left in result["left_out"]:
        print(f"\nleft out: {left['criterion']}: {left['why']}")
    print(f"\n{took:.0f} s in all")


EPOCHS = 24
# All training images, with their labels beside the teacher's outputs; a mirrored digit is none.
LENET_TRAINING = ("--epochs", 4, "--loss", "outputs=1,labels=1", "--augment", "shift=0.07")


def trained(program, name, teacher, cut, seed, *options):
    """Fine-tunes a pruned CIFAR network with the original as teacher, on all calibration images without labels."""
    data = program.data("cifar10")
    return program.json(
        "finetune", program.out / f"{name}.onnx", "--teacher", program.model(teacher), "--cut", cut, "--data",
        data / "calibration.npz", "--preset", "cifar10", "--test", data / "test.npz", "--seed", seed, *options, "-o",
        program.out / f"{name}-trained.onnx",
    )


def cut(program, name, teacher, *options):
    """Prunes a CIFAR network on all calibration images; returns its figures and its cut."""
    data, path = program.data("cifar10"), program.out / f"{name}.json"
    result, _ = program.json(
        "prune", program.model(teacher), "--data", data / "calibration.npz", "--preset", "cifar10", "--test",
        data / "test.npz", *options, "--write-cut", path, "-o", program.out / f"{name}.onnx",
    )
    return result, path


def training(program):
    head("network", "MACs kept", "epochs", "top-1 before", "pruned", "trained, by seed", "mean", "agreement", "seconds")
    for teacher, keep in [("cifar10_resnet56", 0.5), ("cifar10_resnet56", 0.35), ("cifar10_resnet20", 0.5)]:
        name = f"{teacher}-{keep}"
        pruned, path = cut(program, name, teacher, "--keep-macs", keep)
        runs = [trained(program, name, teacher, path, seed, "--epochs", EPOCHS) for seed in SEEDS]
        after = [result["top1"]["after"] for result, _ in runs]
        agreement = [result["agreement"]["after"] for result, _ in runs]
        row(teacher, keep, EPOCHS, percent(pruned["top1"]["before"]), percent(pruned["top1"]["after"]),
            ", ".join(map(percent, after)), f"**{percent(sum(after) / len(after))}**",
            percent(sum(agreement) / len(agreement)), f"{sum(took for _, took in runs) / len(runs):.0f}")
    head("network", "MACs kept", "epochs", "top-1 before", "pruned", "trained", "drop", "agreement", "seconds")
    for name in ("imagenet_squeezenet1.1", "imagenet_mobilenet_v2_1.0_224_quant"):
        result, took = program.json(
            "prune", program.model(name), "--data", program.data("imagenet-like"), *NETWORKS[name], "--held-out", 0.5,
            "--keep-macs", 0.7, "--finetune", EPOCHS, "-o", program.out / f"{name}.onnx",
        )
        before, after = result["top1"]["before"], result["top1"]["after"]
        row(name, 0.7, EPOCHS, percent(before), f"{result['untrained']['after']:.2f}", percent(after),
            f"{100 * (before - after):.1f}", percent(result["agreement"]), f"{took:.0f}")


def schedules(program):
    """Compares one cut with rounds and with sparse training, then criteria before a short training, on ResNet-20."""
    teacher, data, half = "cifar10_resnet20", program.data("cifar10"), ("--keep-macs", 0.5)
    head("ResNet-20, 0.50 of the MACs", "epochs", "top-1", "agreement")

    def show(what, epochs, result):
        agreement = result["agreement"]
        agreement = agreement["after"] if isinstance(agreement, dict) else agreement
        row(what, epochs, percent(result["top1"]["after"]), percent(agreement))

    _, path = cut(program, "once", teacher, *half)
    show("one cut", 16, trained(program, "once", teacher, path, 1, "--epochs", 16)[0])
    rounds, _ = cut(program, "rounds", teacher, *half, "--rounds", 4, "--finetune", 4, "--seed", 1)
    show("four rounds", "4 × 4", rounds)
    sparse = program.out / "sparse.onnx"
    program.json(
        "finetune", program.model(teacher), "--teacher", program.model(teacher), "--data", data / "calibration.npz",
        "--preset", "cifar10", "--epochs", 8, "--penalty", "group-lasso:0.05", "-o", sparse,
    )
    result, _ = program.json(
        "prune", sparse, "--data", data / "calibration.npz", "--preset", "cifar10", "--test", data / "test.npz", *half,
        "--criterion", "l1", "--normalize", "layer", "--finetune", 8, "-o", program.out / "sparse-cut.onnx",
    )
    show("sparse training (group lasso), then one cut by l1", "8 + 8", result)
    head("criterion, ResNet-20, 0.50 of the MACs", "repaired", "after 4 epochs")
    for criterion in ("random", "l1", "fpgm", "act-variance", "apoz", "taylor", "fisher", "obd", "reconstruction"):
        result, path = cut(program, criterion, teacher, *half, "--criterion", criterion)
        after, _ = trained(program, criterion, teacher, path, 1, "--epochs", 4)
        row(criterion, percent(result["top1"]["after"]), percent(after["top1"]["after"]))


def deep_compression(program):
    """Cuts, trains, shares weights and codes: the stages of Deep Compression (Han 2016)."""
    head("network", "stage", "top-1", "bytes", "gzip", "Huffman", "rANS", "bits a weight", "smaller, coded")
    out = program.out

    def stages(name, network, recipe, train, test, budget, training):
        first, step = program.model(network), out / f"{name}.onnx"
        judged = ["--data", train, *recipe, "--test", test]

        def show(stage, top1, size, original):
            row(name, stage, percent(top1), f"{size['bytes']:,}", f"{size['gzip_bytes']:,}", f"{size['huffman_bytes']:,}",
                f"{size['rans_bytes']:,}", f"{size['bits_per_weight']:.2f}",
                f"{original / size['coded_bytes']:.1f}")

        for bits in ("4bit", "6bit", "8bit"):
            result, _ = program.json("quantize", first, "--palette", bits, *judged, "--images", 1024, "-o", step)
            size = result["before"]["bytes"]
            if bits == "4bit":
                show("original", result["top1"]["before"], result["before"], size)
            show(f"palette of {bits[0]} bits", result["top1"]["after"], result["after"], size)
        cut = out / f"{name}-cut.onnx"
        program.json("prune", first, *judged, "--images", 8192, "--sample", 1, *budget, "-o", cut)
        trained = out / f"{name}-trained.onnx"
        program.json("finetune", cut, "--teacher", first, *judged, *training, "--seed", 1, "-o", trained)
        result, _ = program.json(
            "quantize", trained, "--palette", "4bit", *judged, "--images", 4096, "--sample", 1, "-o", step
        )
        show("cut and trained", result["top1"]["before"], result["before"], size)
        show("cut, trained, palette of 4 bits", result["top1"]["after"], result["after"], size)

    digits, pictures = program.data("mnist"), program.data("cifar10")
    stages("LeNet", "mnist_lenet_caffe", MNIST, digits / "train-images-idx3-ubyte.gz",
           digits / "t10k-images-idx3-ubyte.gz", ("--keep-params", 0.19, "--finetune", 6), LENET_TRAINING)
    stages("ResNet-56", "cifar10_resnet56", ["--preset", "cifar10"], pictures / "calibration.npz",
           pictures / "test.npz", ("--keep-macs", 0.5), ("--epochs", EPOCHS))


PARTS = {
    part.__name__: part
    for part in (cifar, mnist, imagenet, resolution, style, criteria, training, schedules, deep_compression)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/accuracy"))
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    program = Program(args.program, args.shared, args.device, args.out)
    for part in args.parts or PARTS:
        PARTS[part](program)


if __name__ == "__main__":
    main()
