"""The difference between two arms that answered the same records: its 95 % interval over records and seeds.

Pictures are resampled, each with all its records, in both arms at once. Seeds are clusters of which there are few, so
they are not resampled: with three of them a bootstrap would find a third of their variance missing. What the seeds'
differences vary by beyond what their records explain enters as Student's t with one degree of freedom less than there
are seeds. With one seed the interval says nothing about the spread over seeds.
Left out: any correction for many comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rise_vlm.stages.intervals import LEVEL, Z

RESAMPLES = 4000
POWER = 0.80
Z_POWER = 0.841621
"""The normal quantile of that power."""
CHUNK = 200
SAME = 1e-9
"""Differences that vary by less vary by rounding only."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OneSeed:
    """Of one seed: what each record's score differs by between the two arms, and the picture of each record."""

    deltas: Sequence[float]
    pictures: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """``mean`` over the seeds' means with its 95 % interval, None where there is one picture only.

    ``detectable`` is the smallest true difference of which such an interval would exclude zero in 80 % of repetitions.
    """

    mean: float
    low: float | None
    high: float | None
    detectable: float | None
    records: int
    seeds: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def difference(seeds: Sequence[OneSeed], *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """The mean difference over ``seeds``, and how sure it is. ``seed`` is that of the resampling.

    Where all seeds answered the same pictures, a resample draws the same pictures for all.
    """
    means = np.array([np.mean(one.deltas) for one in seeds], dtype=np.float64)
    records = sum(len(one.deltas) for one in seeds)
    middle = float(means.mean())
    fewest = min(len(set(one.pictures)) for one in seeds)
    if fewest < 2:
        return Difference(middle, None, None, None, records, len(seeds))
    values = np.concatenate([np.asarray(one.deltas, dtype=np.float64) for one in seeds])
    if np.ptp(values) < SAME:
        return _never_varied(middle, fewest, records, len(seeds))
    rng = np.random.default_rng(seed)
    return _from_noise(means, resampled(seeds, resamples, rng) - means, records, rng)


def difference_of_draws(means: Floats, drawn: Floats, records: int, pictures: int) -> Difference:
    """The same of a metric of a whole split: ``means`` (seeds,) are the differences as they are, ``drawn`` (resamples,
    seeds) those of resampled pictures, ``pictures`` the fewest of a seed.
    """
    middle = float(means.mean())
    if pictures < 2 or not len(drawn):
        return Difference(middle, None, None, None, records, len(means))
    if np.ptp(drawn - means) < SAME and np.ptp(means) < SAME:
        return _never_varied(middle, pictures, records, len(means))
    return _from_noise(means, drawn - means, records, np.random.default_rng(0))


def _from_noise(means: Floats, noise: Floats, records: int, rng: np.random.Generator) -> Difference:
    """The interval from what resampling changes, (resamples, seeds), and from what the seeds vary by beyond it."""
    middle, resamples = float(means.mean()), len(noise)
    draws = middle + noise.mean(axis=1)
    variance = float(noise.mean(axis=1).var())
    if len(means) > 1:
        beyond = max(0.0, float(means.var(ddof=1)) - float(noise.var(axis=1, ddof=1).mean()))
        draws += np.sqrt(beyond / len(means)) * rng.standard_t(len(means) - 1, size=resamples)
        variance += beyond / len(means)
    tail = (1 - LEVEL) / 2
    low, high = (float(end) for end in np.quantile(draws, [tail, 1 - tail]))
    detectable = (high - low) / 2 + Z_POWER * float(np.sqrt(variance))
    return Difference(middle, low, high, detectable, records, len(means))


def _never_varied(middle: float, pictures: int, records: int, seeds: int) -> Difference:
    """What never varied in so many pictures varies in few at most: Wilson's bound, as for shares of 0 and 1."""
    far = Z**2 / (pictures + Z**2)
    low, high = middle - far, middle + far
    if abs(middle) <= 1:  # scores of 0 to 1 differ by no more; other metrics may
        low, high = max(-1.0, low), min(1.0, high)
    return Difference(middle, low, high, far * (1 + Z_POWER / Z), records, seeds)


def resampled(seeds: Sequence[OneSeed], resamples: int, rng: np.random.Generator) -> Floats:
    """(resamples, seeds) mean differences over pictures drawn with replacement."""
    names = [sorted(set(one.pictures)) for one in seeds]
    shared = all(found == names[0] for found in names)
    totals = [_totals(one, found) for one, found in zip(seeds, names, strict=True)]
    result = np.empty((resamples, len(seeds)))
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        weights: Floats | None = None
        for column, (sums, counts) in enumerate(totals):
            if weights is None or not shared:
                chosen = rng.integers(len(sums), size=(size, len(sums)))
                weights = np.stack([np.bincount(row, minlength=len(sums)) for row in chosen]).astype(np.float64)
            result[start : start + size, column] = (weights @ sums) / (weights @ counts)
    return result


def _totals(one: OneSeed, pictures: Sequence[str]) -> tuple[Floats, Floats]:
    """By picture: the sum of its records' differences, and how many records it has."""
    place = {picture: index for index, picture in enumerate(pictures)}
    where = np.array([place[picture] for picture in one.pictures])
    sums = np.bincount(where, weights=np.asarray(one.deltas, dtype=np.float64), minlength=len(pictures))
    return sums.astype(np.float64), np.bincount(where, minlength=len(pictures)).astype(np.float64)
