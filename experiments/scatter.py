"""How far from a row's mean accuracy another run of it falls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

COVERED = 0.95
COLUMN = "another run, 19 times of 20"


def half_widths(samples: Sequence[Sequence[float]]) -> list[float | None]:
    """For each sample (the accuracies, in [0, 1], of one row's seeds) the h for which a run with another seed, or with the
    same on another machine, falls within mean ± h, 19 times of 20: Student's prediction interval.

    A row has too few seeds to tell its own scatter, so the rows of a table share one, in the unit in which the number of
    wrong images, if it were a plain count, would scatter alike for all:

        s^2 = sum over rows and seeds of (x - mean)^2 / (mean (1 - mean)) / f       f = sum over rows of (seeds - 1)
        h   = t_f s sqrt(mean (1 - mean) (1 + 1 / seeds))                           t_f: Student's 97.5 % quantile

    None for all of them where no row's seeds differ: one seed tells nothing.
    """
    from scipy.stats import t

    means = [statistics.mean(sample) for sample in samples]
    units = [math.sqrt(mean * (1 - mean)) for mean in means]
    squares = sum(
        ((x - mean) / unit) ** 2
        for sample, mean, unit in zip(samples, means, units, strict=True)
        for x in sample
        if unit
    )
    if not squares:
        return [None] * len(samples)
    freedom = sum(len(sample) - 1 for sample in samples)
    reach = float(t.ppf((1 + COVERED) / 2, freedom)) * math.sqrt(squares / freedom)
    return [reach * unit * math.sqrt(1 + 1 / len(sample)) for sample, unit in zip(samples, units, strict=True)]
