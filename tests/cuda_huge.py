"""Arrays of more than 2^31 elements: only the ends of their memory are touched, and only the ends of a grid run."""

import mmap
import sys

import numpy as np
from cuda_examples import host_module

from xpcnn import ops
from xpcnn.geometry import Window
from xpcnn.kernels.cuda.activation import KINDS
from xpcnn.kernels.cuda.geometry import lengths
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.cuda.source import signatures
from xpcnn.simulated.cuda import ends_of_grids

BLOCKS = 2
LAST = 256  # elements that the last blocks make for certain, as the very last is not full
f = np.float32


def virtual(*shape, dtype=f):
    """Zeros whose memory the system hands out page by page, when it is touched."""
    flags = (
        mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (0x4000 if sys.platform == "linux" else 0)
    )  # MAP_NORESERVE
    memory = mmap.mmap(-1, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, flags=flags)
    return np.frombuffer(memory, dtype).reshape(shape)


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(f)


def launch(kernel, threads, **arguments):
    with ends_of_grids(BLOCKS):
        Device(host_module).launch(kernel, threads, **arguments)


def same_end(result, wanted):
    """The last elements of a huge result are those of the result for the last images alone."""
    result, wanted = result.reshape(-1)[-LAST:], np.asarray(wanted).reshape(-1)[-LAST:]
    np.testing.assert_allclose(result[-wanted.size :], wanted, rtol=1e-5, atol=1e-6)
    assert result.any()


N, C, H, W = IMAGES = (3 * 2**20 + 3, 4, 16, 16)  # 3.2 * 10^9 pixels
WINDOW = Window((1, 2))
OUT = (16, 15)
KNOWN = lengths(IMAGES, WINDOW)
TAPS = (C, 1, 2)
NO_PADDING = dict.fromkeys(("above", "below", "before", "behind"), 0)


def images(*size):
    x = virtual(N, C, *size)
    x[-4:] = normal(4, C, *size)
    return x


def im2col():
    x, cols = images(H, W), virtual(*TAPS, N, *OUT)
    launch("im2col", cols.size, x=x, cols=cols, fill=0, **KNOWN)
    same_end(cols, ops.im2col.__wrapped__(x[-4:], WINDOW)[-1, -1, -1])


def col2im():
    cols, x = virtual(*TAPS, N, *OUT), virtual(*IMAGES)
    cols[:, :, :, -4:] = normal(*TAPS, 4, *OUT)
    launch("col2im", x.size, cols=cols, x=x, **KNOWN)
    same_end(x, ops.col2im.__wrapped__(cols[:, :, :, -4:], (H, W), WINDOW))


def max_pool():
    x, y, winner = images(H, W), virtual(N, C, *OUT), virtual(N, C, *OUT, dtype=np.uint8)
    launch("max_pool", y.size, x=x, y=y, winner=winner, **KNOWN)
    for ours, theirs in zip((y, winner), ops.max_pool.__wrapped__(x[-4:], WINDOW), strict=True):
        same_end(ours, theirs)


def max_pool_backward():
    dy, winner, dx = images(*OUT), virtual(N, C, *OUT, dtype=np.uint8), virtual(*IMAGES)
    winner[-4:] = normal(4, C, *OUT) > 0
    launch("max_pool_backward", dx.size, dy=dy, winner=winner, dx=dx, **KNOWN)
    same_end(dx, ops.max_pool_backward.__wrapped__(dy[-4:], winner[-4:], (H, W), WINDOW))


def average_pool():
    x, y = images(H, W), virtual(N, C, *OUT)
    pool(y.size, "average_pool", x=x, y=y)
    same_end(y, ops.average_pool.__wrapped__(x[-4:], WINDOW))


def average_pool_backward():
    dy, dx = images(*OUT), virtual(*IMAGES)
    pool(dx.size, "average_pool_backward", dy=dy, dx=dx)
    same_end(dx, ops.average_pool_backward.__wrapped__(dy[-4:], (H, W), WINDOW))


def pool(threads, kernel, **arrays):
    known = {**KNOWN, **NO_PADDING}
    names = signatures()[kernel].names
    launch(kernel, threads, **arrays, **{name: known[name] for name in known if name in names})


O, P = 3, 250
CHANNELS, VALUES = 2**22, 600


def add_bias():
    product, y, bias = virtual(O, N, P), virtual(N, O, P), normal(O)
    product[:, -4:] = normal(O, 4, P)
    launch("add_bias", y.size, product=product, bias=bias, y=y, N=N, O=O, P=P)
    same_end(y, (product[:, -4:] + bias[:, None, None]).swapaxes(0, 1))


def filters_first():
    dy, dproduct = virtual(N, O, P), virtual(O, N, P)
    dy[-4:] = normal(4, O, P)
    launch("filters_first", dy.size, dy=dy, dproduct=dproduct, N=N, O=O, P=P)
    same_end(dproduct, dy[-4:].swapaxes(0, 1))


def row_sum():
    values, sums = virtual(CHANNELS, VALUES), virtual(CHANNELS)
    values[-BLOCKS:] = normal(BLOCKS, VALUES)
    launch("row_sum", 256 * CHANNELS, values=values, sums=sums, O=CHANNELS, L=VALUES)
    same_end(sums[-BLOCKS:], values[-BLOCKS:].astype(float).sum(axis=1))


def keep_mask():
    size, p, counter, key = 3 * 2**31 + 300, 0.3, np.array([11], np.uint64), 0x2545F4914F6CDD1D
    keep = virtual(size, dtype=bool)
    launch("keep_mask", size, counter=counter, keep=keep, key=key, threshold=round(p * 2**32), size=size)
    same_end(keep, ops.keep_mask.__wrapped__((LAST,), p, counter + np.uint64(size - LAST), key))


def normalized():
    """Two images of so many channels, of which the last four have values, and what goes with them."""
    arrays = {name: virtual(2, CHANNELS, 300) for name in ("x", "dy")}
    for number, array in enumerate(arrays.values()):
        array[:, -4:] = normal(2, 4, 300) + number
    vectors = {name: virtual(CHANNELS) for name in ("weight", "bias", "mean", "variance", "dweight", "dbias")}
    for vector in vectors.values():
        vector[-4:] = 1 + normal(4) ** 2
    return {**arrays, **vectors, "eps": 1e-3, "N": 2, "C": CHANNELS, "P": 300}


def launch_with(known, kernel, threads, **results):
    known = {**known, **results}
    launch(kernel, threads, **{name: known[name] for name in signatures()[kernel].names})


def batch_norm():
    known, y = normalized(), virtual(2, CHANNELS, 300)
    launch_with(known, "batch_norm", y.size, y=y)
    x, (weight, bias, mean, variance) = (
        known["x"][:, -4:],
        (known[name][-4:] for name in ("weight", "bias", "mean", "variance")),
    )
    same_end(y, ops.batch_norm.__wrapped__(x, weight, bias, mean, variance, 1e-3))


def batch_statistics():
    known = normalized()
    launch_with(known, "batch_statistics", 256 * CHANNELS)
    mean, variance = ops.batch_statistics.__wrapped__(known["x"][:, -BLOCKS:].astype(float))
    same_end(known["mean"][-BLOCKS:], mean)
    same_end(known["variance"][-BLOCKS:], variance)


def batch_norm_sums():
    known = normalized()
    launch_with(known, "batch_norm_sums", 256 * CHANNELS)
    dy, x, weight, mean, variance = (known[name][..., -BLOCKS:, :] if known[name].ndim == 3 else known[name][-BLOCKS:]
                                     for name in ("dy", "x", "weight", "mean", "variance"))  # fmt: skip
    _, dweight, dbias = ops.batch_norm_backward.__wrapped__(
        dy.astype(float), x.astype(float), weight, mean, variance, 1e-3, True
    )
    same_end(known["dweight"][-BLOCKS:], dweight)
    same_end(known["dbias"][-BLOCKS:], dbias)


def batch_norm_dx():
    known, dx = normalized(), virtual(2, CHANNELS, 300)
    launch_with(known, "batch_norm_dx", dx.size, dx=dx, per_value=0)
    scale = known["weight"][-4:] / np.sqrt(known["variance"][-4:] + f(1e-3))
    same_end(dx, known["dy"][:, -4:] * scale[:, None])


ROW = 600


def normalized_rows():
    """So many rows of one channel each, of which the last have values: groups of (CHANNELS, 1, ROW)."""
    arrays = {name: virtual(CHANNELS, 1, ROW) for name in ("x", "dy")}
    arrays["x"][-BLOCKS:] = normal(BLOCKS, 1, ROW)
    arrays["dy"][-BLOCKS:] = normal(BLOCKS, 1, ROW)[..., ::-1]
    return {**arrays, "weight": np.full(1, 2, f), "bias": np.ones(1, f), "mean": virtual(CHANNELS),
            "inverse": virtual(CHANNELS), "eps": 1e-3, "R": CHANNELS, "L": ROW, "C": 1, "P": ROW}  # fmt: skip


def sample_norm():
    known, y = normalized_rows(), virtual(CHANNELS, 1, ROW)
    launch_with(known, "sample_norm", 32 * CHANNELS, y=y)
    same_end(y, ops.group_norm.__wrapped__(known["x"][-BLOCKS:], known["weight"], known["bias"], 1, 1e-3))


def sample_norm_backward():
    known, dx = normalized_rows(), virtual(CHANNELS, 1, ROW)
    launch_with(known, "sample_norm_backward", 32 * CHANNELS, dx=dx)
    x, dy = (known[name][-BLOCKS:].astype(float) for name in ("x", "dy"))
    same_end(dx, ops.group_norm_backward.__wrapped__(dy, x, known["weight"], 1, 1e-3)[0])
    same_end(known["mean"][-BLOCKS:], x.mean(axis=(1, 2)))


def sample_norm_parameters():
    known = normalized()
    known |= {"mean": np.zeros(2, f), "inverse": np.ones(2, f), "R": 2, "L": 300 * CHANNELS, "lanes": 32}
    launch_with(known, "sample_norm_parameters", 32 * CHANNELS)
    x, dy = (known[name][:, -BLOCKS:].astype(float) for name in ("x", "dy"))
    same_end(known["dweight"][-BLOCKS:], (dy * x).sum(axis=(0, 2)))
    same_end(known["dbias"][-BLOCKS:], dy.sum(axis=(0, 2)))


SIZE = 2**31 + 300


def vector():
    values = virtual(SIZE)
    values[-LAST:] = normal(LAST)
    return values


def relu():
    x, y = vector(), virtual(SIZE)
    launch("relu", SIZE, x=x, y=y, size=SIZE)
    same_end(y, np.maximum(x[-LAST:], 0))


def relu_backward():
    dy, y, dx = vector(), vector(), virtual(SIZE)
    launch("relu_backward", SIZE, dy=dy, y=y, dx=dx, size=SIZE)
    same_end(dx, dy[-LAST:] * (y[-LAST:] > 0))


LEAKY = {"kind": KINDS.index("leaky_relu"), "a": 0.5, "b": 0}


def activation():
    x, y = vector(), virtual(SIZE)
    launch("activation", SIZE, x=x, y=y, size=SIZE, **LEAKY)
    same_end(y, np.where(x[-LAST:] > 0, x[-LAST:], x[-LAST:] / 2))


def activation_backward():
    dy, value, dx = vector(), vector(), virtual(SIZE)
    launch("activation_backward", SIZE, dy=dy, value=value, dx=dx, size=SIZE, **LEAKY)
    same_end(dx, dy[-LAST:] * np.where(value[-LAST:] > 0, 1, 0.5))


def updated(op, kernel, states, **numbers):
    g, arrays = vector(), {name: vector() for name in ("theta", *states)}
    wanted = {name: array[-LAST:] ** 2 for name, array in arrays.items()}
    for name, array in arrays.items():
        array[-LAST:] = wanted[name]
    op(wanted, g[-LAST:])
    launch(kernel, SIZE, g=g, size=SIZE, **arrays, **numbers)
    for name, array in arrays.items():
        same_end(array, wanted[name])


def sgd_update():
    updated(lambda a, g: ops.sgd_update.__wrapped__(a["theta"], g, 0.1), "sgd_update", (), lr=0.1)


def momentum_update():
    def op(a, g):
        ops.momentum_update.__wrapped__(a["theta"], g, a["velocity"], 0.1, 0.9)

    updated(op, "momentum_update", ("velocity",), lr=0.1, momentum=0.9)


def adam_update():
    def op(a, g):
        m, v = 0.9 * a["mean"] + 0.1 * g, 0.99 * a["squares"] + 0.01 * g * g
        a["theta"] -= 0.1 * m / (np.sqrt(v) + 1e-3)
        a["mean"], a["squares"] = m, v

    updated(
        op,
        "adam_update",
        ("mean", "squares"),
        step=0.1,
        eps=1e-3,
        beta1=0.9,
        beta2=0.99,
        rest1=0.1,
        rest2=0.01,
    )


M, D = 2**23 + 5, 300
ROWS = 8  # a block's, a warp a row


def rows():
    values = virtual(M, D)
    values[-ROWS:] = normal(ROWS, D)
    return values


def labels():
    found = virtual(M, dtype=np.int64)
    found[-ROWS:] = np.arange(ROWS) * 7
    return found


def targets():
    found = virtual(M, D)
    found[-ROWS:] = np.random.default_rng(1).dirichlet(np.ones(D), ROWS)
    return found


def cross_entropy(kernel, **given):
    (wanted,) = given.values()
    logits, probabilities, losses = rows(), virtual(M, D), virtual(M)
    launch(kernel, 32 * M, logits=logits, **given, probabilities=probabilities, losses=losses, M=M, D=D)
    loss, p = ops.softmax_cross_entropy.__wrapped__(logits[-ROWS:], wanted[-ROWS:])
    same_end(probabilities, p)
    np.testing.assert_allclose(losses[-ROWS:].mean(), loss, rtol=1e-5)


def cross_entropy_backward(kernel, one_hot, **given):
    probabilities, dlogits = rows(), virtual(M, D)
    launch(kernel, M * D, probabilities=probabilities, **given, dlogits=dlogits, M=M, D=D)
    result = dlogits.reshape(-1)[-LAST:] * f(M)
    np.testing.assert_allclose(
        result, (probabilities[-ROWS:] - one_hot).reshape(-1)[-LAST:], rtol=1e-4, atol=1e-6
    )


def cross_entropy_of_labels():
    cross_entropy("cross_entropy_of_labels", labels=labels())


def cross_entropy_of_rows():
    cross_entropy("cross_entropy_of_rows", targets=targets())


def cross_entropy_of_labels_backward():
    given = labels()
    one_hot = np.eye(D, dtype=f)[given[-ROWS:]]
    cross_entropy_backward("cross_entropy_of_labels_backward", one_hot, labels=given)


def cross_entropy_of_rows_backward():
    given = targets()
    sums = virtual(M)
    sums[-ROWS:] = 1
    cross_entropy_backward("cross_entropy_of_rows_backward", given[-ROWS:], targets=given, sums=sums)


HUGE = {function.__name__: function for function in (
    im2col, col2im, max_pool, max_pool_backward, average_pool, average_pool_backward, add_bias, filters_first,
    row_sum, keep_mask, batch_norm, batch_statistics, batch_norm_sums, batch_norm_dx, relu, relu_backward,
    sgd_update, momentum_update, adam_update, cross_entropy_of_labels, cross_entropy_of_rows,
    cross_entropy_of_labels_backward, cross_entropy_of_rows_backward, activation, activation_backward, sample_norm,
    sample_norm_backward, sample_norm_parameters,
)}  # fmt: skip
"""By the names of the kernels. `mean` is not among them: its one block would read every value."""
