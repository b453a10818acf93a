"""Fine-tuning: trained networks, the same bytes as the command line's, interruption and resumption."""

from __future__ import annotations

import logging
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import secateur

#: A training of 48 images (60 without those held out) in 3 steps an epoch.
SHORT: dict[str, Any] = {"train_batch": 16, "learning_rate": 1e-4, "augment": "none", "device": "cpu"}


@pytest.fixture(scope="module")
def small(demo: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo without a part of its filters and without repair, so that a training improves it."""
    file = tmp_path_factory.mktemp("small") / "small.onnx"
    secateur.prune(demo, keep_macs=0.5, criterion="l1", device="cpu").save(file)
    return str(file)


def test_a_network_imitates_its_teacher(demo: str, small: str, images: Any, tmp_path: Path) -> None:
    tuned = secateur.finetune(small, images, teacher=demo, epochs=2, **SHORT)
    training = tuned.training
    assert (training.steps, training.made, training.batch, training.rate) == (6, 6, 16, 1e-4)
    assert not training.found_rate and training.diverged is None and training.schedule == "cosine"
    assert "adamw" in training.optimizer and training.objective["outputs"] > 0 and not training.augment["flip"]
    assert [point.step for point in training.curve] == [3, 6]
    assert all(len(point.losses) == len(training.losses) > 0 for point in training.curve)
    assert training.curve[1].loss < training.curve[0].loss
    assert tuned.before.images == tuned.after.images == 12
    assert tuned.before.kl is not None and tuned.after.kl is not None and tuned.after.kl < tuned.before.kl
    onnx.checker.check_model(onnx.load_from_string(tuned.onnx))
    tuned.save(tmp_path / "tuned.onnx")
    assert (tmp_path / "tuned.onnx").read_bytes() == tuned.onnx != Path(small).read_bytes()
    x = images[:2].transpose(0, 3, 1, 2).astype(np.float32) / 255
    expected = ort.InferenceSession(tuned.onnx).run(None, {"image": x})[0]
    assert np.allclose(tuned.model.run(x, device="cpu")["logits"], expected, atol=1e-4)
    assert tuned.original.sha256 == secateur.Network(small).sha256 and tuned.cut is None
    assert "6 steps of 16 images" in repr(tuned)
    assert pickle.loads(pickle.dumps(training)) == training
    assert pickle.loads(pickle.dumps(tuned.model)).sha256 == tuned.model.sha256


def test_the_bytes_are_those_of_the_command_line(demo: str, small: str, built_in: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    data = ["--data", str(built_in), "--train-batch", "16", "--learning-rate", "1e-3", "--seed", "3"]
    by = ["--schedule", "one-cycle", "--optimizer", "sgd", "--weight-decay", "0.01", "--augment", "flip,shift=0.1"]
    words = ["finetune", small, "--teacher", demo, "--steps", "4", "--device", "cpu", "-q", "-o", str(out)]
    subprocess.run([sys.executable, "-m", "secateur", *words, *data, *by], check=True)
    options: dict[str, Any] = {"steps": 4, "train_batch": 16, "learning_rate": 1e-3, "seed": 3, "device": "cpu"}
    options |= {"schedule": "one-cycle", "optimizer": "sgd", "weight_decay": 0.01, "augment": "flip,shift=0.1"}
    tuned = secateur.finetune(small, built_in, teacher=demo, **options)
    assert tuned.onnx == out.read_bytes()
    assert tuned.onnx != secateur.finetune(small, built_in, teacher=demo, **{**options, "seed": 4}).onnx


def test_a_network_learns_labels(demo: str, small: str, images: Any, classes: Any) -> None:
    tuned = secateur.finetune(small, (images, classes), epochs=2, **SHORT)
    assert tuned.training.losses == ["labels"] and tuned.after.agreement is None
    assert tuned.before.top1 is not None and tuned.after.top1 is not None and tuned.after.metric is not None
    assert tuned.training.curve[1].loss < tuned.training.curve[0].loss
    both = secateur.finetune(small, (images, classes), teacher=demo, label_weight=0.5, steps=1, **SHORT)
    assert both.training.objective["labels"] == 0.5 and "labels" in both.training.losses
    with pytest.raises(secateur.InputError, match="labels"):
        secateur.finetune(small, images, epochs=1, **SHORT)


def test_prune_trains_the_result(demo: str, images: Any, tmp_path: Path) -> None:
    fast: dict[str, Any] = {"keep_macs": 0.6, "criterion": "act-variance", "repair": "bias", "device": "cpu"}
    plain = secateur.prune(demo, images, **fast)
    assert plain.training is None and plain.untrained is None
    how = secateur.Training(epochs=2, train_batch=16, learning_rate=1e-3)
    result = secateur.prune(demo, images, finetune=how, **fast)
    assert result.training is not None and result.training.made == 6 and result.training.augment["flip"]
    assert result.quality is not None and result.untrained is not None
    assert result.untrained == plain.quality and result.quality.kl != result.untrained.kl
    assert result.after.macs == plain.after.macs and result.cut.removed == plain.cut.removed and result.proof.passed
    assert result.onnx != plain.onnx
    by_hand = secateur.finetune(plain, images, teacher=demo, epochs=2, train_batch=16, learning_rate=1e-3, device="cpu")
    assert by_hand.training.losses == result.training.losses, "the cut of a result is known"
    assert "features" in by_hand.training.losses and result.rounds == []
    shapes = [{w.name: list(w.dims) for w in onnx.load_from_string(file).graph.initializer} for file in (result.onnx, by_hand.onnx)]
    assert shapes[0] == shapes[1]
    assert by_hand.original.sha256 == plain.original.sha256
    assert by_hand.cut is not None and by_hand.cut.removed == plain.cut.removed
    result.report(tmp_path / "page.html", seconds=0.2)
    assert '"trainings":[{"budget":null,"steps":6' in (tmp_path / "page.html").read_text()
    curve = result.curve()
    assert list(curve) == ["round", "step", "loss", "rate", "seconds", *result.training.losses]
    assert curve["step"].tolist() == [1, 2, 3, 4, 5, 6] and set(curve["round"]) == {1}
    assert plain.curve()["loss"].size == 0
    by_number = secateur.prune(demo, images, finetune=1, **fast)
    assert by_number.training is not None and by_number.training.found_rate and by_number.training.batch == 48


def test_rounds_train_after_each_cut(demo: str, images: Any) -> None:
    how = secateur.Training(steps=2, train_batch=16, learning_rate=1e-4, augment="none")
    result = secateur.prune(
        demo, images, keep_macs=0.6, criterion="l1", repair="none", rounds=2, finetune=how, force=True, device="cpu"
    )
    (first,) = result.rounds
    assert first.budget == "keep-macs 0.8" and first.training.made == 2
    assert first.quality.kl is not None and first.quality.kl != first.untrained.kl
    assert result.after.macs <= 0.6 * result.before.macs and result.training is not None
    assert result.curve()["round"].tolist() == [1, 1, 2, 2] and result.curve()["step"].tolist() == [1, 2, 1, 2]
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(secateur.InputError, match="(?s)checkpoint.*rounds"):
        how = secateur.Training(steps=2, checkpoint="none.checkpoint")
        secateur.prune(demo, images, keep_macs=0.6, criterion="l1", rounds=2, finetune=how, device="cpu")


def test_features_are_compared_on_the_channels_that_stay(demo: str, images: Any, tmp_path: Path) -> None:
    plain = secateur.prune(demo, keep_macs=0.5, criterion="l1", device="cpu")
    plain.save(tmp_path / "small.onnx")
    plain.cut.save(tmp_path / "cut.json")
    short: dict[str, Any] = {"teacher": demo, "steps": 2, **SHORT}
    last, stages, named = (
        secateur.finetune(tmp_path / "small.onnx", images, cut=cut, features=features, **short).training
        for cut, features in ((plain.cut, "last"), (tmp_path / "cut.json", "stages"), (plain.cut, _layers(plain, 2)))
    )
    assert last.features == "last" and stages.features == "stages" and named.features == ",".join(_layers(plain, 2))
    errors = [record.curve[-1].losses[record.losses.index("features")] for record in (last, stages, named)]
    assert len(set(errors)) == 3
    # A result has its cut, if the teacher is the network that it was made from.
    known = secateur.finetune(plain, images, features="stages", **short).training
    assert [point.losses for point in known.curve] == [point.losses for point in stages.curve]
    how = secateur.Training(steps=2, train_batch=16, learning_rate=1e-4, features="stages")
    result = secateur.prune(demo, images, keep_macs=0.5, criterion="l1", finetune=how, device="cpu")
    assert result.training is not None and result.training.features == "stages"
    with pytest.raises(secateur.InputError, match="(?s)no layer of this name.*did you mean"):
        secateur.finetune(plain, images, features=[_layers(plain, 1)[0] + "x"], **short)
    with pytest.raises(secateur.InputError, match="(?s)cut belongs to another model"):
        secateur.finetune(plain, images, cut=plain.cut, **{**short, "teacher": tmp_path / "small.onnx"})
    with pytest.raises(secateur.InputError, match="(?s)a cut needs the network.*`teacher`"):
        secateur.finetune(plain, images, cut=plain.cut, epochs=1)
    with pytest.raises(TypeError, match="features takes"):
        secateur.finetune(plain, images, features=3, **short)  # type: ignore[arg-type]


def _layers(result: secateur.Result, count: int) -> list[str]:
    return list(result.cut.removed)[:count]


def test_filters_are_followed_through_the_epochs(demo: str, small: str, images: Any, tmp_path: Path) -> None:
    tuned = secateur.finetune(small, images, teacher=demo, epochs=2, trajectories=True, **SHORT)
    profile = tuned.profile
    assert profile is not None and profile.images == 0 and profile.complete
    drift = next(iter(profile.statistics().values()))
    assert any("drift" in name for name in drift), list(drift)
    again = secateur.prune(tuned.model, profile=profile, criterion="drift", keep_macs=0.9, device="cpu")
    assert again.removed_channels > 0
    assert secateur.finetune(small, images, teacher=demo, steps=1, **SHORT).profile is None
    curve = tuned.curve()
    assert curve["loss"].tolist() == [point.loss for point in tuned.training.course] and curve["loss"].size == 6
    tuned.report(tmp_path / "page.html")
    assert '"trainings":[{"budget":null,"steps":6' in (tmp_path / "page.html").read_text()


def test_penalties_shrink_channels(demo: str, images: Any) -> None:
    options: dict[str, Any] = {**SHORT, "learning_rate": 1e-2, "steps": 6, "teacher": demo}
    sparse = secateur.finetune(demo, images, penalty="group-lasso:20", **options).training
    assert sparse.penalty == "group-lasso:20" and sparse.zero_groups is not None
    zero, every = sparse.zero_groups
    assert 0 < zero <= every
    plain = secateur.finetune(demo, images, train_bn=True, **options).training
    assert plain.penalty is None and plain.zero_groups is None and plain.train_bn
    with pytest.raises(secateur.InputError, match="(?s)no penalty of a training.*group-lasso"):
        secateur.finetune(demo, images, penalty="lasso", **options)


def test_a_function_is_a_metric(demo: str, small: str, images: Any) -> None:
    seen: list[int] = []

    def of_box(outputs: Any, target: Any) -> float:
        seen.append(target["box"])
        return float(outputs["logits"].max())

    pairs = [(image, {"box": at}) for at, image in enumerate(images)]
    tuned = secateur.finetune(small, pairs, teacher=demo, steps=2, metric=of_box, **SHORT)
    assert tuned.after.metric is not None and tuned.after.metric.name == "of_box"
    assert tuned.before.metric is not None and tuned.before.metric.after != tuned.after.metric.after
    assert set(seen) == set(range(4, 60, 5)), "only the images that judge"
    whole = secateur.finetune(small, images, teacher=demo, steps=1, test=images[:7], **SHORT)
    assert whole.after.images == 7 and whole.training.batch == 16


class Watch:
    """A progress function with a method for notices, which ends after a number of steps."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.seen: list[tuple[str, int, int]] = []
        self.notices: list[str] = []

    def __call__(self, stage: str, done: int, total: int) -> bool:
        self.seen.append((stage, done, total))
        return self.last is None or stage != "training" or done < self.last

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_epochs_and_losses_are_reported(
    demo: str, small: str, images: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch()
    options = {**SHORT, "learning_rate": None}
    with caplog.at_level(logging.INFO, logger="secateur"):
        tuned = secateur.finetune(small, images, teacher=demo, epochs=2, progress=watch, **options)
    epochs = [text for text in watch.notices if text.startswith("epoch")]
    assert epochs == [f"epoch {at} of 2: loss {p.loss:.4f}" for at, p in enumerate(tuned.training.curve, 1)]
    assert [record.getMessage() for record in caplog.records if record.name == "secateur"] == watch.notices
    assert tuned.training.found_rate and tuned.training.rate > 0
    assert {("training", 0, 6), ("training", 6, 6)} <= set(watch.seen)
    assert ("finding the learning rate", 1, 60) in watch.seen
    secateur.finetune(small, images, teacher=demo, epochs=2, progress=True, **SHORT)
    assert "training" in capsys.readouterr().err


def test_a_training_is_ended_and_resumed(demo: str, small: str, images: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.checkpoint"
    options: dict[str, Any] = {"teacher": demo, "epochs": 2, "checkpoint": file, **SHORT}
    with pytest.raises(secateur.Interrupted):
        secateur.finetune(small, images, progress=Watch(4), **options)
    assert file.exists()
    with pytest.raises(secateur.InputError, match="(?s)another|other options"):
        secateur.finetune(small, images, resume=True, **{**options, "learning_rate": 1e-3})
    resumed = secateur.finetune(small, images, resume=True, **options)
    assert resumed.training.made == 6 and [point.step for point in resumed.training.curve] == [6]
    whole = secateur.finetune(small, images, teacher=demo, epochs=2, **SHORT)
    assert resumed.onnx == whole.onnx
    with pytest.raises(secateur.Interrupted):
        secateur.finetune(small, images, teacher=demo, epochs=2, progress=_refuse_rate, train_batch=16, device="cpu")


def _refuse_rate(stage: str, done: int, total: int) -> bool:
    return stage != "finding the learning rate" or done < 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
def test_ctrl_c_raises_keyboard_interrupt(demo: str, small: str, tmp_path: Path) -> None:
    file = tmp_path / "net.checkpoint"
    script = f"""
        # A job in the background inherits that Ctrl-C is ignored.
        import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
        import sys
        import numpy as np, secateur
        images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
        def ready(stage, done, total):
            if stage == "training" and done == 5:
                print("ready", flush=True)
        try:
            secateur.finetune({small!r}, images, teacher={demo!r}, steps=100_000, learning_rate=1e-5, train_batch=16,
                              device="cpu", checkpoint={str(file)!r}, progress=ready)
        except KeyboardInterrupt:
            sys.exit(3)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert file.exists() and time.monotonic() - sent < 30


def test_the_gil_is_released(demo: str, small: str, images: Any) -> None:
    ticks = 0
    with ThreadPoolExecutor(1) as pool:
        tuned = pool.submit(secateur.finetune, small, images, teacher=demo, steps=2, **SHORT)
        while not tuned.done():
            time.sleep(0.001)
            ticks += 1
    assert tuned.result().training.made == 2
    assert ticks > 20, "this thread ran beside the other one"


def test_wrong_options_are_named(demo: str, small: str, images: Any, tmp_path: Path) -> None:
    def tune(**options: Any) -> None:
        secateur.finetune(small, images, **{"teacher": demo, "device": "cpu", **options})

    with pytest.raises(secateur.InputError, match="(?s)one length.*`epochs` or `steps`.*none"):
        tune()
    with pytest.raises(secateur.InputError, match="(?s)one length.*both"):
        secateur.Training(epochs=1, steps=1)
    with pytest.raises(secateur.InputError, match="(?s)no checkpoint.*set `checkpoint`"):
        secateur.Training(epochs=1, resume=True)
    for wrong in ({"epochs": 0}, {"epochs": -1.0}, {"steps": 0}, {"epochs": 1, "learning_rate": 0}):
        with pytest.raises(secateur.InputError, match="a number above 0"):
            tune(**wrong)
    with pytest.raises(secateur.InputError, match="(?s)unknown `schedule`.*cosine, one-cycle, constant.*\"cosin\""):
        tune(epochs=1, schedule="cosin")
    with pytest.raises(secateur.InputError, match="(?s)unknown `optimizer`.*adamw, sgd"):
        tune(epochs=1, optimizer="adam")
    with pytest.raises(secateur.InputError, match="(?s)no random change of images.*flip"):
        tune(epochs=1, augment="flop")
    with pytest.raises(secateur.InputError, match="`train_batch` does not fit"):
        tune(epochs=1, train_batch=0)
    with pytest.raises(TypeError, match="epochs takes a number"):
        tune(epochs="many")
    with pytest.raises(TypeError, match="did you mean learning_rate"):
        tune(epochs=1, learning_rat=0.1)
    with pytest.raises(TypeError, match="finetune takes a number of epochs or a Training"):
        secateur.prune(demo, images, keep_macs=0.7, finetune={"epochs": 1})  # type: ignore[arg-type]
    with pytest.raises(secateur.InputError, match="(?s)a training needs images.*`data`"):
        secateur.prune(demo, keep_macs=0.7, criterion="l1", finetune=1, device="cpu")
    with pytest.raises(FileNotFoundError):
        tune(epochs=1, checkpoint=tmp_path / "none", resume=True)
    with pytest.raises(secateur.InputError, match="no data were given"):
        secateur.finetune(small, None, teacher=demo, epochs=1)
