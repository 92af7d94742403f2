import math

import numpy as np
import pytest

from experiments.scatter import half_widths


def test_two_seeds_by_hand():
    assert half_widths([[0.98, 0.99]]) == [pytest.approx(12.7062 * 0.01 / math.sqrt(2) * math.sqrt(1.5), rel=1e-5)]


def test_another_run_falls_within_19_times_of_20():
    """Rows of very different accuracy, whose runs scatter as counts of errors do."""
    draws = np.random.default_rng(1)
    rates, seeds = np.array([0.005, 0.02, 0.1, 0.4]), (2, 3, 2, 1)
    within = []
    for _ in range(2000):
        runs = draws.binomial(10_000, 1 - rates, (4, 4)) / 10_000  # [run, row]
        samples = [runs[:count, row].tolist() for row, count in enumerate(seeds)]
        for row, (sample, width) in enumerate(zip(samples, half_widths(samples), strict=True)):
            within.append((row, abs(runs[3, row] - np.mean(sample)) <= width))
    for row in range(4):
        assert 0.93 < np.mean([inside for number, inside in within if number == row]) < 0.97


def test_more_seeds_narrow_it():
    one, three = half_widths([[0.985], [0.98, 0.99, 0.985]])
    assert one == pytest.approx(three * math.sqrt(2 / (4 / 3)))


@pytest.mark.parametrize("samples", [[[0.98]], [[0.98], [0.97]], [[0.98, 0.98]], [[1.0, 1.0], [0.5]]])
def test_where_no_seeds_differ_it_says_nothing(samples):
    assert half_widths(samples) == [None] * len(samples)


def test_a_row_without_a_mistake_beside_others():
    perfect, other = half_widths([[1.0, 1.0], [0.98, 0.99]])
    assert perfect == 0 and other > 0
