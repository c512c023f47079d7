"""The predictions of run folders, read to be compared: which arms, seeds and splits there are, and their names.

Left out: whether they can be compared (``comparison``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.errors import UserError, nearest
from rise_vlm.stages.files import read_json, read_rows
from rise_vlm.stages.quality_figures import MEANS

Row = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """The predictions of one arm, seed and split, with what their run says about them."""

    arm: str
    seed: int
    split: str
    folder: Path
    task: str
    data: Path
    dataset: str
    cost: Mapping[str, float]
    file: Path
    rationales: Path | None = None
    known: tuple[str, ...] = ()
    """Figures of rationales; rows of which one is not known are left out."""

    @cached_property
    def rows(self) -> dict[str, Row]:
        """By record id. Raises UserError naming the file where it is missing or holds other rows."""
        found = {row["id"]: row for row in read_rows(self.file) if "id" in row}
        if not found or any("score" not in row or "annotation" not in row for row in found.values()):
            raise UserError(f"{self.file}: there are no predictions in it; run {self.folder} again.")
        return {id: row for id, row in found.items() if all(MEANS[name](row) is not None for name in self.known)}


def read_answers(words: Sequence[str]) -> list[Answers]:
    """The predictions of run folders, each ``FOLDER`` or ``LABEL=FOLDER``; a demo's or a sweep's holds several arms.

    Raises UserError for a folder that is none, or is not finished.
    """
    found: list[tuple[str, Answers]] = []
    for word in words:
        label, folder = _labelled(word)
        for home in run_folders(folder):
            found += [(label, answers) for answers in answers_of(home)]
    return _named(found)


def _labelled(word: str) -> tuple[str, Path]:
    """``LABEL=FOLDER`` in its parts, unless there is a folder of that very name."""
    label, equals, folder = word.partition("=")
    if equals and not Path(word).exists():
        if not label or not folder:
            raise UserError(f"'{word}' is not of the form LABEL=FOLDER.")
        return label, Path(folder)
    return "", Path(word)


def run_folders(folder: Path) -> list[Path]:
    """``folder`` if it is a run, or the finished runs of the sweep or of the folder of runs that it is."""
    if not folder.is_dir():
        siblings = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise UserError(f"There is no run folder {folder}.{nearest(folder.name, siblings)}")
    if (folder / "results.json").is_file():
        return [folder]
    homes = sorted({path.parent for path in folder.glob("**/results.json") if "former" not in path.parts})
    homes = [home for home in homes if not any(other in home.parents for other in homes)]
    begun = {path.parent for path in folder.glob("**/recipe.yaml") if not {"former", "stages"} & set(path.parts)}
    if waiting := sorted(str(home.relative_to(folder)) for home in begun - set(homes)) if homes else []:
        say(f"{folder}: not finished and left out: {', '.join(waiting)}.")
    if not homes:
        under_way = (folder / "recipe.yaml").is_file() or (folder / "sweep.yaml").is_file()
        why = "has no results yet; repeat its command to finish it" if under_way else "is not a run folder"
        raise UserError(f"{folder} {why} (there is no results.json in it).")
    parts = sorted({home.parents[1] for home in homes}) if (folder / "sweep.yaml").is_file() else []
    if len(parts) > 1:
        raise UserError(
            f"{folder} is a sweep of several data sets or sizes, which are compared one by one: name one of "
            f"{', '.join(map(str, parts))}. 'rise sweep {folder} --table' shows them all."
        )
    return homes


def answers_of(home: Path) -> list[Answers]:
    """The predictions of one run's folder. Raises UserError where its results are none, or name no arm."""
    path = home / "results.json"
    results = read_json(path)
    if not isinstance(results, dict) or not isinstance(results.get("arms"), list):
        raise UserError(f"{path} is not the results of a run.")
    if not results["arms"]:
        raise UserError(f"{home} was not evaluated: its recipe has no stage evaluate, so there is nothing to compare.")
    about = results.get("data") or {}
    data = Path(str(about.get("folder", "")))
    try:
        return [
            Answers(
                str(arm["arm"]),
                int(arm["seed"]),
                str(arm["split"]),
                home,
                str(arm["task"]),
                data if data.is_absolute() else home / data,
                str(about.get("name") or data.name),
                arm.get("cost") or {},
                home / "predictions" / f"{arm['arm']}-{arm['split']}.jsonl",
                _rationales(home, arm),
            )
            for arm in results["arms"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: an entry of 'arms' lacks {error}.") from None


def _rationales(home: Path, arm: Mapping[str, Any]) -> Path | None:
    """What was measured of the rationales of an arm's last model, where that was."""
    stages = [one["stage"] for one in (arm.get("quality") or {}).get("stages", ()) if one["role"] == "think"]
    return home / "quality" / f"{arm['arm']}-{stages[-1]}.jsonl" if stages else None


def _named(found: Sequence[tuple[str, Answers]]) -> list[Answers]:
    """Arms called by their label, else their name; by their folder too where two folders have the same arm and seed."""
    several = {label: {answers.arm for other, answers in found if other == label} for label, _ in found}
    named: list[Answers] = []
    for label, answers in found:
        name = answers.arm if not label else label if len(several[label]) == 1 else f"{label} {answers.arm}"
        named.append(replace(answers, arm=name))
    if _clash(named):
        named = [
            one if label else replace(one, arm=f"{one.arm} ({one.folder.name})")
            for (label, _), one in zip(found, named, strict=True)
        ]
    if (clash := _clash(named)) is not None:
        one, other = clash
        raise UserError(
            f"'{one.arm}' with seed {one.seed} is in {one.folder} and in {other.folder}. Call one of them otherwise: "
            f"OTHER={other.folder}."
        )
    return named


def _clash(named: Iterable[Answers]) -> tuple[Answers, Answers] | None:
    seen: dict[tuple[str, int, str], Answers] = {}
    for one in named:
        key = (one.arm, one.seed, one.split)
        if key in seen:
            return seen[key], one
        seen[key] = one
    return None
