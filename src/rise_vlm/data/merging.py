"""Several datasets as one: the same task, classes by name, ids unique, no picture in two splits.

Where two sources say something about the same picture and question the later one counts, so that reviewed answers
replace what was there. Of a picture in two splits the records of the lesser split are left out, train before val before
any test, as in ``doubles``. Left out: adding to a dataset in place, and pictures that only look the same, which
``rise data check`` finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.console import progress
from rise_vlm.data.card import VALIDATION, Card
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.doubles import ranks_of
from rise_vlm.data.record import Record
from rise_vlm.data.scanning import scan_or_refuse
from rise_vlm.data.writer import DatasetWriter, ordered, refuse_existing
from rise_vlm.errors import UserError
from rise_vlm.tasks import make_task

Picture = tuple[bytes, ...]
"""The contents of a record's images."""


@dataclass
class Merged:
    """What came of a merge: records per split and per source, ids made unique, bad rows passed over, records left out
    because a later source has another (``replaced``) or because their picture is in a split worth more (``shared``).
    """

    splits: dict[str, int] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    renamed: int = 0
    replaced: int = 0
    shared: int = 0
    bad: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"sources": dict(self.sources)}


@dataclass(frozen=True)
class _Row:
    """A record on its way: the number of its source, its split in the merged dataset, what is asked, its pictures."""

    source: int
    split: str
    record: Record
    asked: str | None
    pictures: Picture

    @property
    def about(self) -> tuple[Picture, str | None]:
        """What it says something about."""
        return self.pictures, self.asked


def merge(roots: Sequence[Path], out: Path, *, force: bool = False) -> Merged:
    """Write the datasets in ``roots`` as the new dataset ``out``; ``meta.from`` tells where a record comes from.

    Raises UserError where they do not fit together, DataError where an image cannot be read.
    """
    refuse_existing(out, force)
    if len({root.resolve() for root in (*roots, out)}) != len(roots) + 1 or len(roots) < 2:
        raise UserError("merge takes two or more datasets and, as --out, a folder that is none of them.")
    datasets = [Dataset.open(root) for root in roots]
    card, names = _card(datasets, out), _names(datasets)
    make_task(card)  # refuses class names that it cannot tell apart
    merged = Merged(sources=Counter(dict.fromkeys(names, 0)))
    rows = _settled(_rows(datasets, merged), merged)
    splits = ordered(dict.fromkeys(_split(split) for dataset in datasets for split in dataset.splits))
    with DatasetWriter(out, card, force=force) as writer, progress(f"Writing {out}", len(rows)) as bar:
        for split in splits:
            writer.split(split)
        taken: set[str] = set()
        for row in rows:
            name = names[row.source]
            id_ = _free(row.record.id, name, taken)
            merged.renamed += id_ != row.record.id
            merged.sources[name] += 1
            question = row.record.question if card.question else row.asked
            changes = {"id": id_, "question": question, "meta": {"from": name} | row.record.meta}
            writer.keep(row.split, row.record.model_copy(update=changes), datasets[row.source].root)
            bar.update()
        merged.splits = {split: writer.counts[split].records for split in splits}
    return merged


def _card(datasets: Sequence[Dataset], out: Path) -> Card:
    """The head of the merged dataset. Raises UserError where tasks or languages differ."""
    cards, first = [dataset.card for dataset in datasets], datasets[0].card
    for dataset in datasets[1:]:
        for key in ("task", "language"):
            one, other = getattr(first, key), getattr(dataset.card, key)
            if one != other:
                raise UserError(
                    f"{dataset.root} cannot be merged: its {key} is {other}, that of {datasets[0].root} {one}."
                )
    return Card(
        name=out.name,
        task=first.task,
        classes=list(dict.fromkeys(name for card in cards for name in card.classes)),
        language=first.language,
        source=", ".join(str(dataset.root) for dataset in datasets),
        licence=", ".join(dict.fromkeys(card.licence for card in cards if card.licence)),
        question=first.question if len({card.question for card in cards}) == 1 else None,
        world=first.world if len({card.world for card in cards}) == 1 else None,
        synonyms=_joined([card.synonyms for card in cards]),
        named_by=_joined([card.named_by for card in cards]),
    )


def _joined(words: Sequence[dict[str, list[str]]]) -> dict[str, list[str]]:
    """Class -> all words that any of the datasets has for it."""
    joined: dict[str, list[str]] = {}
    for name, told in (pair for each in words for pair in each.items()):
        joined[name] = list(dict.fromkeys([*joined.get(name, []), *told]))
    return joined


def _names(datasets: Sequence[Dataset]) -> list[str]:
    """What each dataset is called: by its folder, or by its path where two folders are called the same."""
    plain = [dataset.root.resolve().name for dataset in datasets]
    return plain if len(set(plain)) == len(plain) else [dataset.root.resolve().as_posix() for dataset in datasets]


def _split(name: str) -> str:
    return "val" if name in VALIDATION else name


def _rows(datasets: Sequence[Dataset], merged: Merged) -> list[_Row]:
    """Every good record, its images read for their contents."""
    found: list[tuple[int, str, Record]] = []
    with progress("Reading the rows") as bar:
        for number, dataset in enumerate(datasets):
            for split in dataset.splits:
                for record in dataset.records(split):
                    found.append((number, _split(split), record))
                    bar.update()
                merged.bad += dataset.counts[split].quarantined
    places = list(dict.fromkeys((number, image) for number, _, record in found for image in record.images))
    opened = [(datasets[number].root, image) for number, image in places]
    scans = scan_or_refuse(opened, decode=False, title="Reading the images", then="merge")
    contents = {place: scan.digest for place, scan in zip(places, scans, strict=True)}
    rows = []
    for number, split, record in found:
        pictures = tuple(contents[number, image] for image in record.images)
        rows.append(_Row(number, split, record, record.question or datasets[number].card.question, pictures))
    return rows


def _settled(rows: Sequence[_Row], merged: Merged) -> list[_Row]:
    """The rows without those of a picture that a split worth more has, nor those that a later source says anew."""
    ranks = ranks_of(ordered(dict.fromkeys(row.split for row in rows)))
    home: dict[bytes, int] = {}
    for row in rows:
        for content in row.pictures:
            home[content] = max(home.get(content, -1), ranks[row.split])
    kept = [row for row in rows if all(home[content] == ranks[row.split] for content in row.pictures)]
    merged.shared = len(rows) - len(kept)
    last = {row.about: row.source for row in kept}
    final = [row for row in kept if last[row.about] == row.source]
    merged.replaced = len(kept) - len(final)
    return final


def _free(id_: str, name: str, taken: set[str]) -> str:
    """``id_``, or where it is taken one that names its dataset."""
    free, number = id_, 1
    while free in taken:
        free, number = f"{id_} ({name})" if number == 1 else f"{id_} ({name} {number})", number + 1
    taken.add(free)
    return free
