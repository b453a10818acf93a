"""The section of small kinds: text recognition, sound, EEG, volumes, clips and others on data of their own shapes.

Each network is exported in three forms:

    folded    the TorchScript exporter, the batch free unless the kind fixes it
    dynamo    torch.export, for one sample at a time
    free      torch.export, the batch free

Data files hold smooth random signals of the network's shape: `.npy` for one input, `.npz` for several. Inputs that are
no data, such as a scalar, get their value by `--input`. Two cuts to 60 % of the MACs are made by the default criterion,
one without repair and one with the default repair. Columns of the table that are not those of zoo.py:

    proof, small against masked    the larger of the two cuts
    SNR unrepaired, repaired       of the small files against the original in ONNX Runtime, on signals that no cut used
    s                              seconds of the `prune` with repair
"""

import dataclasses
import pathlib
import re
import sys
import time

import numpy as np
import onnx
import torch
from torch.nn import functional as F

import small

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import common  # noqa: E402

# Text between the heading and the table.
INTRODUCTION = (
    "Text recognition, sound, signals, volumes, clips, vectors. Each is cut by the default criterion on data of its own shape,",
    "with and without repair. The SNR compares the small file with the original in ONNX Runtime on other data.",
    "",
)
# Samples in a data file.
COUNT = 160
FORMS = ("folded", "dynamo", "free")


@dataclasses.dataclass
class Kind:
    """A kind: its module, shapes of one sample by input, values of inputs that are no data, samples at once."""

    module: callable
    shapes: dict
    fixed: dict = dataclasses.field(default_factory=dict)
    # None if it is free in the exported file.
    batch: int | None = None
    # Axis of the outputs that counts samples.
    sample_axis: int = 0


def one(module, *shape, **rest):
    """A kind with one input, `x`."""
    return Kind(module, {"x": shape}, **rest)


KINDS = {
    "text_lstm": one(lambda: small.Text(False), 1, 32, 96, sample_axis=1),
    "text_lstm_batch_first": one(lambda: small.Text(True), 1, 32, 96),
    "speech_gru": one(small.Speech, 40, 64),
    "voice_states": one(small.Voice, 1, 512, fixed={"h": torch.zeros(1, 1, 32), "c": torch.zeros(1, 1, 32)}, batch=1),
    "sound_keyword": one(small.Keyword, 1, 4000),
    "wavenet": one(small.Wave, 1, 256),
    "tcn": one(small.Temporal, 8, 100),
    "eeg_two_inputs": Kind(small.Brain, {"left": (1, 16, 256), "right": (1, 16, 256)}),
    "ecg_resnet": one(small.heart, 12, 400),
    "unet3d": one(lambda: small.Volume(True), 1, 8, 16, 16),
    "unet3d_upsample": one(lambda: small.Volume(False), 1, 8, 16, 16),
    "mlp_mixer": one(small.Mixer, 3, 32, 32),
    "segnet": one(small.Segmenter, 3, 32, 48),
    "lowlight_scalar": Kind(small.LowLight, {"image": (3, 32, 32)}, fixed={"exposure": torch.tensor(0.7)}),
    "swin_windows": one(small.Windows, 3, 32, 32),
    "shufflenet_halves": one(small.Shuffle, 3, 48, 48),
    "clip": one(lambda: small.Clip(True), 8, 3, 32, 32),
    "clip_first_axis": one(lambda: small.Clip(False), 3, 32, 32, batch=8),
    "features_mlp": one(small.vectors, 24),
    "mdx_separation": one(small.Separation, 4, 64, 24),
    "demucs_lstm": one(small.Denoiser, 1, 512),
    "landmarks": one(small.Landmarks, 3, 48, 48),
    "spatial_transformer": one(small.Transformer, 1, 28, 28),
    "dynamic_conv": one(small.Dynamic, 3, 32, 32, batch=1),
    "batch_of_four": one(small.Four, 3, 32, 32, batch=4),
    "pointnet": one(small.Points, 3, 128),
    "siamese": Kind(small.Tracker, {"template": (3, 24, 24), "scene": (3, 48, 48)}),
}


def samples(name, count, seed):
    """Returns smooth random signals with noise and random offsets, `count` of them for each data input."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw)

    def signals(channels, *axes):
        if not axes:  # features that correlate
            return normal(count, 6) @ torch.randn(6, channels, generator=torch.Generator().manual_seed(1)) + normal(count, channels)
        coarse = normal(count, channels, *(max(a // 6, 2) for a in axes))
        smooth = F.interpolate(coarse, size=axes, mode={1: "linear", 2: "bilinear", 3: "trilinear"}[len(axes)])
        return smooth + 0.3 * normal(*smooth.shape) + 0.5 * normal(count, channels, *[1] * len(axes))

    return {input: signals(*shape) for input, shape in KINDS[name].shapes.items()}


def inputs(name, count):
    """Returns `count` samples and the values of the inputs that are no data, by input."""
    return samples(name, count, 2) | KINDS[name].fixed


def at_once(name, form):
    """Returns how many samples one pass takes, in a file of this form."""
    return KINDS[name].batch or (1 if form == "dynamo" else 3)


def forms(name):
    """Returns the forms in which a kind is exported; with a fixed batch `free` would equal `dynamo`."""
    return [form for form in FORMS if form != "free" or KINDS[name].batch is None]


def export(model, name, form, path):
    """Exports a kind in one of the forms."""
    kind = KINDS[name]
    given = inputs(name, at_once(name, form))
    outputs = model(*given.values())
    names = ["y", "y1", "y2"][: len(outputs) if isinstance(outputs, tuple) else 1]
    free = form != "dynamo" and kind.batch is None
    options = dict(input_names=list(given), output_names=names)
    if form == "folded":
        axes = {i: {0: "N"} for i in kind.shapes} | {o: {kind.sample_axis: "N"} for o in names}
        torch.onnx.export(model, tuple(given.values()), path, dynamo=False, opset_version=17,
                          dynamic_axes=axes if free else None, **options)
    else:
        batch = torch.export.Dim("N")
        shapes = [{0: batch} if i in kind.shapes else {} for i in given] if free else None
        torch.onnx.export(model, tuple(given.values()), path, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=shapes, **options)


def least(text):
    """Returns the smallest feasible budget that an error message reports, or None."""
    found = re.search(r"at least ([0-9.]+)", text)
    return float(found.group(1)) if found else None


def prune(program, path, budget, *arguments):
    """Prunes to this share of the MACs, or to the smallest feasible one; returns exit code, JSON object and seconds."""
    start = time.time()
    for _ in range(2):
        code, result = program.json("prune", path, "--keep-macs", budget, *arguments, timeout=1800)
        reach = least(common.message(result)) if code == 2 else None
        if reach is None or reach >= 1:
            break
        budget = min(reach + 0.02, 0.999)
    return code, result, time.time() - start


def decibels(got, expected):
    """Returns the signal-to-noise ratio of the worst output, in dB; infinite without noise."""
    powers = [(np.square(a, dtype=np.float64).sum(), np.square(a - got[k], dtype=np.float64).sum()) for k, a in expected.items()]
    return min(10 * np.log10(signal / noise) if noise else np.inf for signal, noise in powers)


def passes(path, feeds):
    """Returns the outputs of ONNX Runtime for each of several passes, concatenated along a new first axis."""
    made = [common.ort_outputs(str(path), f) for f in feeds]
    return {k: np.stack([m[k] for m in made]) for k in made[0]}


def measure(program, name, form, path, folder, device="cpu"):
    """Runs and prunes one file; returns its row of the page."""
    row = {"run": None, "kept": None, "proof": None, "small": None, "unrepaired": None, "repaired": None, "seconds": None, "note": ""}
    fixed = {i: a.numpy() for i, a in KINDS[name].fixed.items()}
    size = at_once(name, form)
    fresh = {i: a.numpy() for i, a in samples(name, 8 * size, 4).items()}
    feeds = [{i: a[size * k : size * (k + 1)] for i, a in fresh.items()} | fixed for k in range(8)]
    expected = passes(path, feeds)
    refusal = lambda result: common.message(result).replace(str(path), path.name)[:160]
    code, result, got = common.run_model(program, path, feeds[0], folder / "run", device)
    if code != 0:
        return row | {"note": refusal(result)}
    row["run"] = common.worst_error(got, {common.file_name(k): a[0] for k, a in expected.items()})
    data = {i: a.numpy() for i, a in samples(name, COUNT, 3).items()}
    file = folder / ("data.npz" if len(data) > 1 else "data.npy")
    np.savez(file, **data) if len(data) > 1 else np.save(file, *data.values())
    given = []
    for i, a in fixed.items():
        np.save(folder / f"{i}.npy", a)
        given += ["--input", f"{i}={a if a.ndim == 0 else folder / f'{i}.npy'}"]
    for repair, column in (("none", "unrepaired"), ("full", "repaired")):
        cut, masked = folder / f"{repair}.onnx", folder / f"{repair}-masked.onnx"
        how = ["--repair", "none"] if repair == "none" else []
        code, result, row["seconds"] = prune(program, path, 0.6, "--data", file, *given, *how, "--held-out", 0.2,
                                             "-o", cut, "--masked", masked, "--device", device)
        if code != 0:
            return row | {"note": f"--repair {repair}: {refusal(result)}"}
        row["kept"] = result["after"]["macs"] / result["before"]["macs"]
        row["proof"] = max(row["proof"] or 0, result["proof"]["max_rel_err"])
        onnx.checker.check_model(str(cut), full_check=True)
        outputs = passes(cut, feeds)
        row["small"] = max(row["small"] or 0, common.worst_error(outputs, passes(masked, feeds)))
        row[column] = decibels(outputs, expected)
    return row
