"""The convolutions of AlexNet, VGG-16 and ResNet-18 at their real widths, against the textbook's op.

Small examples always fit into one piece; these do not. The batch is small, but for AlexNet's, whose rows of 13 x 50
numbers are cut into pieces of different lengths.
"""

import importlib.util

import numpy as np
import pytest

from xpcnn import kernels, ops
from xpcnn.geometry import Window

ONE, THREE, HALF = Window(1, 2), Window(3, 1, 1), Window(3, 2, 1)
AT_FIFTY = {  # name: (batch, channels, height), filters, window
    "AlexNet conv2": ((50, 64, 27), 192, Window(5, 1, 2)),
    "AlexNet conv3": ((50, 192, 13), 384, THREE),
    "AlexNet conv4": ((50, 384, 13), 256, THREE),
    "AlexNet conv5": ((50, 256, 13), 256, THREE),
    "few filters": ((50, 256, 13), 8, THREE),
}
LAYERS = {
    "AlexNet conv1": ((2, 3, 224), 64, Window(11, 4, 2)),
    "AlexNet conv2": ((2, 64, 27), 192, Window(5, 1, 2)),
    "AlexNet conv3": ((3, 192, 13), 384, THREE),
    "AlexNet conv4": ((3, 384, 13), 256, THREE),
    "AlexNet conv5": ((3, 256, 13), 256, THREE),
    "VGG-16 conv1_1": ((1, 3, 224), 64, THREE),
    "VGG-16 conv1_2": ((1, 64, 224), 64, THREE),
    "VGG-16 conv2_1": ((1, 64, 112), 128, THREE),
    "VGG-16 conv2_2": ((1, 128, 112), 128, THREE),
    "VGG-16 conv3_1": ((1, 128, 56), 256, THREE),
    "VGG-16 conv3_2": ((1, 256, 56), 256, THREE),
    "VGG-16 conv4_1": ((1, 256, 28), 512, THREE),
    "VGG-16 conv4_2": ((1, 512, 28), 512, THREE),
    "VGG-16 conv5": ((2, 512, 14), 512, THREE),
    "ResNet-18 conv1": ((2, 3, 224), 64, Window(7, 2, 3)),
    "ResNet-18 conv2": ((2, 64, 56), 64, THREE),
    "ResNet-18 conv3_1": ((2, 64, 56), 128, HALF),
    "ResNet-18 conv3": ((2, 128, 28), 128, THREE),
    "ResNet-18 conv3 shortcut": ((2, 64, 56), 128, ONE),
    "ResNet-18 conv4_1": ((2, 128, 28), 256, HALF),
    "ResNet-18 conv4": ((2, 256, 14), 256, THREE),
    "ResNet-18 conv4 shortcut": ((2, 128, 28), 256, ONE),
    "ResNet-18 conv5_1": ((3, 256, 14), 512, HALF),
    "ResNet-18 conv5": ((3, 512, 7), 512, THREE),
    "ResNet-18 conv5 shortcut": ((3, 256, 14), 512, ONE),
}
CASES = LAYERS | {f"{name} at 50": layer for name, layer in AT_FIFTY.items()}
CHOICES = ["pure", "tuned"] if importlib.util.find_spec("numba") else ["pure"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_layer_of_a_real_network_is_the_textbooks(name):
    """Both kernels in one test, for the textbook takes most of its time."""
    (N, C, H), O, window = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((H, C, H, N), "float32").transpose(3, 1, 0, 2)
    weight, bias = rng.standard_normal((O, C, *window.size), "float32"), rng.standard_normal(O, "float32")
    dy = rng.standard_normal((N, O, *window.output_size(H, H)), "float32")
    wanted = (
        ops.conv.__wrapped__(x, weight, bias, window),
        *ops.conv_backward.__wrapped__(dy, x, weight, window),
    )
    for choice in CHOICES:
        substitutes = kernels.load("numpy", choice)
        found = (
            substitutes["conv"](x, weight, bias, window),
            *substitutes["conv_backward"](dy, x, weight, window),
        )
        for what, one, other in zip(("y", "dx", "dW", "db"), found, wanted, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            error = np.abs(one - other).max() / np.abs(other).max()
            assert error < 1e-5, f"{what} of the {choice} kernels is off by {error:.1e}"
