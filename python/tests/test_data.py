"""Every kind of data gives the statistics that an array of bytes gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import secateur

Images = NDArray[np.uint8]


def means(network: Any, data: Any, **options: Any) -> NDArray[np.float64]:
    profile = secateur.profile(network, data, device="cpu", gram="none", **options)
    assert profile.complete
    return np.concatenate([layer["post_mean"] for layer in profile.statistics().values()])


class Loader:
    """Batches of tensors and labels, as a DataLoader yields them."""

    def __init__(self, x: Any, y: Any, batch: int = 16) -> None:
        self.x, self.y, self.batch, self.walks = x, y, batch, 0

    def __iter__(self) -> Iterator[Any]:
        self.walks += 1
        for start in range(0, len(self.x), self.batch):
            yield [self.x[start : start + self.batch], self.y[start : start + self.batch]]


class Reader:
    """A CalibrationDataReader, which cannot be walked again."""

    def __init__(self, x: Any) -> None:
        self.left = list(x)

    def get_next(self) -> Any:
        return {"image": self.left.pop(0)[np.newaxis]} if self.left else None


class MapStyle:
    """A data set with a length and items by number, such as torch.utils.data.Dataset."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> Any:
        assert at < len(self.x), "no IndexError ends the iteration"
        return self.x[at], int(self.y[at])


def planes(images: Images) -> NDArray[np.float32]:
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


KINDS: dict[str, Callable[[Images, Any], Any]] = {
    "bytes, channels first": lambda x, y: x.transpose(0, 3, 1, 2),
    "floats": lambda x, y: planes(x),
    "floats in Fortran order": lambda x, y: np.asfortranarray(planes(x)),
    "big-endian floats": lambda x, y: planes(x).astype(">f4"),
    "array and classes": lambda x, y: (x, y),
    "array and a list of classes": lambda x, y: (x, y.tolist()),
    "arrays by input": lambda x, y: {"image": x, "label": y},
    "list of images": lambda x, y: list(x),
    "list of pictures": lambda x, y: [Image.fromarray(image) for image in x],
    "tuple of pictures": lambda x, y: tuple(Image.fromarray(image) for image in x),
    "pairs": lambda x, y: list(zip(x, y)),
    "rows of a data set": lambda x, y: [{"img": Image.fromarray(i), "label": int(c)} for i, c in zip(x, y)],
    "loader": lambda x, y: Loader(planes(x), y),
    "generator": lambda x, y: (image for image in x),
    "generator of batches": lambda x, y: (x[i : i + 7] for i in range(0, len(x), 7)),
    "data reader": lambda x, y: Reader(planes(x)),
    "map style": MapStyle,
    "data with options": lambda x, y: secateur.Data(x, preset="unit"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_is_read_alike(kind: str, demo: str, images: Images, classes: Any) -> None:
    expected = means(demo, images)
    assert np.array_equal(means(demo, KINDS[kind](images, classes)), expected)


def test_a_folder_and_pictures_in_memory_are_alike(demo: str, images: Images, tmp_path: Path) -> None:
    for at, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{at:03}.png")
    files = [Image.open(file) for file in sorted(tmp_path.glob("*.png"))]
    options = {"resize": 40, "crop": (32, 32), "mean": [0.4, 0.5, 0.6], "std": 0.25}
    assert np.array_equal(means(demo, tmp_path, **options), means(demo, files, **options))
    assert np.array_equal(means(demo, str(tmp_path), images=20), means(demo, files[:20]))


def test_pictures_of_any_mode_and_orientation(demo: str, images: Images, tmp_path: Path) -> None:
    picture = Image.fromarray(images[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    turned = Image.fromarray(images[0].repeat(2, axis=0))
    modes = [picture.convert(mode) for mode in ("L", "RGBA", "CMYK", "P", "1", "LA")]
    found = means(demo, [picture, *modes])
    assert np.isfinite(found).all()
    turned.save(tmp_path / "turned.png", exif=exif)
    opened = Image.open(tmp_path / "turned.png")
    assert np.array_equal(means(demo, [opened]), means(demo, tmp_path))


def test_transform_is_applied_to_items(demo: str, images: Images) -> None:
    rows = [{"photo": image} for image in images]
    found = means(demo, rows, transform=lambda row: row["photo"])
    assert np.array_equal(found, means(demo, images))
    by_row = means(demo, images, transform=lambda image: image[::-1])
    assert np.array_equal(by_row, means(demo, images[:, ::-1]))
    with pytest.raises(secateur.InputError, match="transform is for samples in memory"):
        means(demo, "random:4", transform=lambda x: x)


def test_an_array_is_not_copied_as_a_whole(demo: str, images: Images, tmp_path: Path) -> None:
    file = tmp_path / "images.raw"
    mapped = np.memmap(file, np.uint8, "w+", shape=images.shape)
    mapped[:] = images
    assert np.array_equal(means(demo, mapped), means(demo, images))


def test_a_loader_beyond_the_limit_is_walked_again(demo: str, images: Images, classes: Any) -> None:
    kept, again = Loader(planes(images), classes), Loader(planes(images), classes)
    options: dict[str, Any] = {"criterion": "act-variance", "repair": "bias", "keep_macs": 0.7, "device": "cpu"}
    whole = secateur.prune(demo, kept, **options)
    small = secateur.prune(demo, again, max_memory=100_000, **options)
    assert whole.onnx == small.onnx
    assert kept.walks == 1 and again.walks > 2


def test_no_more_is_read_than_asked_for(demo: str, images: Images) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield from images

    assert np.array_equal(means(demo, endless(), images=20), means(demo, images[:20]))


def test_shards_cover_the_data(demo: str, images: Images) -> None:
    whole = secateur.profile(demo, images, device="cpu")
    parts = [secateur.profile(demo, list(images), shard=(k, 3), device="cpu") for k in range(3)]
    assert sum(part.images for part in parts) == len(images)
    merged = secateur.merge(parts)
    for layer, statistics in whole.statistics().items():
        for name, values in statistics.items():
            # Errors of the third and fourth moments are differences of large numbers.
            rtol = 1e-10 if name.endswith(("skewness_se", "kurtosis_se")) else 1e-12
            assert np.allclose(merged.statistics()[layer][name], values, rtol=rtol, atol=0, equal_nan=True), name
    with pytest.raises(secateur.InputError, match="count twice"):
        secateur.merge([parts[0], parts[0]])


def test_labels_are_class_indices(demo: str, images: Images, classes: Any) -> None:
    found = secateur.evaluate(demo, (images, classes), device="cpu")
    assert found.top1 == 1.0 and found.images == len(images)
    shifted = secateur.evaluate(demo, (images, classes + 1), label_offset=-1, device="cpu")
    assert shifted.top1 == 1.0
    assert secateur.evaluate(demo, list(zip(images, classes)), device="cpu").top1 == 1.0
    assert secateur.evaluate(demo, images, against=demo, device="cpu").agreement == 1.0


def test_images_that_hold_nan_are_skipped(
    demo: str, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    floats = planes(images)
    floats[3, 0, 0, 0] = np.nan
    with caplog.at_level(logging.WARNING, "secateur"):
        profile = secateur.profile(demo, floats, device="cpu")
    assert profile.images == len(images) - 1
    assert "NaN" in caplog.text
