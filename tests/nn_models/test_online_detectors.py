"""ADWIN, the Page-Hinkley test and prequential errors, against values computed by hand and a plain ADWIN."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.nn_models.online.adwin import Adwin
from agentnn.nn_models.online.page_hinkley import PageHinkley
from agentnn.nn_models.online.prequential import Prequential


class PlainAdwin:
    """The paper's algorithm on the values themselves: buckets are lists of them."""

    def __init__(self, delta: float, value_range: float, clock: int, most_buckets: int, least_part: int) -> None:
        self.delta, self.value_range, self.clock = delta, value_range, clock
        self.most_buckets, self.least_part = most_buckets, least_part
        self.buckets: list[list[float]] = []
        self.ticks = 0

    @property
    def window(self) -> list[float]:
        return list(itertools.chain(*self.buckets))

    def update(self, value: float) -> bool:
        self.buckets.append([value])
        size = 1
        while sum(len(one) == size for one in self.buckets) > self.most_buckets:
            first = next(place for place, one in enumerate(self.buckets) if len(one) == size)
            self.buckets[first : first + 2] = [self.buckets[first] + self.buckets[first + 1]]
            size *= 2
        self.ticks += 1
        if self.ticks % self.clock:
            return False
        changed = False
        while self.has_cut():
            self.buckets.pop(0)
            changed = True
        return changed

    def has_cut(self) -> bool:
        window = self.window
        n = len(window)
        if n < 2 * self.least_part:
            return False
        mean = math.fsum(window) / n
        variance = math.fsum((one - mean) ** 2 for one in window) / n
        log = math.log(2 * math.log(n) / self.delta)
        cuts = itertools.accumulate(len(one) for one in self.buckets[:-1])
        for cut in cuts:
            older, newer = window[:cut], window[cut:]
            if min(len(older), len(newer)) < self.least_part:
                continue
            share = 1 / len(older) + 1 / len(newer)
            bound = math.sqrt(2 * share * variance * log) + 2 / 3 * share * self.value_range * log
            if abs(math.fsum(older) / len(older) - math.fsum(newer) / len(newer)) > bound:
                return True
        return False


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(0, 4)), min_size=1, max_size=5),
    st.sampled_from([1, 7, 32]),
    st.integers(0, 99),
)
def test_adwin_does_what_the_paper_says(parts: list[tuple[int, int]], clock: int, seed: int):
    chance = random.Random(seed)
    ours = Adwin(0.1, value_range=1.0, clock=clock)
    plain = PlainAdwin(0.1, 1.0, clock, 5, 5)
    for length, level in parts:
        for _ in range(length):
            value = float(chance.random() < level / 4)
            change = ours.update(value)
            assert (change is not None) == plain.update(value)
            window = plain.window
            assert len(ours) == len(window)
            mean = math.fsum(window) / len(window)
            assert ours.mean == pytest.approx(mean)
            assert ours.variance == pytest.approx(
                math.fsum((one - mean) ** 2 for one in window) / len(window), abs=1e-9
            )


def test_adwin_keeps_an_exponential_histogram():
    adwin = Adwin(most_buckets=2)
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0):
        adwin.update(value)
    # One value each in 6 and 7 would leave no room for a third: 1 to 4 are one bucket by now, 5 and 6 another.
    assert adwin.state()["_levels"] == [[(7.0, 0.0)], [(11.0, 0.5)], [(10.0, 5.0)]]


def test_the_change_that_adwin_reports_is_that_of_the_dropped_and_the_kept():
    adwin = Adwin(0.05, value_range=1.0, clock=1)
    changes = [adwin.update(float(number >= 100)) for number in range(140)]
    found = [change for change in changes if change is not None]
    assert found[0].before == 0.0
    assert found[0].after > 0.0
    assert found[0].is_rise
    assert adwin.mean > 0.9


def test_the_range_that_adwin_takes_by_itself_makes_the_unit_of_the_values_irrelevant():
    chance = random.Random(3)
    values = [chance.gauss(0.0, 1.0) ** 2 for _ in range(600)] + [chance.gauss(0.0, 3.0) ** 2 for _ in range(300)]
    seen = []
    for unit in (1.0, 2.0**-20, 2.0**12):
        adwin = Adwin()
        seen.append([place for place, value in enumerate(values) if adwin.update(unit * value)])
    assert seen[0] == seen[1] == seen[2]
    assert seen[0]


@pytest.mark.parametrize(
    "make", [lambda chance: chance.gauss(0.0, 1.0) ** 2, lambda chance: float(chance.random() < 0.3)]
)
def test_adwin_hardly_ever_cries_wolf(make):
    alarms = 0
    for seed in range(20):
        chance, adwin = random.Random(seed), Adwin(0.002)
        alarms += sum(adwin.update(make(chance)) is not None for _ in range(2000))
    assert alarms <= 1  # of 1250 looks


@pytest.mark.parametrize("seed", range(5))
def test_adwin_sees_a_shift_soon(seed: int):
    chance, adwin = random.Random(seed), Adwin(0.002)
    before = [adwin.update(float(chance.random() < 0.2)) for _ in range(1000)]
    after = [adwin.update(float(chance.random() < 0.6)) for _ in range(150)]
    assert not any(before)
    assert any(change is not None and change.is_rise for change in after)


def test_page_and_hinkleys_sum_by_hand():
    test = PageHinkley(1.0, tolerance=0.0, least_values=1)
    # Means 0, 0, 0, 0, 1/5, 2/6: the sum is 4/5 after the first one, and 4/5 + 2/3 > 1 after the second.
    answers = [test.update(value) for value in (0.0, 0.0, 0.0, 0.0, 1.0, 1.0)]
    assert answers[:5] == [None] * 5
    assert answers[5] == (0.0, 1.0)
    assert test.update(1.0) is None  # it has begun anew


def test_page_and_hinkley_see_only_a_rise_and_soon():
    for seed in range(5):
        chance, test = random.Random(seed), PageHinkley(25.0, tolerance=0.1)
        assert not any(test.update(chance.gauss(2.0, 0.5)) for _ in range(1000))
        assert not any(test.update(chance.gauss(1.0, 0.5)) for _ in range(200))
        assert any(test.update(chance.gauss(3.0, 0.5)) for _ in range(60))


@pytest.mark.parametrize("make", [lambda: Adwin(0.1), lambda: PageHinkley(5.0)], ids=["adwin", "page_hinkley"])
def test_a_detector_goes_on_from_its_state(make):
    chance = random.Random(1)
    values = [chance.random() + (place > 350) for place in range(500)]
    one, other = make(), make()
    for value in values[:300]:
        one.update(value)
    other.restore(one.state())
    assert [one.update(value) for value in values[300:]] == [other.update(value) for value in values[300:]]
    assert one.state() == other.state()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adwin(0.0),
        lambda: Adwin(value_range=0.0),
        lambda: Adwin(most_buckets=1),
        lambda: PageHinkley(0.0),
        lambda: Prequential(0.0),
        lambda: Prequential(window=0),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_prequential_errors_by_hand():
    errors = Prequential(fading=0.5, window=2)
    assert math.isnan(errors.mean)
    assert math.isnan(errors.faded)
    assert math.isnan(errors.windowed)
    errors.update([1.0, 2.0])
    errors.update([3.0])
    assert errors.mean == 2.0
    assert errors.faded == (3 + 0.5 * (2 + 0.5 * 1)) / (1 + 0.5 * (1 + 0.5 * 1))
    assert errors.windowed == 2.5


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(0, 50))
def test_prequential_errors_do_not_depend_on_how_they_are_grouped(errors: list[float], cut: int):
    one, other = Prequential(0.9, 7), Prequential(0.9, 7)
    one.update(errors)
    other.update(errors[:cut])
    copy = Prequential(0.9, 7)
    copy.restore(other.state())
    copy.update(errors[cut:])
    assert one.values("loss") == copy.values("loss")
