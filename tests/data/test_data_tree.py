"""Folders and archives of images by class: layouts, shapes, colours, corrupt images."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import folder_of, images, noise, picture, tar_of, zip_of
from PIL import Image

from nas.data import describe, load
from nas.data import picture as decoding
from nas.errors import NasError
from nas.settings import Data

PARTED = images(prefix="train/", each=10) | images(prefix="test/", each=4)


def data(path: Path, **fields: object) -> Data:
    return Data(source=str(path), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tgz", "set.tar.xz", "set.zip", "folder"])
def test_every_container_gives_the_same_data(name: str, tmp_path: Path) -> None:
    make: Callable[[dict[str, bytes], Path], Path] = (
        folder_of if name == "folder" else zip_of if name.endswith(".zip") else tar_of)
    loaded = load(data(make(dict(sorted(PARTED.items())), tmp_path / name)))
    assert loaded.info.classes == ("cat", "dog")
    assert (loaded.info.n_train, loaded.info.n_validation, loaded.info.n_test) == (16, 4, 8)
    assert (loaded.info.channels, loaded.info.resolution, loaded.info.flips) == (3, 8, True)
    assert loaded.train.images.shape == (16, 3, 8, 8)
    assert loaded.train.images.dtype == np.uint8
    assert loaded.train.labels.dtype == np.int64
    assert loaded.skipped == ()
    first = np.asarray(Image.open(io.BytesIO(PARTED["test/cat/000.png"]))).transpose(2, 0, 1)
    assert np.array_equal(loaded.test.images[0], first)
    assert loaded.test.labels.tolist() == [0] * 4 + [1] * 4
    assert loaded.info.name == name.partition(".")[0]
    reference = load(data(folder_of(PARTED, tmp_path / "reference")))
    assert loaded.checksum == reference.checksum


def test_mean_and_std_are_of_the_training_split(tmp_path: Path) -> None:
    loaded = load(data(folder_of(PARTED, tmp_path / "set")))
    pixels = loaded.train.images / 255.0
    assert loaded.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-12)
    assert loaded.std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-9)


def test_a_constant_channel_can_be_divided_by(tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": picture(128) for label in "ab" for i in range(5)}
    assert load(data(folder_of(files, tmp_path / "set"))).std == pytest.approx((1 / 255,))


def test_without_a_test_part_a_fifth_is_held_out_whatever_the_seed(tmp_path: Path) -> None:
    path = folder_of(images(each=20), tmp_path / "set")
    one, two = load(data(path)), load(data(path, seed=1))
    assert (one.info.n_train, one.info.n_validation, one.info.n_test) == (26, 6, 8)
    assert np.array_equal(one.test.images, two.test.images)
    assert not np.array_equal(one.validation.images, two.validation.images)
    assert one.checksum != two.checksum
    parts = [tuple(map(bytes, part.images)) for part in (one.train, one.validation, one.test)]
    assert len(set().union(*parts)) == 40


@pytest.mark.parametrize("wrap", ["top/", "a/b/"])
def test_wrapping_folders_are_looked_through(wrap: str, tmp_path: Path) -> None:
    plain = load(data(folder_of(PARTED, tmp_path / "plain")))
    wrapped = load(data(folder_of({wrap + name: image for name, image in PARTED.items()}, tmp_path / "wrapped")))
    assert wrapped.checksum == plain.checksum


def test_train_and_test_may_be_in_any_case(tmp_path: Path) -> None:
    path = folder_of({name.replace("t", "T", 1): image for name, image in PARTED.items()}, tmp_path / "set")
    info = load(data(path)).info
    assert (info.classes, info.n_test) == (("cat", "dog"), 8)


def test_a_class_may_have_folders_of_its_own(tmp_path: Path) -> None:
    path = folder_of(images(("cat/x", "cat/y", "dog/x", "owl")), tmp_path / "set")
    assert describe(data(path)).classes == ("cat", "dog", "owl")


def test_train_alone_is_a_wrapping_folder(tmp_path: Path) -> None:
    path = folder_of(images(prefix="train/", each=20), tmp_path / "set")
    assert load(data(path)).info.n_test == 8


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    path = folder_of(images(("train", "plane", "truck")), tmp_path / "set")
    assert describe(data(path)).classes == ("plane", "train", "truck")


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    litter = {"README.txt": b"hello", "cat/Thumbs.db": b"x", "__MACOSX/cat/._000.png": b"x", "cat/.hidden.png": b"x",
              ".git/cat/000.png": b"x", "labels.csv": b"a,b"}
    assert describe(data(zip_of(images() | litter, tmp_path / "set.zip"))).classes == ("cat", "dog")


def test_the_majority_decides_size_and_colour(tmp_path: Path) -> None:
    files = images(each=6) | {"cat/large.png": noise(1, (40, 12)), "dog/grey.png": picture(3, (9, 9))}
    loaded = load(data(folder_of(files, tmp_path / "set")))
    assert loaded.train.images.shape[1:] == (3, 8, 8)
    files = {f"{label}/{i}.png": picture(10 * i, (12, 30)) for label in "ab" for i in range(6)}
    info = describe(data(folder_of(files, tmp_path / "grey")))
    assert (info.channels, info.resolution, info.flips) == (1, 12, False)


def test_integer_fractions_are_area_averages(tmp_path: Path) -> None:
    loaded = load(data(folder_of(PARTED, tmp_path / "set"), resolution=4))
    whole = np.asarray(Image.open(io.BytesIO(PARTED["test/cat/000.png"]))).transpose(2, 0, 1).astype(float)
    means = whole.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    assert np.abs(loaded.test.images[0] - means).max() <= 0.5


def test_other_sizes_are_antialiased_and_the_centre_is_kept() -> None:
    image = Image.new("RGB", (30, 10), (255, 0, 0))
    image.paste((0, 200, 0), (10, 0, 20, 10))
    pixels = decoding.fitted(image, 7, 3)
    assert pixels.shape == (3, 7, 7)
    assert pixels[:, 3, 3].tolist() == [0, 200, 0]
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (50, 25)))
    assert abs(int(decoding.fitted(stripes, 7, 1).mean()) - 127) <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM"])
def test_formats(form: str) -> None:
    pixels = decoding.decoded(picture((200, 100, 50), form=form), "x", 8, 3)
    assert pixels is not None
    assert np.abs(pixels[:, 4, 4].astype(int) - [200, 100, 50]).max() <= 4


def test_other_formats_are_not_even_tried() -> None:
    assert decoding.decoded(picture((1, 2, 3), form="PCX"), "x", 8, 3) is None
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    assert decoding.decoded(buffer.getvalue(), "x.png", 8, 3) is None


@pytest.mark.parametrize(("mode", "value", "grey"), [
    ("1", 1, 255), ("L", 77, 77), ("LA", (77, 3), 77), ("I;16", 77 * 256, 77), ("RGBA", (77, 77, 77, 0), 77)])
def test_modes(mode: str, value: int, grey: int) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), value).save(buffer, "PNG")
    for channels in (1, 3):
        pixels = decoding.decoded(buffer.getvalue(), "x", 8, channels)
        assert pixels is not None
        assert pixels.shape == (channels, 8, 8)
        assert set(pixels.ravel().tolist()) == {grey}


def test_a_photograph_is_turned_as_its_exif_says() -> None:
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    pixels = decoding.decoded(buffer.getvalue(), "x", 8, 3)
    assert pixels is not None
    assert pixels[0, :, 6].min() > 250 > pixels[0, :, 1].max()


def test_corrupt_images_are_left_out_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    whole = noise(1)
    broken = {"train/cat/a.png": b"", "train/cat/b.png": whole[:-40], "train/dog/c\n.jpg": b"\xff\xd8\xff junk"}
    loaded = load(data(tar_of(PARTED | broken, tmp_path / "set.tar")), said.append)
    assert sorted(loaded.skipped) == ["train/cat/a.png", "train/cat/b.png", "train/dog/c\\n.jpg"]
    assert loaded.info.n_train + loaded.info.n_validation == 20
    assert any("left out 3 corrupt images" in line for line in said)
    assert describe(data(tmp_path / "set.tar")) == loaded.info


def test_a_class_without_images_to_train_on_is_an_error(tmp_path: Path) -> None:
    path = folder_of(PARTED | {"train/owl/a.png": b"x", "train/owl/b.png": b"y"}, tmp_path / "set")
    assert describe(data(path)).classes == ("cat", "dog", "owl")
    with pytest.raises(NasError, match="class owl: no readable image to train on"):
        load(data(path))


def test_all_broken_is_an_error(tmp_path: Path) -> None:
    path = folder_of({f"{label}/{i}.png": b"junk" for label in "ab" for i in range(4)}, tmp_path / "set")
    with pytest.raises(NasError, match="not one of its 8 images can be read"):
        load(data(path))


@pytest.mark.parametrize(("files", "said"), [
    ({}, "holds no images"),
    ({"a.png": b""}, "lies in no class folder"),
    (images() | {"a.png": b""}, "a.png lies in no class folder"),
    (images(("cat",)), "only one class, cat"),
    (PARTED | images(("owl",), prefix="test/"), "class owl is in test/ but not in train/"),
    (PARTED | images(prefix="val/"), "beside train/ only test/ may stand, not val"),
    ({f"{part}/{i}.png": b"" for part in ("train", "test") for i in range(3)}, "train/ holds no class folders"),
    (images() | {"owl/a.png": noise(1)}, "class owl: one readable image"),
    (images(prefix="training/") | images(prefix="testing/"), "testing, training hold the same folders"),
])
def test_what_is_no_data_set_is_one_line(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(NasError, match=said) as caught:
        describe(data(folder_of(files, tmp_path / "set")))
    assert "\n" not in str(caught.value)


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    real = folder_of(images(("dog",)), tmp_path / "elsewhere")
    path = folder_of(images(("cat",)), tmp_path / "set")
    (path / "dog").symlink_to(real / "dog")
    (path / "cat" / "again").symlink_to(path)
    os.mkfifo(path / "cat" / "pipe.png")
    (path / "cat" / "gone.png").symlink_to(path / "nowhere.png")
    assert describe(data(path)).classes == ("cat", "dog")


def test_an_image_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_of(PARTED, tmp_path / "set")
    read = Path.read_bytes

    def refused(self: Path) -> bytes:
        if self.name == "003.png" and "train/dog" in self.as_posix():
            raise PermissionError(13, "no")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert load(data(path)).skipped == ("train/dog/003.png",)


@pytest.mark.parametrize(("source", "said"), [
    ("cifra10", "did you mean cifar10"),
    ("./no/such/folder", "check the path"),
    ("bad\0name", "data.source"),
])
def test_an_unknown_source_is_one_line(source: str, said: str) -> None:
    with pytest.raises(NasError, match=said) as caught:
        describe(Data(source=source))
    assert "\n" not in str(caught.value)


def test_sizes_beyond_reason_are_asked_for(tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": picture(0, (1200, 1100)) for label in "ab" for i in range(3)}
    path = folder_of(files, tmp_path / "set")
    with pytest.raises(NasError, match=r"data.resolution: the images of set have 1100 pixels a side; give"):
        describe(data(path))
    assert describe(data(path, resolution=32)).resolution == 32


def test_describe_says_what_it_does_and_does_it_once(tmp_path: Path) -> None:
    said: list[str] = []
    path = tar_of(PARTED, tmp_path / "set.tar")
    info = describe(data(path), said.append)
    assert len(said) == 1
    assert "listing" in said[0]
    assert describe(data(path), said.append) == info == load(data(path)).info
    assert len(said) == 1
