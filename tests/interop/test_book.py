"""The book's layers: values and gradients against plain loops, and the interface that its programs use."""

import itertools
import math

import numpy as np
import pytest
import reference

from xpcnn.backend import to_device, to_host, use_backend, xp
from xpcnn.errors import BackendError, BackwardError, HyperparameterError, ShapeError
from xpcnn.interop import book

pytestmark = pytest.mark.usefixtures("backend")


def draw(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def seeded(number):
    """NumPy's global generator, which the book's programs seed and draw from, at its beginning."""
    np.random.seed(number)  # noqa: NPY002
    return np.random


def window(size, stride=1, pad=0):
    return {"size": size, "stride": (stride, stride), "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1),
            "rounding": "floor"}  # fmt: skip


def gradient(f, x):
    """df/dx by central differences, on the host."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += 1e-5
        below[index] -= 1e-5
        result[index] = (f(above) - f(below)) / 2e-5
    return result


def check_gradients(make, x, **parameters):
    """dx, and d of every parameter, of <c, make(**parameters).forward(x)>."""
    values = {"x": x, **parameters}

    def forward(**changed):
        arrays = {name: to_device(value) for name, value in (values | changed).items()}
        layer = make(**{name: array for name, array in arrays.items() if name != "x"})
        return layer, layer.forward(arrays["x"])

    layer, y = forward()
    c = draw(*y.shape, seed=9)
    given = to_device(c)
    found = {"x": layer.backward(given)} | {name: getattr(layer, f"d{name}") for name in parameters}
    np.testing.assert_array_equal(to_host(given), c)  # dout is nobody's to change
    for name, value in values.items():
        wanted = gradient(
            lambda changed, name=name: float((to_host(forward(**{name: changed})[1]) * c).sum()), value
        )
        np.testing.assert_allclose(to_host(found[name]), wanted, atol=1e-6, err_msg=name)
        assert found[name].shape == value.shape


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_convolution(stride, pad):
    x, W, b = draw(2, 3, 7, 6), draw(4, 3, 3, 2, seed=1), draw(4, seed=2)
    layer = book.Convolution(to_device(W), to_device(b), stride, pad)
    wanted = reference.conv(x, W, b, window((3, 2), stride, pad))
    np.testing.assert_allclose(to_host(layer.forward(to_device(x))), wanted, atol=1e-12)
    small = draw(1, 1, 4, 4), draw(2, 1, 2, 3, seed=1), draw(2, seed=2)
    check_gradients(
        lambda W, b: book.Convolution(W, b, stride, min(pad, 1)), small[0], W=small[1], b=small[2]
    )


def test_a_number_for_a_bias():
    """As the book's apply_filter.py has it."""
    x, W = draw(1, 1, 5, 5, dtype=np.float32), draw(1, 1, 3, 3, dtype=np.float32)
    y = book.Convolution(to_device(W), 0).forward(to_device(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(
        to_host(y), reference.conv(x, W, np.zeros(1), window((3, 3))), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "stride", "pad"), [((2, 2), 2, 0), ((3, 2), 1, 1), ((3, 3), 2, 1), ((2, 3), 3, 0)]
)
def test_pooling_with_a_border_that_never_wins(size, stride, pad):
    x = -np.abs(draw(2, 2, 6, 7)) - 1  # the book's zeros would win everywhere
    wanted, _ = reference.max_pool(x, window(size, stride, pad))
    assert wanted.shape[2] == (6 + 2 * pad - size[0]) // stride + 1
    y = book.Pooling(*size, stride, pad).forward(to_device(x))
    np.testing.assert_array_equal(to_host(y), wanted)
    check_gradients(lambda: book.Pooling(*size, stride, pad), x)


def test_pooling_strides_by_2_as_the_book_s_code_does():
    assert book.Pooling(2, 2).forward(to_device(draw(1, 1, 4, 6))).shape == (1, 1, 2, 3)


def test_affine_flattens_and_gives_the_shape_back():
    x, W, b = draw(2, 3, 2, 2), draw(12, 5, seed=1), draw(5, seed=2)
    y = book.Affine(to_device(W), to_device(b)).forward(to_device(x))
    wanted = [[sum(x[n].ravel()[i] * W[i, o] for i in range(12)) + b[o] for o in range(5)] for n in range(2)]
    np.testing.assert_allclose(to_host(y), wanted)
    check_gradients(book.Affine, x, W=W, b=b)


def test_activations():
    x = draw(3, 4)
    np.testing.assert_array_equal(to_host(book.Relu().forward(to_device(x))), np.where(x > 0, x, 0))
    wanted = [[1 / (1 + math.exp(-v)) for v in row] for row in x]
    np.testing.assert_allclose(to_host(book.Sigmoid().forward(to_device(x))), wanted)
    check_gradients(book.Relu, x)
    check_gradients(book.Sigmoid, x)


def test_relu_leaves_its_arguments_alone():
    x, dout = draw(3, 4), draw(3, 4, seed=1)
    layer, given, back = book.Relu(), to_device(x.copy()), to_device(dout.copy())
    layer.forward(given)
    dx = layer.backward(back)
    np.testing.assert_array_equal(to_host(given), x)
    np.testing.assert_array_equal(to_host(back), dout)
    assert dx is not back


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_softmax_with_loss(form):
    x, t = draw(4, 3), np.array([0, 2, 2, 1])
    labels = {"integers": t, "column": t[:, None], "one-hot": np.eye(3)[t]}[form]
    layer = book.SoftmaxWithLoss()
    loss = layer.forward(to_device(x), to_device(labels))
    assert (
        float(loss) == float(layer.loss) == pytest.approx(reference.cross_entropy(x, np.eye(3)[t]), rel=1e-12)
    )
    np.testing.assert_allclose(to_host(layer.y), [reference.softmax(row) for row in x])
    wanted = gradient(lambda x: reference.cross_entropy(x, np.eye(3)[t]), x)
    np.testing.assert_allclose(to_host(layer.backward()), wanted, atol=1e-8)
    np.testing.assert_allclose(to_host(layer.backward(2.0)), 2 * wanted, atol=1e-8)
    np.testing.assert_array_equal(to_host(layer.t), labels)


def test_softmax_with_loss_of_one_image_and_of_scores_far_apart():
    layer = book.SoftmaxWithLoss()
    layer.forward(to_device(np.array([1.0, 2.0])), to_device(np.array([0])))
    assert layer.backward().shape == (2,)
    loss = layer.forward(to_device(np.array([[1e4, 0.0]])), to_device(np.array([1])))
    assert float(loss) == 1e4  # the book says 16.1


def test_dropout_scales_in_a_test_and_draws_what_numpy_s_seed_says():
    x = draw(50, 40)
    layer = book.Dropout(0.25)
    np.testing.assert_allclose(to_host(layer.forward(to_device(x), train_flg=False)), 0.75 * x)
    kept = seeded(3).rand(50, 40) > 0.25
    seeded(3)
    np.testing.assert_array_equal(to_host(layer.forward(to_device(x))), x * kept)
    np.testing.assert_array_equal(to_host(layer.backward(to_device(x))), x * kept)
    with pytest.raises(HyperparameterError, match="dropout_ratio < 1, got 1"):
        book.Dropout(1)


def normalised(x, gamma, beta, axes):
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + 1e-6) + beta


@pytest.mark.parametrize(
    ("shape", "size", "axes"),
    [((6, 3), 3, 0), ((4, 3, 2, 2), 3, (0, 2, 3)), ((5, 2, 1, 3), 6, 0)],
    ids=["affine", "channels", "every pixel by itself, the book's way"],
)
def test_batch_normalization(shape, size, axes):
    x, gamma, beta = draw(*shape), draw(size, seed=1), draw(size, seed=2)
    layer = book.BatchNormalization(to_device(gamma), to_device(beta), momentum=0.8)
    per = lambda values: values.reshape(shape[1:] if size != shape[1] else (size, *(1,) * (len(shape) - 2)))  # noqa: E731
    y = layer.forward(to_device(x))
    np.testing.assert_allclose(to_host(y), normalised(x, per(gamma), per(beta), axes), atol=1e-10)
    np.testing.assert_allclose(
        per(to_host(layer.running_mean)), 0.2 * x.mean(axis=axes).reshape(per(gamma).shape)
    )
    np.testing.assert_allclose(
        per(to_host(layer.running_var)), 0.2 * x.var(axis=axes).reshape(per(gamma).shape)
    )
    mean, variance = (per(to_host(v)) for v in (layer.running_mean, layer.running_var))
    tested = layer.forward(to_device(x), train_flg=False)
    np.testing.assert_allclose(
        to_host(tested), per(gamma) * (x - mean) / np.sqrt(variance + 1e-6) + per(beta)
    )
    check_gradients(book.BatchNormalization, x, gamma=gamma, beta=beta)


def test_running_statistics_may_be_given():
    mean, variance = to_device(np.ones(2)), to_device(np.full(2, 4.0))
    layer = book.BatchNormalization(to_device(np.ones(2)), to_device(np.zeros(2)), 0.9, mean, variance)
    y = layer.forward(to_device(np.full((3, 2), 3.0)), train_flg=False)
    np.testing.assert_allclose(to_host(y), 1.0, rtol=1e-6)


def test_params_and_grads_are_lists_of_the_caller_s_arrays():
    W, b = to_device(draw(3, 2)), to_device(draw(2))
    layer = book.Affine(W, b)
    assert layer.params[0] is W
    assert layer.params[1] is b
    assert layer.grads == [None, None]
    layer.forward(to_device(draw(4, 3)))
    layer.backward(to_device(draw(4, 2)))
    assert [grad.shape for grad in layer.grads] == [(3, 2), (2,)]
    layer.W = W * 0  # as the book's load_params does
    assert not to_host(layer.forward(to_device(draw(4, 3))) - b).any()


def test_float32_stays_and_the_wider_dtype_wins():
    def run(x_dtype, W_dtype):
        x, W = to_device(draw(2, 1, 6, 6).astype(x_dtype)), draw(2, 1, 3, 3, dtype=W_dtype)
        conv = book.Convolution(to_device(W), xp.zeros(2, W_dtype), pad=1)
        layers = [conv, book.Relu(), book.Pooling(2, 2), book.Dropout(0.5), book.Sigmoid(),
                  book.BatchNormalization(xp.ones(2, W_dtype), xp.zeros(2, W_dtype)),
                  book.Affine(to_device(draw(18, 3, dtype=W_dtype)), xp.zeros(3, W_dtype))]  # fmt: skip
        loss = book.SoftmaxWithLoss()
        for layer in layers:
            x = layer.forward(x)
        dtypes = {x.dtype, loss.forward(x, to_device(np.array([0, 1]))).dtype}
        dout = loss.backward(1)
        for layer in reversed(layers):
            dout = layer.backward(dout)
            dtypes |= {dout.dtype, *(grad.dtype for grad in layer.grads)}
        return dtypes

    assert run(np.float32, np.float32) == run(np.uint8, np.float32) == {np.dtype(np.float32)}
    assert run(np.float32, np.float64) == {np.dtype(np.float64)}


# ---------------------------------------------------------------- windows and functions


def test_im2col_has_a_window_a_row_and_col2im_adds_back():
    x = draw(2, 3, 5, 4, dtype=np.float32)
    rows = book.im2col(to_device(x), 3, 2, stride=2, pad=1)
    OH, OW = (5 + 2 - 3) // 2 + 1, (4 + 2 - 2) // 2 + 1
    assert rows.shape == (2 * OH * OW, 3 * 3 * 2)
    assert rows.dtype == np.float32
    padded, c = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), draw(*rows.shape, dtype=np.float32)
    back = np.zeros_like(padded)
    for row, (n, p, q) in enumerate(itertools.product(range(2), range(OH), range(OW))):
        window = np.s_[n, :, 2 * p : 2 * p + 3, 2 * q : 2 * q + 2]
        np.testing.assert_array_equal(to_host(rows)[row], padded[window].ravel())
        back[window] += c[row].reshape(3, 3, 2)
    found = book.col2im(to_device(c), x.shape, 3, 2, stride=2, pad=1)
    np.testing.assert_allclose(to_host(found), back[:, :, 1:-1, 1:-1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"^col2im: expected \(50, 18\)"):
        book.col2im(to_device(c[:8]), (2, 3, 9, 9), 3, 2, stride=2, pad=1)
    with pytest.raises(ShapeError, match=r"^im2col: expected \(N, C, H, W\)"):
        book.im2col(to_device(x[0]), 3, 2)


def test_functions_of_chapters_3_and_4():
    x = draw(4, 3)
    x[0, 0] = 0
    device, t = to_device(x), np.array([0, 2, 1, 1])
    host = lambda name, *args: to_host(getattr(book, name)(*args))  # noqa: E731
    np.testing.assert_array_equal(host("step_function", device), (x > 0).astype(int))
    np.testing.assert_array_equal(host("relu", device), np.maximum(x, 0))
    np.testing.assert_array_equal(host("relu_grad", device), x > 0)
    np.testing.assert_allclose(host("sigmoid", device), 1 / (1 + np.exp(-x)))
    np.testing.assert_allclose(host("sigmoid_grad", device), np.exp(-x) / (1 + np.exp(-x)) ** 2)
    p = np.array([reference.softmax(row) for row in x])
    np.testing.assert_allclose(host("softmax", device), p)
    np.testing.assert_allclose(host("softmax", to_device(x[0])), p[0])
    assert book.identity_function(device) is device
    assert float(host("mean_squared_error", device, to_device(p))) == pytest.approx(((x - p) ** 2).sum() / 2)
    wanted = -sum(math.log(p[n, t[n]]) for n in range(4)) / 4
    for labels in (t, np.eye(3)[t]):
        assert float(host("cross_entropy_error", to_device(p), to_device(labels))) == pytest.approx(
            wanted, rel=1e-12
        )
        assert float(host("softmax_loss", device, to_device(labels))) == pytest.approx(wanted, rel=1e-12)
    one = to_device(np.array([0.0, 1.0])), to_device(np.array([1.0, 0.0]))
    assert np.isfinite(float(host("cross_entropy_error", *one)))


def test_numerical_gradient_changes_what_the_function_reads_and_puts_it_back():
    W = to_device(draw(2, 3))
    before = to_host(W).copy()
    found = book.numerical_gradient(lambda _: (W**2).sum(), W)
    np.testing.assert_allclose(to_host(found), 2 * before, atol=1e-7)
    np.testing.assert_array_equal(to_host(W), before)


# ---------------------------------------------------------------- optimizers


def by_the_book(name, theta, gradients):
    """The book's equations, a number at a time."""
    theta, v, h, m = float(theta), 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        if name == "SGD":
            theta -= 0.1 * g
        elif name == "Momentum":
            v = 0.9 * v - 0.1 * g
            theta += v
        elif name == "Nesterov":
            theta += 0.9 * 0.9 * v - 1.9 * 0.1 * g
            v = 0.9 * v - 0.1 * g
        elif name == "AdaGrad":
            h += g * g
            theta -= 0.1 * g / (math.sqrt(h) + 1e-7)
        elif name == "RMSprop":
            h = 0.99 * h + 0.01 * g * g
            theta -= 0.1 * g / (math.sqrt(h) + 1e-7)
        else:
            m, h = 0.9 * m + 0.1 * g, 0.999 * h + 0.001 * g * g
            theta -= 0.1 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (math.sqrt(h) + 1e-7)
    return theta


@pytest.mark.parametrize("name", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"])
def test_optimizers_change_the_dictionary_s_arrays_in_place(name):
    optimizer = getattr(book, name)(lr=0.1)
    start, gradients = draw(2, 3), draw(5, 2, 3, seed=1)
    gradients[:, 0, 0] *= 1e-6  # where eps counts
    params = {"W1": to_device(start.copy()), "b1": to_device(start[0].copy())}
    W1 = params["W1"]
    for g in gradients:
        optimizer.update(params, {"W1": to_device(np.asfortranarray(g)), "b1": to_device(g[0])})
    assert params["W1"] is W1
    for index in np.ndindex(2, 3):
        wanted = by_the_book(name, start[index], gradients[(slice(None), *index)])
        assert to_host(W1)[index] == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(to_host(params["b1"]), to_host(W1)[0])


# ---------------------------------------------------------------- what does not fit


def test_errors_name_the_layer_and_the_repair():
    x = to_device(draw(2, 3, 4, 4))
    conv = book.Convolution(to_device(draw(2, 1, 3, 3)), to_device(draw(2)))
    with pytest.raises(
        ShapeError, match=r"^Convolution\(W \(2, 1, 3, 3\), b \(2,\)\): expected \(N, 1, H, W\), got"
    ):
        conv.forward(x)
    with pytest.raises(ShapeError, match=r"^Convolution.*height of at least 3, got 2"):
        conv.forward(x[:, :1, :2])
    with pytest.raises(ShapeError, match=r"^Affine.*: expected 5 features, got 48"):
        book.Affine(to_device(draw(5, 2)), to_device(draw(2))).forward(x)
    with pytest.raises(ShapeError, match=r"^BatchNormalization.*expected gamma of 3 or 48 numbers .* got 4"):
        book.BatchNormalization(to_device(draw(4)), to_device(draw(4))).forward(x)
    with pytest.raises(ShapeError, match="pad below 2, got 2"):
        book.Pooling(2, 3, pad=2)
    with pytest.raises(ShapeError, match=r"^Pooling\(\): expected \(N, C, H, W\)"):
        book.Pooling(2, 2).forward(x[0])
    with pytest.raises(ShapeError, match=r"expected 2 labels or \(2, 5\) one-hot, got \(3,\)"):
        book.SoftmaxWithLoss().forward(to_device(draw(2, 5)), to_device(np.zeros(3, int)))
    for layer in (conv, book.Relu(), book.Pooling(2, 2), book.SoftmaxWithLoss(), book.Dropout()):
        with pytest.raises(BackwardError, match="call forward"):
            layer.backward(x)
    with pytest.raises(HyperparameterError, match="'rmsprpo' is unknown; pass one of: SGD, Momentum"):
        book.Trainer(None, x, x, x, x, optimizer="rmsprpo")


def test_an_array_of_another_backend(backend):
    if backend.name == "numpy":
        pytest.skip("there it is one and the same")
    with use_backend("numpy"):
        x = draw(2, 3)
    with pytest.raises(BackendError, match=r"Relu\(\): got a numpy array"):
        book.Relu().forward(x)
    with pytest.raises(BackendError, match=r"got a numpy array"):
        book.Affine(draw(3, 2), draw(2)).forward(to_device(x))
