"""Reading a run folder for its report: results, recipes, the stages' metrics, the predictions.

Every piece may be missing, since a report is also asked for while a run is under way; a piece that is there and
cannot be read is told, never skipped. Left out: anything that is only in checkpoints.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from rise_vlm.data.card import CARD, Card, explain
from rise_vlm.errors import UserError, nearest

MARKS = ("results.json", "recipe.yaml", "stages", "predictions", "arms")
"""A folder that holds none of these is no run."""

FORMER_NAMES = {"giou": "miou"}
"""Metrics that older results call otherwise: the mean IoU was named as in LISA, but reads as the generalised IoU."""


class _Piece(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Data(_Piece):
    """The dataset of a run, in short."""

    name: str = ""
    task: str = ""
    folder: str = ""
    classes: tuple[str, ...] = ()
    counts: dict[str, int] = {}


class Cost(_Piece):
    """What it took to get an arm's model from the base; None where it was not measured."""

    seconds: float | None = None
    rollouts: float | None = None
    tokens: float | None = None
    peak_mb: float | None = None


class QualityStage(_Piece):
    """The figures of the rationales that one stage's model wrote."""

    stage: str
    role: str = "think"
    metrics: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}


class QualityResult(_Piece):
    """What was measured of an arm's rationales, stage by stage."""

    n: int = 0
    judge: str = ""
    stages: tuple[QualityStage, ...] = ()


class ArmResult(_Piece):
    """The figures of one arm, seed and split."""

    arm: str
    split: str
    seed: int | None = None
    task: str = ""
    n: int = 0
    metrics: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    cost: Cost | None = None
    quality: QualityResult | None = None

    @field_validator("metrics", "intervals", mode="before")
    @classmethod
    def _present_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {FORMER_NAMES.get(name, name): figure for name, figure in value.items()}


class Floor(_Piece):
    """What answering without looking scores on one split; one that is not ``blind`` knows what a world has drawn."""

    name: str
    split: str
    blind: bool = True
    metrics: dict[str, float | None] = {}


class Results(_Piece):
    """``results.json`` as ``docs/results-format.md`` describes it."""

    recipe: str = ""
    model: str = ""
    data: Data = Data()
    arms: tuple[ArmResult, ...] = ()
    floors: tuple[Floor, ...] | None = ()
    loop: dict[str, Any] | None = None
    harvest: dict[str, Any] | None = None
    stages: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage's folder: the arm it belongs to ('' outside a demo), its name, and its metrics row by row; of a closed
    loop also what its controls found, a row per measurement."""

    arm: str
    name: str
    rows: list[dict[str, Any]]
    probes: list[dict[str, Any]] = field(default_factory=list)

    def series(self, key: str) -> list[tuple[float, float]]:
        """(step, value) of every row that has a finite number under ``key``."""
        points = [(_number(row.get("step", index)), _number(row.get(key))) for index, row in enumerate(self.rows)]
        return [(step, value) for step, value in points if step is not None and value is not None]

    def controls(self, key: str) -> list[tuple[float, float]]:
        """(steps done, mean over the records) of every measurement that has ``key``, the one at the loop's end too.

        Runs of a version that kept no ``probes.jsonl`` have what their metrics say, measured before each row's step.
        """
        if not self.probes:
            return [(step - 1, value) for step, value in self.series(f"probe_{key}")]
        found: list[tuple[float, float]] = []
        for row in self.probes:
            after, records = _number(row.get("after")), row.get("records")
            scores = [_number(one.get(key)) for one in records or () if isinstance(one, dict)]
            known = [score for score in scores if score is not None]
            if after is not None and known:
                found.append((after, sum(known) / len(known)))
        return found


@dataclass(frozen=True)
class Histogram:
    """Worth of the sampled rationales: ``edges`` has one entry more than ``counts`` and ``kept``.

    ``kept`` is None where the file does not say how many of each bin were; ``dropped`` counts the others by reason.
    """

    edges: list[float]
    counts: list[float]
    threshold: float | None
    kept: list[float] | None = None
    dropped: dict[str, float] = field(default_factory=dict)


@dataclass
class Run:
    """All that a report shows, read from disk.

    ``predictions`` maps (arm, split) to rows, ``rationales`` (arm, stage). ``card`` is the dataset's, where it
    is at hand.
    """

    root: Path
    results: Results = field(default_factory=Results)
    recipes: dict[str, str] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    histogram: Histogram | None = None
    predictions: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    rationales: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    data_roots: list[Path] = field(default_factory=list)
    card: Card | None = None


def read_run(root: Path) -> Run:
    """Read the run folder ``root``. Raises UserError where it is none, or naming the file that cannot be read."""
    if not root.is_dir():
        siblings = [entry.name for entry in root.parent.iterdir()] if root.parent.is_dir() else []
        raise UserError(f"There is no run folder {root}.{nearest(root.name, siblings)}")
    if not any((root / mark).exists() for mark in MARKS):
        raise UserError(f"{root} is not a run folder: it has none of {', '.join(MARKS)}.")
    run = Run(root)
    run.results = _read_results(root / "results.json")
    homes = [("", root)]
    if (root / "arms").is_dir():
        homes += [(home.name, home) for home in sorted((root / "arms").iterdir()) if home.is_dir()]
    seen: set[Path] = set()
    for arm, home in homes:
        if (home / "recipe.yaml").is_file():
            run.recipes[arm] = _text(home / "recipe.yaml")
        for folder in sorted(home.glob("stages/*")):
            if folder.is_dir() and folder.resolve() not in seen:  # a stage shared between arms shows once
                seen.add(folder.resolve())
                _read_stage(run, arm, folder)
        for path in sorted(home.glob("predictions/*.jsonl")):
            name, _, split = path.stem.rpartition("-")
            run.predictions.setdefault((name, split), read_rows(path))
        for path in sorted(home.glob("quality/*.jsonl")):
            name, _, stage = path.stem.rpartition("-")
            run.rationales.setdefault((name, stage), read_rows(path))
    run.data_roots = _data_roots(run)
    run.card = next((Card.read(folder) for folder in run.data_roots if (folder / CARD).is_file()), None)
    return run


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file. A last line cut off by a kill is dropped; any other bad line is a UserError."""
    lines = [(number, line) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == lines[-1][0]:
                break
            raise UserError(f"{path}, line {number} is not JSON: {error}.", exit_code=1) from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} must be a JSON object.", exit_code=1)
        rows.append(row)
    return rows


def _read_stage(run: Run, arm: str, folder: Path) -> None:
    metrics, probes, histogram = (folder / name for name in ("metrics.jsonl", "probes.jsonl", "histogram.json"))
    if metrics.is_file():
        controls = read_rows(probes) if probes.is_file() else []
        run.stages.append(Stage(arm, re.sub(r"^\d+-", "", folder.name), read_rows(metrics), controls))
    if histogram.is_file() and run.histogram is None:
        run.histogram = _read_histogram(histogram)


def _read_histogram(path: Path) -> Histogram:
    value = _json(path)
    try:
        edges, counts = [float(edge) for edge in value["edges"]], [float(count) for count in value["counts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} must hold 'edges' and 'counts', both lists of numbers.", exit_code=1) from error
    if len(edges) != len(counts) + 1 or not all(map(math.isfinite, edges + counts)):
        raise UserError(f"{path}: 'edges' must hold one number more than 'counts', all finite.", exit_code=1)
    dropped = value.get("dropped") if isinstance(value.get("dropped"), dict) else {}
    reasons = {str(reason): number for reason, count in dropped.items() if (number := _number(count)) is not None}
    return Histogram(edges, counts, _number(value.get("threshold")), _kept(path, value.get("kept"), counts), reasons)


def _kept(path: Path, value: Any, counts: list[float]) -> list[float] | None:
    if value is None:
        return None
    kept = [_number(count) for count in value] if isinstance(value, list) else []
    known = [count for count in kept if count is not None]
    if len(known) != len(counts) or any(part > whole for part, whole in zip(known, counts, strict=True)):
        raise UserError(f"{path}: 'kept' must hold as many numbers as 'counts', none above its count.", exit_code=1)
    return known


def _read_results(path: Path) -> Results:
    if not path.is_file():
        return Results()
    try:
        return Results.model_validate(_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, Results)}", exit_code=1) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}.", exit_code=1) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.", exit_code=1) from error


def _number(value: Any) -> float | None:
    """``value`` as a finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _data_roots(run: Run) -> list[Path]:
    """Folders that image paths may be relative to: those named by results and recipes, then the run's own."""
    named = [run.results.data.folder]
    for text in run.recipes.values():
        try:
            recipe = yaml.safe_load(text)
        except yaml.YAMLError:
            continue  # shown on the page as it is; it only costs the pictures
        data = recipe.get("data") if isinstance(recipe, dict) else None
        data = data.get("folder") if isinstance(data, dict) else data
        named.append(data if isinstance(data, str) else "")
    roots = [root for name in named if name for root in (run.root / name, Path(name))]
    return [root for root in [*roots, run.root / "data", run.root] if root.is_dir()]
