"""The modules of *Deep Learning from Scratch* (Saito, O'Reilly Japan 2016), on either backend.

A program of its chapters 4 to 8 runs when its import lines are changed, ``common.`` and ``dataset.`` to
``xpcnn.interop.book.``; and on the active device, when ``import numpy as np`` becomes
``from xpcnn.backend import xp as np``:

    from xpcnn.backend import xp as np
    from xpcnn.interop.book.layers import *
    from xpcnn.interop.book.gradient import numerical_gradient
    from xpcnn.interop.book.mnist import load_mnist
    from xpcnn.interop.book.trainer import Trainer

Interface and names are the book's; the arithmetic is `xpcnn.ops`. Where the book's code errs ours does not, and the
docstring says so. Three things are so everywhere: no argument is written to, float32 stays float32 (a layer computes
in the wider dtype of its input and its weights), and a shape that does not fit is an error that names the layer.
`weights` reads and writes the book's ``params.pkl``.
"""

from xpcnn.interop.book.functions import (
    cross_entropy_error,
    identity_function,
    mean_squared_error,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_loss,
    step_function,
)
from xpcnn.interop.book.gradient import numerical_gradient
from xpcnn.interop.book.layers import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
)
from xpcnn.interop.book.mnist import load_mnist
from xpcnn.interop.book.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from xpcnn.interop.book.trainer import Trainer
from xpcnn.interop.book.weights import load_params, read_params, save_params
from xpcnn.interop.book.windows import col2im, im2col

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Momentum",
    "Nesterov",
    "Pooling",
    "RMSprop",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "Trainer",
    "col2im",
    "cross_entropy_error",
    "identity_function",
    "im2col",
    "load_mnist",
    "load_params",
    "mean_squared_error",
    "numerical_gradient",
    "read_params",
    "relu",
    "relu_grad",
    "save_params",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
]
