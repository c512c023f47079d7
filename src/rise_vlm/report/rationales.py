"""The rationales in a report: what was measured of each stage's, and what each stage wrote of the same few pictures.

The base's are the same for all arms of a page, so they show once. Left out: the loop's own controls, which have tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rise_vlm.report.gallery import Thumbnail, clip, find_picture, images_of, show
from rise_vlm.report.read import ArmResult, QualityStage, Results, Run
from rise_vlm.report.table import Cell, arm_name

EXAMPLES = 4
"""Pictures whose rationales are shown side by side."""

STAGES = {"base": "Base", "closed_loop": "after the loop", "sft": "after SFT", "grpo": "after GRPO"}

COLUMNS = {
    "gain_shuffled": ("gain", "score rebuilt from it, above that from another record's rationale"),
    "gain_empty": ("over none", "score rebuilt from it, above that from no rationale"),
    "real": ("rebuilt", "score of the annotation that the judge rebuilds from it"),
    "swap_rationale": (
        "answer follows",
        "behind another picture's rationale, the answer goes with that, not the picture",
    ),
    "facts_precision": ("true", "share of the stated facts that are true"),
    "facts_recall": ("stated", "share of the true facts that are stated"),
    "leak_rate": ("leaks", "share that the leak rules find the annotation in; who answers may name it"),
    "words": ("words", "per rationale"),
    "cut_off": ("cut off", "share of completions that ran into the limit"),
    "repetition": ("repeated", "share of its runs of four words that came before in it"),
    "distinct": ("distinct", "share of different texts over the records"),
    "distinct_2": ("distinct-2", "different pairs of words among samples of one record"),
    "written": ("written", "share of completions with a rationale"),
}
"""Figure -> how its column is called, and what it is."""


@dataclass(frozen=True)
class Row:
    """One stage of one arm; ``told``: its model was given the annotation."""

    name: str
    cells: list[Cell]
    told: bool


@dataclass(frozen=True)
class Table:
    """Stages in rows; ``columns`` are (name, explanation), of the figures that any of them has."""

    columns: list[tuple[str, str]]
    rows: list[Row]
    judge: str
    split: str
    records: int


@dataclass(frozen=True)
class Said:
    """What one stage wrote of one record; ``answer`` is empty where it was told the annotation."""

    name: str
    rationale: str
    answer: str
    told: bool


@dataclass(frozen=True)
class Example:
    """One record with what each stage wrote of it; ``problem`` says why there is no thumbnail."""

    id: str
    question: str
    truth: str
    said: list[Said]
    thumbnail: Thumbnail | None
    problem: str


def quality_table(results: Results) -> Table | None:
    """The table of all stages that were measured; None where there is none."""
    found = measured(results)
    if not found:
        return None
    entry = found[0][0]
    keys = [key for key in COLUMNS if any(stage.metrics.get(key) is not None for _, stage in found)]
    several = len({arm.arm for arm, _ in found}) > 1
    rows = [
        Row(stage_name(arm.arm, stage.stage, several), [_cell(stage, key) for key in keys], stage.role == "reason")
        for arm, stage in found
    ]
    quality = entry.quality
    judge, records = (quality.judge, quality.n) if quality else ("", 0)
    return Table([COLUMNS[key] for key in keys], rows, judge, entry.split, records)


def measured(results: Results) -> list[tuple[ArmResult, QualityStage]]:
    """Each arm's stages in their order, the base of the first arm alone."""
    found: list[tuple[ArmResult, QualityStage]] = []
    for arm in results.arms:
        for stage in arm.quality.stages if arm.quality else ():
            if stage.stage != "base" or not any(other.stage == "base" for _, other in found):
                found.append((arm, stage))
    return found


def stage_name(arm: str, stage: str, several: bool) -> str:
    """How a stage of an arm is called; the arm is named where there are ``several``."""
    name = STAGES.get(stage, stage.replace("_", " "))
    if stage == "base" or not several:
        return name[:1].upper() + name[1:]
    return f"{arm_name(arm)}, {name}"


def _cell(stage: QualityStage, key: str) -> Cell:
    low, high = stage.intervals.get(key) or (None, None)
    return Cell(stage.metrics.get(key), low, high)


def examples(run: Run, count: int = EXAMPLES) -> list[Example]:
    """The first ``count`` records that were measured, with what each stage wrote of them."""
    found = [(arm, stage, run.rationales.get((arm.arm, stage.stage), [])) for arm, stage in measured(run.results)]
    found = [one for one in found if one[2]]
    if len(found) < 2:
        return []  # nothing to compare: the gallery shows what the one stage wrote
    several = len({arm.arm for arm, _, _ in found}) > 1
    shown: list[Example] = []
    for first in found[0][2][:count]:
        said = [
            _said(stage_name(arm.arm, stage.stage, several), row, stage.role == "reason")
            for arm, stage, rows in found
            for row in rows
            if row.get("id") == first.get("id")
        ]
        thumbnail, problem = find_picture(images_of(first), run.data_roots)
        truth = show(first.get("annotation"))
        shown.append(Example(str(first.get("id")), clip(first.get("question")), truth, said, thumbnail, problem))
    return shown


def _said(name: str, row: dict[str, Any], told: bool) -> Said:
    answer = "" if told else "no answer" if row.get("value") is None else show(row["value"])
    return Said(name, clip(row.get("rationale")), answer, told)
