"""A trunk with heads, and the loss that weights them."""

import numpy as np
import pytest
from strategies import assert_close, normal

from xpcnn.backend import to_device, to_host
from xpcnn.errors import BackwardError, HyperparameterError, ShapeError
from xpcnn.layers import Affine, Auxiliary, Flatten, Sequential, Tanh
from xpcnn.losses import AuxiliaryCrossEntropy, SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam
from xpcnn.training import evaluate, train

pytestmark = pytest.mark.usefixtures("backend")


def network():
    trunk = [
        Sequential(Affine(4, 5, rng=0), Tanh()),
        Sequential(Affine(5, 6, rng=1), Tanh()),
        Affine(6, 3, rng=2),
    ]
    return Auxiliary(trunk, [Affine(5, 3, rng=3), Affine(6, 3, rng=4)]).astype("float64")


def batch():
    return to_device(normal(0, (7, 4))), to_device(np.arange(7) % 3)


def test_training_returns_a_list_and_evaluation_the_output_of_the_trunk():
    model, (x, _) = network(), batch()
    main, first, second = model(x)
    assert {y.shape for y in (main, first, second)} == {(7, 3)}
    assert_close(model.heads[0](model.trunk[0](x)), to_host(first), "float64")
    assert_close(model.heads[1](model.trunk[1](model.trunk[0](x))), to_host(second), "float64")
    assert_close(model.eval()(x), to_host(main), "float64")
    assert model.output_shape((4,)) == (3,)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_central_differences(training):
    model, (x, labels), criterion = network().train(training), batch(), AuxiliaryCrossEntropy(0.3)
    criterion(model(x), labels)
    dx = to_host(model.backward(criterion.backward()))

    def loss_after(array, change):
        array += change
        loss = float(criterion(model(x), labels))
        array -= change
        return loss

    values = {"x": (x, dx)} | {name: (p.data, to_host(p.grad).copy()) for name, p in model.named_parameters()}
    for name, (array, gradient) in values.items():
        direction = normal(1, array.shape)
        step = to_device(1e-6 * direction)
        slope = (loss_after(array, step) - loss_after(array, -step)) / 2e-6
        if training or not name.startswith("head"):
            np.testing.assert_allclose(
                (gradient * direction).sum(), slope, rtol=1e-6, atol=1e-9, err_msg=name
            )


def test_the_loss_is_a_weighted_sum():
    outputs, labels = [to_device(y) for y in normal(0, (7, 3), (7, 3), (7, 3))], batch()[1]
    main, first, second = (float(SoftmaxCrossEntropy()(y, labels)) for y in outputs)
    criterion = AuxiliaryCrossEntropy()
    assert float(criterion(outputs, labels)) == pytest.approx(main + 0.3 * (first + second))
    plain = SoftmaxCrossEntropy()
    plain(outputs[2], labels)
    assert_close(criterion.backward()[2], 0.3 * to_host(plain.backward()), "float64")
    assert float(criterion(outputs[0], labels)) == pytest.approx(main)
    assert criterion.backward().shape == (7, 3)
    with pytest.raises(
        BackwardError, match=r"AuxiliaryCrossEntropy\(weight=0.3\): backward\(\) called without"
    ):
        criterion.backward()


OPTIONS = {"label_smoothing": 0.1, "class_weight": (1.0, 2.0, 0.5), "ignore_index": 1}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_the_options_are_those_of_each_head(reduction, axis):
    shape = (7, 3) if axis == -1 else (7, 3, 2, 2)
    labels = to_device(np.random.default_rng(0).integers(0, 3, shape[:1] + shape[2:]))
    outputs = [to_device(y) for y in normal(0, shape, shape)]
    options = {**OPTIONS, "reduction": reduction, "axis": axis}
    heads = [SoftmaxCrossEntropy(**options) for _ in outputs]
    main, side = (float(head(y, labels)) for head, y in zip(heads, outputs, strict=True))
    criterion = AuxiliaryCrossEntropy(0.5, **options)
    assert float(criterion(outputs, labels)) == pytest.approx(main + 0.5 * side)
    for dy, head, share in zip(criterion.backward(), heads, (1, 0.5), strict=True):
        assert_close(dy, share * to_host(head.backward()), "float64")
    assert criterion.count(to_host(labels), shape[1:]) == heads[0].count(to_host(labels), shape[1:])
    assert criterion.reduction == reduction


def test_a_training_weighs_its_batches_as_the_options_say():
    """The mean over the epoch is that of one batch, for labels that weigh differently."""
    x, labels = normal(0, (9, 4)), np.arange(9) % 3
    criterion = AuxiliaryCrossEntropy(**OPTIONS)
    (_, whole), (_, pieces) = (
        next(
            train(
                model, criterion, SGD(model.parameters(), 0.0), (x, labels), epochs=1, batch_size=size, rng=0
            )
        )
        for size, model in ((9, network().eval()), (2, network().eval()))
    )
    assert pieces == pytest.approx(whole)
    assert repr(criterion).startswith("AuxiliaryCrossEntropy(weight=0.3, label_smoothing=0.1, class_weight=")
    with pytest.raises(HyperparameterError, match="AuxiliaryCrossEntropy: expected 0 <= label_smoothing"):
        AuxiliaryCrossEntropy(label_smoothing=2)


def test_without_need_dx_the_first_piece_computes_no_dx():
    model, (x, labels), criterion = network(), batch(), AuxiliaryCrossEntropy()
    criterion(model(x), labels)
    gradients = criterion.backward()
    model.backward(gradients, need_dx=False)
    without = [to_host(p.grad).copy() for p in model.parameters()]
    model.zero_grad()
    model(x)
    model.backward(gradients)
    assert all(
        np.array_equal(one, to_host(p.grad)) for one, p in zip(without, model.parameters(), strict=True)
    )


def test_layers_have_names_and_rows_in_the_summary():
    assert {name.partition(".")[0] for name, _ in network().named_parameters()} == {
        "trunk0", "trunk1", "trunk2", "head0", "head1",
    }  # fmt: skip
    summary = network().summary((4,))
    assert [row.name for row in summary.rows] == [
        "trunk0.0",
        "trunk0.1",
        "head0",
        "trunk1.0",
        "trunk1.1",
        "head1",
        "trunk2",
    ]
    assert sum(row.parameters for row in summary.rows) == summary.parameters


def test_errors_name_the_fix():
    with pytest.raises(
        ShapeError, match="one piece of the trunk more than heads, got 1 and 1; cut the trunk"
    ):
        Auxiliary([Tanh()], [Tanh()])
    model, (x, _) = network(), batch()
    main, *_ = model(x)
    with pytest.raises(ShapeError, match=r"expected 3 gradients, one for each output, got 1; pass a list"):
        model.backward(main)


def test_the_training_loop_and_evaluation_take_it_as_it_is():
    labels = np.arange(30) % 3
    images = np.eye(3, dtype=np.float32)[labels].reshape(30, 3, 1, 1)
    model = Auxiliary(
        [Flatten(), Sequential(Affine(3, 8, rng=0), Tanh(), Affine(8, 3, rng=1))], [Affine(3, 3, rng=2)]
    )
    optimizer = Adam(model.parameters(), 0.05)
    (*_, (_, loss)) = train(
        model, AuxiliaryCrossEntropy(), optimizer, (images, labels), epochs=10, batch_size=10, rng=0
    )
    assert loss < 0.5
    assert evaluate(model, (images, labels)) == 1.0
    assert float(abs(model.heads[0].bias.data).max()) > 0  # the head has learned as well
