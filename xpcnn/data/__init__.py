"""Data sets, batches and augmentation. All of it is NumPy: images stay on the host until training."""

from xpcnn.data.batches import Batches, batches
from xpcnn.data.datasets import cache_folder, cifar10, class_names, fashion_mnist, load, mnist
from xpcnn.data.folder import ImageFolder, folder, read_image
from xpcnn.data.labels import check_labels
from xpcnn.data.loader import BatchLoader
from xpcnn.data.splits import Dataset, Split, split
from xpcnn.data.transformation import Compose, Paired
from xpcnn.data.transforms import Crop, Flip, Normalize, RandomAffine, Shift

__all__ = [
    "BatchLoader",
    "Batches",
    "Compose",
    "Crop",
    "Dataset",
    "Flip",
    "ImageFolder",
    "Normalize",
    "Paired",
    "RandomAffine",
    "Shift",
    "Split",
    "batches",
    "cache_folder",
    "check_labels",
    "cifar10",
    "class_names",
    "fashion_mnist",
    "folder",
    "load",
    "mnist",
    "read_image",
    "split",
]


def __dir__() -> list[str]:
    return __all__
