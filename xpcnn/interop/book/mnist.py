"""The book's ``dataset/mnist.py``: MNIST as its programs want it, from the copy inside the package."""

import numpy as np

from xpcnn import data
from xpcnn.backend import Array, to_device

Pair = tuple[Array, Array]


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False
) -> tuple[Pair, Pair]:
    """Return ((x_train, t_train), (x_test, t_test)), on the active device.

    Parameters
    ----------
    normalize : bool
        float32 in [0, 1], or uint8.
    flatten : bool
        (N,784), or (N,1,28,28).
    one_hot_label : bool
        float32 (N,10) (the book's are float64), or integers (N,).
    """

    def prepared(images: np.ndarray, labels: np.ndarray) -> Pair:
        if normalize:
            images = np.divide(images, 255.0, dtype=np.float32)
        if flatten:
            images = images.reshape(len(images), -1)
        return to_device(images), to_device(np.eye(10, dtype=np.float32)[labels] if one_hot_label else labels)

    train, test = data.mnist()
    return prepared(*train), prepared(*test)
