import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn.errors import HyperparameterError
from xpcnn.schedules import NAMES, by_name, constant, cosine, one_cycle, step_decay, warm_up


def sampled(schedule, steps):
    return [schedule(step) for step in range(steps)]


def test_constant():
    assert sampled(constant(0.3), 5) == [0.3] * 5


def test_step_decay_multiplies_once_in_every_steps():
    lr, expected = 0.8, []
    for step in range(20):
        if step in (7, 14):
            lr *= 0.5
        expected.append(lr)
    assert sampled(step_decay(0.8, every=7, factor=0.5), 20) == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.02])
def test_cosine_is_the_paper_s_equation(final):
    expected = [final + 0.5 * (0.3 - final) * (1 + math.cos(step / 50 * math.pi)) for step in range(51)]
    assert sampled(cosine(0.3, 50, final), 51) == pytest.approx(expected)
    assert cosine(0.3, 50, final)(0) == pytest.approx(0.3)
    assert cosine(0.3, 50, final)(50) == pytest.approx(final)
    assert cosine(0.3, 50, final)(80) == pytest.approx(final)  # it does not rise again


def test_one_cycle_rises_to_lr_and_falls_below_its_start():
    lrs = sampled(one_cycle(0.5, 101, rise=0.5, start=0.1, final=0.001), 101)
    top = 0.5 * 101 - 1  # between two steps
    assert lrs[0] == pytest.approx(0.05)
    assert lrs[-1] == pytest.approx(0.0005)
    assert all(low < high for low, high in itertools.pairwise(lrs[:50]))
    assert all(low > high for low, high in itertools.pairwise(lrs[50:]))
    for step, lr in enumerate(lrs):
        if step <= top:
            expected = 0.05 + (0.5 - 0.05) * (1 - math.cos(math.pi * step / top)) / 2
        else:
            expected = 0.5 + (0.0005 - 0.5) * (1 - math.cos(math.pi * (step - top) / (100 - top))) / 2
        assert lr == pytest.approx(expected)


@pytest.mark.parametrize("rise", [0.0, 0.07, 0.3, 0.6, 0.99])  # it divides by zero where rise * steps is 1
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 11, 100, 1800])
def test_one_cycle_is_pytorch_s(torch, steps, rise):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.003,
        total_steps=steps,
        pct_start=rise,
        anneal_strategy="cos",
        cycle_momentum=False,
    )
    expected = []
    for step in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            theirs.step()
    mine = one_cycle(0.003, steps) if rise == 0.3 else one_cycle(0.003, steps, rise=rise)
    assert sampled(mine, steps) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(steps=st.integers(1, 60), rise=st.floats(0, 1), step=st.integers(0, 200), name=st.sampled_from(NAMES))
def test_no_schedule_leaves_zero_to_lr(steps, rise, step, name):
    for schedule in (by_name(name, 0.1, steps), one_cycle(0.1, steps, rise=rise)):
        assert 0 <= schedule(step) <= 0.1 * (1 + 1e-12)
        assert isinstance(schedule(step), float)


def test_warm_up_is_a_line_to_the_schedule():
    plain = cosine(1.0, 100)
    warmed = sampled(warm_up(plain, 10), 100)
    for step in range(10):
        assert warmed[step] == pytest.approx(plain(step) * (step + 1) / 10)
    assert warmed[9:] == sampled(plain, 100)[9:]
    assert sampled(warm_up(plain, 0), 100) == sampled(plain, 100)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("constant", constant(0.1)),
        ("step", step_decay(0.1, every=34)),
        ("cosine", cosine(0.1, 100)),
        ("one-cycle", one_cycle(0.1, 100)),
    ],
)
def test_each_name(name, same):
    assert sampled(by_name(name, 0.1, 100), 100) == sampled(same, 100)


def test_step_decays_at_thirds_of_the_training():
    assert sorted(set(np.round(sampled(by_name("step", 1.0, 10), 10), 9))) == [0.01, 0.1, 1.0]


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        HyperparameterError, match=r"'linear' is unknown; pass one of: constant, step, cosine, one-cy"
    ):
        by_name("linear", 0.1, 10)


@pytest.mark.parametrize(
    ("make", "who"),
    [
        (lambda: step_decay(0.1, every=0), "step_decay: expected every >= 1, got 0"),
        (lambda: cosine(0.1, 0), "cosine: expected steps >= 1, got 0"),
        (lambda: one_cycle(0.1, -3), "one_cycle: expected steps >= 1, got -3"),
        (lambda: one_cycle(0.1, 10, rise=1.5), "one_cycle: expected 0 <= rise <= 1, got 1.5"),
        (lambda: by_name("cosine", 0.1, 0), "cosine: expected steps >= 1, got 0"),
    ],
)
def test_no_steps_are_refused(make, who):
    with pytest.raises(HyperparameterError, match=who):
        make()
