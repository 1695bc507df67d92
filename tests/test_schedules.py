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


@pytest.mark.parametrize("rise", [0.07, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 11, 100, 1800])
def test_one_cycle_is_pytorch_s(torch, steps, rise):
    """Where rise * steps is at most 1 PyTorch divides by zero or begins below the peak: see the next test."""
    if rise * steps <= 1:
        return
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


@pytest.mark.parametrize(
    ("steps", "rise"),
    [(1, 0.3), (1, 1), (2, 0.3), (2, 0.5), (3, 0.3), (4, 0.25), (10, 0.1), (1000, 0.001), (7, 0), (7, 0.1)],
)
def test_one_cycle_without_room_to_rise_begins_at_its_peak(steps, rise):
    lrs = sampled(one_cycle(0.5, steps, rise, start=0.1, final=0.01), steps)
    last = max(steps - 1, 1)
    expected = [0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / last)) / 2) for step in range(steps)]
    assert lrs == pytest.approx(expected)
    assert lrs[0] == 0.5
    assert one_cycle(0.5, steps, rise, final=0.01)(steps + 5) == pytest.approx(0.005)


@given(steps=st.integers(1, 60), rise=st.floats(0, 1))
def test_one_cycle_comes_as_near_to_its_peak_as_its_steps_allow(steps, rise):
    """The peak may lie between two steps: then the higher of the two is as high as its cosine there."""
    lrs = sampled(one_cycle(1.0, steps, rise, start=0.0, final=0.0), steps)
    top = max(rise * steps - 1, 0)
    below, above = math.floor(top), math.ceil(top)
    away = min((top - below) / top if top else 0, (above - top) / (steps - 1 - top) if above > top else 0)
    assert max(lrs) == pytest.approx((1 + math.cos(math.pi * away)) / 2)
    if rise * steps <= 1 or top == below:
        assert max(lrs) == 1


def test_the_ends_of_every_schedule():
    """One step, the last step, and beyond it."""
    for steps in (1, 2, 10):
        assert cosine(0.1, steps, 0.01)(0) == pytest.approx(0.1)
        assert cosine(0.1, steps, 0.01)(steps) == cosine(0.1, steps, 0.01)(steps + 1) == pytest.approx(0.01)
        assert step_decay(0.1, steps)(steps - 1) == 0.1
        assert step_decay(0.1, steps)(steps) == pytest.approx(0.01)
        assert warm_up(constant(0.1), steps)(steps - 1) == warm_up(constant(0.1), steps)(steps) == 0.1
        assert warm_up(constant(0.1), steps)(0) == pytest.approx(0.1 / steps)
        assert one_cycle(0.1, steps, final=0.01)(steps) == pytest.approx(0.001)
        if steps > 1:
            assert one_cycle(0.1, steps, final=0.01)(steps - 1) == pytest.approx(0.001)
    assert warm_up(constant(0.1), 0)(0) == 0.1


@pytest.mark.parametrize("steps", [2, 7, 30])
def test_the_others_are_pytorch_s(torch, steps):
    kinds = torch.optim.lr_scheduler
    for mine, make in (
        (cosine(0.1, steps, 0.01), lambda optimizer: kinds.CosineAnnealingLR(optimizer, steps, 0.01)),
        (step_decay(0.1, steps, 0.3), lambda optimizer: kinds.StepLR(optimizer, steps, 0.3)),
        (warm_up(constant(0.1), steps), lambda optimizer: kinds.LinearLR(optimizer, 1 / steps, 1, steps - 1)),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        theirs, expected = make(optimizer), []
        for _ in range(steps + 1):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step()
        assert sampled(mine, steps + 1) == pytest.approx(expected, rel=1e-9)


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
