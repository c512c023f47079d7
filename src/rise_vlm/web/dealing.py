"""Dealing images to splits by a hash of name and content, so that each goes the same way whatever others there are.

The shares are met on average only: an exact one would move images from split to split as more are reviewed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def split_of(image: Path, shares: Mapping[str, float]) -> str:
    """The split of an image file, wherever it lies; train where it cannot be read."""
    digest = hashlib.blake2b(image.name.encode("utf-8", "surrogateescape") + b"\0", digest_size=8)
    try:
        digest.update(image.read_bytes())
    except OSError:
        return "train"
    drawn = int.from_bytes(digest.digest(), "big") / 2**64
    test, val = shares.get("test", 0.0), shares.get("val", 0.0)
    return "test" if drawn < test else "val" if drawn < test + val else "train"
