"""How every world becomes a dataset: so many scenes of each split, each from a generator of its own.

Left out: what a record of a world holds, and its floors; those are the world's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

Drawn = TypeVar("Drawn")


def write_world(
    out: Path,
    world: str,
    task: str,
    sizes: Mapping[str, int],
    sample: Callable[[random.Random, str], Drawn],
    entry: Callable[[Drawn], dict[str, Any]],
    *,
    seed: int,
    force: bool,
    pairs: Mapping[str, str] = MappingProxyType({}),
    asked: Sequence[Callable[[Drawn], Drawn]] = (),
    **card: Any,
) -> dict[str, list[Drawn]]:
    """Write `sizes` records of each split to `out` and return what was sampled for them.

    `sample` draws by lot from a generator that depends on world, seed, split and number alone, so the same seed gives
    the same bytes and a larger split begins with the records of a smaller one; `entry` gives what `DatasetWriter.add`
    takes. `pairs` names for a split the other one whose generators it has, so that both show the same scenes. `asked`:
    what each scene is made into for further records of its own. `card` holds further fields of the dataset's card.
    Raises DataError where `out` cannot be written.
    """
    from rise_vlm.console import progress
    from rise_vlm.data import Card, DatasetWriter  # here, so that drawing needs no pydantic

    source = f"Drawn by rise-vlm, world {world}, seed {seed}"
    drawn: dict[str, list[Drawn]] = {split: [] for split in sizes}
    whole = Card(name=world, task=task, source=source, licence="CC0-1.0", world=world, **card)
    with DatasetWriter(out, whole, force=force) as writer, progress(f"draw {world}", sum(sizes.values())) as bar:
        for split, count in sizes.items():
            writer.split(split)
            for i in range(count):
                scene, turn = divmod(i, 1 + len(asked))
                one = sample(random.Random(f"{world} {seed} {pairs.get(split, split)} {scene}"), split)
                one = asked[turn - 1](one) if turn else one
                drawn[split].append(one)
                writer.add(split, id=f"{split}-{i:05d}", **entry(one))
                bar.update()
    return drawn


def measured(
    drawn: Mapping[str, list[Drawn]], floors: Callable[[list[Drawn], list[Drawn]], dict[str, float]]
) -> dict[str, Any]:
    """What `make` returns where all can be right: the count of each split as `records`; `floors`, learned from
    train, and `best` of test, and under its name those of each further test split.
    """
    tests = [split for split in drawn if split not in ("train", "val")]
    found = {split: {"floors": floors(drawn["train"], drawn[split]), "best": 1.0} for split in tests}
    return {"records": {split: len(scenes) for split, scenes in drawn.items()}, **found.pop("test"), **found}
