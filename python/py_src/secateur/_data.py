"""Data of callers, brought into the forms that the library reads: a path, arrays by rows, or batches one by one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Union

import numpy.typing as npt

from ._errors import unfit
from ._items import Item, Reader, is_array, to_numpy

if TYPE_CHECKING:
    from typing_extensions import Unpack

Size = Union[int, str, "tuple[int, int]"]
Path = Union[str, "os.PathLike[str]"]

#: Bytes of samples that are kept in memory unless another limit is given.
USUAL_MEMORY = 4 << 30


class DataOptions(TypedDict, total=False):
    """Preprocessing and selection of data, as keyword arguments of every function that takes data."""

    preset: str
    resize: Size
    crop: Size
    letterbox: int
    mean: float | Sequence[float]
    std: float | Sequence[float]
    layout: str
    channels: str
    scale: float
    rate: int
    classes: Path
    label_offset: int
    strict: bool
    images: int
    sample: int
    shard: tuple[int, int] | str
    allow_random: bool
    transform: Callable[[Any], Any]
    max_memory: int


class Data:
    """Samples with their preprocessing, for arguments that take data.

    Args:
        source: One of

            - a path as on the command line, or a list of them: a folder of images (flat, or a subfolder for each class),
              ``.npy``, ``.npz``, idx, ``.wav``, WebDataset ``.tar``, ``.parquet``, or ``"random:N"``;
            - a NumPy array or PyTorch tensor, N×C×H×W or N×H×W×C for images, which is read by rows and never copied
              as a whole; a pair ``(x, y)`` of such an array and N class indices; a dictionary of arrays by input name;
            - an iterable of samples or of batches: a PyTorch ``DataLoader``, a list of PIL images, a Hugging Face data
              set. An item is an array, ``(x, y)``, or a dictionary by input name (or with "image" and "label");
            - an object with ``get_next()``, such as a ``CalibrationDataReader`` of ONNX Runtime.

        preset: Preprocessing by name: "imagenet", "cifar10", "mnist", "unit" or "raw". Without one, bytes are divided by
            255 and resized to the network's input; floats are taken as they are.
        resize: Pixels of the shorter side, or (height, width) of both.
        crop: Size of the center crop afterwards: pixels, or (height, width).
        letterbox: Value from 0 to 255 that pads images, which keep their proportions, as YOLO's 114.
        mean: Mean to subtract after the division by ``scale``: one value, or one for each channel.
        std: Divisor after the subtraction: one value, or one for each channel.
        layout: Axes of the network's input, "nchw" or "nhwc". Default: derived from its shape.
        channels: Order of the colors, "rgb" (default) or "bgr".
        scale: Divisor of the values 0..255.
        rate: Sample rate in Hz to which recordings are resampled.
        classes: File of class names, one a line, which define the class indices of class folders.
        label_offset: Number added to every label.
        strict: True to fail on an image that cannot be decoded, instead of skipping it.
        images: Largest number of samples; the rest of an iterable is not read.
        sample: Seed for choosing ``images`` from all over the data, instead of the first ones.
        shard: Part of the data: (k, n) for part k of n, counted from 0, or "K/N", counted from 1.
        allow_random: True to let "random:N" decide which channels are removed.
        transform: Function that is applied to every item of an iterable, or to every row of an array.
        max_memory: Bytes of samples of an iterable that are kept in memory, 4 GiB by default. More are read again in each
            pass, which needs an iterable that yields the same samples in the same order each time.

    Labels are integers, one for each sample. Other values beside samples (masks, boxes) are passed to an own ``Metric``.
    """

    def __init__(self, source: Any, **options: Unpack[DataOptions]) -> None:
        check_options(options, "Data")
        self.source: Any = source.source if isinstance(source, Data) else source
        inner = source.options if isinstance(source, Data) else {}
        self.options: dict[str, Any] = {**inner, **options}

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        shown = repr(self.source) if isinstance(self.source, (str, os.PathLike)) else f"<{type(self.source).__name__}>"
        return f"secateur.Data({shown}{options})"


def check_options(options: Mapping[str, Any], function: str, others: Iterable[str] = ()) -> None:
    """Refuses keyword arguments that no option has."""
    known = [*DataOptions.__annotations__, *others]
    for name in options:
        if name not in DataOptions.__annotations__:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


class Described:
    """Data in the form that the library reads, with the values beside samples that are no class indices."""

    def __init__(self, fields: dict[str, Any], targets: Sequence[Any] | None) -> None:
        self.fields = fields
        self.targets = targets


def describe(data: Any, options: Mapping[str, Any], inputs: list[Item], role: str = "data") -> Described:
    """Brings data into a form that the library reads."""
    whole = Data(data, **options)
    source, options = whole.source, {name: value for name, value in whole.options.items() if value is not None}
    transform = options.pop("transform", None)
    max_memory = options.pop("max_memory", USUAL_MEMORY)
    fields = _plain(options)
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    if isinstance(paths, (list, tuple)) and paths and all(isinstance(path, (str, os.PathLike)) for path in paths):
        if transform is not None:
            raise unfit(f"transform is for samples in memory, and {role} is a path", remedy="leave it out")
        texts = [os.fspath(path) for path in paths]
        return Described({**fields, "paths": texts, "name": ", ".join(texts)}, None)
    if "shard" in fields:
        # Parts of the same data must be told from each other when their profiles are merged.
        fields["name"] = f"{type(source).__module__}.{type(source).__qualname__} in memory"
    arrays, labels = (None, None) if transform is not None else _arrays(source, inputs)
    if arrays is not None:
        return _of_arrays(fields, arrays, labels)
    reader = Reader(_walk(source, role), inputs, transform)
    fields |= {"walk": reader.walk, "repeats": _repeats(source), "max_memory": max_memory}
    return Described(fields, reader.targets)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options in the library's notation."""
    fields = dict(options)
    for name in ("resize", "crop"):
        size = fields.get(name)
        if isinstance(size, (tuple, list)):
            fields[name] = "x".join(str(side) for side in size)
        elif size is not None:
            fields[name] = str(size)
    for name in ("mean", "std"):
        values = fields.get(name)
        if isinstance(values, (int, float)):
            fields[name] = [float(values)]
        elif values is not None:
            fields[name] = [float(value) for value in values]
    shard = fields.get("shard")
    if isinstance(shard, (tuple, list)):
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            raise unfit(
                "not a shard",
                expected="(k, n) with k from 0 to n - 1",
                got=repr(shard),
                remedy="for example (0, 8)",
            )
        fields["shard"] = f"{shard[0] + 1}/{shard[1]}"
    return fields


def _arrays(source: Any, inputs: list[Item]) -> tuple[dict[str, npt.NDArray[Any]] | None, Any]:
    """Returns whole arrays by input name with the values beside them, or None for other data."""
    if is_array(source):
        return {"": to_numpy(source)}, None
    if isinstance(source, tuple) and len(source) == 2 and is_array(source[0]) and _is_beside(*source):
        return {"": to_numpy(source[0])}, source[1]
    if isinstance(source, Mapping):
        if not all(is_array(value) for value in source.values()):
            raise unfit(
                "a dictionary as data holds arrays, one for each input of the network",
                got=", ".join(f"{key}: {type(value).__name__}" for key, value in source.items()),
                remedy="give arrays whose first axis counts samples, or an iterable of dictionaries",
            )
        x, y = Reader.split_mapping(source, inputs)
        return {name: to_numpy(value) for name, value in x.items()}, y
    return None, None


def _is_beside(x: Any, y: Any) -> bool:
    """Returns whether ``y`` has a value for each row of ``x``, so that they are no two samples."""
    if is_array(y):
        return len(y.shape) > 0 and len(x.shape) > 0 and y.shape[0] == x.shape[0] and y.shape != x.shape
    return isinstance(y, (list, range)) and len(y) == x.shape[0]


def _of_arrays(fields: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], labels: Any) -> Described:
    def read(array: npt.NDArray[Any]) -> Callable[[int, int], bytes]:
        return lambda start, stop: array[start:stop].tobytes()

    fields["arrays"] = [(name, array.dtype.str, array.shape, read(array)) for name, array in arrays.items()]
    count = next((len(array) for array in arrays.values() if array.ndim), 0)
    classes, targets = Reader.labels(labels, count)
    if classes is not None:
        fields["labels"] = classes.tobytes()
    return Described(fields, targets)


def _walk(source: Any, role: str) -> Callable[[], Iterator[Any]]:
    """Returns a function that starts a walk over the items of a source."""
    if hasattr(source, "get_next"):

        def read() -> Iterator[Any]:
            if hasattr(source, "rewind"):
                source.rewind()
            while (item := source.get_next()) is not None:
                yield item

        return read
    if hasattr(source, "__iter__"):
        return lambda: iter(source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return lambda: (source[at] for at in range(len(source)))
    raise TypeError(
        f"{role} takes a path, an array, or an iterable of samples, got {type(source).__name__}: "
        "see help(secateur.Data)"
    )


def _repeats(source: Any) -> bool:
    if hasattr(source, "get_next"):
        return hasattr(source, "rewind")
    # `iter` is not called: it would start a walk, which some iterables allow once.
    return not hasattr(source, "__next__")
