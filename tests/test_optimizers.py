"""Each optimizer against its paper, transcribed number by number in plain Python floats."""

import inspect
import itertools
import math

import numpy as np
import pytest

from xpcnn import optimizers
from xpcnn.backend import to_device, to_host, use_backend
from xpcnn.errors import HyperparameterError, ShapeError
from xpcnn.layers import Affine
from xpcnn.layers.base import Parameter
from xpcnn.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSprop

pytestmark = pytest.mark.usefixtures("backend")

SHAPES = ((2, 3), (4,), (1, 2, 2), ())
STEPS = 20


def make(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(np.asarray(rng.standard_normal(shape), dtype)) for shape in SHAPES]


def gradients(dtype=np.float64, seed=1, scale=1.0):
    """STEPS gradients for every parameter, of very different sizes."""
    rng = np.random.default_rng(seed)
    return [
        [
            np.asarray(scale * 10.0 ** rng.integers(-3, 2) * rng.standard_normal(shape), dtype)
            for shape in SHAPES
        ]
        for _ in range(STEPS)
    ]


def write(parameters, grads):
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad[...] = to_device(grad)


def values(parameters):
    return [to_host(parameter.data).copy() for parameter in parameters]


def run(optimizer, all_grads):
    for grads in all_grads:
        write(optimizer.parameters, grads)
        optimizer.step()
    return values(optimizer.parameters)


# ---------------------------------------------------------------- the papers: theta and its gradients, one number each


def sgd(theta, gs, lr, wd=0.0):
    for g in gs:
        theta = theta - lr * (g + wd * theta)
    return theta


def momentum(theta, gs, lr, mu, wd=0.0):
    v = 0.0
    for g in gs:
        v = mu * v - lr * (g + wd * theta)
        theta = theta + v
    return theta


def nesterov(theta, gs, lr, mu, wd=0.0):
    """Sutskever's form has the gradient at the point ahead; theta below is that point, ahead = theta + mu v."""
    ahead, v = theta, 0.0
    for g in gs:
        behind = ahead - mu * v
        v = mu * v - lr * (g + wd * ahead)
        behind = behind + v
        ahead = behind + mu * v
    return ahead


def adagrad(theta, gs, lr, eps, wd=0.0):
    h = 0.0
    for g in gs:
        g = g + wd * theta
        h = h + g**2
        theta = theta - lr * g / (math.sqrt(h) + eps)
    return theta


def rmsprop(theta, gs, lr, decay, eps, wd=0.0):
    h = 0.0
    for g in gs:
        g = g + wd * theta
        h = decay * h + (1 - decay) * g**2
        theta = theta - lr * g / (math.sqrt(h) + eps)
    return theta


def adam(theta, gs, lr, beta1, beta2, eps, wd=0.0, decoupled=0.0):
    m = v = 0.0
    for t, g in enumerate(gs, 1):
        g = g + wd * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * (m_hat / (math.sqrt(v_hat) + eps) + decoupled * theta)
    return theta


CASES = {
    "sgd": (lambda p: SGD(p, 0.1), lambda x, gs: sgd(x, gs, 0.1)),
    "sgd, decay": (lambda p: SGD(p, 0.1, weight_decay=0.3), lambda x, gs: sgd(x, gs, 0.1, 0.3)),
    "momentum": (lambda p: Momentum(p, 0.1, 0.8), lambda x, gs: momentum(x, gs, 0.1, 0.8)),
    "momentum, decay": (
        lambda p: Momentum(p, 0.1, 0.8, weight_decay=0.3),
        lambda x, gs: momentum(x, gs, 0.1, 0.8, 0.3),
    ),
    "nesterov": (lambda p: Nesterov(p, 0.1, 0.8), lambda x, gs: nesterov(x, gs, 0.1, 0.8)),
    "nesterov, decay": (
        lambda p: Nesterov(p, 0.1, 0.8, weight_decay=0.3),
        lambda x, gs: nesterov(x, gs, 0.1, 0.8, 0.3),
    ),
    "adagrad": (lambda p: AdaGrad(p, 0.1, 0.02), lambda x, gs: adagrad(x, gs, 0.1, 0.02)),
    "adagrad, decay": (
        lambda p: AdaGrad(p, 0.1, 0.02, weight_decay=0.3),
        lambda x, gs: adagrad(x, gs, 0.1, 0.02, 0.3),
    ),
    "rmsprop": (lambda p: RMSprop(p, 0.1, 0.7, 0.02), lambda x, gs: rmsprop(x, gs, 0.1, 0.7, 0.02)),
    "rmsprop, decay": (
        lambda p: RMSprop(p, 0.1, 0.7, 0.02, weight_decay=0.3),
        lambda x, gs: rmsprop(x, gs, 0.1, 0.7, 0.02, 0.3),
    ),
    "adam": (lambda p: Adam(p, 0.1, (0.8, 0.95), 0.02), lambda x, gs: adam(x, gs, 0.1, 0.8, 0.95, 0.02)),
    "adam, decay": (
        lambda p: Adam(p, 0.1, (0.8, 0.95), 0.02, weight_decay=0.3),
        lambda x, gs: adam(x, gs, 0.1, 0.8, 0.95, 0.02, 0.3),
    ),
    "adamw": (
        lambda p: AdamW(p, 0.1, (0.8, 0.95), 0.02, weight_decay=0.3),
        lambda x, gs: adam(x, gs, 0.1, 0.8, 0.95, 0.02, decoupled=0.3),
    ),
    "adamw without decay is adam": (
        lambda p: AdamW(p, 0.1, weight_decay=0.0),
        lambda x, gs: adam(x, gs, 0.1, 0.9, 0.999, 1e-8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_as_the_paper_has_them(case):
    build, paper = CASES[case]
    parameters, all_grads = make(), gradients()
    before = values(parameters)
    after = run(build(parameters), all_grads)
    for index, start in enumerate(before):
        for element in np.ndindex(start.shape):
            gs = [float(grads[index][element]) for grads in all_grads]
            expected = paper(float(start[element]), gs)
            assert float(after[index][element]) == pytest.approx(expected, rel=1e-11, abs=1e-13)


TORCH = {
    "sgd": (lambda p: SGD(p, 0.1), "SGD", {"lr": 0.1}),
    "sgd, decay": (lambda p: SGD(p, 0.1, weight_decay=0.3), "SGD", {"lr": 0.1, "weight_decay": 0.3}),
    "momentum": (
        lambda p: Momentum(p, 0.1, 0.8, weight_decay=0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3},
    ),
    "nesterov": (
        lambda p: Nesterov(p, 0.1, 0.8, weight_decay=0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "nesterov": True},
    ),
    "adagrad": (lambda p: AdaGrad(p, 0.1, 1e-3), "Adagrad", {"lr": 0.1, "eps": 1e-3}),
    "rmsprop": (RMSprop, "RMSprop", {"lr": 0.001, "alpha": 0.99, "eps": 1e-8}),
    "adam": (Adam, "Adam", {}),
    "adam, decay": (lambda p: Adam(p, weight_decay=0.3), "Adam", {"weight_decay": 0.3}),
    "adamw": (AdamW, "AdamW", {}),
}


@pytest.mark.parametrize("case", TORCH)
def test_twenty_steps_as_pytorch_has_them(torch, case):
    """Where nothing is passed the defaults are compared as well."""
    build, name, settings = TORCH[case]
    parameters, all_grads = make(), gradients()
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in values(parameters)]
    optimizer = getattr(torch.optim, name)(theirs, **settings)
    for grads in all_grads:
        for tensor, grad in zip(theirs, grads, strict=True):
            tensor.grad = torch.tensor(grad)
        optimizer.step()
    for mine, tensor in zip(run(build(parameters), all_grads), theirs, strict=True):
        np.testing.assert_allclose(mine, tensor.detach().numpy(), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- what all of them share

ALL = list(optimizers.BY_NAME.values())


def test_the_names():
    assert list(optimizers.BY_NAME) == ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]


@pytest.mark.parametrize("kind", ALL)
def test_float32_stays_float32(kind):
    parameters = make(np.float32)
    optimizer = kind(parameters, weight_decay=0.1, clip_norm=1.0)
    run(optimizer, gradients(np.float32))
    for array in (optimizer.data, optimizer.grad, *optimizer.state.values()):
        assert array.dtype == np.float32
    for parameter in parameters:
        assert parameter.data.dtype == parameter.grad.dtype == np.float32


@pytest.mark.parametrize("kind", ALL)
def test_float32_follows_float64(kind):
    single = run(kind(make(np.float32), 0.01), gradients(np.float32))
    double = run(kind(make(), 0.01), gradients())
    for x, y in zip(single, double, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["tuned", "reference"])
def _kernels(request, backend):
    with use_backend(backend, request.param if request.param == "reference" else None):
        yield


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("kind", ALL)
def test_fifty_steps_in_float16_follow_float32(kind, scale):
    """Gradients of 1e-4 have squares that half does not know, and neither does it an eps of 1e-8."""
    all_grads = [gradients(np.float16, seed, scale)[0] for seed in range(50)]
    lr = 0.01 / scale if kind in (SGD, Momentum, Nesterov) else 0.01
    settings = {"lr": lr, "weight_decay": 0.01, "clip_norm": 20 * scale}
    half, single = make(np.float16), make(np.float16)
    for parameter in single:
        parameter.data = parameter.data.astype(np.float32)
    optimizer = kind(half, **settings)
    found = run(optimizer, all_grads)
    wanted = run(kind(single, **settings), [[g.astype(np.float32) for g in grads] for grads in all_grads])
    assert all(values.dtype == np.float32 for values in optimizer.state.values())
    for x, y in zip(found, wanted, strict=True):
        assert x.dtype == np.float16
        assert np.isfinite(x).all()
        np.testing.assert_allclose(
            x.astype(np.float32), y, rtol=0, atol=50 * 2.0**-11 * max(1, abs(y).max()) / 4
        )


@pytest.mark.usefixtures("_kernels")
def test_a_norm_that_half_cannot_hold_is_clipped():
    parameter = Parameter(np.zeros(70_000, np.float16))
    (after,) = run(SGD([parameter], 1.0, clip_norm=1.0), [[np.full(70_000, 300, np.float16)]])
    np.testing.assert_allclose(after.astype(np.float64), -1 / math.sqrt(70_000), rtol=1e-3)


@pytest.mark.parametrize("kind", ALL)
def test_a_quadratic_is_minimised(kind):
    """f = 1/2 sum of a (x - c)^2, the curvatures a between 0.5 and 2."""
    target, curvature = np.array([3.0, -1.0, 0.5]), np.array([0.5, 1.0, 2.0])
    parameter = Parameter(np.zeros(3))
    optimizer = kind([parameter], lr=0.5 if kind is AdaGrad else 0.05)
    optimizer.weight_decay = 0.0
    for _ in range(600):
        parameter.grad[...] = to_device(curvature) * (parameter.data - to_device(target))
        optimizer.step()
    np.testing.assert_allclose(to_host(parameter.data), target, atol=0.05)


@pytest.mark.parametrize("kind", ALL)
def test_the_learning_rate_may_change_between_steps(kind):
    parameters = make()
    optimizer = kind(parameters, weight_decay=0.1)
    before = values(parameters)
    optimizer.lr = 0.0
    run(optimizer, gradients()[:1])
    for x, y in zip(values(parameters), before, strict=True):
        np.testing.assert_array_equal(x, y)
    optimizer.lr = 0.1
    run(optimizer, gradients()[1:2])
    assert all((x != y).all() for x, y in zip(values(parameters), before, strict=True))
    assert optimizer.steps == 2


# ---------------------------------------------------------------- clipping


def norm(arrays):
    return math.sqrt(sum(float(x) ** 2 for array in arrays for x in array.ravel()))


@pytest.mark.parametrize("factor", [0.25, 0.999])
def test_gradients_longer_than_clip_norm_are_scaled_down_to_it_together(factor):
    grads = gradients()[0]
    limit = factor * norm(grads)
    parameters = make()
    before = values(parameters)
    after = run(SGD(parameters, 1.0, clip_norm=limit), [grads])
    for start, end, grad in zip(before, after, grads, strict=True):
        np.testing.assert_allclose(start - end, factor * grad, rtol=1e-9, atol=1e-12)
    assert norm([to_host(parameter.grad) for parameter in parameters]) == pytest.approx(limit)


@pytest.mark.parametrize("factor", [1.001, 100.0])
def test_gradients_shorter_than_clip_norm_are_left_alone(factor):
    grads = gradients()[0]
    clipped = run(SGD(make(), 0.1, clip_norm=factor * norm(grads)), [grads])
    for x, y in zip(clipped, run(SGD(make(), 0.1), [grads]), strict=True):
        np.testing.assert_array_equal(x, y)


def test_zero_gradients_can_be_clipped():
    before = values(make())
    after = run(SGD(make(), 0.1, clip_norm=1.0), [[np.zeros(shape) for shape in SHAPES]])
    for x, y in zip(after, before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_weight_decay_comes_after_clipping():
    """The decay of theta = 1 is 0.5 in full, the gradient of 10 is clipped to 1."""
    parameter = Parameter(np.ones(1))
    (after,) = run(SGD([parameter], 0.1, weight_decay=0.5, clip_norm=1.0), [[np.full(1, 10.0)]])
    assert after[0] == pytest.approx(1 - 0.1 * (1 + 0.5))


# ---------------------------------------------------------------- the flat buffers


def start_of(array):
    return (getattr(array, "__array_interface__", None) or array.__cuda_array_interface__)["data"][0]


def assert_views(optimizer):
    """Every parameter and gradient is the next piece of the flat buffers, from a multiple of 128 bytes on."""
    for flat, views in (
        (optimizer.data, [parameter.data for parameter in optimizer.parameters]),
        (optimizer.grad, [parameter.grad for parameter in optimizer.parameters]),
    ):
        assert flat.ndim == 1
        assert flat.flags.c_contiguous
        values, first = to_host(flat), 0
        for view in views:
            assert start_of(view) == start_of(flat) + first * flat.itemsize
            assert start_of(view) % 128 == 0
            assert view.flags.c_contiguous
            end = first + view.size
            np.testing.assert_array_equal(values[first:end], to_host(view).ravel())
            first = -(-end * flat.itemsize // 128) * 128 // flat.itemsize
            assert not values[end:first].any()
        assert flat.shape == (first,)
    for values in optimizer.state.values():
        assert values.shape == optimizer.data.shape
        assert start_of(values) % 128 == 0


def test_parameters_become_views_of_one_buffer_and_keep_their_values():
    parameters = make()
    write(parameters, gradients()[0])
    before, grads = values(parameters), [to_host(parameter.grad).copy() for parameter in parameters]
    optimizer = Adam(parameters)
    assert_views(optimizer)
    for parameter, data, grad, shape in zip(parameters, before, grads, SHAPES, strict=True):
        assert parameter.data.shape == parameter.grad.shape == shape
        np.testing.assert_array_equal(to_host(parameter.data), data)
        np.testing.assert_array_equal(to_host(parameter.grad), grad)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_buffers_stay_the_same_from_step_to_step(kind):
    optimizer = kind(make(), clip_norm=1.0, weight_decay=0.1)
    data, grad = optimizer.data, optimizer.grad
    run(optimizer, gradients())
    assert optimizer.data is data
    assert optimizer.grad is grad
    assert_views(optimizer)


@pytest.mark.parametrize("attribute", ["data", "grad"])
def test_arrays_put_in_since_are_gathered_again_and_the_state_is_kept(attribute):
    untouched, replaced = make(), make()
    mine, theirs = Adam(replaced, 0.1), Adam(untouched, 0.1)
    run(theirs, gradients()[:2])
    run(mine, gradients()[:1])
    write(replaced, gradients()[1])
    second = replaced[1]
    setattr(second, attribute, getattr(second, attribute).copy())  # equal values in another memory
    mine.step()
    assert_views(mine)
    for x, y in zip(values(replaced), values(untouched), strict=True):
        np.testing.assert_array_equal(x, y)


def test_two_optimizers_on_the_same_parameters_take_turns():
    """As in fine-tuning: each gathers what the other has changed."""
    parameters = make()
    before = values(parameters)
    one, other = SGD(parameters, 0.1), SGD(parameters[:2], 0.01)
    grads = gradients()[:4]
    for (turn, optimizer), piece in zip(itertools.cycle([(0, one), (1, other)]), grads, strict=False):
        write(parameters, piece)
        optimizer.step()
        assert_views(optimizer)
        for index, data in enumerate(before):
            if turn == 0 or index < 2:
                data -= (0.1, 0.01)[turn] * piece[index]
    for x, y in zip(values(parameters), before, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_backward_writes_into_the_buffer():
    layer = Affine(3, 2, rng=0)
    optimizer = SGD(layer.parameters(), 0.1)
    x = to_device(np.random.default_rng(0).standard_normal((5, 3), np.float32))
    layer.backward(layer(x))
    assert_views(optimizer)
    assert float(abs(optimizer.grad).sum()) > 0
    before = to_host(layer.weight.data).copy()
    optimizer.step()
    np.testing.assert_allclose(
        to_host(layer.weight.data), before - 0.1 * to_host(layer.weight.grad), rtol=1e-6
    )


# ---------------------------------------------------------------- errors


def test_no_parameters_are_refused():
    with pytest.raises(ShapeError, match=r"^Adam: expected parameters, got none; pass model.parameters\(\)"):
        Adam([])


def test_parameters_of_two_dtypes_are_refused():
    with pytest.raises(ShapeError, match=r"^Adam: parameters differ in dtype.*call model.astype"):
        Adam([Parameter(np.ones(2, np.float32)), Parameter(np.ones(2))])


BAD = [
    (SGD, {"lr": -0.1}),
    (SGD, {"lr": math.nan}),
    (SGD, {"lr": math.inf}),
    (SGD, {"weight_decay": -1e-4}),
    (SGD, {"clip_norm": 0}),
    (SGD, {"clip_norm": math.nan}),
    (Momentum, {"momentum": 1.0}),
    (Nesterov, {"momentum": -0.1}),
    (AdaGrad, {"eps": -1.0}),
    (RMSprop, {"decay": 1.0}),
    (RMSprop, {"eps": -1.0}),
    (Adam, {"betas": (0.9, 1.0)}),
    (Adam, {"betas": (-0.1, 0.9)}),
    (Adam, {"eps": math.nan}),
    (AdamW, {"weight_decay": -1.0}),
]


@pytest.mark.parametrize(("kind", "settings"), BAD)
def test_a_number_out_of_its_range_is_refused_by_name(kind, settings):
    ((name, value),) = settings.items()
    with pytest.raises(HyperparameterError) as caught:
        kind(make(), **settings)
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__}: expected ")
    assert name in message
    assert f"got {value}; " in message
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("change", [lambda a: a.astype(np.float32), lambda a: a.reshape(-1)[:1]])
def test_parameters_of_another_dtype_or_size_need_a_new_optimizer(change):
    parameters = make()
    optimizer = Adam(parameters)
    for parameter in parameters:
        parameter.data = change(parameter.data)
    for _ in range(2):  # not the first time alone
        with pytest.raises(
            ShapeError, match=r"^Adam\(.*have changed shape, dtype or device.*make it after model.astype"
        ):
            optimizer.step()


@pytest.mark.parametrize(("kind", "settings"), BAD)
def test_a_number_out_of_its_range_cannot_be_set_either(kind, settings):
    optimizer = kind(make())
    ((name, value),) = settings.items()
    before = getattr(optimizer, name)
    with pytest.raises(HyperparameterError, match=rf"^{kind.__name__}: expected .*{name}"):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == before


def test_a_weight_decay_that_is_set_later_counts():
    parameter, other = Parameter(np.ones(1)), Parameter(np.ones(1))
    optimizer = SGD([parameter, {"parameters": [other], "weight_decay": 0.25}], 0.5)
    for decay, expected in ((0.0, 1.0), (0.5, 0.75)):
        optimizer.weight_decay = decay
        parameter.data[...] = other.data[...] = 1
        write([parameter, other], [np.zeros(1), np.zeros(1)])
        optimizer.step()
        assert float(parameter.data[0]) == expected
        assert float(other.data[0]) == 0.875  # a decay of its own


def test_each_optimizer_declares_its_numbers_once():
    """The constructor, the checks and the checkpoints read one declaration; numbers are floats."""
    for kind in ALL:
        optimizer = kind(make())
        for name, parameter in inspect.signature(kind).parameters.items():
            if name != "parameters":
                assert getattr(optimizer, name) == parameter.default
    assert str(inspect.signature(Adam)).startswith(
        "(parameters: Any, lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-08, *, "
        "weight_decay: float = 0.0, clip_norm: float | None = None)"
    )
    momentum = Momentum(make(), np.float64(0.5), np.float32(0.25), clip_norm=2)
    assert [type(x) for x in (momentum.lr, momentum.momentum, momentum.clip_norm)] == [float] * 3
    assert type(Adam(make(), betas=[np.float32(0.5), 0]).betas[0]) is float


def test_a_base_optimizer_has_no_update():
    with pytest.raises(NotImplementedError):
        run(optimizers.Optimizer(make()), gradients()[:1])


def test_repr_tells_what_matters():
    assert repr(Adam(make(), clip_norm=1.0)) == "Adam(lr=0.001, weight_decay=0.0, clip_norm=1.0)"
    assert repr(Momentum(make(), momentum=0.5)) == (
        "Momentum(lr=0.01, weight_decay=0.0, clip_norm=None, momentum=0.5)"
    )
