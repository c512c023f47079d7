"""To which split the images of a source go that is imported: its own, or one by a hash of the image's name.

Left out: classes in equal shares and images that look alike, which ``rise data split`` sees to.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from rise_vlm.data.formats.base import Item
from rise_vlm.data.outcome import Outcome
from rise_vlm.data.splitting import deal_in_turn, families
from rise_vlm.data.writer import ordered
from rise_vlm.errors import UserError


@dataclass
class Dealable:
    """The images of a source: ``first`` are hashes of those that may be dealt, the first of each record; ``tied`` are
    the names of all images of each record of several; ``fixed`` are hashes of those in splits of the source's own.
    """

    first: set[int] = field(default_factory=set[int])
    tied: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    fixed: set[int] = field(default_factory=set[int])

    def see(self, item: Item) -> None:
        """Take note of an item's images, where all are there; else it will be put aside."""
        if not all(os.path.isfile(image) for image in (item.image, *item.more)):  # noqa: PTH113 (never raises)
            return
        names = (item.group, *item.further)
        if item.split not in (None, "train"):
            self.fixed.update(map(_hash, names))
            return
        self.first.add(_hash(item.group))
        if item.further:
            self.tied.append(names)


def dealer(images: Dealable, splits: Set[str], shares: Mapping[str, float], outcome: Outcome) -> Callable[[Item], str]:
    """What says to which split an item goes; ``splits`` are the source's own. What is dealt is told to ``outcome``.

    Shares are exact: the images with the lowest hashes go to test, the next to val, all others to train. Images that
    records tie together stay together. Raises UserError for a share of a split that the source has.
    """
    for split in splits & {split for split, share in shares.items() if share}:
        raise UserError(f"--{split} cannot be used: the source has a split '{split}' of its own.")
    if splits == {"train"} and not any(shares.values()):
        outcome.notes.append(
            "the source has a train split alone; --val 0.1 --test 0.2 deals some of it to val and test"
        )
    asked = [split for split, share in shares.items() if share]
    outcome.shared = tuple(ordered(["train", *asked])) if asked else ()
    homes = {_hash(name): _hash(home) for name, home in families(images.tied).items()}
    sizes = Counter(homes.get(image, image) for image in images.first)
    chosen = deal_in_turn(dict(sorted(sizes.items())), {split: shares.get(split, 0.0) for split in ("test", "val")})
    tied = f"records of several tie them into {len(sizes)} group{'s' * (len(sizes) > 1)}"
    if chosen:
        told = ", ".join(f"{split} {shares[split]:g}" for split in ("val", "test") if shares.get(split))
        outcome.dealt = f"{told} of {len(images.first)} images, by a hash of the image's name; "
        outcome.dealt += f"{tied}; " if len(sizes) < len(images.first) else ""
        both = len(images.fixed & (images.first | homes.keys()))
        outcome.dealt += f"{both} of them are in the source's own splits too" if both else "no image is in two splits"
    elif asked and len(sizes) < len(images.first):
        outcome.notes.append(f"no image is dealt to {' or '.join(asked)}: {tied}, too few or too large")

    def deal(item: Item) -> str:
        image = _hash(item.group)
        return item.split if item.split not in (None, "train") else chosen.get(homes.get(image, image), "train")

    return deal


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest())
