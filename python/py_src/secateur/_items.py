"""Items of an iterable: what is the sample, what is beside it, and how many samples it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import unfit

#: An input of the network: its name, and the sizes of a sample's axes, None for free ones.
Item = tuple[str, "list[int | None]"]
#: Arrays with a name, NumPy's type, dimensions and bytes, and the bytes of class indices.
Batch = tuple[list[tuple[str, str, tuple[int, ...], bytes]], "bytes | None"]

_SAMPLE_KEYS = ("image", "img", "images", "pixel_values", "x", "input", "inputs", "data", "audio")
_LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "fine_label")
_COLORS = (1, 3)


def is_picture(value: Any) -> bool:
    """Returns whether a value is a PIL image."""
    return hasattr(value, "getbands") and hasattr(value, "mode")


def is_array(value: Any) -> bool:
    """Returns whether a value is an array or tensor."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and not is_picture(value)


def to_numpy(value: Any) -> npt.NDArray[Any]:
    """Returns an array for a tensor, a picture or a sequence of numbers, without a copy where that is possible."""
    if is_picture(value):
        return _pixels(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise unfit("a sample is no array", got=str(error), remedy="give arrays of numbers, of one shape in a batch") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise unfit(
            "a sample of an unsupported type",
            expected="booleans, integers or floats",
            got=f"{type(value).__name__} of {array.dtype}",
            remedy="convert it with astype('float32') or astype('uint8')",
        )
    return array


def _pixels(picture: Any) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a PIL image as bytes, turned by its EXIF orientation, as image files are read."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode in ("1", "LA") else "RGB")
    return np.asarray(picture, dtype=np.uint8)


class Reader:
    """A reader of items, whose walks yield batches for the library."""

    def __init__(
        self,
        items: Callable[[], Iterator[Any]],
        inputs: list[Item],
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._items = items
        self._inputs = inputs
        self._transform = transform
        self._walks = 0
        #: Values beside samples that are no class indices, as far as the first walk went.
        self.targets: list[Any] = []

    def walk(self) -> Iterator[Batch]:
        """Starts a walk."""
        self._walks += 1
        return self._batches(is_first=self._walks == 1)

    def _batches(self, is_first: bool) -> Iterator[Batch]:
        for item in self._items():
            if self._transform is not None:
                item = self._transform(item)
            x, y = self.split(item, self._inputs)
            arrays: list[tuple[str, npt.NDArray[Any]]] = []
            axes = dict(self._inputs)
            for name, value in x.items():
                own = axes.get(name, self._inputs[0][1])
                arrays.append((name, batched(to_numpy(value), own, is_picture(value))))
            count = len(arrays[0][1]) if arrays and arrays[0][1].ndim else 0
            classes, targets = self.labels(y, count)
            if is_first and targets is not None:
                self.targets.extend(targets)
            yield (
                [(name, array.dtype.str, array.shape, array.tobytes()) for name, array in arrays],
                None if classes is None else classes.tobytes(),
            )

    @classmethod
    def split(cls, item: Any, inputs: list[Item]) -> tuple[dict[str, Any], Any]:
        """Splits an item into values by input name, and what is beside them."""
        if isinstance(item, Mapping):
            return cls.split_mapping(item, inputs)
        is_sequence = isinstance(item, (tuple, list)) and len(item) > 0
        if is_sequence and not isinstance(item[0], (int, float, list)):
            if isinstance(item[0], Mapping):
                x, y = cls.split_mapping(item[0], inputs)
                return x, (item[1] if len(item) > 1 else y)
            if len(item) < len(inputs):
                raise unfit(
                    "an item has fewer arrays than the network has inputs",
                    expected=", ".join(name for name, _ in inputs),
                    got=str(len(item)),
                    remedy="yield dictionaries by input name",
                )
            x = {name: value for (name, _), value in zip(inputs, item)}
            return x, (item[len(inputs)] if len(item) > len(inputs) else None)
        return {inputs[0][0]: item}, None

    @classmethod
    def split_mapping(cls, item: Mapping[Any, Any], inputs: list[Item]) -> tuple[dict[str, Any], Any]:
        """Splits a dictionary by the names of inputs, or by the usual names of columns."""
        names = [name for name, _ in inputs]
        y = next((item[key] for key in _LABEL_KEYS if key in item and key not in names), None)
        if all(name in item for name in names):
            return {name: item[name] for name in names}, y
        found = next((key for key in _SAMPLE_KEYS if key in item), None)
        if len(names) == 1 and found is not None:
            return {names[0]: item[found]}, y
        raise unfit(
            "an item lacks an input of the network",
            expected=", ".join(names),
            got=", ".join(str(key) for key in item),
            remedy="name the arrays as the network's inputs, or set transform to a function that returns (x, y)",
        )

    @staticmethod
    def labels(y: Any, count: int) -> tuple[npt.NDArray[np.int64] | None, Sequence[Any] | None]:
        """Returns class indices, or other values for the samples; neither without values."""
        if y is None:
            return None, None
        is_numbers = is_array(y) or isinstance(y, (int, np.integer, range))
        if isinstance(y, (list, tuple)) and all(isinstance(one, (int, np.integer)) for one in y):
            is_numbers = True
        if is_numbers:
            array = to_numpy(y)
            if array.dtype.kind in "biu" and array.size == count and array.ndim <= 1:
                return array.reshape(count).astype(np.int64), None
        if isinstance(y, (Mapping, int, float, str)) or not hasattr(y, "__len__"):
            return None, [y] if count == 1 else _wrong_number(1, count)
        if len(y) == count:
            return None, [y[at] for at in range(count)]
        return None, [y] if count == 1 else _wrong_number(len(y), count)


def _wrong_number(got: int, count: int) -> list[Any]:
    raise unfit(
        "samples and labels differ in number",
        expected=f"{count} labels",
        got=str(got),
        remedy="give labels that belong to these samples",
    )


def batched(array: npt.NDArray[Any], axes: list[int | None], is_picture: bool) -> npt.NDArray[Any]:
    """Returns an array whose first axis counts samples, for a sample or a batch of them."""
    if is_picture or is_single(array.shape, axes):
        return array[np.newaxis]
    return array


def is_single(shape: tuple[int, ...], axes: list[int | None]) -> bool:
    """Returns whether an array is one sample, and not a batch, for an input with these axes."""
    if len(axes) != 3:
        return len(shape) == len(axes)
    if len(shape) != 3:
        return len(shape) == 2
    # Three axes are an image with its channels first or last, or a batch of grey images.
    channels = {*_COLORS} if axes[0] in _COLORS or axes[2] in _COLORS else {*_COLORS, axes[0]}
    return shape[0] in channels or shape[2] in channels
