"""What a run works on: the dataset's records, split for training, controls and tests, its task and its world.

A dataset need not be complete. Without a validation split, or without any test split, records of the training split are
held out, by the hash of their picture (so records that share a picture stay together, and those tied over others); with
fewer than ``FEWEST`` pictures, or groups of them, nothing can be held out and the training records serve for
everything. Each such step is told in ``notes``. A split that was asked for by name and is not there is refused
instead: a misspelt test must not become another one.
Left out: shuffling, and anything that needs all pictures in memory.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.data import Dataset, Record
from rise_vlm.data.card import VALIDATION
from rise_vlm.data.images import read_image, safe_join
from rise_vlm.data.splitting import deal_in_turn, families
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.errors import DataError, UserError, nearest
from rise_vlm.recipes.schema import Recipe
from rise_vlm.tasks import make_task, scores_of
from rise_vlm.tasks.base import Task
from rise_vlm.worlds import WORLDS, World, load_world

TESTS = ("test", "ood")
"""How the names of the splits begin that are evaluated where there is nothing else said; only these two may be absent.
"""
AUTO = "auto"
"""Stands for all of them in ``evaluate.splits``."""
FEWEST = 10
VAL_SHARE, TEST_SHARE = 0.1, 0.2


@dataclass(frozen=True)
class Material:
    """Records by use. ``tests`` maps the split names that will be reported to their records.

    ``task`` judges: its ``score`` is the test metric, the same in every run. ``rewards`` is the same task with the
    recipe's score, by which the loop, the harvest and GRPO reward.
    """

    dataset: Dataset
    task: Task
    rewards: Task
    world: World | None
    train: tuple[Record, ...]
    val: tuple[Record, ...]
    tests: dict[str, tuple[Record, ...]]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, recipe: Recipe) -> Material:
        """Read the dataset of ``recipe``.

        Raises:
            UserError: no ``data`` given, no such dataset, or no usable training record; the message names the file.
        """
        if not recipe.data.folder:
            made = "'rise data import' or 'rise data make'"
            raise UserError(f"recipe {recipe.name} needs a dataset: add data=FOLDER (made by {made}).")
        dataset = Dataset.open(recipe.data.folder)
        options = _score_option(recipe.task.score, dataset)
        world = load_world(dataset.card.world) if dataset.card.world in WORLDS else None
        notes: list[str] = []
        trains = tuple(stage for stage in recipe.stages if stage != "evaluate")
        train, held = _training(dataset, recipe, notes) if trains or "train" in dataset.splits else ((), {})
        train = _capped(train, recipe.data.limit, notes)
        val = _validation(dataset, train, held, notes)
        tests = _tests(dataset, recipe, train, held, notes) if "evaluate" in recipe.stages else {}
        for split, counts in dataset.counts.items():
            if counts.quarantined:
                notes.append(
                    f"{counts.quarantined} bad rows of split '{split}' are left out, the first: {counts.first}"
                )
        task, rewards = make_task(dataset.card), make_task(dataset.card, **options)
        for record in train if options else ():
            if reason := rewards.check(record.annotation, record):
                raise UserError(f"task.score: {reason}; record '{record.id}' of {dataset.root} has none.")
        return cls(dataset, task, rewards, world, train, val, tests, notes)

    def rewarding(self) -> Material:
        """The same with the recipe's score: for stages that train or sample for training."""
        return replace(self, task=self.rewards)

    def images(self, record: Record) -> list[Image.Image]:
        """The record's pictures, RGB and upright. Raises DataError naming the file."""
        return [read_image(safe_join(self.dataset.root, image)) for image in record.images]

    def counts(self) -> dict[str, Any]:
        """For the results: how many records are used for what."""
        tests = {split: len(records) for split, records in self.tests.items()}
        return {"train": len(self.train), "val": len(self.val), "tests": tests}


def _training(dataset: Dataset, recipe: Recipe, notes: list[str]) -> tuple[tuple[Record, ...], dict[str, list[Record]]]:
    """Training records, and what was held out of them for ``val`` and ``test``."""
    if "train" not in dataset.splits:
        listed = ", ".join(dataset.splits) or "none"
        raise DataError(f"{dataset.root} has no split 'train' to learn from (it has: {listed}).")
    records = list(dataset.records("train"))
    if not records:
        dataset.require("train")  # raises, with the reason why there is none
    shares: dict[str, float] = {}
    if not any(split in dataset.splits for split in VALIDATION):
        shares["val"] = VAL_SHARE
    asked = set(recipe.evaluate.splits)
    # Whatever the stages are: what a harvest or a training alone may take is what no whole run is tested on.
    if not any(split.startswith(TESTS) or split in asked for split in dataset.splits):
        shares["test"] = TEST_SHARE
    return _hold_out(records, shares, notes)


def _hold_out(
    records: list[Record], shares: dict[str, float], notes: list[str]
) -> tuple[tuple[Record, ...], dict[str, list[Record]]]:
    homes = families([record.images for record in records])
    firsts = {record.images[0] for record in records}
    sizes = Counter(homes[picture] for picture in firsts)
    if not shares or len(sizes) < FEWEST:
        if shares and len(firsts) >= FEWEST:
            notes.append(f"records that share pictures form too few groups to hold any out: {len(sizes)}")
        return tuple(records), {}
    chosen = deal_in_turn({name: sizes[name] for name in sorted(sizes, key=_digest)}, shares, least=1)
    held: dict[str, list[Record]] = {name: [] for name in shares}
    kept: list[Record] = []
    for record in records:
        home = chosen.get(homes[record.images[0]])
        (kept if home is None else held[home]).append(record)
    parts = " and ".join(f"{len(rows)} for '{name}'" for name, rows in held.items())
    notes.append(f"the dataset lacks splits: of the {len(records)} training records, {parts} are held out")
    return tuple(kept), held


def _capped(records: tuple[Record, ...], limit: int | None, notes: list[str]) -> tuple[Record, ...]:
    """The first ``limit`` in the order of the hash of their ids: a smaller set is part of a larger one."""
    if limit is not None and limit > len(records):
        notes.append(f"there are only {len(records)} training records (data.limit={limit})")
    if limit is None or limit >= len(records):
        return records
    notes.append(f"{limit} of {len(records)} training records are used (data.limit={limit})")
    return first_by_hash(records, limit)


def first_by_hash(records: tuple[Record, ...], count: int) -> tuple[Record, ...]:
    """The first ``count`` in the order of the hash of their ids, in the order given."""
    wanted = {record.id for record in sorted(records, key=lambda record: _digest(record.id))[:count]}
    return tuple(record for record in records if record.id in wanted)


def _validation(
    dataset: Dataset, train: Sequence[Record], held: dict[str, list[Record]], notes: list[str]
) -> tuple[Record, ...]:
    for split in VALIDATION:
        if split in dataset.splits and (found := tuple(dataset.records(split))):
            return found
    if held.get("val"):
        return tuple(held["val"])
    if train:
        empty = next((split for split in VALIDATION if split in dataset.splits), None)
        why = f"split '{empty}' has no usable record" if empty else "there are too few records to hold any out"
        notes.append(f"{why}: the controls run on training records")
    return tuple(train)


def _tests(
    dataset: Dataset, recipe: Recipe, train: Sequence[Record], held: dict[str, list[Record]], notes: list[str]
) -> dict[str, tuple[Record, ...]]:
    tests: dict[str, tuple[Record, ...]] = {}
    wanted = _wanted(dataset, recipe.evaluate.splits)
    for split in wanted:
        if split not in dataset.splits:
            if split not in TESTS:
                listed, hint = ", ".join(dataset.splits), nearest(split, dataset.splits)
                raise DataError(f"evaluate.splits: {dataset.root} has no split '{split}' (it has: {listed}).{hint}")
            if split not in held:
                notes.append(f"the dataset has no split '{split}', so it is not evaluated")
            continue
        records = tuple(dataset.records(split))
        if records:
            tests[split] = records
        else:
            notes.append(f"split '{split}' has no usable record, so it is not evaluated")
    if held.get("test"):
        tests["test"] = tuple(held["test"])
    if not tests and train and not any(split.startswith(TESTS) for split in dataset.splits):
        notes.append("there is nothing to test on but the training records: the figures of 'train' say little")
        tests["train"] = tuple(train)
    if not tests:
        raise DataError(
            f"{dataset.root} has none of the splits to evaluate ({', '.join(wanted)}). Set evaluate.splits=[...]."
        )
    limit = recipe.evaluate.limit
    return {split: _capped(records, limit, []) for split, records in tests.items()}


def _wanted(dataset: Dataset, splits: Sequence[str]) -> list[str]:
    """``splits`` with ``auto`` written out, in domain first; ``test`` stands for those in domain where there are none.

    Nobody misses a split out of domain who did not ask for one: datasets of one's own hardly have it.
    """
    found: list[str] = []
    for split in splits:
        if split != AUTO:
            found.append(split)
            continue
        for kind in TESTS:
            found += [name for name in dataset.splits if name.startswith(kind)] or [kind] * (kind == "test")
    return list(dict.fromkeys(found))


def _score_option(score: str, dataset: Dataset) -> dict[str, str]:
    """The option that gives a task the recipe's score. Raises UserError for one that the task does not have."""
    known = scores_of(dataset.card.task)
    if score in known:
        return {"score": score}
    # official, visual_rft: that code has no other for this task; jsd: how the default of every task was once written.
    if score in ("default", "official", "visual_rft", "jsd"):
        return {}
    options = ["default", "official", *(name for name in known if name != "official")]
    raise UserError(
        f"task.score: {dataset.card.task} has no score '{score}' (it has: {', '.join(options)})."
        f"{nearest(score, options)}"
    )


def visits(count: int, per_step: int, step: int, seed: int) -> list[int]:
    """Which of ``count`` records step 1, 2, ... visits: ``per_step`` at a time, in a new order for each epoch.

    A function of its arguments alone, so a resumed training needs no position. No record comes twice in one step.
    """
    per_step = min(per_step, count)
    first = (step - 1) * per_step
    chosen: list[int] = []
    for place in range(first, first + per_step):
        epoch, within = divmod(place, count)
        chosen.append(_order(count, epoch, seed)[within])
    if len(set(chosen)) == per_step:
        return chosen
    # The step straddles two epochs that met in a record: take one that is not there yet instead.
    spare = (index for index in _order(count, first // count, seed) if index not in set(chosen))
    seen: set[int] = set()
    for place, index in enumerate(chosen):
        chosen[place] = index if index not in seen else next(spare)
        seen.add(index)
    return chosen


def lasting(train: TrainSettings, epochs: float | None, count: int, per_step: int) -> TrainSettings:
    """``train`` with as many steps as ``epochs`` over ``count`` records take; without epochs as it is."""
    if epochs is None:
        return train
    return train.model_copy(update={"steps": max(1, math.ceil(epochs * count / min(per_step, count)))})


@lru_cache(maxsize=4)
def _order(count: int, epoch: int, seed: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(material: Material, parts: Mapping[str, Sequence[Record]]) -> str:
    """A hash of the card, of the records in ``parts`` and of their picture files."""
    card = material.dataset.card.model_dump_json(exclude={"splits"}, exclude_defaults=True)
    digest = hashlib.sha256(card.encode())
    for name, records in parts.items():
        digest.update(name.encode())
        for record in records:
            digest.update(record.model_dump_json().encode())
            for picture in _pictures(material, record):
                digest.update(picture)
    return digest.hexdigest()


def shared_pictures(material: Material) -> list[str]:
    """For each test split, a note if some of its pictures, by their bytes, are trained on."""
    trained = {picture for record in material.train for picture in _pictures(material, record)}
    notes: list[str] = []
    for split, records in material.tests.items():
        seen = sum(any(picture in trained for picture in _pictures(material, record)) for record in records)
        if seen and split != "train":
            notes.append(f"{seen} of {len(records)} records of '{split}' have a picture that is trained on too")
    return notes


def _pictures(material: Material, record: Record) -> list[bytes]:
    """The hashes of a record's picture files."""
    paths = (safe_join(material.dataset.root, image) for image in record.images)
    return [_file_hash(path, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]


@lru_cache(maxsize=1 << 17)
def _file_hash(path: Path, size: int, changed: int) -> bytes:
    """Of the content; read again in this process only if size or time of change differ."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()[:16]
