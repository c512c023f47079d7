"""From a foreign format to a dataset: splits, boxes made upright, images copied, everything counted.

The source is gone through twice: once for its classes, splits and images, then to open and copy. Every image is opened
once, in threads ahead of the rows; of a JPEG the header and the end mark are read, which ``rise data check`` makes up
for. Images are copied byte for byte. Left out: merging sources, changing labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from rise_vlm.console import progress
from rise_vlm.data.balance import named_in
from rise_vlm.data.card import Card
from rise_vlm.data.checking import BadRow, Judge, Problem, need_file
from rise_vlm.data.choosing import Chooser
from rise_vlm.data.class_list import Classes, distinct
from rise_vlm.data.contradictions import Contradictions
from rise_vlm.data.dealable import Dealable, dealer
from rise_vlm.data.formats import Format
from rise_vlm.data.formats.base import Found, Item, Note, Options, Reader, Skip
from rise_vlm.data.images import ImageSize, read_whole_size
from rise_vlm.data.outcome import Outcome
from rise_vlm.data.scanning import ahead
from rise_vlm.data.typos import typos
from rise_vlm.data.upright import upright
from rise_vlm.data.writer import DatasetWriter, ordered, refuse_existing
from rise_vlm.errors import DataError, UserError
from rise_vlm.tasks import make_task

DEFAULT_SHARES = {"val": 0.1, "test": 0.2}
"""Shares of the images where the source has no splits of its own."""

CLASSED = ("classification", "detection", "distribution", "grounding")
"""Tasks whose records name classes; those of others have letters and numbers."""

AT_ONCE = 16
"""Images that a thread opens before it hands them over, which costs as much as opening one."""

TOGETHER = 16
"""Items of one image for which it is opened once; a source may ask a million things of one."""

Pass = Callable[[Iterator[Found]], Iterator[Found]]

LONGEST_NAME = 1000
"""Letters of a class's name; what is longer is a text, or a file that means ill."""


@dataclass
class Survey:
    """What the first pass found: declared classes, those that occur, the source's own splits, its images by what may
    be dealt to splits.
    """

    classes: Classes = field(default_factory=Classes)
    found: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)
    images: Dealable = field(default_factory=Dealable)
    items: int = 0
    outcome: Outcome = field(default_factory=Outcome)


def import_dataset(
    form: Format,
    source: Path,
    out: Path,
    options: Options,
    *,
    shares: Mapping[str, float] = MappingProxyType({}),
    force: bool = False,
    strict: bool = False,
    link: bool = False,
) -> Outcome:
    """Import ``source`` into a new dataset ``out`` and tell what came of it. ``link`` makes hard links to images in
    place of copies.

    ``shares`` are the shares of images for val and test, dealt by a hash of the image's name. Those not given are none
    where the source has splits of its own, and otherwise DEFAULT_SHARES. Raises DataError where nothing can be
    imported and, with ``strict``, at the first bad row; then nothing is left behind.
    """
    refuse_existing(out, force)
    with TemporaryDirectory(prefix="rise-") as scratch:
        options = replace(options, scratch=Path(scratch))
        return _import(form, source, out, options, shares, strict, {"force": force, "link": link})


def _import(
    form: Format,
    source: Path,
    out: Path,
    options: Options,
    shares: Mapping[str, float],
    strict: bool,
    how: Mapping[str, bool],
) -> Outcome:
    reader = form.load_reader()
    chooser = None if options.classes is None else Chooser(options.classes, keep_empty=options.keep_empty)
    twofold = Contradictions()
    survey = _first_pass(form, reader, source, options, chooser, twofold)
    outcome = Outcome(notes=survey.outcome.notes)
    shares = ({} if survey.splits else DEFAULT_SHARES) | dict(shares)
    deal = dealer(survey.images, survey.splits, shares, outcome)
    classes = _class_list(survey, options.task) if chooser is None else _chosen(chooser, options.task)
    synonyms = {name: list(words) for name, words in classes.items() if words}
    _need_two(classes, options.task, source)
    card = Card(name=out.name, task=options.task, classes=list(classes), synonyms=synonyms, source=str(source))
    judge = _judge(card, source)
    with (
        DatasetWriter(out, card, judge=judge, **how) as writer,
        progress(f"Importing {source.name}", survey.items) as bar,
        closing(
            ahead(_by_image(_findings(reader, source, options, chooser, twofold.left_out)), _open, at_once=AT_ONCE)
        ) as opened,
    ):
        for found, size in ((found, size) for alike, size in opened for found in alike):
            problem = _take(found, size, writer, deal, options, outcome)
            if problem is not None and strict:
                raise DataError(f"{source}: {problem}.", exit_code=1)
            if isinstance(found, Item):
                bar.update()
        outcome.splits = {split: writer.counts[split].records for split in ordered(writer.counts)}
        if not outcome.splits:
            raise DataError(_nothing(source, outcome, form, options), exit_code=1)
    outcome.declared = tuple(classes)
    if options.task == "detection" and outcome.empty == sum(outcome.splits.values()):
        outcome.notes.append("no picture has a box: there is nothing to find in any of them")
    if chooser is not None:
        outcome.listed = tuple(chooser.classes())
        outcome.notes += [chooser.told(), *chooser.unused(outcome.classes)]
        outcome.notes += chooser.emptied(outcome.empty, outcome.skipped)
    outcome.notes += [*typos(outcome.classes), *outcome.lacking()]
    return outcome


def _judge(card: Card, source: Path) -> Judge:
    """What checks annotations; refuses class names that it cannot tell apart before any image is copied."""
    try:
        return make_task(card).check
    except UserError as error:
        raise DataError(f"{source}: {error}") from error


def _findings(
    reader: Reader, source: Path, options: Options, chooser: Chooser | None, twofold: Pass
) -> Iterator[Found]:
    """What the reader finds, or of it what is of the chosen classes; ``twofold`` sees to images told of in two ways."""
    found = iter(reader.read(source, options))
    found = map(_sane, found) if options.task in CLASSED else found
    found = twofold(found) if options.task != "grounding" else found
    return found if chooser is None else chooser.choose(found)


def _sane(found: Found) -> Found:
    """``found``, or a Problem where its class is called by a text that is no name."""
    longest = max(map(len, _classes_in(found.annotation)), default=0) if isinstance(found, Item) else 0
    if longest <= LONGEST_NAME or not isinstance(found, Item):
        return found
    bad = BadRow("annotation", f"a class is called by {longest:,} letters, more than {LONGEST_NAME}", found.id)
    return bad.at(found.file, found.row)


def _first_pass(
    form: Format, reader: Reader, source: Path, options: Options, chooser: Chooser | None, twofold: Contradictions
) -> Survey:
    """The survey of a source. Raises DataError where it holds nothing, or lacks a class that was asked for."""
    try:
        survey = _survey(_findings(reader, source, options, chooser, twofold.noted))
    except OSError as error:  # a folder that may not be entered, a disk that fails
        raise DataError(f"{source} cannot be read: {error}.", exit_code=1) from error
    if chooser is not None and chooser.known.names:
        chooser.listed.need_fit(chooser.known, source)
    if not survey.items:
        fits = _other_tasks(form, reader, source, options)
        raise DataError(_nothing(source, survey.outcome, form, options, fits), exit_code=1)
    return survey


def _other_tasks(form: Format, reader: Reader, source: Path, options: Options) -> str:
    """For which other tasks the source would give records, and how many."""
    found: list[str] = []
    for task in (task for task in form.tasks if task != options.task):
        with suppress(UserError):  # such as columns that it lacks
            number = _survey(iter(reader.read(source, replace(options, task=task)))).items
            found += [f"--task {task} would give {number}"] if number else []
    return ", ".join(found)


def _by_image(findings: Iterator[Found]) -> Iterator[list[Found]]:
    """The items of one image together, where they come one after the other, at most TOGETHER; each thing that is no
    item alone.
    """
    groups = groupby(findings, key=lambda found: (found.image, *found.more) if isinstance(found, Item) else object())
    for _, group in groups:
        while part := list(islice(group, TOGETHER)):
            yield part


def _open(alike: list[Found]) -> ImageSize | DataError | None:
    """The size of the image of these items, or why one of their images cannot be used; None for what is no item."""
    first = alike[0]
    if not isinstance(first, Item):
        return None
    try:
        for image in (first.image, *first.more):
            need_file(image, str(image))  # before it is opened: a pipe would be waited for
        size, *_ = (read_whole_size(image) for image in (first.image, *first.more))
        return size
    except DataError as error:
        return error


def _take(
    found: Found,
    size: ImageSize | DataError | None,
    writer: DatasetWriter,
    deal: Callable[[Item], str],
    options: Options,
    outcome: Outcome,
) -> Problem | None:
    """Make ``found`` a record, or put it aside, or count that it is skipped; the problem, if it is one."""
    if isinstance(found, Skip):
        outcome.skip(found)
    if isinstance(found, Skip | Note | Classes):
        return None
    split = deal(found) if isinstance(found, Item) else ""
    problem = found if isinstance(found, Problem) else _copy(found, size, writer, split, options)
    if problem is not None:
        writer.quarantine(problem)
        outcome.quarantined.add(problem)
    elif isinstance(found, Item):
        outcome.boxed = outcome.boxed or found.is_box
        outcome.empty += found.annotation == []
        named = named_in(found.annotation, found.meta) if options.task in CLASSED else {}
        outcome.classes.update(named)  # type: ignore[arg-type]
        outcome.held.setdefault(split, set()).update(named)
    return problem


def _survey(findings: Iterator[Found]) -> Survey:
    survey = Survey()
    for found in findings:
        if isinstance(found, Skip):
            survey.outcome.skip(found)
        elif isinstance(found, Problem):
            survey.outcome.quarantined.add(found)
        elif isinstance(found, Note):
            if found.text not in survey.outcome.notes:
                survey.outcome.notes.append(found.text)
        elif isinstance(found, Classes):
            survey.classes |= found
        else:
            survey.items += 1
            if found.split is not None:
                survey.splits.add(found.split)
            survey.found |= _classes_in(found.annotation)
            survey.images.see(found)
    return survey


def _classes_in(annotation: Any) -> set[str]:
    """The classes that an annotation names: a class, a distribution's, those of its boxes."""
    if isinstance(annotation, str):
        return {annotation}
    if isinstance(annotation, dict):
        return {name for name in annotation if isinstance(name, str)}
    things = annotation if isinstance(annotation, list) else []
    return {thing["label"] for thing in things if isinstance(thing, dict) and isinstance(thing.get("label"), str)}


def _class_list(survey: Survey, task: str) -> dict[str, tuple[str, ...]]:
    """The classes of the dataset with their synonyms: for detection and distributions those that the source declares,
    in its order, and any others that occur; for classification those that occur, sorted; for all other tasks none.
    """
    if task not in ("classification", "detection", "distribution"):
        return {}
    declared = () if task == "classification" else survey.classes.names
    names = (*declared, *sorted(survey.found - set(declared)))
    return {name: distinct(survey.classes.synonyms.get(name, ()), name) for name in names}


def _chosen(chooser: Chooser, task: str) -> dict[str, tuple[str, ...]]:
    """The classes of the dataset where a list chose them; grounding names none."""
    return chooser.classes() if task != "grounding" else {}


def _need_two(classes: Mapping[str, Any], task: str, source: Path) -> None:
    """Raise DataError where a task that chooses among classes has fewer than two."""
    if task in ("classification", "distribution") and len(classes) < 2:
        told = f"one class, '{next(iter(classes))}'" if classes else "no class"
        raise DataError(f"{source} has {told}; {task} needs two or more.")


def _copy(
    item: Item, size: ImageSize | DataError | None, writer: DatasetWriter, split: str, options: Options
) -> Problem | None:
    """Make ``item`` a record, or tell why it cannot be one."""
    try:
        if not isinstance(size, ImageSize):
            raise size or DataError(f"{item.image} was not opened.")
        writer.add(
            split,
            id=item.id,
            image=item.image,
            more=item.more,
            annotation=upright(item, size, options) if item.is_box else item.annotation,
            question=item.question,
            rationale=item.rationale,
            meta=item.meta,
            size=size.upright,
        )
    except BadRow as bad:
        return replace(bad.at(item.file, item.row), id=item.id)
    except DataError as error:
        named = Path(item.file).name == item.image.name  # of a folder of images: the problem's file is the image
        reason = str(error).removeprefix(f"{item.image}: ") if named else str(error)
        return BadRow("image", reason, item.id).at(item.file, item.row)
    return None


def _nothing(source: Path, outcome: Outcome, form: Format, options: Options, fits: str = "") -> str:
    why = ""
    if outcome.quarantined.first:
        why = f" {outcome.quarantined.quarantined} rows are bad, the first being {outcome.quarantined.first}."
    if outcome.skipped:
        why += " Skipped: " + "; ".join(outcome.left_out()[:3]) + "."
    astray = outcome.quarantined.kinds["missing image"] + outcome.quarantined.kinds["path"]
    if options.images is None and "images" in form.options and astray:
        why += " If the images are elsewhere, name their folder with --images."
    if len(form.tasks) > 1:
        why += f" It was read for {options.task}; {fits or '--task may be ' + ' or '.join(form.tasks)}."
    return f"{source} gave no record.{why}"
