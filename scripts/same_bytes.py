#!/usr/bin/env python3
"""Checks that two builds of secateur write the same bytes.

    same_bytes.py record BIN FOLDER    runs every command with BIN; keeps what they wrote in FOLDER
    same_bytes.py check  BIN FOLDER    runs them again with BIN and compares with FOLDER

A refactoring must change no output. Record with the build before it, check with every build after it, on the same
machine: floating-point results depend on the instruction set. Networks: the demo network, and those named by
`--net NAME=MODEL,DATA[,OPTION...]` (a trained ResNet is a good choice).

Compared are SHA-256 sums of every file, and of every `--json` result without its measured times. Binary files are
compared byte by byte; in JSON, keys of WORDS are renamed first, so that a renamed field is the only permitted change.
"""

import argparse
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Keys renamed since version 0.1: old name, new name.
WORDS = {
    "knots": "coupled",
    "knots_cut": "coupled_cut",
    "readers": "consumers",
    "support": "confidence",
    "ties": "dependency_groups",
}
# Results that got keys since version 0.1: the command, the keys.
ADDED = {"prune-refused.stdout.json": {"tried"}}
# Keys whose values are measured times, or follow from them.
TIMES = {"seconds", "images_per_s", "forward_only_images_per_s", "overhead", "latency", "speedup"}

DEMO = ["--data", "images.npz", "--mean", "0.5", "--std", "0.25"]


def commands(net, data):
    """The commands for one network: a name, the arguments, and the exit code."""
    few, prune = data + ["--images", "160"], ["prune", net, *data, "--images", "240"]
    return [
        ("inspect", ["inspect", net], 0),
        ("inspect-inexact", ["inspect", net, "--inexact"], 0),
        ("profile", ["profile", net, *few, "-o", "one.profile"], 0),
        ("profile-both", ["profile", net, *few, "--gram", "both", "--batch", "7", "-o", "both.profile"], 0),
        ("show", ["show", "one.profile", "--csv", "one.csv"], 0),
        ("shard-1", ["profile", net, *few, "--shard", "1/2", "-o", "a.profile"], 0),
        ("shard-2", ["profile", net, *few, "--shard", "2/2", "-o", "b.profile"], 0),
        ("merge", ["merge", "a.profile", "b.profile", "-o", "merged.profile"], 0),
        ("resume", ["profile", net, *data, "--images", "200", "--resume", "-o", "one.profile"], 0),
        ("confidence", ["profile", net, *few, "--confidence", "0.9", "--criterion", "apoz", "--seed", "3",
                        "-o", "sure.profile"], None),
        ("plan", ["plan", net, "--profile", "both.profile", "--keep-macs", "0.6", "-o", "plan.json"], 0),
        ("plan-fallback", ["plan", net, "--profile", "one.profile", "--keep-params", "0.6", "-o", "obd.json"], 0),
        ("plan-apoz", ["plan", net, "--profile", "both.profile", "--criterion", "0.5*l1+0.5*apoz", "--keep-macs",
                       "0.5", "--scope", "layer", "--round-to", "4", "--min-channels", "3", "-o", "sum.json"], 0),
        ("plan-gathers", ["plan", net, "--profile", "gathered.profile", *few, "--keep-macs", "0.7", "-o", "g.json"], 0),
        ("prune", [*prune, "--keep-macs", "0.5", "-o", "small.onnx", "--masked", "masked.onnx"], 0),
        ("prune-cut", ["prune", net, "--cut", "plan.json", *few, "-o", "cut.onnx"], 0),
        ("prune-cut-bare", ["prune", net, "--cut", "sum.json", "-o", "bare.onnx"], 0),
        ("prune-rounds", [*prune, "--keep-macs", "0.5", "--rounds", "2", "-o", "rounds.onnx"], 0),
        ("prune-drop", [*prune, "--max-drop", "6", "-o", "drop.onnx"], None),
        ("prune-refused", [*prune, "--max-drop", "0", "--criterion", "random", "--repair", "none", "-o", "no.onnx"],
         None),
        ("prune-inexact", [*prune, "--keep-macs", "0.7", "--inexact", "-o", "inexact.onnx"], 0),
        ("prune-bn", [*prune, "--keep-params", "0.6", "--criterion", "l1", "--repair", "bn", "-o", "bn.onnx"], 0),
        ("report", ["report", net, "bare.onnx", "--cut", "sum.json", "--profile", "one.profile", *few, "--seconds",
                    "0", "-o", "report.html"], 0),
        ("eval", ["eval", "small.onnx", "--against", net, *few], 0),
        ("compare", ["compare-criteria", net, *data, "--images", "100", "--criteria", "l1,apoz,random,reconstruction",
                     "--keep-macs", "0.8,0.6", "--repair", "none,full", "--csv", "criteria.csv", "--plot",
                     "criteria.svg"], 0),
    ]


def renamed(value):
    """JSON with today's keys, without times."""
    if isinstance(value, dict):
        return {WORDS.get(k, k): renamed(v) for k, v in value.items() if k not in TIMES}
    return [renamed(v) for v in value] if isinstance(value, list) else value


def canonical(path):
    """A file's bytes as they are compared."""
    data = path.read_bytes()
    if path.suffix == ".json":
        value = renamed(json.loads(data))
        if added := ADDED.get(path.name):
            value = {key: item for key, item in value.items() if key not in added}
        return json.dumps(value).encode()
    if path.suffix == ".profile":
        # safetensors: a JSON header with its length before it; ours is a JSON text in its metadata.
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + size])
        header["__metadata__"]["secateur"] = renamed(json.loads(header["__metadata__"]["secateur"]))
        return json.dumps(header).encode() + data[8 + size:]
    if path.suffix == ".html":
        # The page's data; scripts, styles and the command line are not results.
        text = data.decode()
        start = text.index("{", text.index('type="application/json"'))
        page = renamed(json.loads(text[start:text.index("</script>", start)]))
        page.pop("repeat", None)
        # Labels are texts for people.
        page["columns"] = [column["key"] for column in page["columns"]]
        return json.dumps(page, sort_keys=True).encode()
    return data


def sums_of(folder):
    """The sums by network and file."""
    files = (path for path in sorted(folder.glob("*/*")) if path.is_file())
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(canonical(path)).hexdigest() for path in files}


def run(binary, folder, nets):
    """Runs all commands in FOLDER."""
    for name, (net, data, options) in nets.items():
        here = folder / name
        here.mkdir(parents=True)
        data = DEMO if data is None else ["--data", data, *options]
        if name == "demo":
            shutil.copy(ROOT / "assets" / "demo.onnx", here / "demo.onnx")
            subprocess.run([binary, "demo", "--write-images", "images.npz", "--count", "300", "--seed", "5", "-q"],
                           cwd=here, check=True)
        for step, args, code in commands(net, data):
            done = subprocess.run([binary, *args, "--json", "--device", "cpu"], cwd=here, capture_output=True, text=True)
            if code is not None and done.returncode != code:
                sys.exit(f"{name}: {step} ended with {done.returncode}, not {code}\n{done.stderr}")
            (here / f"{step}.stdout.json").write_text(done.stdout)
            (here / f"{step}.code").write_text(str(done.returncode))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["record", "check"])
    parser.add_argument("binary", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--net", action="append", default=[], metavar="NAME=MODEL,DATA[,OPTION...]")
    args = parser.parse_args()
    nets = {"demo": ("demo.onnx", None, [])}
    for net in args.net:
        name, rest = net.split("=", 1)
        model, data, *options = rest.split(",")
        nets[name] = (str(Path(model).resolve()), str(Path(data).resolve()), options)
    binary, recorded = args.binary.resolve(), args.folder / "files"
    if args.mode == "record":
        run(binary, recorded, nets)
        print(f"{recorded} written")
        return
    with tempfile.TemporaryDirectory() as folder:
        run(binary, Path(folder), nets)
        before = {name: s for name, s in sums_of(recorded).items() if name.split("/")[0] in nets}
        after = sums_of(Path(folder))
        wrong = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if wrong:
            kept = args.folder / "differing"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
    if wrong:
        sys.exit("\n".join(["these differ:", *wrong, f"see {kept}"]))
    print(f"all {len(after)} files are the same")


if __name__ == "__main__":
    main()
