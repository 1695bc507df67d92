import numpy as np
import pytest

from xpcnn.errors import ShapeError
from xpcnn.training.metrics import accuracy, confusion_matrix, per_class


@pytest.fixture
def answers():
    """Predictions for 200 images of 5 classes; class 3 is never called, class 4 is absent."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    predictions = np.where(rng.random(200) < 0.6, labels, rng.integers(0, 5, 200))
    return np.where(predictions == 3, 0, predictions), labels


def test_accuracy_is_the_share_of_equal_pairs(answers):
    predictions, labels = answers
    right = 0
    for predicted, label in zip(predictions, labels, strict=True):
        right += int(predicted) == int(label)
    assert 0 < right < 200
    assert accuracy(predictions, labels) == right / 200


def test_accuracy_of_scores_takes_the_largest(answers):
    predictions, labels = answers
    scores = np.random.default_rng(1).random((200, 5)).astype(np.float32)
    scores[np.arange(200), predictions] = 2
    assert accuracy(scores, labels) == accuracy(predictions, labels)


def test_accuracy_takes_one_hot_labels(answers):
    predictions, labels = answers
    assert accuracy(predictions, np.eye(5)[labels]) == accuracy(predictions, labels)


def test_accuracy_is_exact_where_float32_is_not():
    """2**25 + 1 right answers are more than float32 can count by ones."""
    labels = np.zeros(2**25 + 2, np.uint8)
    predictions = labels.copy()
    predictions[-1] = 1
    assert accuracy(predictions, labels) == (2**25 + 1) / (2**25 + 2)


def test_accuracy_returns_a_float(answers):
    assert type(accuracy(*answers)) is float


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [((0,), (0,)), ((3,), (2,)), ((3, 4), (2,)), ((0, 4), (0,)), ((1,), (3,)), ((3,), (3, 1, 1))],
)
def test_accuracy_of_nothing_or_of_unequal_lengths_is_refused(predictions, labels):
    with pytest.raises(ShapeError, match="as many predictions as labels"):
        accuracy(np.zeros(predictions), np.zeros(labels))


def test_the_confusion_matrix_counts_label_by_prediction(answers):
    predictions, labels = answers
    expected = [[0] * 5 for _ in range(5)]
    for predicted, label in zip(predictions, labels, strict=True):
        expected[label][predicted] += 1
    counted = confusion_matrix(predictions, labels, 5)
    assert counted.tolist() == expected
    assert counted.tolist() != counted.T.tolist()
    assert counted.dtype.kind == "i"


def test_the_confusion_matrix_of_small_integers_does_not_overflow():
    predictions, labels = np.array([99], np.uint8), np.array([99], np.uint8)
    counted = confusion_matrix(predictions, labels, 100)
    assert counted.shape == (100, 100)
    assert counted[99, 99] == counted.sum() == 1


def test_precision_recall_and_f1(answers):
    predictions, labels = answers
    for number, metrics in enumerate(per_class(confusion_matrix(predictions, labels, 5))):
        true = called = support = 0
        for predicted, label in zip(predictions, labels, strict=True):
            true += predicted == label == number
            called += predicted == number
            support += label == number
        precision = true / called if called else 0.0
        recall = true / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert metrics == pytest.approx((precision, recall, f1, support))
    assert called == 0 or support == 0  # class 4 does divide by nothing


def test_a_class_that_is_never_called_or_never_there():
    metrics = per_class(np.array([[5, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert metrics[1] == (0.0, 0.0, 0.0, 2)
    assert metrics[2] == (0.0, 0.0, 0.0, 0)
    assert metrics[0].recall == 1.0
    assert metrics[0].precision == pytest.approx(5 / 7)
    assert metrics[0].f1 == pytest.approx(2 * 5 / 7 / (5 / 7 + 1))


def test_a_confusion_matrix_is_a_table_in_a_notebook():
    matrix = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 3)
    table = matrix._repr_html_()
    assert table.count("<tr>") == 4
    assert [int(cell.partition("<")[0]) for cell in table.split('">')[1:]] == matrix.ravel().tolist()
    assert matrix.sum(axis=0)._repr_html_() is None
    assert type(matrix[0, 0]) is np.int64
    assert repr(matrix) == repr(np.asarray(matrix))
