"""Comparing arms by metrics of a whole split, such as AP: the same pictures are drawn for all arms, and the difference
taken of each draw.

An arm is drawn once and serves all comparisons. Left out: metrics that are means over records (``comparison``).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rise_vlm.stages.intervals import RANKED_RESAMPLES, split_draws
from rise_vlm.stages.paired import Difference, difference_of_draws
from rise_vlm.tasks.base import Drawable

Floats = NDArray[np.float64]


class Drawn:
    """One metric of one arm, seed and split: its ``value``, and ``draws`` (resamples,) over pictures, NaN where it is
    undefined. Equal ``pictures``, a name for each record, give the same draws.
    """

    def __init__(
        self, ranked: Drawable, metric: str, pictures: Sequence[str], resamples: int = RANKED_RESAMPLES
    ) -> None:
        names = sorted(set(pictures))
        place = {name: at for at, name in enumerate(names)}
        groups: list[list[int]] = [[] for _ in names]
        for at, picture in enumerate(pictures):
            groups[place[picture]].append(at)
        self.records, self.pictures = len(pictures), len(names)
        self.value = ranked.figures(np.arange(len(pictures))).get(metric, float("nan"))
        rng = np.random.default_rng(zlib.crc32("\n".join(names).encode("utf-8", "surrogatepass")))
        parts = [np.array(group, dtype=np.intp) for group in groups]
        self.draws: Floats = np.array(
            [found.get(metric, np.nan) for found in split_draws(ranked, parts, resamples, rng)]
        )


def difference_of(pairs: Sequence[tuple[Drawn, Drawn]]) -> Difference:
    """How far the first of each pair (one per seed) is above the second."""
    means = np.array([one.value - other.value for one, other in pairs])
    drawn = np.stack([one.draws - other.draws for one, other in pairs], axis=1)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    records = sum(one.records for one, _ in pairs)
    return difference_of_draws(means, drawn, records, min(one.pictures for one, _ in pairs))
