"""Distances and similarities of probability vectors. Pure functions of numpy vectors of equal length that sum to 1.

Left out: anything that reads text or knows class names; the caller gives two vectors in the same class order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = Sequence[float] | NDArray[np.float64]


def _entropy_bits(p: NDArray[np.float64]) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log2(positive)).sum())


def jsd(p: Vector, q: Vector) -> float:
    """Jensen-Shannon divergence in bits: 0 for equal vectors, 1 for disjoint support. Symmetric."""
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    divergence = _entropy_bits((a + b) / 2) - (_entropy_bits(a) + _entropy_bits(b)) / 2
    return min(1.0, max(0.0, divergence))


def kl(p: Vector, q: Vector, floor: float = 1e-3) -> float:
    """KL(p || q) in nats, both floored and renormalised first: a floor of 1e-10, as in the official code, makes one
    missed class cost everything.
    """
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    a, b = np.maximum(a, floor), np.maximum(b, floor)
    a, b = a / a.sum(), b / b.sum()
    return max(0.0, float((a * np.log(a / b)).sum()))


def emd(p: Vector, q: Vector) -> float:
    """Earth mover's distance where all classes are equally far apart (distance 1): the probability mass to move, in
    0..1.

    Emotions have no order, so the ground distance is 0 or 1 and the distance is the total variation.
    """
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return min(1.0, float(np.abs(a - b).sum() / 2))


def cosine(p: Vector, q: Vector) -> float:
    """Cosine similarity in 0..1 of two vectors without negative entries; 0 if one of them is all zero."""
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return min(1.0, max(0.0, float(a @ b) / norms)) if norms > 0 else 0.0


def official_distribution(p: Vector, q: Vector) -> float:
    """The accuracy reward of the official RISE code, exp(-KL(p || q) / 2 - MSE / 2) with the KL's floor at 1e-10.

    Kept for parity. Uniform guesses earn about 0.7 and one missed class may cost everything; ``1 - jsd`` has neither
    fault.
    """
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return float(np.exp(-0.5 * kl(a, b, floor=1e-10) - 0.5 * float(((a - b) ** 2).mean())))
