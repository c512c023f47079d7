"""Scores of a number against the true one, in 0..1. Pure functions of two finite numbers."""

from __future__ import annotations

import math


def same_number(truth: float, guess: float, decimals: int = 0) -> float:
    """1 where the two are equal, else 0. A truth written with ``decimals`` digits after the point is also met by what
    rounds to it within 1 % of it: 8.7 by 8.66, but not 0.5 by 0.45.
    """
    slack = min(0.5 * 10.0**-decimals, 0.01 * abs(truth)) if decimals else 0.0
    return float(abs(guess - truth) <= max(slack, 1e-6 * abs(truth)) * (1 + 1e-9))


def tolerant_number(truth: float, guess: float, inner: float = 0.05, outer: float = 0.2) -> float:
    """1 within ``inner`` of the truth (as a share of it), 0 beyond ``outer``, and half a cosine between them.

    Source: Reason-RFT, ``math_accuracy_reward``. There a truth of 0 divides by 0 and is never met; here it is met by 0.
    """
    distance = abs(guess - truth)
    near, far = inner * abs(truth), outer * abs(truth)
    if distance <= near:
        return 1.0
    if distance >= far:
        return 0.0
    return 0.5 * (math.cos(math.pi * (distance - near) / (far - near)) + 1.0)
