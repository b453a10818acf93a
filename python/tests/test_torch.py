"""Tests of `secateur.torch`: small modules of each kind are exported, pruned by the program, and cut."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[1] / "py_src" / "secateur"

for needed in ("torch", "onnx", "onnxscript"):
    pytest.importorskip(needed, reason=f"{needed} is not installed: the tests of secateur.torch are left out")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

if importlib.util.find_spec("secateur") is None:
    # Without the built extension: the package's Python files alone.
    package = types.ModuleType("secateur")
    package.__path__ = [str(PACKAGE)]
    sys.modules["secateur"] = package

import secateur.torch as st  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import torch_networks as networks  # noqa: E402


def program() -> str:
    """Returns the path of the command `secateur`."""
    built = Path(__file__).parents[2] / "target" / "release" / "secateur"
    found = os.environ.get("SECATEUR") or shutil.which("secateur") or (str(built) if built.exists() else None)
    if found is None:
        pytest.skip("the command secateur is neither in PATH nor built, and SECATEUR is not set")
    return found


def secateur(*arguments: str | Path) -> str:
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Case:
    """A module with its exported and its pruned file."""

    def __init__(self, folder: Path, build: Callable[[], nn.Module], example: Any, **export: Any) -> None:
        self.build, self.example = build, example
        self.original, self.small, self.cut = folder / "net.onnx", folder / "small.onnx", folder / "cut.json"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            st.export(build(), example, self.original, **export)

    def sizes(self) -> list[str]:
        given = list(self.example) if isinstance(self.example, tuple) else [self.example]
        names = [i.name for i in onnx.load(self.original).graph.input]
        return [
            w for n, t in zip(names, given, strict=True) for w in ("--size", f"{n}={'x'.join(map(str, t.shape))}")
        ]

    def prune(self, keep: float = 0.5, repair: str = "none", more: tuple[str, ...] = ()) -> Case:
        if repair == "none":
            plan = ("--criterion", "l1", f"--keep-macs={keep}", *self.sizes(), "--device=cpu", "-q", *more)
            secateur("plan", self.original, "-o", self.cut, *plan)
            secateur("prune", self.original, "-o", self.small, "--cut", self.cut, *self.sizes(), "--device=cpu", "-q")
        else:
            data = self.original.with_name("data.npy")
            np.save(data, np.random.default_rng(0).normal(size=(40, *self.example.shape[1:])).astype("f4"))
            how = ("--data", str(data), f"--keep-macs={keep}", "--repair", repair, "--device=cpu", "-q", "--force", *more)
            secateur("prune", self.original, "-o", self.small, *how, *([] if self.example.dim() != 4 else ["--preset", "raw"]))
        return self

    def finetune(self, start: Path) -> Path:
        """Trains a file on the labels of random images; returns the trained one."""
        data, tuned = self.original.with_name("labelled.npz"), self.original.with_name("tuned.onnx")
        dice = np.random.default_rng(1)
        images = dice.normal(size=(32, *self.example.shape[1:])).astype("f4")
        np.savez(data, images=images, labels=dice.integers(0, 5, 32))
        length = ("--steps=4", "--train-batch=16", "--learning-rate=0.01", "--augment=none")
        secateur("finetune", start, "-o", tuned, "--data", data, "--preset=raw", *length, "--device=cpu", "-q")
        return tuned

    def apply(self, module: nn.Module | None = None, **more: Any) -> tuple[nn.Module, Any]:
        module = self.build() if module is None else module
        return module, st.apply(module, self.small, self.example, original=self.original, **more)


def case(tmp_path: Path, name: str, **export: Any) -> Case:
    return Case(tmp_path, lambda: networks.build(name), networks.example(name), **export)


def outputs(module: nn.Module, x: Any) -> torch.Tensor:
    module.eval()
    with torch.no_grad():
        result = module(*x) if isinstance(x, tuple) else module(x)
    assert isinstance(result, torch.Tensor)
    return result


def train_once(module: nn.Module, x: torch.Tensor) -> None:
    """Runs a training step; every parameter that takes part changes."""
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    loss = module(x).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in module.parameters())
    optimizer.step()
    assert torch.isfinite(module(x)).all()


def state(module: nn.Module) -> dict[str, Any]:
    """Returns all that a failed `apply` must leave as it was."""
    found: dict[str, Any] = {name: t.clone() for name, t in module.state_dict().items()}
    for path, m in module.named_modules():
        found |= {f"{path}:{k}": v for k, v in vars(m).items() if isinstance(v, (int, bool, tuple))}
    return found | {f"grad {n}": p.grad for n, p in module.named_parameters()} | {"ids": [id(p) for p in module.parameters()]}


def assert_same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name], name


def assert_narrower(module: nn.Module, full: nn.Module) -> None:
    assert sum(p.numel() for p in module.parameters()) < sum(p.numel() for p in full.parameters())


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", list(networks.NETWORKS))
def test_a_cut_module_equals_the_file_and_trains(tmp_path: Path, name: str, exporter: str) -> None:
    made = case(tmp_path, name, exporter=exporter).prune()
    module, applied = made.apply()
    assert applied.max_rel_err < 1e-5 and applied.changed
    assert_narrower(module, made.build())
    for layer in module.modules():
        if isinstance(layer, nn.modules.conv._ConvNd) and not layer.transposed:
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        if isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert layer.running_mean.shape == (layer.num_features,)
    train_once(module, made.example)


def fresh(name: str) -> nn.Module:
    """Returns a module in which all scales are 1 and all shifts 0, which TorchScript stores once."""
    torch.manual_seed(0)
    return networks.NETWORKS[name]()


@pytest.mark.parametrize(
    ("name", "export"),
    [
        ("residual", {"exporter": "dynamo"}),
        ("residual", {"exporter": "torchscript"}),
        ("residual", {"exporter": "dynamo", "fold": True}),
        ("depthwise", {"exporter": "torchscript", "fold": True}),
        ("dense", {"exporter": "dynamo"}),
        ("group-norm", {"exporter": "dynamo"}),
        ("twice", {"exporter": "dynamo"}),
    ],
)
def test_trained_weights_arrive(tmp_path: Path, name: str, export: dict[str, Any]) -> None:
    made = case(tmp_path, name, **export)
    tuned = made.finetune(made.original)
    module = made.build()
    before = outputs(module, made.example)
    applied = st.apply(module, tuned, made.example, original=made.original)
    assert applied.max_rel_err < 1e-5 and not applied.changed and not applied.biases and not applied.warnings
    assert (outputs(module, made.example) - before).abs().max() > 1e-3
    made.prune()
    module = made.build()
    applied = st.apply(module, made.finetune(made.small), made.example, original=made.original, cut=made.cut)
    assert applied.max_rel_err < 1e-5 and applied.changed and not applied.warnings
    assert_narrower(module, made.build())
    train_once(module, made.example)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_constants_that_are_stored_once_are_trained(tmp_path: Path, exporter: str) -> None:
    made = Case(tmp_path, lambda: fresh("residual"), networks.example("residual"), exporter=exporter)
    module = made.build()
    applied = st.apply(module, made.finetune(made.original), made.example, original=made.original)
    assert applied.max_rel_err < 1e-5


def test_a_trained_result_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("secateur._secateur", reason="the extension is not built")
    import secateur as package

    made = case(tmp_path, "residual")
    images = np.random.default_rng(0).normal(size=(40, 3, 12, 12)).astype("f4")
    how = package.Training(steps=3, train_batch=16, learning_rate=0.01)
    options: dict[str, Any] = {"keep_macs": 0.5, "force": True, "device": "cpu"}
    result = package.prune(made.original, images, finetune=how, **options)
    module = made.build()
    applied = st.apply(module, result, made.example)
    assert applied.max_rel_err < 1e-5 and applied.changed and result.training is not None
    train_once(module, made.example)
    # A training of a pruned network leads back to the module from which the original was exported.
    short: dict[str, Any] = {"steps": 3, "train_batch": 16, "learning_rate": 0.01, "device": "cpu"}
    tuned = package.finetune(result, images, teacher=made.original, **short)
    module = made.build()
    assert st.apply(module, tuned, made.example).changed == applied.changed
    again = package.finetune(tuned, images, teacher=made.original, **short)
    # A module that is cut already takes the weights of a further training of that file.
    assert not st.apply(module, again, made.example, original=tuned).changed
    with pytest.raises(st.MappingError, match="(?s)has other elements.*since the export"):
        st.apply(module, again, made.example)


@pytest.mark.parametrize("name", ["residual", "depthwise", "dense", "flattened", "no-bias", "layer-scale", "upsampling"])
def test_repaired_weights_arrive(tmp_path: Path, name: str) -> None:
    made = case(tmp_path, name).prune(repair="full")
    module, applied = made.apply()
    assert applied.max_rel_err < 1e-5
    train_once(module, made.example)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", ["residual", "depthwise", "grouped", "flattened", "upsampling", "three-dimensional"])
def test_folded_batch_norm_is_unfolded(tmp_path: Path, name: str, exporter: str) -> None:
    made = case(tmp_path, name, exporter=exporter, fold=True).prune()
    module, applied = made.apply(cut=made.cut)
    assert applied.max_rel_err < 1e-5 and applied.warnings == ()
    full = made.build()
    norms = 0
    for path, layer in full.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            cut = module.get_submodule(path)
            # Each kept channel has its own scale and variance.
            own = set(zip(layer.weight.tolist(), layer.running_var.tolist(), strict=True))
            assert set(zip(cut.weight.tolist(), cut.running_var.tolist(), strict=True)) <= own
            norms += 1
    assert norms
    train_once(module, made.example)


def test_kept_channels_of_folded_batch_norm_are_found_without_the_cut(tmp_path: Path) -> None:
    made = case(tmp_path, "residual", fold=True).prune()
    module, _ = made.apply()
    known, _ = made.apply(cut=json.loads(made.cut.read_text()))
    for a, b in zip(module.state_dict().values(), known.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_repaired_folded_batch_norm_without_the_cut_warns(tmp_path: Path) -> None:
    made = case(tmp_path, "residual", fold=True).prune(repair="full")
    with pytest.warns(UserWarning, match="start from 1, 0, 1"):
        module, applied = made.apply()
    assert applied.max_rel_err < 1e-5 and len(applied.warnings) == 1
    train_once(module, made.example)


def test_training_mode_continues_from_the_repaired_statistics(tmp_path: Path) -> None:
    """γ, β and variance of a folded BatchNorm are those of the module, not of the repaired bias."""
    made = case(tmp_path, "residual", fold=True).prune()
    module, _ = made.apply(cut=made.cut)
    norm, full = module.features[0][1], made.build().features[0][1]
    kept = json.loads(made.cut.read_text())["weights"]["features.0.0.weight"][0]
    assert len(kept) < 16 and torch.equal(norm.bias, full.bias[kept])
    assert torch.allclose(norm.running_mean, full.running_mean[kept], atol=1e-5)


def test_a_new_bias_becomes_a_parameter(tmp_path: Path) -> None:
    made = case(tmp_path, "no-bias").prune(repair="full", more=("--scope", "layer"))
    module, applied = made.apply()
    assert applied.biases == ("features.2",)
    assert isinstance(module.features[2].bias, nn.Parameter) and module.features[2].bias.requires_grad
    train_once(module, made.example)


def test_a_new_bias_goes_into_the_batch_norm_behind(tmp_path: Path) -> None:
    """A constant channel becomes a bias of the next layer, which has BatchNorm instead of a bias."""

    def build() -> nn.Module:
        module = networks.build("residual")
        first = module.features[0]
        with torch.no_grad():
            first[0].weight[3:9] = 0
            first[1].bias[3:9] = 1.0
        module.features = nn.Sequential(first, nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        networks.vary(module.features[2])
        return module

    made = Case(tmp_path, lambda: (torch.manual_seed(3), build())[1], networks.example("residual")).prune(0.7)
    module, applied = made.apply()
    assert applied.biases == () and module.features[1].bias is None
    assert applied.max_rel_err < 1e-5


def test_parameters_stay_the_same_objects(tmp_path: Path) -> None:
    made = case(tmp_path, "tied").prune()
    module = made.build().double()
    before = [id(p) for p in module.parameters()]
    module.fc.bias.requires_grad_(False)
    module.train()
    made.example = made.example.double()
    made.apply(module)
    assert [id(p) for p in module.parameters()] == before
    tied = module.features[2]
    assert tied.a.weight is tied.b.weight and tied.b.in_channels == tied.a.in_channels == tied.a.weight.shape[1]
    assert not module.fc.bias.requires_grad and module.fc.weight.requires_grad
    assert module.fc.weight.dtype == torch.float64
    assert module.training and tied.training


def test_frozen_modes_of_single_layers_are_restored(tmp_path: Path) -> None:
    made = case(tmp_path, "residual").prune()
    module = made.build().train()
    module.features[0].eval()
    made.apply(module)
    assert module.training and not module.features[0][1].training and module.features[1].training


def test_types_memory_formats_and_wrappers(tmp_path: Path) -> None:
    made = case(tmp_path, "residual").prune()
    half = made.build().to(torch.bfloat16)
    made.example = made.example.to(torch.bfloat16)
    _, applied = made.apply(half)
    assert half.fc.weight.dtype == torch.bfloat16 and 1e-5 < applied.max_rel_err < 6e-2
    made.example = made.example.float()
    module = made.build().eval().to(memory_format=torch.channels_last)
    module(made.example).sum().backward()
    made.apply(torch.compile(module))
    assert module.features[1].inner[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert module.features[1].inner[1].weight.grad is None


def test_tensors_that_are_no_parameters(tmp_path: Path) -> None:
    """Constants of forward are cut too: a buffer that a state_dict leaves out, and a plain attribute."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = networks.conv_bn(3, 16), nn.Conv2d(16, 5, 1)
            self.register_buffer("shift", torch.rand(16, 1, 1) + 0.5, persistent=False)
            self.scale = torch.rand(1, 16, 1, 1) + 0.5

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.body(x) * self.scale + self.shift)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return Shifted()

    made = Case(tmp_path, build, torch.randn(2, 3, 8, 8), exporter="torchscript").prune()
    module, _ = made.apply()
    width = module.out.in_channels
    assert width < 16 and module.shift.shape == (width, 1, 1) and module.scale.shape == (1, width, 1, 1)
    st.save(module, tmp_path / "small.pt")
    assert torch.equal(outputs(st.load(build, tmp_path / "small.pt"), made.example), outputs(module, made.example))


def test_layers_without_scale_and_shift(tmp_path: Path) -> None:
    """Their widths have no tensor in the file, and are taken from their inputs."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, affine=False), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.GroupNorm(8, 16, affine=False), nn.ReLU()
        )
        networks.vary(module)
        return networks.Head(module, 16)

    made = Case(tmp_path, build, torch.randn(2, 3, 12, 12), fold=True).prune()
    module, applied = made.apply(cut=made.cut)
    assert applied.max_rel_err < 1e-5
    norm = module.features[4]
    assert norm.num_channels == module.fc.in_features < 16 and norm.num_groups * 2 == norm.num_channels
    train_once(module, made.example)


def test_sizes_in_forward_are_found_and_the_module_is_left(tmp_path: Path) -> None:
    made = Case(tmp_path, lambda: (torch.manual_seed(0), networks.FixedView())[1], torch.randn(2, 3, 8, 8)).prune()
    module = made.build()
    module(made.example).sum().backward()
    before = state(module)
    with pytest.raises(st.ProofError, match=r"(?s)Reshape.*flatten") as error:
        made.apply(module)
    assert "64" in str(error.value)
    assert_same_state(before, state(module))
    assert module(made.example).shape == (2, 5)


def test_another_output_is_no_success(tmp_path: Path) -> None:
    """Forward depends on something that the file does not contain."""
    made = case(tmp_path, "residual").prune()
    module = made.build()
    module.fc.register_forward_hook(lambda m, i, o: o + 1)
    before = state(module)
    with pytest.raises(st.ProofError, match="does not compute the original file either"):
        made.apply(module)
    assert_same_state(before, state(module))


def test_a_module_with_other_weights_is_named(tmp_path: Path) -> None:
    made = case(tmp_path, "residual").prune()
    module = made.build()
    with torch.no_grad():
        module.features[1].inner[1].weight[0, 0] += 1
    before = state(module)
    with pytest.raises(st.MappingError, match=r"features\.1\.inner\.1\.weight.*other elements") as error:
        made.apply(module)
    assert len(error.value.details) == 1 and "remedy" in str(error.value)
    assert_same_state(before, state(module))


def test_attention_is_named(tmp_path: Path) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.attention, self.fc = nn.Conv2d(3, 16, 1), nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x).flatten(2).transpose(1, 2)
            return self.fc(self.attention(y, y, y, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    module = Attention()
    made = Case(tmp_path, lambda: module, torch.randn(2, 3, 4, 4), exporter="dynamo").prune(0.6)
    with pytest.raises(st.MappingError, match="(?s)module 'attention'.*attention heads.*protect"):
        made.apply()


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_computed_weight_is_named(tmp_path: Path, exporter: str) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return networks.Head(nn.Sequential(networks.conv_bn(3, 16), networks.Standardized(16, 16, 3), nn.ReLU()), 16)

    made = Case(tmp_path, build, torch.randn(2, 3, 8, 8), exporter=exporter).prune()
    with pytest.raises(st.MappingError, match=r"(?s)features\.1\.weight.*remove_parametrizations"):
        made.apply()


def test_a_recurrent_layer_is_named(tmp_path: Path) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lstm, self.fc = nn.Conv1d(3, 16, 3), nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.lstm(torch.relu(self.conv(x)).transpose(1, 2))[0][:, -1])

    torch.manual_seed(0)
    module = Recurrent()
    made = Case(tmp_path, lambda: module, torch.randn(2, 3, 20), exporter="torchscript", dynamic_batch=False).prune()
    with pytest.raises(st.MappingError, match="LSTM node .*gates in another order"):
        made.apply()


def test_names_with_a_prefix_are_found_by_value(tmp_path: Path) -> None:
    """The file was exported from a wrapper, and BatchNorm modules with equal values are told apart by their place."""

    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return networks.NETWORKS["residual"]()  # BatchNorm as it is initialized, all alike

    for exporter in ("dynamo", "torchscript"):
        made = Case(tmp_path, lambda: Wrapper(build()), networks.example("residual"), exporter=exporter).prune()
        _, applied = made.apply(build())
        assert applied.max_rel_err < 1e-5 and applied.warnings == ()


def test_the_file_of_another_module_is_refused(tmp_path: Path) -> None:
    made = case(tmp_path, "residual").prune()
    with pytest.raises(st.MappingError):
        made.apply(networks.build("depthwise"))


def test_parameters_outside_of_the_file_are_named(tmp_path: Path) -> None:
    made = Case(tmp_path, networks.Auxiliary, torch.randn(2, 3, 8, 8))
    module = made.build()
    st.export(module, made.example, made.original)
    made.prune()
    with pytest.warns(UserWarning, match=r"auxiliary\.weight, auxiliary\.bias"):
        made.apply(module)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_several_inputs_and_outputs(tmp_path: Path, exporter: str) -> None:
    torch.manual_seed(0)
    module = networks.TwoInputs()
    x = (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8))
    made = Case(tmp_path, lambda: module, x, exporter=exporter).prune()
    assert [i.name for i in onnx.load(made.original).graph.input] == ["image", "other"]
    applied = st.apply(module, made.small.read_bytes(), {"image": x[0], "other": x[1]}, original=made.original)
    assert applied.outputs == 2 and applied.max_rel_err < 1e-5


def test_an_example_that_does_not_fit(tmp_path: Path) -> None:
    made = case(tmp_path, "residual", dynamic_batch=False).prune()
    module = made.build()
    with pytest.raises(st.ModuleError, match="expected input 'input' of shape 2×3×12×12"):
        st.apply(module, made.small, networks.example("residual", 3), original=made.original)
    with pytest.raises(st.ModuleError, match="fails on the example"):
        st.apply(module, made.small, torch.randn(2, 7, 12, 12), original=made.original)
    with pytest.raises(st.ModuleError, match="original ONNX file is missing"):
        st.apply(module, made.small, made.example)
    with pytest.raises(TypeError, match="ONNX bytes, a path"):
        st.apply(module, 3, made.example, original=made.original)


def test_a_result_object_is_enough(tmp_path: Path) -> None:
    made = case(tmp_path, "residual", fold=True).prune()
    result = types.SimpleNamespace(
        onnx=made.small.read_bytes(), original=made.original.read_bytes(), cut=json.loads(made.cut.read_text())
    )
    assert st.apply(made.build(), result, made.example).max_rel_err < 1e-5


def test_save_and_load(tmp_path: Path) -> None:
    for name, repair in (("depthwise", "none"), ("group-norm", "none"), ("no-bias", "full"), ("instance-norm", "none")):
        made = case(tmp_path, name).prune(repair=repair)
        module, _ = made.apply()
        st.save(module, tmp_path / "small.pt")
        for fresh in (networks.NETWORKS[name], networks.NETWORKS[name]()):
            loaded = st.load(fresh, tmp_path / "small.pt")
            assert torch.equal(outputs(loaded, made.example), outputs(module, made.example))
            train_once(loaded, made.example)


def test_load_refuses_other_architectures(tmp_path: Path) -> None:
    st.save(networks.build("residual"), tmp_path / "a.pt")
    module = networks.build("depthwise")
    before = state(module)
    with pytest.raises(st.ModuleError, match="belongs to another architecture"):
        st.load(module, tmp_path / "a.pt")
    assert_same_state(before, state(module))
    torch.save({"weight": torch.ones(3)}, tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(b"nothing")
    for file in ("b.pt", "c.pt"):
        with pytest.raises(st.ModuleError, match="not a file of secateur"):
            st.load(module, tmp_path / file)
    with pytest.raises(FileNotFoundError):
        st.load(module, tmp_path / "none.pt")


def test_load_keeps_the_module_s_type(tmp_path: Path) -> None:
    st.save(networks.build("residual"), tmp_path / "a.pt")
    module = st.load(networks.NETWORKS["residual"]().double(), tmp_path / "a.pt")
    assert next(module.parameters()).dtype == torch.float64


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_export_keeps_names_modes_and_batch(tmp_path: Path, exporter: str) -> None:
    module = networks.build("residual").train()
    module.features[1].eval()
    data = st.export(module, networks.example("residual", 1), tmp_path / "net.onnx", exporter=exporter)
    assert module.training and module.features[0].training and not module.features[1].inner[1].training
    assert (tmp_path / "net.onnx").read_bytes() == data
    model = onnx.load_from_string(data)
    names = {t.name for t in model.graph.initializer}
    assert {name for name in module.state_dict() if "num_batches" not in name} <= names
    assert sum(n.op_type == "BatchNormalization" for n in model.graph.node) == 6
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    folded = onnx.load_from_string(st.export(module, networks.example("residual", 1), exporter=exporter, fold=True))
    assert not any(n.op_type == "BatchNormalization" for n in folded.graph.node)


def test_export_says_what_it_gave_up() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] != 2:
                raise ValueError("only pairs")
            return self.fc(x)

    with pytest.warns(UserWarning, match="fixed the first axis"):
        data = st.export(Fixed(), torch.randn(2, 12), exporter="dynamo")
    assert onnx.load_from_string(data).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2

    class Impossible(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.sort(x.numpy()))

    with pytest.raises(st.ModuleError, match="cannot be exported") as caught:
        st.export(Impossible(), torch.randn(2, 3), exporter="dynamo")
    assert "aten.sort" in str(caught.value) and "\x1b" not in str(caught.value), "what is wrong in forward"
    with pytest.raises(TypeError, match="a module is a torch.nn.Module, got int"):
        st.export(3, torch.randn(2, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="auto, dynamo or torchscript"):
        st.export(Impossible(), torch.randn(2, 3), exporter="onnx")


def test_a_scripted_module_is_refused(tmp_path: Path) -> None:
    made = case(tmp_path, "residual").prune()
    with pytest.raises(st.ModuleError, match="cannot change its widths"):
        made.apply(torch.jit.trace(made.build().eval(), made.example))


def test_the_module_imports_without_torch() -> None:
    code = (
        "import sys, types; sys.modules['torch'] = None; sys.modules['onnx'] = None; p = types.ModuleType('secateur');"
        f"p.__path__ = [{str(PACKAGE)!r}]; sys.modules['secateur'] = p; import secateur.torch"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
