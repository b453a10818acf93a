"""Bad input: each is a clear exception, in Python's words."""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur


def profile(network: Any, data: Any, **options: Any) -> secateur.Profile:
    return secateur.profile(network, data, device="cpu", **options)


class LoaderError(Exception):
    pass


def test_files_that_are_no_models(demo: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        secateur.Network(tmp_path / "none.onnx")
    assert isinstance(missing.value, secateur.MissingFileError)
    assert missing.value.filename == str(tmp_path / "none.onnx") and missing.value.errno == 2
    (tmp_path / "text.onnx").write_text("<html>")
    with pytest.raises(secateur.ModelError, match="(?s)not an ONNX model.*download the model file itself"):
        secateur.Network(tmp_path / "text.onnx")
    for wrong in (b"", b"nonsense", Path(demo).read_bytes()[:1000]):
        with pytest.raises(ValueError):
            secateur.Network(wrong)
    with pytest.raises(TypeError, match="a network is a path"):
        secateur.Network(3)
    with pytest.raises(secateur.InputError):
        secateur.Network(demo, values={"nothing": 1.0})


def test_wrong_types_of_samples(demo: str, images: Any) -> None:
    with pytest.raises(secateur.InputError, match="(?s)unsupported type.*astype"):
        profile(demo, images.astype(np.complex64))
    with pytest.raises(secateur.InputError, match="(?s)unsupported type.*astype"):
        profile(demo, images.astype(object))
    with pytest.raises(secateur.InputError, match="(?s)unsupported type.*astype"):
        profile(demo, images.astype(np.int64))
    with pytest.raises(secateur.InputError, match="(?s)unsupported type.*str"):
        profile(demo, iter(["cat.jpg", "dog.jpg"]))
    with pytest.raises(FileNotFoundError, match="cat.jpg"):
        profile(demo, ["cat.jpg", "dog.jpg"])
    with pytest.raises(secateur.InputError, match="no array"):
        profile(demo, [[[1, 2], [3]]])
    with pytest.raises(TypeError, match="data takes a path, an array, or an iterable"):
        profile(demo, 3)


def test_wrong_shapes_of_samples(demo: str, images: Any) -> None:
    floats = images.transpose(0, 3, 1, 2).astype(np.float32)
    with pytest.raises(secateur.InputError, match="(?s)does not have the network's size.*32x32.*16x16"):
        profile(demo, floats[:, :, :16, :16])
    with pytest.raises(secateur.InputError, match="(?s)does not have the network's channels.*3 channels"):
        profile(demo, floats[:, :2])
    with pytest.raises(secateur.InputError, match="not an array of images"):
        profile(demo, floats.reshape(60, -1))
    with pytest.raises(secateur.InputError, match="(?s)several kinds"):
        profile(demo, [images[0], floats[0]])
    with pytest.raises(secateur.InputError, match="differ in number"):
        secateur.evaluate(demo, {"image": images, "label": np.arange(7)}, device="cpu")
    with pytest.raises(secateur.InputError, match="others none"):
        profile(demo, [(images[0], 1), images[1]])
    with pytest.raises(secateur.InputError, match="lacks an input"):
        profile(demo, [{"photo": images[0]}])


def test_empty_data(demo: str, images: Any) -> None:
    for empty in ([], iter([]), images[:0]):
        with pytest.raises(secateur.InputError, match="no samples|is empty"):
            profile(demo, empty)
    with pytest.raises(secateur.InputError):
        profile(demo, None)


def test_a_loader_that_raises_in_the_middle(demo: str, images: Any, tmp_path: Path) -> None:
    class Failing:
        fails_from_walk = 1

        def __init__(self) -> None:
            self.walks = 0

        def __iter__(self) -> Iterator[Any]:
            self.walks += 1
            yield images[:20]
            if self.walks >= self.fails_from_walk:
                raise LoaderError("broken pipe")
            yield images[20:]

    with pytest.raises(LoaderError, match="broken pipe"):
        profile(demo, Failing(), checkpoint=tmp_path / "net.profile")
    later = Failing()
    later.fails_from_walk = 2
    with pytest.raises(LoaderError, match="broken pipe"):
        profile(demo, later, max_memory=1000, checkpoint=tmp_path / "net.profile")
    assert not list(tmp_path.iterdir()), "nothing half-written"
    # The next call is not disturbed.
    assert profile(demo, images).images == 60


def test_an_iterable_that_can_be_walked_once(demo: str, images: Any) -> None:
    with pytest.raises(secateur.OutOfMemoryError, match="(?s)max_memory.*walked once") as caught:
        profile(demo, iter(images), max_memory=1000)
    assert isinstance(caught.value, MemoryError)
    used = iter(images)
    assert profile(demo, used).images == 60
    with pytest.raises(secateur.InputError, match="no samples"):
        profile(demo, used)


def test_an_iterable_that_yields_once_is_walked_once(demo: str, images: Any) -> None:
    class Once:
        walks = 0

        def __iter__(self) -> Iterator[Any]:
            self.walks += 1
            return iter(images if self.walks == 1 else [])

    once = Once()
    assert secateur.prune(demo, once, keep_macs=0.8, repair="bias", device="cpu").proof.passed and once.walks == 1
    with pytest.raises(secateur.InputError, match="walked again"):
        profile(demo, Once(), max_memory=1000)


def test_samples_that_are_no_numbers(demo: str, images: Any, caplog: pytest.LogCaptureFixture) -> None:
    floats = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    floats[7, 0, 3, 3] = np.nan
    with caplog.at_level(logging.WARNING, "secateur"):
        assert profile(demo, floats).images == 59
    assert "skipped: image 7 holds NaN, which is not a finite number" in caplog.text
    with pytest.raises(secateur.InputError, match="none of the images can be read\n +got: image 0 holds NaN") as caught:
        profile(demo, np.full_like(floats, np.nan))
    assert caught.value.file is None


def test_a_loader_that_shuffles_is_found_out(demo: str, images: Any) -> None:
    class Shuffling:
        def __init__(self) -> None:
            self.random = np.random.default_rng(1)

        def __iter__(self) -> Iterator[Any]:
            return iter(images[self.random.permutation(len(images))])

    assert profile(demo, Shuffling()).images == 60
    with pytest.raises(secateur.InputError, match="(?s)walked again.*shuffle=False"):
        profile(demo, Shuffling(), max_memory=1000)


def test_options_that_do_not_fit(demo: str, images: Any) -> None:
    with pytest.raises(TypeError, match="did you mean preset"):
        secateur.prune(demo, images, keep_macs=0.5, presett="imagenet")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean keep_macs"):
        secateur.prune(demo, images, keep_mac=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="keep_macs takes a number, got 'half'"):
        secateur.prune(demo, images, keep_macs="half")  # type: ignore[arg-type]
    with pytest.raises(secateur.InputError, match="one budget is needed"):
        secateur.prune(demo, images)
    with pytest.raises(secateur.InputError, match="one budget is needed"):
        secateur.prune(demo, images, keep_macs=0.5, max_drop=1)
    with pytest.raises(ValueError, match="`keep_macs` does not fit"):
        secateur.prune(demo, images, keep_macs=1.5)
    with pytest.raises(secateur.BudgetError):
        secateur.prune(demo, keep_macs=0.01, max_cut=0.1, criterion="l1", device="cpu")
    with pytest.raises(secateur.InputError, match="(?s)unknown criterion.*did you mean apoz"):
        secateur.prune(demo, images, keep_macs=0.5, criterion="apoy")
    with pytest.raises(secateur.InputError, match="(?s)unknown `repair`.*none, bias, bn, full"):
        secateur.prune(demo, images, keep_macs=0.5, repair="all")
    with pytest.raises(secateur.InputError, match="unknown preset"):
        profile(demo, images, preset="imagenot")
    with pytest.raises(secateur.DeviceError, match="(?s)no device has the number 99"):
        secateur.profile(demo, images, device=99)
    with pytest.raises(secateur.InputError, match="not a shard"):
        profile(demo, images, shard=(8, 8))
    with pytest.raises(secateur.InputError, match="(?s)needs activations.*set `data`"):
        secateur.prune(demo, keep_macs=0.5, device="cpu")
    with pytest.raises(secateur.InputError, match="without data"):
        secateur.prune(demo, keep_macs=0.5, criterion="l1", preset="imagenet")
    with pytest.raises(secateur.InputError, match="random inputs"):
        secateur.prune(demo, "random:8", keep_macs=0.5, device="cpu")
    with pytest.raises(TypeError, match="progress takes"):
        profile(demo, images, progress="bar")
    with pytest.raises(TypeError, match="a metric is a name or a function"):
        secateur.evaluate(demo, images, metric=3)


def test_labels_that_do_not_fit(demo: str, images: Any, classes: Any) -> None:
    wrong = (classes + 1 + np.arange(len(classes)) % 9) % 10
    with pytest.raises(secateur.InputError, match="(?s)labels do not fit.*the command `secateur eval --try-presets`"):
        secateur.prune(demo, (images, wrong), keep_macs=0.5, criterion="l1", device="cpu")
    forced = secateur.prune(demo, (images, wrong), keep_macs=0.9, criterion="l1", force=True, device="cpu")
    assert forced.proof.passed


def test_nothing_is_written_if_an_operation_fails(demo: str, tmp_path: Path) -> None:
    result = secateur.prune(demo, keep_macs=0.8, criterion="l1", device="cpu")
    with pytest.raises(secateur.FileError, match="folder does not exist") as caught:
        result.save(tmp_path / "none" / "small.onnx")
    assert isinstance(caught.value, OSError) and caught.value.file == str(tmp_path / "none" / "small.onnx")
    with pytest.raises(OSError):
        result.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_errors_speak_python() -> None:
    from secateur._errors import spoken

    assert spoken("check them with `eval()`") == "check them with `secateur.evaluate()`"
    assert spoken("set `batch`, see `compare_criteria()`") == "set `batch`, see `secateur.compare_criteria()`"
    only = spoken("`check()` shows it; rank recipes by `eval()` with `try_presets`")
    assert only == "the command `secateur check` shows it; rank recipes by the command `secateur eval --try-presets`"


def test_functions_in_sentences_of_the_library_exist() -> None:
    from secateur._errors import spoken

    source = Path(__file__).resolve().parents[2] / "src"
    named: set[str] = set()
    for file in source.rglob("*.rs"):
        if "cli" in file.parts:
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.lstrip().startswith("//"):
                named.update(re.findall(r"`[a-z_]+\(\)`", line))
    assert len(named) >= 7, named
    for name in named:
        told = spoken(name)
        if not told.startswith("the command"):
            operator.attrgetter(told.strip("`()").removeprefix("secateur."))(secateur)


def test_notices_name_options_as_python_does(demo: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "secateur"):
        secateur.prune(demo, keep_macs=0.6, criterion="l1", device="cpu")
    assert "not repaired: a repair needs images (`data`)" in caplog.text and "--" not in caplog.text
