"""ImageNet: a folder per WordNet id, or the ILSVRC layout with a flat validation folder and its solution.

Classes go by their first name in a mapping file that lies with the data (``MAPPINGS``); its other names are synonyms.
Two classes of one name (two cranes) have their id behind it. Images of the test set have no labels and are left out.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.class_list import WORDNET_ID
from rise_vlm.data.formats.base import Classes, Found, Item, Note, Options, Skip
from rise_vlm.data.formats.folders import images_in, loose_files
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, IMAGENET_ROOTS, folders_in, need_folder, split_level
from rise_vlm.data.formats.reading import read_json, read_text
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError
from rise_vlm.tasks.base import normal_name

MAPPINGS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt", "imagenet_class_index.json", "map_clsloc.txt")
"""Files that name the WordNet ids; the first that is there counts."""

SPEAKING = frozenset(MAPPINGS) - {"words.txt"}
"""Those whose name says enough to be looked for beside the source too."""

SOLUTION = "LOC_val_solution.csv"
LISTS = (*MAPPINGS, SOLUTION, "LOC_train_solution.csv", "LOC_sample_submission.csv")
"""Files that belong to the layout and are no loose ones."""

COLUMNS = ("ImageId", "PredictionString")


@dataclass(frozen=True)
class Place:
    """A folder of images: below which split, and of which class where the folder is of one."""

    folder: Path
    split: str | None
    wordnet_id: str = ""


def sees(glimpse: Glimpse) -> str | None:
    """Folders called by WordNet ids with images in them."""
    return f"folders of images called by WordNet ids, as '{glimpse.wordnet}'" if glimpse.wordnet else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every image of a class folder and every validation image that the solution labels."""
    need_folder(source, "imagenet")
    root = next((source / part for part in IMAGENET_ROOTS if (source / part).is_dir()), source)
    around = [*(path for path in reversed(root.parents) if path.is_relative_to(source)), root, source.parent]
    places, skips = _places(root)
    truths = _solution(around) if any(not place.wordnet_id for place in places) else None
    ids = {place.wordnet_id for place in places if place.wordnet_id} | set(truths[1].values() if truths else ())
    if not ids:
        raise DataError(f"{root} has no folder called by a WordNet id, such as n01440764; 'imagenet' reads those.")
    mapping = _mapping(around, source)
    if not mapping and (options.classes is None or not all(line.name for line in options.classes.lines)):
        known = ", ".join(MAPPINGS[:4])
        yield Note(f"no file says what the WordNet ids mean, so they are the classes; put one of {known} beside them")
    unnamed = sorted(ids - mapping.keys()) if mapping else []
    if unnamed:
        yield Note(f"the file of names does not name {len(unnamed)} of {len(ids)} WordNet ids: {unnamed[0]} ...")
    classes = _classes(sorted(ids), mapping)
    names = {id_: name for name, id_ in classes.ids.items()}
    yield classes
    yield from skips
    kept = set(names) if options.classes is None else {classes.ids[name] for name in options.classes.among(classes)}
    for place in places:
        if not place.wordnet_id:
            yield from _flat(source, place, truths, names)
        elif place.wordnet_id in kept:
            yield from images_in(source, place.folder, place.split, names[place.wordnet_id])
        else:
            yield Skip("a folder of a class that --classes leaves out", place.folder.name)


def _places(root: Path) -> tuple[list[Place], list[Skip]]:
    """The folders with images, and what lies beside them that is not read."""
    folders = folders_in(root)
    splits = split_level(folders)
    loose = list(loose_files(root, LISTS))
    if splits is None:
        places, skips = _class_places(folders, None)
        return places, loose + skips
    places: list[Place] = []
    skips = loose + [
        Skip("a folder that is none of train, val and test", each.name) for each in folders if each not in splits
    ]
    for folder, split in splits.items():
        inner = folders_in(folder)
        if any(WORDNET_ID.fullmatch(each.name) for each in inner):
            found, more = _class_places(inner, split)
            places += found
            skips += [*loose_files(folder, LISTS), *more]
        elif split == "val":
            images = {path.name for path in folder.iterdir() if path.suffix.casefold() in IMAGE_SUFFIXES}
            places.append(Place(folder, split))
            skips += [*loose_files(folder, images), *_class_places(inner, split)[1]]
        else:
            skips.append(Skip("a folder whose images have no labels", folder.name))
    return places, skips


def _class_places(folders: list[Path], split: str | None) -> tuple[list[Place], list[Skip]]:
    ours = [each for each in folders if WORDNET_ID.fullmatch(each.name)]
    others = [Skip("a folder that no WordNet id names", each.name) for each in folders if each not in ours]
    return [Place(each, split, each.name) for each in ours], others


def _classes(ids: list[str], mapping: Mapping[str, list[str]]) -> Classes:
    """The classes in the order of their ids, with names, ids and synonyms."""
    first = {id_: mapping.get(id_, [id_])[0] for id_ in ids}
    times = Counter(normal_name(name) for name in first.values())
    names = {id_: name if times[normal_name(name)] == 1 else f"{name} ({id_})" for id_, name in first.items()}
    words = {names[id_]: tuple(mapping.get(id_, ())) for id_ in ids}
    return Classes(tuple(names.values()), {name: id_ for id_, name in names.items()}, words)


def _mapping(around: list[Path], source: Path) -> dict[str, list[str]]:
    """WordNet id -> its names, of the first mapping file that is there; empty where none is."""
    for name in MAPPINGS:
        for folder in around:
            path = folder / name
            if path.is_file() and (name in SPEAKING or folder.is_relative_to(source)):
                path = safe_join(folder, name)
                found = _from_index(path) if path.suffix == ".json" else _from_lines(path)
                if not found:
                    raise DataError(f"{path} names no WordNet id; fetch it again or take it away.")
                return found
    return {}


def _from_lines(path: Path) -> dict[str, list[str]]:
    """``n01440764 tench, Tinca tinca``, also with a tab, and ``n01440764 1 tench`` as map_clsloc.txt has it."""
    found: dict[str, list[str]] = {}
    for row, line in enumerate(read_text(path).splitlines(), start=1):
        id_, _, told = line.strip().replace("\t", " ").partition(" ")
        if path.name == "map_clsloc.txt":
            told = told.partition(" ")[2].replace("_", " ")
        words = [word.strip(" :") for word in told.split(",") if word.strip(" :")]
        if line.strip() and (not WORDNET_ID.fullmatch(id_) or not words):
            raise DataError(
                f"{path} row {row}: '{line.strip()[:60]}' is no WordNet id with names; fetch the file again."
            )
        if line.strip():
            found[id_] = words
    return found


def _from_index(path: Path) -> dict[str, list[str]]:
    """``{"0": ["n01440764", "tench"]}``, as Keras has it, or ``{"n01440764": "tench"}``."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f'{path} is no object such as {{"0": ["n01440764", "tench"]}}.')
    found: dict[str, list[str]] = {}
    for key, value in content.items():
        pair = value if isinstance(value, list) else [value]
        words = [word for word in (key, *pair) if isinstance(word, str)]
        id_ = next((word for word in words if WORDNET_ID.fullmatch(word)), None)
        if id_ is None or words[-1] == id_ or not words[-1].strip():
            raise DataError(
                f"{path} key '{key}': {str(value)[:60]} is no WordNet id with a name; fetch the file again."
            )
        found[id_] = [word.strip().replace("_", " ") for word in words[-1].split(",")]
    return found


def _solution(around: list[Path]) -> tuple[str, dict[str, str], list[Problem]] | None:
    """The file that labels the flat validation folder: name of an image -> WordNet id; its bad rows."""
    path = next((folder / SOLUTION for folder in around if (folder / SOLUTION).is_file()), None)
    if path is None:
        return None
    try:
        rows = list(csv.reader(io.StringIO(read_text(safe_join(path.parent, SOLUTION)))))
    except csv.Error as error:
        raise DataError(f"{path} is no CSV: {error}; fetch the file again.") from error
    if tuple(cell.strip() for cell in (rows or [[]])[0]) != COLUMNS:
        raise DataError(f"{path} does not begin with the columns {','.join(COLUMNS)}; fetch the file again.")
    truths: dict[str, str] = {}
    bad: list[Problem] = []
    for number, row in enumerate(rows[1:], start=2):
        id_ = row[1].split()[0] if len(row) == 2 and row[1].split() else ""
        if WORDNET_ID.fullmatch(id_):
            truths[row[0].strip()] = id_
        elif row:
            told = f"'{','.join(row)[:60]}' is no image and a WordNet id"
            bad.append(BadRow("row", told, row[0] or None).at(SOLUTION, number))
    return SOLUTION, truths, bad


def _flat(source: Path, place: Place, truths: Any, names: Mapping[str, str]) -> Iterator[Found]:
    """The images of a flat validation folder, labelled by the solution."""
    paths = sorted(path for path in place.folder.iterdir() if path.suffix.casefold() in IMAGE_SUFFIXES)
    if truths is None:
        for path in paths:
            yield Skip(f"a validation image without a label, since there is no {SOLUTION}", path.name)
        return
    file, labels, bad = truths
    yield from bad
    for path in paths:
        name = path.relative_to(source).as_posix()
        try:
            safe_join(source, name)
            if path.stem not in labels:
                raise BadRow("annotation", f"the image is not in {file}", name)
            yield Item(name, None, name, name, path, names[labels[path.stem]], place.split)
        except BadRow as wrong:
            yield wrong.at(name, None)
        except DataError as error:
            yield Problem(name, None, "path", str(error), name)
    for absent in sorted(labels.keys() - {path.stem for path in paths}):
        yield Skip(f"a row of {file} whose image is not there", absent)
