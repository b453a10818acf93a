"""Cuts networks of torchvision at half of their MACs with `secateur.torch.apply`, and writes a table.

    python python/benchmarks/torch_apply.py [--secateur PROGRAM] [--into docs/python-torch.md] [NAME …]

Needs torch, torchvision, onnxscript and onnxruntime. Weights are random, seeded; BatchNorm has nontrivial statistics. Each network
is exported by both exporters, pruned by filter norms, cut, compared with the pruned file by ONNX Runtime, and trained for a step.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path

import onnxruntime
import torch
import torchvision

PACKAGE = Path(__file__).parents[1] / "py_src" / "secateur"
if importlib.util.find_spec("secateur") is None:
    # Without the built extension: the package's Python files alone.
    package = types.ModuleType("secateur")
    package.__path__ = [str(PACKAGE)]
    sys.modules["secateur"] = package

import secateur.torch as st  # noqa: E402

NETWORKS = ["resnet18", "resnet50", "mobilenet_v2", "densenet121", "efficientnet_b0", "vgg16_bn", "regnet_y_400mf"]
FORMS = {
    "dynamo": {"exporter": "dynamo"},
    "TorchScript": {"exporter": "torchscript"},
    "TorchScript, folded": {"exporter": "torchscript", "fold": True},
}
START, END = "<!-- table: begin -->", "<!-- table: end -->"


def build(name: str) -> torch.nn.Module:
    """Returns a network with seeded weights."""
    torch.manual_seed(0)
    module: torch.nn.Module = torchvision.models.get_model(name, weights=None)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.8, 1.25)  # type: ignore[union-attr]
            torch.nn.init.uniform_(layer.weight, 0.8, 1.25)
            torch.nn.init.normal_(layer.bias, 0, 0.1)
    return module


def training_step(module: torch.nn.Module, x: torch.Tensor) -> bool:
    """Runs forward, backward, a step of SGD and forward again; returns whether all is finite and all parameters took part."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    torch.nn.functional.cross_entropy(module(x), torch.arange(len(x))).backward()
    complete = all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in module.parameters())
    optimizer.step()
    with torch.no_grad():
        return complete and bool(torch.isfinite(module(x)).all())


def row(program: str, name: str, form: str, folder: Path) -> str:
    """Returns a row of the table."""
    module, x = build(name), torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    full = sum(p.numel() for p in module.parameters())
    net, cut, small = folder / "net.onnx", folder / "cut.json", folder / "small.onnx"
    began = time.perf_counter()
    st.export(module, x, net, **FORMS[form])  # type: ignore[arg-type]
    exported = time.perf_counter() - began
    common = ["--device", "cpu", "-q"]
    subprocess.run([program, "plan", net, "-o", cut, "--criterion", "l1", "--keep-macs", "0.5", *common], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program, "prune", net, "-o", small, "--cut", cut, *common], check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    applied = st.apply(module, small, x, original=net, cut=cut)
    seconds = time.perf_counter() - began
    kept = sum(p.numel() for p in module.parameters())
    st.save(module, folder / "small.pt")
    again = st.load(build(name), folder / "small.pt")
    with torch.no_grad():
        same = torch.equal(again.eval()(x), module.eval()(x))
    trained = training_step(module, x)
    return (
        f"| {name} | {form} | {full / 1e6:.1f} → {kept / 1e6:.1f} M | {applied.max_rel_err:.1e} | "
        f"{'yes' if trained else 'NO'} | {'yes' if same else 'NO'} | {exported:.1f} | {seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secateur", default=shutil.which("secateur") or "target/release/secateur", help="the program")
    parser.add_argument("--into", type=Path, help="page whose table is replaced; else the table is printed")
    parser.add_argument("names", nargs="*", default=NETWORKS, help="networks of torchvision")
    options = parser.parse_args()
    rows = []
    for name in options.names:
        for form in FORMS:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                try:
                    rows.append(row(options.secateur, name, form, Path(folder)))
                except Exception as error:  # A row says what failed; the others go on.
                    rows.append(f"| {name} | {form} | {type(error).__name__}: {str(error).splitlines()[0]} | | | | | |")
            print(rows[-1], file=sys.stderr, flush=True)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, onnxruntime {onnxruntime.__version__}"
    table = "\n".join(
        [
            f"Generated on {time.strftime('%d %B %Y')} with {versions}, Python {platform.python_version()}, {torch.get_num_threads()} threads.",
            "",
            "| network | exporter | parameters | largest difference | training step | save, load | export, s | apply, s |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    if options.into is None:
        print(table)
        return
    text = options.into.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    options.into.write_text(f"{head}{START}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
