"""95 % bootstrap intervals over records, for any metric.

Records of one picture say much the same, so pictures are drawn, each with all its records. A metric that is a mean over
records (most are) is resampled as an array; any other (macro-F1) is computed again for each resample, of which fewer
are drawn. Which kind it is, is found by trying. A share of 0 or 1 would never vary when resampled: it gets Wilson's
interval. One picture alone has none. Left out: intervals over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rise_vlm.data.splitting import families
from rise_vlm.tasks.base import Drawable

Pairs = Sequence[tuple[Any, Any]]
Metrics = Callable[[Pairs], dict[str, float]]

SLOW_RESAMPLES = 200
RANKED_RESAMPLES = 400
"""Of average precision, which takes a millisecond or two a draw. The ends of a 95 % interval from 400 draws vary by
about a tenth of its half width."""

LEVEL = 0.95
Z = 1.959964
"""The normal quantile of that level."""


def intervals(
    metrics: Metrics, pairs: Pairs, *, resamples: int, seed: int, pictures: Sequence[str] | None = None
) -> dict[str, list[float]]:
    """``{metric: [low, high]}``; a metric that is not a number, or undefined on a resample, is left out of it.

    ``pictures`` names the picture of each pair; without it each has its own.
    """
    groups = _groups(pictures or [str(i) for i in range(len(pairs))])
    if len(groups) < 2:
        return {}
    whole = metrics(pairs)
    singles = [metrics([pair]) for pair in pairs]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    slow: list[str] = []
    for name, value in whole.items():
        if not np.isfinite(value):
            continue
        parts = np.array([single.get(name, np.nan) for single in singles], dtype=float)
        if not np.isfinite(parts).all() or abs(parts.mean() - value) >= 1e-9:
            slow.append(name)
        elif (parts == parts[0]).all() and parts[0] in (0.0, 1.0):
            found[name] = _wilson(parts[0], len(groups))
        else:
            sums = np.array([parts[group].sum() for group in groups])
            sizes = np.array([len(group) for group in groups])
            drawn = (rng.integers(len(groups), size=len(groups)) for _ in range(resamples))
            found[name] = _bounds([sums[chosen].sum() / sizes[chosen].sum() for chosen in drawn])
    if slow:
        found |= _recomputed(metrics, pairs, groups, slow, min(resamples, SLOW_RESAMPLES), rng)
    return {name: found[name] for name in whole if name in found}


def drawn_together(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What ``pictures`` is for rows of predictions: those that share any picture are drawn together."""
    shown = [[str(row["image"]), *map(str, row.get("more") or ())] for row in rows]
    homes = families(shown)
    return [homes[names[0]] for names in shown]


def split_intervals(
    ranked: Drawable | None, resamples: int, seed: int, pictures: Sequence[str]
) -> dict[str, list[float]]:
    """As ``intervals``, of metrics of a whole split: of at most RANKED_RESAMPLES draws. One that is 0 or 1 in all of
    them gets Wilson's interval, as a share of the pictures would.
    """
    groups = _groups(pictures)
    if ranked is None or len(groups) < 2:
        return {}
    values: dict[str, list[float]] = {}
    for figures in split_draws(ranked, groups, min(resamples, RANKED_RESAMPLES), np.random.default_rng(seed)):
        for name, value in figures.items():
            values.setdefault(name, []).append(value)
    return {
        name: _wilson(drawn[0], len(groups)) if drawn[0] in (0.0, 1.0) and len(set(drawn)) == 1 else _bounds(drawn)
        for name, drawn in values.items()
    }


def split_draws(
    ranked: Drawable, groups: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """The metrics of resampled pictures, each with all its records; the order of the records stays."""
    for _ in range(resamples):
        chosen = rng.integers(len(groups), size=len(groups))
        yield ranked.figures(np.sort(np.concatenate([groups[int(i)] for i in chosen])))


def _groups(pictures: Sequence[str]) -> list[np.ndarray]:
    """The places of each picture's records."""
    places: dict[str, list[int]] = {}
    for place, picture in enumerate(pictures):
        places.setdefault(picture, []).append(place)
    return [np.array(group) for group in places.values()]


def _recomputed(
    metrics: Metrics,
    pairs: Pairs,
    groups: Sequence[np.ndarray],
    names: Sequence[str],
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        chosen = rng.integers(len(groups), size=len(groups))
        drawn = metrics([pairs[int(i)] for group in chosen for i in groups[group]])
        for name in names:
            if np.isfinite(drawn.get(name, np.nan)):
                values[name].append(drawn[name])
    return {name: _bounds(drawn) for name, drawn in values.items() if drawn}


def _wilson(share: float, count: int) -> list[float]:
    """Of a share that is 0 or 1 in all ``count`` trials."""
    far = Z**2 / (count + Z**2)
    return [0.0, round(far, 6)] if share == 0 else [round(1 - far, 6), 1.0]


def _bounds(values: Sequence[float]) -> list[float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return [round(float(low), 6), round(float(high), 6)]
