"""The oracle: every op by its definition, in plain loops and double precision.

Slow on purpose, and sharing no line with the package. Arrays are NumPy's; a window is a dictionary of
`size`, `stride`, `padding` ((top, bottom), (left, right)) or "same", `dilation` and `rounding`, with
pairs (height, width) throughout.
"""

import itertools
import math

import numpy as np

# ---------------------------------------------------------------- where a window stops


def starts(length, size, stride, padding, dilation, rounding):
    """Return the first element of every window along one axis, negative ones in the padding before it.

    >>> starts(6, 3, 2, (0, 0), 1, "floor"), starts(6, 3, 2, (0, 0), 1, "ceil")
    ([0, 2], [0, 2, 4])
    """
    if padding == "same":
        padding, rounding = same_padding(length, size, stride, dilation), "floor"
    before, after = padding
    reach = dilation * (size - 1)  # from the window's first element to its last
    found = [start for start in range(-before, length + after, stride) if start + reach < length + after]
    if not found or length < 1:
        raise ValueError("no window fits")
    left_over = length + after - 1 - (found[-1] + reach)
    if left_over and rounding == "exact":
        raise ValueError("the stride does not divide")
    if left_over and rounding == "ceil" and found[-1] + stride < length:
        found.append(found[-1] + stride)
    return found


def same_padding(length, size, stride, dilation):
    """Return the least padding for ceil(length / stride) windows; an odd element is at the end."""
    wanted, reach = math.ceil(length / stride), dilation * (size - 1)
    for total in itertools.count():
        if len(range(0, length + total - reach, stride)) >= wanted:
            return total // 2, total - total // 2


def positions(image_size, window):
    """Return the first rows of the windows along the height, and the first columns along the width."""
    return [
        starts(
            image_size[axis],
            window["size"][axis],
            window["stride"][axis],
            "same" if window["padding"] == "same" else window["padding"][axis],
            window["dilation"][axis],
            window["rounding"],
        )
        for axis in (0, 1)
    ]


def field(image_size, window, row, column):
    """Yield (i, j, y, x) for each element of the window at (row, column) that is in the image."""
    for i, j in np.ndindex(*window["size"]):
        y, x = row + i * window["dilation"][0], column + j * window["dilation"][1]
        if 0 <= y < image_size[0] and 0 <= x < image_size[1]:
            yield i, j, y, x


# ---------------------------------------------------------------- convolution and pooling


def im2col(x, window, fill=0):
    N, C, *image_size = x.shape
    rows, columns = positions(image_size, window)
    cols = np.full((C, *window["size"], N, len(rows), len(columns)), fill, np.float64)
    for n, c in np.ndindex(N, C):
        for (p, row), (q, column) in itertools.product(enumerate(rows), enumerate(columns)):
            for i, j, y, x_ in field(image_size, window, row, column):
                cols[c, i, j, n, p, q] = x[n, c, y, x_]
    return cols


def conv(x, weight, bias, window, groups=1):
    N, C, *image_size = x.shape
    O = len(weight)
    rows, columns = positions(image_size, window)
    result = np.empty((N, O, len(rows), len(columns)))
    for n, o, p, q in np.ndindex(result.shape):
        first = o // (O // groups) * (C // groups)  # the first channel that this filter reads
        result[n, o, p, q] = math.fsum(
            float(weight[o, c, i, j]) * float(x[n, first + c, y, x_])
            for i, j, y, x_ in field(image_size, window, rows[p], columns[q])
            for c in range(C // groups)
        ) + (0 if bias is None else bias[o])
    return result


def max_pool(x, window):
    """Return the largest pixel of each window, and its element of the window, the first of equals."""
    N, C, *image_size = x.shape
    rows, columns = positions(image_size, window)
    best = np.full((N, C, len(rows), len(columns)), -np.inf)
    winner = np.full(best.shape, -1)
    for n, c, p, q in np.ndindex(best.shape):
        for i, j, y, x_ in field(image_size, window, rows[p], columns[q]):
            if winner[n, c, p, q] < 0 or x[n, c, y, x_] > best[n, c, p, q]:
                best[n, c, p, q], winner[n, c, p, q] = x[n, c, y, x_], i * window["size"][1] + j
    return best, winner


def select(x, winner, window):
    """Return the pixel of x that is the winner of each window: the derivative of max pooling."""
    _, _, *image_size = x.shape
    rows, columns = positions(image_size, window)
    chosen = np.empty(winner.shape)
    for n, c, p, q in np.ndindex(winner.shape):
        i, j = divmod(int(winner[n, c, p, q]), window["size"][1])
        y, x_ = rows[p] + i * window["dilation"][0], columns[q] + j * window["dilation"][1]
        chosen[n, c, p, q] = x[n, c, y, x_]
    return chosen


def average_pool(x, window, count_include_pad=False):
    """The mean is over the image, or image and padding, never over pixels beyond both."""
    N, C, *image_size = x.shape
    rows, columns = positions(image_size, window)
    padding = window["padding"]
    if padding == "same":
        padding = [
            same_padding(
                image_size[axis], window["size"][axis], window["stride"][axis], window["dilation"][axis]
            )
            for axis in (0, 1)
        ]
    bounds = [(-before, length + after) for length, (before, after) in zip(image_size, padding, strict=True)]
    mean = np.empty((N, C, len(rows), len(columns)))
    for n, c, p, q in np.ndindex(mean.shape):
        pixels = [x[n, c, y, x_] for _, _, y, x_ in field(image_size, window, rows[p], columns[q])]
        count = len(pixels)
        if count_include_pad:
            count = sum(
                bounds[0][0] <= rows[p] + i * window["dilation"][0] < bounds[0][1]
                and bounds[1][0] <= columns[q] + j * window["dilation"][1] < bounds[1][1]
                for i, j in np.ndindex(*window["size"])
            )
        mean[n, c, p, q] = math.fsum(pixels) / count
    return mean


# ---------------------------------------------------------------- normalisation


def batch_statistics(x):
    """Return mean and biased variance of each channel."""
    channels = [[float(value) for value in x[:, c].ravel()] for c in range(x.shape[1])]
    means = [math.fsum(values) / len(values) for values in channels]
    variances = [
        math.fsum((value - mean) ** 2 for value in values) / len(values)
        for values, mean in zip(channels, means, strict=True)
    ]
    return np.array(means), np.array(variances)


def batch_norm(x, weight, bias, mean, variance, eps):
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        c = index[1]
        y[index] = weight[c] * (float(x[index]) - mean[c]) / math.sqrt(variance[c] + eps) + bias[c]
    return y


def local_response_norm(x, size, alpha, beta, k):
    """The equation of the paper with alpha / size for its alpha; an even neighbourhood has one more lower channel."""
    y = np.empty(x.shape)
    C = x.shape[1]
    for n, c, *pixel in np.ndindex(x.shape):
        neighbours = range(max(0, c - size // 2), min(C, c + (size - 1) // 2 + 1))
        energy = math.fsum(float(x[n, d, *pixel]) ** 2 for d in neighbours)
        y[n, c, *pixel] = float(x[n, c, *pixel]) / (k + alpha / size * energy) ** beta
    return y


# ---------------------------------------------------------------- softmax and cross-entropy


def softmax(row):
    largest = max(map(float, row))
    powers = [math.exp(value - largest) for value in map(float, row)]
    return np.array(powers) / math.fsum(powers)


def cross_entropy(logits, targets):
    """Return the mean over rows of sum -t log softmax(z), where 0 log 0 is 0."""
    losses = []
    for row, target in zip(logits, targets, strict=True):
        largest = max(map(float, row))
        log_sum = largest + math.log(math.fsum(math.exp(float(value) - largest) for value in row))
        losses.append(
            math.fsum(float(t) * (log_sum - float(z)) for z, t in zip(row, target, strict=True) if t)
        )
    return math.fsum(losses) / len(losses)


# ---------------------------------------------------------------- derivatives


def derivative(f, x, direction, epsilon=1e-5):
    """Return the derivative of f at x along `direction`, by central differences.

    For a backward that claims dx, <f'(x; u), dy> = <u, dx> at one random u settles all of dx.
    """
    return (f(x + epsilon * direction) - f(x - epsilon * direction)) / (2 * epsilon)


def inner(a, b):
    """Return <a, b>, the sum of products over all elements."""
    return math.fsum((np.asarray(a, np.float64) * np.asarray(b, np.float64)).ravel())
