"""Class lists: which of a source's classes to keep, in which order, under which names, with which synonyms.

A list is a file with a class per line, or names with commas between them. A class of the source is meant by its name,
by its id (such as a WordNet id) or, failing both, by a synonym that the source gives it. Case, blanks, underscores and
hyphens do not count. Two lines never mean one class, and a class is never called as another one is. Left out: joining
classes, and names by pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from rise_vlm.data.typos import alike
from rise_vlm.errors import DataError, UserError
from rise_vlm.tasks.base import normal_name

WORDNET_ID = re.compile(r"n\d{8}")
"""What ImageNet calls its folders."""

MOST_TOLD = 10
"""Missing classes, and classes of the source, that a message names."""

LARGEST = 4 * 1024 * 1024
"""Bytes of the largest file that is taken for a list."""


@dataclass(frozen=True)
class Classes:
    """The classes that a source declares, in its order, whether or not they occur; with their ids and synonyms, by
    name, where it has any.
    """

    names: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, more: Classes) -> Classes:
        """These and more."""
        names = tuple(dict.fromkeys((*self.names, *more.names)))
        return Classes(names, {**self.ids, **more.ids}, {**self.synonyms, **more.synonyms})


@dataclass(frozen=True)
class Listed:
    """One line of a list: the name, the id if it gives one, the synonyms. ``row`` counts from 1, None in a comma list.

    ``name`` is empty where the line is an id alone.
    """

    name: str
    id: str = ""
    synonyms: tuple[str, ...] = ()
    row: int | None = None

    @property
    def told(self) -> str:
        """The line as a message names it."""
        where = "" if self.row is None else f" (row {self.row})"
        return f"'{self.name or self.id}'{where}"


@dataclass(frozen=True)
class ClassList:
    """The lines of a list, and where they are from."""

    where: str
    lines: tuple[Listed, ...]

    @classmethod
    def read(cls, text: str) -> ClassList:
        """The list in the file ``text``, else the names that ``text`` itself lists with commas between them.

        Raises DataError naming the file and the row.
        """
        path = Path(text)
        try:
            is_file = path.is_file()
        except OSError:  # a comma list longer than a file's name may be
            is_file = False
        if is_file:
            return cls._of(text, enumerate(_lines(path), start=1))
        if path.suffix in (".txt", ".csv", ".json", ".yaml") or "/" in text:
            raise DataError(f"--classes: there is no file {text}.")
        return cls._of("--classes", ((None, name) for name in text.split(",")))

    @classmethod
    def _of(cls, where: str, rows: Iterable[tuple[int | None, str]]) -> ClassList:
        lines: dict[str, Listed] = {}
        for row, text in rows:
            if not text.strip() or text.lstrip().startswith("#"):
                continue
            line = _listed(text.strip(), row, where)
            for key in filter(None, (line.id, normal_name(line.name))):
                if key in lines:
                    raise DataError(f"{where}: {line.told} is listed twice, first as {lines[key].told}.")
                lines[key] = line
        if not lines:
            raise DataError(f"{where} names no class; a line holds 'name' or 'name: synonym, synonym'.")
        found = cls(where, tuple(dict.fromkeys(lines.values())))
        found.need_apart({line: line.name for line in found.lines if line.name})
        return found

    def need_apart(self, names: Mapping[Listed, str]) -> None:
        """Raise DataError where a line's own synonym is what another one is called. ``names``: what each is called."""
        by_name = {normal_name(name): line for line, name in names.items()}
        for line in self.lines:
            for word in line.synonyms:
                other = by_name.get(normal_name(word), line)
                if other != line:
                    told = f"{line.told} has the synonym '{word}', which is a class of the list itself, {other.told}"
                    raise DataError(f"{self.where}: {told}; take one of the two out.")

    def among(self, classes: Classes) -> dict[str, Listed]:
        """Class of the source -> the line that means it. Raises DataError where a line may mean either of two."""
        by_id = {line.id: line for line in self.lines if line.id}
        by_name = {normal_name(line.name): line for line in self.lines if not line.id}
        meant: dict[str, Listed] = {}
        for name in classes.names:
            line = by_id.get(classes.ids.get(name, name)) or by_name.get(normal_name(name))
            if line is not None:
                meant[name] = line
        taken = set(meant.values())
        further: dict[Listed, str] = {}
        for name in classes.names:
            for word in classes.synonyms.get(name, ()) if name not in meant else ():
                line = by_name.get(normal_name(word))
                if line is None or line in taken:
                    continue
                if further.setdefault(line, name) != name:
                    ids = " or ".join(classes.ids.get(one, one) for one in (further[line], name))
                    told = f"may mean '{further[line]}' or '{name}'"
                    raise DataError(f"{self.where}: {line.told} {told}; write {ids} instead.")
                meant[name] = line
        return meant

    def need_fit(self, classes: Classes, source: Path) -> None:
        """Raise DataError where two lines mean one class, where one calls a class as the source calls another, where
        synonyms are classes of the list, or where the source lacks a class.
        """
        meant = self.among(classes)
        absent = [line for line in self.lines if line not in set(meant.values())]
        self._need_one_line_each(absent, classes, meant)
        self._need_own_names(classes, meant)
        self.need_apart({line: name_in(line, meant) for line in meant.values()})
        if absent:
            raise DataError(self._missing(absent, classes, source))

    def _need_one_line_each(self, absent: list[Listed], classes: Classes, meant: Mapping[str, Listed]) -> None:
        """A line that means no class of its own may mean, by id, name or synonym, one that another line has."""
        words: dict[str, str] = {}
        for name in meant:
            for word in (classes.ids.get(name, name), name, *classes.synonyms.get(name, ())):
                words.setdefault(normal_name(word), name)
        for line in absent:
            name = words.get(normal_name(line.id or line.name))
            if name is not None:
                first, second = sorted((line, meant[name]), key=self.lines.index)
                told = f"{first.told} and {second.told} mean the same class, '{name}'{_id_told(name, classes)}"
                raise DataError(f"{self.where}: {told}; take one of the two lines out.")

    def _need_own_names(self, classes: Classes, meant: Mapping[str, Listed]) -> None:
        """A name that is given to an id may be new, but not that of another class: then the two were exchanged."""
        named = {normal_name(name): name for name in classes.names}
        for name, line in meant.items():
            own = {normal_name(word) for word in (name, *classes.synonyms.get(name, ()))}
            other = named.get(normal_name(line.name))
            if line.id and other is not None and normal_name(line.name) not in own:
                told = f"{line.told} goes with {line.id}, which is '{name}' in the source, where '{other}' is"
                raise DataError(
                    f"{self.where}: {told} {classes.ids.get(other, 'another class')}; mend the id or the name."
                )

    def _missing(self, absent: list[Listed], classes: Classes, source: Path) -> str:
        told = [_absent(line, classes) for line in absent[:MOST_TOLD]]
        told += [f"and {len(absent) - MOST_TOLD} more"] if len(absent) > MOST_TOLD else []
        further = len(classes.names) - MOST_TOLD
        known = ", ".join(classes.names[:MOST_TOLD]) + (f" and {further} more" if further > 0 else "")
        total, here = len(self.lines), len(classes.names)
        which = "the one class of the list" if total == 1 else f"{len(absent)} of {total} classes"
        return (
            f"{self.where}: {which} {'is' if len(absent) == 1 else 'are'} not in {source}: {', '.join(told)}. "
            f"It has {here} {'class' if here == 1 else 'classes'}: {known or 'none'}. "
            f"Mend the list or take {'this' if len(absent) == 1 else 'these'} out."
        )

    def named(self, classes: Classes) -> dict[str, tuple[str, ...]]:
        """Name in the dataset -> synonyms, in the list's order: the list's own, then the source's. Where the source has
        no ids, its name is one of them if the list spells it otherwise.
        """
        meant = self.among(classes)
        found: dict[str, list[str]] = {name_in(line, meant): [] for line in self.lines}
        for source, line in meant.items():
            name = name_in(line, meant)
            own = () if source in classes.ids else (source,)
            found[name] += [*line.synonyms, *own, *classes.synonyms.get(source, ())]
        return {name: distinct(words, name) for name, words in found.items()}


def name_in(line: Listed, meant: Mapping[str, Listed]) -> str:
    """What the dataset calls the class that a line means: its name there, or the source's where it has an id alone."""
    return line.name or next((name for name, other in meant.items() if other == line), line.id)


def distinct(words: Iterable[str], name: str) -> tuple[str, ...]:
    """The words once each, and not what differs from ``name`` in case and blanks only."""
    by_key = {normal_name(word): word for word in reversed(list(words))}
    return tuple(word for key, word in reversed(by_key.items()) if key and key != normal_name(name))


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is too large for a list of classes.")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; a list of classes is a text file.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _listed(text: str, row: int | None, where: str) -> Listed:
    """A line: ``name``, ``name: synonym, synonym``, ``n01440764``, or ``n01440764 tench, Tinca tinca``, in which the id
    may as well come last.
    """
    at = f"row {row}" if row else repr(text)
    ids = re.findall(rf"\b{WORDNET_ID.pattern}\b", text)
    if not ids:
        name, _, words = text.partition(":")
        if not name.strip():
            raise DataError(f"{where}: {at} has synonyms and no name before the ':'.")
        return Listed(name.strip(), "", distinct((word.strip() for word in words.split(",")), name), row)
    found = re.fullmatch(rf"({WORDNET_ID.pattern})([\s:,].*)?|(.+[\s:,])({WORDNET_ID.pattern})", text)
    if len(ids) > 1 or found is None:
        raise DataError(f"{where}: {at} must have one WordNet id, before or after its names, not '{text}'.")
    rest = (found[2] or found[3] or "").rstrip(" \t:,")
    if rest.lstrip().startswith(":"):  # an id and synonyms, but no name: the source has one
        return Listed("", ids[0], distinct((word.strip() for word in rest.lstrip(" \t:").split(",")), ""), row)
    name, *words = (word.strip() for word in re.split("[:,]", rest.lstrip(" \t,")))
    return Listed(name, ids[0], distinct(words, name), row)


def _id_told(name: str, classes: Classes) -> str:
    return f" ({classes.ids[name]})" if classes.ids.get(name, name) != name else ""


def _absent(line: Listed, classes: Classes) -> str:
    """A line that means no class of the source, its row, and the class that it may have meant."""
    row = [] if line.row is None else [f"row {line.row}"]
    told = "; ".join([*row, *_near(line, classes)])
    return f"'{line.name or line.id}'" + (f" ({told})" if told else "")


def _near(line: Listed, classes: Classes) -> list[str]:
    """The class of the source that a line may have meant."""
    if line.id:
        return []
    words = {name: name for name in classes.names}
    words |= {word: name for name, each in classes.synonyms.items() for word in each if word not in words}
    close = [word for word in words if alike(line.name, word)]
    folded = {word.casefold(): word for word in words}
    close = close or [folded[one] for one in get_close_matches(line.name.casefold(), folded, n=1, cutoff=0.6)]
    return [f"did you mean '{words[close[0]]}'?"] if close else []


def need_choice(classes: ClassList | None, keep_empty: bool, task: str) -> None:
    """Raise UserError where a class list, or keeping images without any of its classes, means nothing to the task."""
    if classes is not None and task not in ("classification", "detection", "grounding"):
        raise UserError(f"--classes chooses classes of images or of boxes; it means nothing to the task '{task}'.")
    if classes is not None and task == "classification" and len(classes.lines) < 2:
        only = ", ".join(line.told for line in classes.lines)
        raise UserError(f"{classes.where} has one class, {only}; classification chooses between two or more: add some.")
    if keep_empty and (classes is None or task != "detection"):
        raise UserError(
            "--keep-empty keeps pictures that show none of the listed classes, as pictures with nothing to find; it "
            "goes with --task detection and --classes."
        )
