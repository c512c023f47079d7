"""Reason-RFT's released files by their names: of which task and split each is, and how ours are called like them.

The names are those of the released data set (``Visual-Counting-ood-test-1k.json``): a family, a split, a size. What
the release does not have, such as a val, is called in the same manner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from rise_vlm.data.formats.base import Skip
from rise_vlm.data.formats.places import SPLIT_NAMES

FAMILIES = {
    "transformation": "A1-Spatial-Transformation",
    "structure": "A2-Structure-Perception",
    "counting": "A3-Visual-Counting",
}
"""Task -> what the release calls it; the number stands before files of training data only."""

File = tuple[Path, str, str | None]
"""A file, its name within the source, and its split."""

_TASKS = {family.partition("-")[2].casefold(): task for task, family in FAMILIES.items()}
_NAME = re.compile(rf"(?:a\d-)?({'|'.join(_TASKS)})-(.+?)(?:-\d+(?:k\d*)?)?(?:-cot)?", re.IGNORECASE)


def task_and_split(name: str) -> tuple[str, str | None] | None:
    """The task and split of a file called like the released ones, None of any other. A test is in domain (``id``) or
    one of those out of domain.
    """
    match = _NAME.fullmatch(PurePosixPath(name).stem)
    if match is None:
        return None
    words = match[2].casefold().replace("-", "_")
    test = re.fullmatch(r"(id|ood\w*?)_test", words)
    split = {"id": "test"}.get(test[1], test[1]) if test else SPLIT_NAMES.get(words)
    return _TASKS[match[1].casefold()], split


def tasks_among(names: Iterable[str]) -> list[str]:
    """The tasks of the files that are called like the released ones, each once."""
    return list(dict.fromkeys(found[0] for name in names if (found := task_and_split(name))))


def of_task(files: list[File], task: str) -> tuple[list[File], list[Skip]]:
    """The files of ``task``, each with the split that its name tells, and those left out. Where no file is called like
    the released ones, all files as they are.
    """
    known = [task_and_split(name) for _, name, _ in files]
    if not any(known):
        return files, []
    chosen: list[File] = []
    left: list[Skip] = []
    for (path, name, _), found in zip(files, known, strict=True):
        if found is None:
            left.append(Skip("a file beside Reason-RFT's whose name tells no task; it can be imported by itself", name))
        elif found[0] != task:
            left.append(Skip(f"a file of another task ({found[0]})", name))
        else:
            chosen.append((path, name, found[1]))
    return chosen, left


def file_name(task: str, split: str) -> str:
    """What the release calls, or would call, the file of a split."""
    family = FAMILIES[task]
    if split == "train":
        return f"{family}-train.json"
    test = {"test": "id-test"}.get(split, f"{split}-test" if split.startswith("ood") else split)
    return f"{family.partition('-')[2]}-{test.replace('_', '-')}.json"
