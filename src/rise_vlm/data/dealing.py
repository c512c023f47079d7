"""Splitting a dataset on disk: which records stay together, and writing the outcome, in place or as a new dataset.

In place, new row files are written beside the old ones and one rename of ``dataset.yaml`` makes them count; nothing is
deleted, and the card before is kept to go back to. Left out: how groups are dealt, which is ``splitting.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.console import progress
from rise_vlm.data.card import CARD, Card
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.hashing import Look, alike_or_mirrored
from rise_vlm.data.record import Record
from rise_vlm.data.scanning import Scan, scan_or_refuse
from rise_vlm.data.splitting import Bonds, Deal, group, settle
from rise_vlm.data.writer import DatasetWriter, ordered, refuse_existing
from rise_vlm.errors import DataError, UserError, nearest

BEFORE = "dataset.before-split"
"""Name, without suffix, of the card that a split in place leaves to go back to."""


@dataclass(frozen=True)
class Plan:
    """What to deal: the splits that are dealt, those that stay, and what stays together."""

    taken: tuple[str, ...]
    kept: tuple[str, ...]
    group_by: str
    seed: int = 0


def plan(
    dataset: Dataset,
    shares: Mapping[str, float],
    *,
    group_by: str = "auto",
    seed: int = 0,
    take: Sequence[str] = (),
    out: Path | None = None,
    force: bool = False,
) -> Plan:
    """Whether such a split can be made, before any work. Raises UserError where it cannot."""
    for split in take:
        dataset.file(split)
    taken = tuple(split for split in dataset.splits if split in take or not take)
    kept = tuple(split for split in dataset.splits if split not in taken)
    if not taken:
        raise DataError(f"{dataset.root} has no splits: dataset.yaml names none.", exit_code=1)
    for split in kept:
        if split == "train" or shares.get(split, 0) > 0:
            hint = f"add --from {split}" + (f" or set --{split} 0" if split != "train" else "")
            raise UserError(f"The split '{split}' stays as it is, so nothing can be dealt to it; {hint}.")
    if out is not None:
        refuse_existing(out, force)
        if out.resolve() == dataset.root.resolve():
            raise UserError(f"--out is the dataset itself; leave --out away to change {out}.")
    elif len(taken) > 1 and not force:
        raise UserError(
            f"{dataset.root} has the splits {', '.join(taken)} already: --force deals all their records anew, --from "
            "train only those of train (with --val or --test of what there is not yet), --out writes a new dataset."
        )
    return Plan(taken, kept, group_by, seed)


def deal(dataset: Dataset, shares: Mapping[str, float], chosen: Plan) -> tuple[Deal, list[Record]]:
    """The records and where each goes. ``shares`` are those of val and test; train has the rest. Raises DataError."""
    records, bad = _records(dataset, chosen)
    keys = None if chosen.group_by in ("auto", "image") else _values(dataset, records, chosen.group_by)
    scans = _scans(dataset, records, decode=chosen.group_by == "auto")
    bonds = Bonds(len(records))
    bonds.tie_equal((at, scans[image].digest) for at, record in enumerate(records) for image in record.images)
    by = "the same image"
    if chosen.group_by == "auto":
        by = "the same or a similar image"
        _tie_similar(records, scans, bonds)
    if keys is not None:
        by = f"meta.{chosen.group_by.removeprefix('meta.')} or the same image"
        bonds.tie_equal(enumerate(keys))
    ids = [record.id for record in records]
    groups = group(ids, [record.annotation for record in records], bonds, classed=bool(dataset.card.classes))
    asked = {"train": 1 - sum(shares.values())} | dict(shares)
    dealt = settle(groups, {split: share for split, share in asked.items() if share > 0}, chosen.seed, by)
    if bad:
        dealt.notes.append(f"{bad} bad rows are in no split; 'rise data check {dataset.root}' lists them.")
    return dealt, records


def write_deal(
    dataset: Dataset, dealt: Deal, records: Sequence[Record], chosen: Plan, out: Path | None, *, force: bool = False
) -> list[str]:
    """Write what was dealt, to the new dataset ``out`` or in place; how to undo it, in words."""
    if out is not None:
        _copy(dataset, dealt, records, chosen, out, force)
        return []
    try:
        return _in_place(dataset, dealt, records, chosen)
    except OSError as error:
        raise DataError(f"{dataset.root} was not changed: {error}.", exit_code=1) from error


def _records(dataset: Dataset, chosen: Plan) -> tuple[list[Record], int]:
    """All good records of the splits that are dealt, and the number of bad rows."""
    records: list[Record] = []
    homes: dict[str, str] = {}
    with progress(f"Reading {dataset.root}") as bar:
        for split in (*chosen.taken, *chosen.kept):
            for record in dataset.records(split):
                bar.update()
                other = homes.setdefault(record.id, split)
                if other != split:
                    raise DataError(
                        f"{dataset.root}: the id '{record.id}' is used in the splits '{other}' and '{split}'; 'rise "
                        f"data check {dataset.root} --quarantine' puts the second aside.",
                        exit_code=1,
                    )
                if split in chosen.taken:
                    records.append(record)
    return records, sum(dataset.counts[split].quarantined for split in chosen.taken)


def _values(dataset: Dataset, records: Sequence[Record], name: str) -> list[str]:
    """The value of a key of ``meta`` of every record, as text. Raises DataError naming a record that has none."""
    path = name.removeprefix("meta.").split(".")
    values = []
    for record in records:
        value: Any = record.meta
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            known = sorted({key for other in records for key in other.meta})
            has = f"its meta has {', '.join(record.meta) or 'no keys'}"
            raise DataError(
                f"{dataset.root}: record '{record.id}' has no '{'.'.join(path)}' in its meta ({has}). --group-by takes "
                f"auto, image or a key that every record's meta has.{nearest(path[0], [*known, 'auto', 'image'])}"
            )
        values.append(json.dumps(value, sort_keys=True, default=str))
    return values


def _scans(dataset: Dataset, records: Sequence[Record], *, decode: bool) -> dict[str, Scan]:
    """Every image of the records, opened once. Raises DataError at one that cannot be read."""
    names = list(dict.fromkeys(image for record in records for image in record.images))
    found = scan_or_refuse(
        [(dataset.root, name) for name in names], decode=decode, title="Opening the images", then="split"
    )
    return dict(zip(names, found, strict=True))


def _tie_similar(records: Sequence[Record], scans: dict[str, Scan], bonds: Bonds) -> None:
    """Tie the records whose images look the same."""
    first: dict[bytes, tuple[int, Look]] = {}
    for at, record in enumerate(records):
        for image in record.images:
            first.setdefault(scans[image].digest, (at, scans[image].look or Look(None, b"")))
    homes = list(first.values())
    for one, other, _ in alike_or_mirrored([look for _, look in homes]):
        bonds.tie(homes[one][0], homes[other][0])


def _copy(dataset: Dataset, dealt: Deal, records: Sequence[Record], chosen: Plan, out: Path, force: bool) -> None:
    """A new dataset with copies of the images."""
    card = dataset.card.model_copy(update={"name": out.name, "splits": {}})
    with DatasetWriter(out, card, force=force) as writer, progress(f"Writing {out}") as bar:
        for split in dealt.records:
            writer.split(split)
        for record, split in zip(records, dealt.assigned, strict=True):
            writer.keep(split, record, dataset.root)
            bar.update()
        for split in chosen.kept:
            for record in dataset.records(split):
                writer.keep(split, record, dataset.root)
                bar.update()


def _in_place(dataset: Dataset, dealt: Deal, records: Sequence[Record], chosen: Plan) -> list[str]:
    root = dataset.root
    number = 1
    while any((root / _file(split, number)).exists() for split in dealt.records):
        number += 1
    files = {split: _file(split, number) for split in dealt.records}
    before, tries = root / f"{BEFORE}.yaml", 1
    while before.exists():
        tries += 1
        before = root / f"{BEFORE}-{tries}.yaml"
    kept = {split: dataset.card.splits[split] for split in chosen.kept}
    splits = {split: (files | kept)[split] for split in ordered([*files, *kept])}
    with tempfile.TemporaryDirectory(prefix=".split-", dir=root) as folder:
        draft = Path(folder)
        _write_rows(draft, files, dealt, records)
        dataset.card.model_copy(update={"splits": splits}).write(draft)
        Card.read(draft)
        shutil.copyfile(root / CARD, before)
        for file in files.values():
            (draft / file).replace(root / file)
        (draft / CARD).replace(root / CARD)  # from here on the new splits count
    old = ", ".join(dataset.card.splits[split] for split in chosen.taken)
    return [f"The rows before are still in {old}. To undo: mv {before} {root / CARD}"]


def _write_rows(folder: Path, files: Mapping[str, str], dealt: Deal, records: Sequence[Record]) -> None:
    """One row file per split, in the order of the records, safely on disk."""
    for split, name in files.items():
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            for record, home in zip(records, dealt.assigned, strict=True):
                if home == split:
                    row = record.model_dump(exclude_defaults=True)
                    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _file(split: str, number: int) -> str:
    return f"{split}.jsonl" if number == 1 else f"{split}-{number}.jsonl"
