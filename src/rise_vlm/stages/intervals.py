"""95 % bootstrap intervals over records, for any metric.

A metric that is a mean over records (most are) is resampled as an array; any other (macro-F1) is computed again for
each resample, of which fewer are drawn. Which kind it is, is found by trying. Left out: intervals over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Pairs = Sequence[tuple[Any, Any]]
Metrics = Callable[[Pairs], dict[str, float]]

SLOW_RESAMPLES = 200
LEVEL = 0.95


def intervals(metrics: Metrics, pairs: Pairs, *, resamples: int, seed: int) -> dict[str, list[float]]:
    """``{metric: [low, high]}``; a metric that is not a number, or undefined on a resample, is left out of it."""
    whole = metrics(pairs)
    singles = [metrics([pair]) for pair in pairs]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    slow: list[str] = []
    for name, value in whole.items():
        if not np.isfinite(value):
            continue
        parts = np.array([single.get(name, np.nan) for single in singles], dtype=float)
        if np.isfinite(parts).all() and abs(parts.mean() - value) < 1e-9:
            means = [parts[rng.integers(len(parts), size=len(parts))].mean() for _ in range(resamples)]
            found[name] = _bounds(means)
        else:
            slow.append(name)
    if slow:
        found |= _recomputed(metrics, pairs, slow, min(resamples, SLOW_RESAMPLES), rng)
    return {name: found[name] for name in whole if name in found}


def _recomputed(
    metrics: Metrics, pairs: Pairs, names: Sequence[str], resamples: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        drawn = metrics([pairs[i] for i in rng.integers(len(pairs), size=len(pairs))])
        for name in names:
            if np.isfinite(drawn.get(name, np.nan)):
                values[name].append(drawn[name])
    return {name: _bounds(drawn) for name, drawn in values.items() if drawn}


def _bounds(values: Sequence[float]) -> list[float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return [round(float(low), 6), round(float(high), 6)]
