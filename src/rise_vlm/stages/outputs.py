"""What is made of a file of answers: foreign formats, one file or one folder each, whole or not at all.

Everything is asked for before any work (``outputs_of``) and made at the end (``write_output``), a row at a time. A path
that exists is replaced only where it was made so before and nobody has changed it since, which a hidden file beside the
answers remembers. Left out: answers that could not be read, which no format can hold.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.formats import FEATURES, FORMATS, Format, find_format
from rise_vlm.data.formats.base import Entry, Target
from rise_vlm.data.writer import LONGEST_NAME
from rise_vlm.errors import DataError, UserError
from rise_vlm.stages.files import Row, read_json, read_rows, write_json
from rise_vlm.tasks.base import Task

SPLIT = "train"
"""Where a layout needs a split: these pictures have none, and reviewed they are for training."""

BY_STEM = frozenset({"fiftyone"})
"""Formats of one file that name pictures by their stems: theirs must differ, as they do in a folder made for them."""


@dataclass(frozen=True)
class Output:
    """One ``--to``: a format and a path, which is a folder (laid out as ``rise data export`` does) or one file; and
    what stands before the paths of images in it.
    """

    name: str
    form: Format
    path: Path
    folder: bool
    image_prefix: str = ""


@dataclass
class Written:
    """What came of one output: answers written, and by feature what the format could not keep."""

    answers: int = 0
    lost: Counter[str] = field(default_factory=Counter)


class Made:
    """Remembers what was made from the answers in ``out``, to tell it from what is a user's."""

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f".{out.name}.made.json")
        found = read_json(self.path)
        self.known: dict[str, Any] = found if isinstance(found, dict) else {}

    def owns(self, path: Path) -> bool:
        """Whether ``path`` is as it was left."""
        return self.known.get(str(path.absolute())) == _state(path)

    def add(self, path: Path) -> None:
        """Remember ``path`` as it is now."""
        self.known[str(path.absolute())] = _state(path)
        write_json(self.path, self.known)


def _state(path: Path) -> list[int | str]:
    """Size and time of a file; of a folder those of every file in it, and the names of all that is in it."""
    told = path.stat()
    if not path.is_dir():
        return [told.st_mtime_ns, told.st_size]
    digest = hashlib.sha256()
    for one in sorted(path.rglob("*")):
        found = one.lstat()
        figures = "" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} {found.st_mtime_ns}"
        digest.update(f"{one.relative_to(path)}\0{figures}\0".encode(errors="surrogateescape"))
    return [digest.hexdigest()]


def check_free(option: str, path: Path, made: Made, *, folder: bool = False) -> None:
    """Raises UserError where ``path`` cannot be written, or holds anything that was not made from these answers."""
    if not path.absolute().parent.is_dir():
        raise UserError(f"{option}: there is no folder {path.parent}.")
    if not path.exists() or (folder and path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir() != folder:
        kinds = ("file", "folder") if folder else ("folder", "file")
        raise UserError(f"{option}: {path} is a {kinds[0]}; name a {kinds[1]}.")
    if not made.owns(path):
        raise UserError(f"{option}: {path} exists and was not made from these answers, or was changed since. Choose "
                        "another path, or move it away.")  # fmt: skip


def outputs_of(
    wanted: Sequence[str], task: Task, taken: Sequence[Path], made: Made, image_prefix: str = ""
) -> list[Output]:
    """Each ``FORMAT:PATH`` as an output; ``taken`` are paths that something else is written to.

    Raises:
        UserError: an unknown format, one that cannot hold the task, a path that cannot be written, or an
            ``image_prefix`` where no format takes one.
    """
    used = {path.absolute() for path in taken}
    outputs: list[Output] = []
    for text in wanted:
        name, colon, place = text.partition(":")
        if not colon or not place or not name:
            raise UserError(f"--to {text}: give a format and a path, such as coco:answers.json.")
        form = find_format(name)
        if not _holds(form, task):
            able = [other for other, one in FORMATS.items() if _holds(one, task)]
            told = f"these can: {', '.join(able)}" if able else "none of the formats can; the JSON lines hold all"
            raise UserError(f"--to {text}: '{name}' cannot hold {task.name}; {told}.")
        path = Path(place)
        folder = _is_folder(name, form, path)
        if path.absolute() in used:
            raise UserError(f"--to {text}: {path} is written to already. Choose another path.")
        used.add(path.absolute())
        check_free(f"--to {text}", path, made, folder=folder)
        outputs.append(Output(name, form, path, folder, image_prefix if form.takes_prefix else ""))
    if image_prefix and not any(output.image_prefix for output in outputs):
        raise UserError("--image-prefix needs a --to of a format that takes one, such as --to labelstudio:tasks.json.")
    return outputs


def _holds(form: Format, task: Task) -> bool:
    """Whether a format holds the task's answers; of a transformation, which has two pictures, rows name only one."""
    return task.name in form.writes and task.name != "transformation"


def _is_folder(name: str, form: Format, path: Path) -> bool:
    """Whether a path without suffix, or one of a format that needs a folder, is meant."""
    whole = not hasattr(form.load_writer(), "write_file") or name in BY_STEM
    if whole and path.suffix and not path.is_dir():
        raise UserError(f"--to {name}:{path}: '{name}' writes a folder; name one, as in {name}:{path.with_suffix('')}.")
    return whole or not path.suffix


def write_output(output: Output, out: Path, task: Task, question: str | None, made: Made) -> Written:
    """Write the answers in ``out`` in one format.

    Raises:
        DataError: exit code 1, where that fails.
        UserError: what is there was changed while the answers were made.
    """
    path, written = output.path, Written()
    asked = question or task.question or task.default_question or ""
    target = Target(task.name, task.classes, "rise-vlm", asked, output.image_prefix)
    draft, old = (path.absolute().with_name(f".{os.getpid()}-{kind}{path.name}") for kind in ("", "old-"))
    writer: Any = output.form.load_writer()
    try:
        if not output.folder:
            writer.write_file(_entries(output, out, written, _referred(out)), draft, target)
        else:
            draft.mkdir()
            found = _entries(output, out, written, _laid_out(output.form, draft))
            if hasattr(writer, "write_file"):
                writer.write_file(found, draft / writer.FILE.format(split=SPLIT), target)
            else:
                writer.write(found, draft, target)
        check_free(f"--to {output.name}:{path}", path, made, folder=output.folder)  # hours may have gone by
        _put(draft, path, old)
        made.add(path)
    except OSError as error:
        raise DataError(f"{path} was not written: {error}.", exit_code=1) from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        draft.unlink(missing_ok=True)
    return written


def _put(draft: Path, path: Path, old: Path) -> None:
    """Put ``draft`` at ``path``; a folder that is there is moved to ``old`` until that is done."""
    if not path.is_dir():
        draft.replace(path)
        return
    path.replace(old)
    try:
        draft.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old)


Namer = Callable[[Row], tuple[str, str]]
"""A row's picture -> its name, and its path as the format is to state it."""


def _entries(output: Output, out: Path, written: Written, named: Namer) -> Iterator[Entry]:
    """The rows of ``out`` that have an answer."""
    keeps = output.form.keeps
    for row in read_rows(out):
        if row.get("annotation") is None:
            continue
        name, image = named(row)
        confidence, scores = row.get("confidence"), row.get("scores")
        has = {"rationale": bool(row.get("rationale")), "score": confidence is not None,
               "empty": row["annotation"] == [], "question": bool(row.get("question"))}  # fmt: skip
        written.lost.update(FEATURES[key] for key, there in has.items() if there and key not in keeps)
        written.answers += 1
        yield Entry(
            str(row["id"]),
            SPLIT if output.folder else "",
            name,
            image,
            row["width"],
            row["height"],
            row["annotation"],
            row.get("question"),
            row.get("rationale"),
            score=confidence,
            scores=tuple(scores) if scores else None,
            model=str(row["source"]["model"]),
            file=Path(row["image"]),
        )


def picture_root(out: Path) -> Path:
    """The folder that all pictures of the answers are below; their paths in a file are relative to it."""
    common: str | None = None
    for row in read_rows(out):
        folder = os.path.dirname(os.path.abspath(row["image"]))  # noqa: PTH100, PTH120 (links stay as they are)
        if common is None or not f"{folder}/".startswith(f"{common}/".replace("//", "/")):
            common = folder if common is None else os.path.commonpath([common, folder])
    return Path(common or ".")


def _referred(out: Path) -> Namer:
    root = picture_root(out)

    def named(row: Row) -> tuple[str, str]:
        path = Path(os.path.abspath(row["image"])).relative_to(root).as_posix()  # noqa: PTH100
        return path, path

    return named


def _laid_out(form: Format, draft: Path) -> Namer:
    """Names of which no two have one stem; the picture is copied to where the format's readers look for it."""
    place: str = form.load().IMAGES
    taken: set[str] = set()

    def named(row: Row) -> tuple[str, str]:
        source, answer = Path(row["image"]), row["annotation"]
        class_ = answer if isinstance(answer, str) else ""
        if "{class}" in place and (not class_ or class_ != re.sub(r"[/\\\0]", "", class_).strip(". ")):
            raise DataError(f"The class '{class_}' cannot name a folder; choose another format.")
        name = _free_name(source, taken)
        image = place.format(**{"split": SPLIT, "name": name, "class": class_})
        if image:
            (draft / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, draft / image)
        return name, image

    return named


def _free_name(source: Path, taken: set[str]) -> str:
    plain = unicodedata.normalize("NFC", re.sub(r"[^\w .()+-]", "_", source.name)).lstrip(". ")
    path = PurePosixPath(plain or "image")
    stem = path.stem.encode()[:LONGEST_NAME].decode(errors="ignore").strip() or "image"
    unique, number = stem, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{stem}-{number}"
    taken.add(unique.casefold())
    return unique + path.suffix.casefold()
