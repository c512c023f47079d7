"""Dealing images to splits by a hash of their names, so that the same images go the same way every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def deal(names: Iterable[str], shares: Mapping[str, float]) -> dict[str, str]:
    """The split of each name: exact shares for test and val (lowest hashes first), all others train."""
    ordered = sorted(set(names), key=lambda name: hashlib.blake2b(name.encode("utf-8", "surrogateescape")).digest())
    chosen: dict[str, str] = {}
    for split in ("test", "val"):
        size = round(shares.get(split, 0.0) * len(ordered))
        chosen |= dict.fromkeys(ordered[len(chosen) : len(chosen) + size], split)
    return {name: chosen.get(name, "train") for name in ordered}
