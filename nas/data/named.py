"""The data sets that are known by name: what they are, where their files are, how these become arrays.

Everything that `nas inspect` needs is a constant here, so that describing one costs nothing. SHA-256 sums:
the CIFAR ones as in the MLDatasets packages of Julia and the datasets gem of Ruby, those of MNIST as in
torchvision's prototype datasets and GuildAI, those of Fashion-MNIST beside the MD5 sums of its README; each
was found alike in at least five independent projects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data import binary, cache, picture
from nas.data.binary import Parts
from nas.data.download import Remote, fetch
from nas.data.split import chosen_for_test
from nas.data.values import Pixels, Progress, Sink, Survey
from nas.errors import NasError

VERSION = 1
CHUNK = 4096
"""Images that are written at once."""

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Named:
    """A data set of the registry; a `Source`. `parse` turns its local files into arrays by part; none: no download."""

    facts: Survey
    files: tuple[Remote, ...]
    parse: Callable[[Files], Parts] | None

    @property
    def fingerprint(self) -> str:
        """See `Source`: of the sums of the files, none of which need be here."""
        return cache.key_of(VERSION, self.facts.name, [(file.name, file.sha256) for file in self.files])

    def survey(self, progress: Progress) -> Survey:
        """See `Source`."""
        return self.facts

    def decode(self, resolution: int, channels: int, sink: Sink, progress: Progress) -> list[str]:
        """See `Source`. Raises `NasError` if the files cannot be had or are not what they should be."""
        name = self.facts.name
        assert self.parse is not None, "dataset.obtainable refuses it"
        parts = self.parse({file.name: fetch(name, file, progress) for file in self.files})
        progress(f"decoding {name} to {channels}x{resolution}x{resolution} (once)")
        for part, (images, labels) in parts.items():
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.facts.classes):
                raise NasError(f"{name}: its {part} part has labels beyond {len(self.facts.classes)} classes")
            for start in range(0, len(images), CHUNK):
                piece = slice(start, start + CHUNK)
                sink.write(part, resized(images[piece], resolution, channels), labels[piece])
        return []


def resized(images: Pixels, resolution: int, channels: int) -> Pixels:
    """`images` of shape (N, C, H, W) as (N, channels, resolution, resolution)."""
    if images.shape[1:] == (channels, resolution, resolution):
        return images
    work = partial(fitted, resolution=resolution, channels=channels)
    with picture.quiet():
        batches = list(picture.mapped(work, images, lambda image: image.nbytes))
    return np.stack([image for batch in batches for image in batch])


def fitted(image: Pixels, resolution: int, channels: int) -> Pixels:
    """One image of shape (C, H, W) in other channels and another size."""
    grey = len(image) == 1
    array = image[0] if grey else np.ascontiguousarray(image.transpose(1, 2, 0))
    return picture.fitted(Image.fromarray(array), resolution, channels)


def digits(_: Files) -> Parts:
    """scikit-learn's 1,797 digits of 8x8, its 0..16 spread over 0..255; a fifth is held out as test part."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    test = np.zeros(len(labels), bool)
    for label, ranks in enumerate(chosen_for_test(np.bincount(labels).tolist())):
        test[np.flatnonzero(labels == label)[sorted(ranks)]] = True
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


def cifar10(files: Files) -> Parts:
    """The binary version of CIFAR-10."""
    train = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    return binary.cifar(files["cifar-10-binary.tar.gz"], {"train": train, "test": ("test_batch.bin",)}, 1)


def cifar100(files: Files) -> Parts:
    """The binary version of CIFAR-100, with its fine labels."""
    return binary.cifar(files["cifar-100-binary.tar.gz"], {"train": ("train.bin",), "test": ("test.bin",)}, 2)


def mnist(files: Files) -> Parts:
    """MNIST, and whatever has its form."""
    return {part: binary.mnist(files[f"{stem}-images-idx3-ubyte.gz"], files[f"{stem}-labels-idx1-ubyte.gz"])
            for part, stem in (("train", "train"), ("test", "t10k"))}


def idx_files(folders: tuple[str, ...], sums: tuple[str, str, str, str]) -> tuple[Remote, ...]:
    """The four files of MNIST's form."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(Remote(f"{name}-ubyte.gz", each, folders) for name, each in zip(names, sums, strict=True))


def words(text: str) -> tuple[str, ...]:
    """The words of `text`."""
    return tuple(text.split())


TEN = words("0 1 2 3 4 5 6 7 8 9")
CIFAR10 = words("airplane automobile bird cat deer dog frog horse ship truck")
CIFAR100 = words("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
    dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
    leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
    otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
""")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
IMAGENET = tuple(map(str, range(1000)))

TORONTO = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR10_FILE = Remote(
    "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", TORONTO)
CIFAR100_FILE = Remote(
    "cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", TORONTO)
MNIST_FILES = idx_files((
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
), (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
))
FASHION_FILES = idx_files((
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
), (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
))

SOURCES = (  # name, classes, side in pixels, channels, flips, images to train and to test
    Named(Survey("digits", TEN, 8, 1, False, 1438, 359), (), digits),
    Named(Survey("cifar10", CIFAR10, 32, 3, True, 50_000, 10_000), (CIFAR10_FILE,), cifar10),
    Named(Survey("cifar100", CIFAR100, 32, 3, True, 50_000, 10_000), (CIFAR100_FILE,), cifar100),
    Named(Survey("mnist", TEN, 28, 1, False, 60_000, 10_000), MNIST_FILES, mnist),
    Named(Survey("fashion_mnist", FASHION, 28, 1, True, 60_000, 10_000), FASHION_FILES, mnist),
    Named(Survey("imagenet", IMAGENET, 224, 3, True, 1_281_167, 50_000), (), None),     # ILSVRC 2012, for its costs
)
REGISTRY: dict[str, Named] = {source.facts.name: source for source in SOURCES}
