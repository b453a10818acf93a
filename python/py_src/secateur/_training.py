"""Fine-tuning: the options of a training, its course, and trained networks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _secateur
from ._calls import described, described_test
from ._errors import unfit
from ._functions import as_metric
from ._network import Network, as_network
from ._profile_class import Profile
from ._progress import Progress, Reporter
from ._results import Quality, TrainingRecord, course_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._data import DataOptions
    from ._pruning import Cut


@dataclass(frozen=True)
class Training:
    """The options of a training, for the argument ``finetune`` of :func:`prune`.

    One length is needed, ``epochs`` or ``steps``. The arguments are those of :func:`finetune`.

    Raises:
        InputError: No length or two, or ``resume`` without a checkpoint.

    Example:
        >>> Training(epochs=8, learning_rate=1e-3).schedule
        'cosine'
    """

    #: Passes over the images.
    epochs: float | None = None
    #: Steps, each on one batch, in place of epochs.
    steps: int | None = None
    #: Highest learning rate; None finds one by a short range test.
    learning_rate: float | None = None
    #: Schedule of the learning rate: "cosine", "one-cycle" or "constant".
    schedule: str = "cosine"
    #: Rule by which parameters change: "adamw", or "sgd" with Nesterov's momentum.
    optimizer: str = "adamw"
    #: Weight decay of the layers' weights.
    weight_decay: float = 1e-4
    #: Images of a step.
    train_batch: int = 64
    #: Losses with weights, such as "outputs,features=0.5": outputs, features, soft, labels; None for the default ones.
    losses: str | None = None
    #: Layers whose outputs are compared with the teacher's beside the input of the last layer: "last" for none, "stages"
    #: for the last maps of each size, or names of nodes.
    features: str | Sequence[str] = "last"
    #: Random changes of images, such as "flip,shift=0.1", or "none"; None for the usual ones.
    augment: str | None = None
    #: Penalty that shrinks whole channels to zero: "group-lasso:λ" or "bn-l1:λ"; None for none.
    penalty: str | None = None
    #: True to normalize by the statistics of each batch, and to update the stored ones of BatchNormalization.
    train_bn: bool = False
    #: Weight of the labels' cross-entropy beside a teacher.
    label_weight: float = 0.0
    #: File from which an interrupted training continues.
    checkpoint: str | os.PathLike[str] | None = None
    #: True to continue from the checkpoint.
    resume: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise unfit(
                "a training has one length",
                expected="`epochs` or `steps`",
                got="none" if self.epochs is None else "both",
                remedy="for example epochs=8",
            )
        if self.resume and self.checkpoint is None:
            raise unfit(
                "there is no checkpoint to resume from",
                expected="`checkpoint` with the file of the first run",
                remedy="set `checkpoint`, or leave `resume` out",
            )


def training_options(given: float | Training | None) -> dict[str, Any] | None:
    """Returns the library's options for a number of epochs or a :class:`Training`."""
    if given is None:
        return None
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        given = Training(epochs=given)
    if not isinstance(given, Training):
        raise TypeError(f"finetune takes a number of epochs or a Training, got {given!r}")
    return asdict(given)


class Finetuned:
    """A network after fine-tuning, made by :func:`finetune`."""

    #: Course of the training.
    training: TrainingRecord
    #: Quality before the training, against the teacher if there is one.
    before: Quality
    #: Quality after the training.
    after: Quality
    #: The network before the training; for a :class:`Result`, the network that was pruned.
    original: Network
    #: The cut of the :class:`Result` that was trained, or None.
    cut: Cut | None

    def __init__(self, native: _secateur.Finetuned, start: Network, original: Network, cut: Cut | None) -> None:
        self._native = native
        fields = native.fields()
        self.training = TrainingRecord.of(fields["training"])
        self.before, self.after = Quality.of(fields["before"]), Quality.of(fields["after"])
        self.original, self.cut = original, cut
        self._start = start

    @property
    def model(self) -> Network:
        """The trained network, with the options of the network before."""
        return self._start._with(self.onnx)

    @property
    def onnx(self) -> bytes:
        """The contents of the trained file, for example for ``onnxruntime.InferenceSession(result.onnx)``."""
        return self._native.onnx()

    @property
    def profile(self) -> Profile | None:
        """Statistics of all filters at the end of each epoch, for example for the criteria drift and stability.

        None unless ``trajectories`` was set.
        """
        native = self._native.profile()
        return None if native is None else Profile._of(native)

    def curve(self) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the losses over the steps as columns, for example for ``pandas.DataFrame``.

        ``step`` is the number of finished steps, ``loss`` the weighted sum, ``rate`` the learning rate, ``seconds`` the
        time since the start. Each loss has a column of its name. There are at most 100 rows, each the mean over equal
        numbers of steps; ``round`` is 1.
        """
        return course_of([self.training])

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes an HTML page with the losses over the steps, the quality before and after, and the options."""
        self._native.report(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the trained file, whole or not at all; external data become external again."""
        self._native.save(path)

    def __repr__(self) -> str:
        return f"<secateur.Finetuned: {self.training}>"


def finetune(
    network: Any,
    data: Any,
    *,
    teacher: Any = None,
    cut: Any = None,
    epochs: float | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    schedule: str = "cosine",
    optimizer: str = "adamw",
    weight_decay: float = 1e-4,
    train_batch: int = 64,
    losses: str | None = None,
    features: str | Sequence[str] = "last",
    augment: str | None = None,
    penalty: str | None = None,
    train_bn: bool = False,
    label_weight: float = 0.0,
    trajectories: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    seed: int = 0,
    test: Any = None,
    held_out: float | None = None,
    metric: Any = None,
    labels: str | os.PathLike[str] | None = None,
    peak: float | None = None,
    boxes: str | None = None,
    min_score: float | None = None,
    batch: int | None = None,
    device: int | str = "auto",
    progress: Progress = None,
    **data_options: Unpack[DataOptions],
) -> Finetuned:
    """Trains a network to imitate a teacher, or on labels, and judges it before and after.

    Args:
        network: A :class:`Network`, or what it takes: a path, bytes, an ``onnx.ModelProto``, a :class:`Result` of
            :func:`prune`.
        data: Images that train and judge, as :class:`Data` describes them. With a teacher, labels are not needed.
        teacher: Network to imitate, such as the original of a pruned network: its outputs and features. Without a teacher,
            the network is trained on the labels.
        cut: :class:`Cut`, or its path, by which the network was cut from its teacher: features are then compared on the
            channels that stay. Default: the cut of a :class:`Result` whose original is the teacher; else none, and only
            features of equal shapes are compared.
        epochs: Passes over the images.
        steps: Steps, each on one batch, in place of ``epochs``.
        learning_rate: Highest learning rate. Default: found by a short range test, in which the rate grows until the loss
            rises.
        schedule: Schedule of the learning rate: "cosine", "one-cycle" or "constant".
        optimizer: Rule by which parameters change: "adamw", or "sgd" with Nesterov's momentum.
        weight_decay: Weight decay of the layers' weights; biases and normalizations never decay.
        train_batch: Images of a step; fewer if there are fewer images, or if the file fixes another number.
        losses: Losses that are minimized, with weights: "outputs", "features", "soft" (class probabilities at a temperature),
            "labels", such as "soft=1,temperature=4,features=0.5". Default: "outputs,features" with a teacher; "labels"
            without one.
        features: Layers whose outputs are compared with the teacher's beside the input of the last layer: "last" for none,
            "stages" for the last maps of each size, or names of nodes.
        augment: Random changes of images: "flip", "shift", "crop", "color", "mixup" with strengths, such as
            "flip,shift=0.1", or "none". Default: "flip,shift,mixup=1" with a teacher; "shift" without, since a mirrored picture
            may belong to another class.
        penalty: Penalty that shrinks whole channels to zero while training: "group-lasso:λ" (all weights of coupled channels
            together) or "bn-l1:λ" (scales of BatchNormalization). A cut by ``remove_below`` then loses nothing.
        train_bn: True to normalize by the statistics of each batch, and to update the stored ones of BatchNormalization.
            By default those of the file are kept, which suits a network that was trained before.
        label_weight: Weight of the labels' cross-entropy beside a teacher's classes.
        trajectories: True to keep the weights of every epoch for ``profile``, the statistics of all filters through the
            training.
        checkpoint: File that is written after every epoch, and at Ctrl-C.
        resume: True to continue from the checkpoint, with the same options and files as before.
        seed: Seed of the order and the random changes of images.
        test: Other images that judge, all of them, with the preprocessing of ``data``.
        held_out: Share of the images that is held out to judge. Default: 0.2, but 0 if there are fewer than five.
        metric: Name, function or :class:`Metric`, as in :func:`prune`. It judges, and is not what is trained.
        labels: Label images: a folder of masks or pictures with the names of the images, or an array file.
        peak: Largest value of pictures, for psnr and ssim.
        boxes: Columns of a row that describes a box, for the metric "boxes", such as "xyxy,score,class".
        min_score: Least score of a box that counts, 0.25 by default.
        batch: Images at once in evaluations. Default: what the device's memory allows.
        device: "auto" (a GPU if there is one), "cpu", a number, or a part of a name, as :func:`devices` lists them.
        progress: True for a bar, or a function, as in :func:`prune`. The stage "training" counts steps.
        **data_options: Preprocessing and selection, as :class:`Data` describes them.

    Returns:
        The :class:`Finetuned`: ``model``, ``onnx``, ``save(path)``, ``training``, ``before``, ``after``, ``curve()``, ``profile``, ``report(path)``. If the loss grew
        beyond all bounds, ``training.diverged`` is the step, and the weights are those of the epoch before.

    Raises:
        InputError: Data, labels, a teacher or options that do not fit, or a ``checkpoint`` of another training.
        UnsupportedError: The losses depend on no weight that can be trained.
        KeyboardInterrupt: After Ctrl-C, within a step. With ``checkpoint`` nothing is lost.

    Example:
        >>> tuned = finetune("small.onnx", "images/", teacher="net.onnx", epochs=8, preset="imagenet")  # doctest: +SKIP
        >>> tuned.save("tuned.onnx")                                                                    # doctest: +SKIP
    """
    # A result of `prune` also has the network and the cut that it was made from.
    original, own = getattr(network, "original", None), getattr(network, "cut", None)
    net = as_network(network)
    imitated = None if teacher is None else as_network(teacher)
    given = Training(
        epochs=epochs,
        steps=steps,
        learning_rate=learning_rate,
        schedule=schedule,
        optimizer=optimizer,
        weight_decay=weight_decay,
        train_batch=train_batch,
        losses=losses,
        features=features,
        augment=augment,
        penalty=penalty,
        train_bn=train_bn,
        label_weight=label_weight,
        checkpoint=checkpoint,
        resume=resume,
    )
    options: dict[str, Any] = {
        **asdict(given),
        "cut": _cut(cut, imitated, original, own),
        "trajectories": trajectories,
        "seed": seed,
        "held_out": held_out,
        "labels": labels,
        "peak": peak,
        "boxes": boxes,
        "min_score": min_score,
        "batch": batch,
        "device": device,
    }
    others = {**options, "teacher": None, "test": None, "metric": None}
    found = described(net, data, data_options, "finetune", others)
    judge = described_test(net, test, data, data_options)
    targets = judge or found
    options["data"] = None if found is None else found.fields
    options["test"] = None if judge is None else judge.fields
    options["metric"] = as_metric(metric, targets.targets if targets else None)
    with Reporter(progress) as reporter:
        native = _secateur.finetune(net._native, None if imitated is None else imitated._native, reporter, options)
    return Finetuned(native, net, net if original is None else original, own)


def _cut(given: Any, teacher: Network | None, original: Network | None, own: Cut | None) -> _secateur.Cut | None:
    """Returns the cut that leads from the teacher to the network; None if there is none, or it is unknown."""
    from ._pruning import Cut

    if given is not None:
        if teacher is None:
            raise unfit(
                "a cut needs the network that was cut",
                expected="`teacher`",
                remedy="set `teacher` to it, or leave `cut` out",
            )
        return (given if isinstance(given, Cut) else Cut(given))._native
    if own is None or original is None or teacher is None or original.sha256 != teacher.sha256:
        return None
    return own._native
