"""Data sets, batches and augmentation. All of it is NumPy: images stay on the host until training."""

from xpcnn.data.batches import Batches, batches, check_labels
from xpcnn.data.datasets import (
    Dataset,
    Split,
    cache_folder,
    cifar10,
    class_names,
    fashion_mnist,
    load,
    mnist,
)
from xpcnn.data.folder import ImageFolder, folder, read_image
from xpcnn.data.transforms import Compose, Crop, Flip, Normalize, RandomAffine, Shift

__all__ = [
    "Batches",
    "Compose",
    "Crop",
    "Dataset",
    "Flip",
    "ImageFolder",
    "Normalize",
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
]
