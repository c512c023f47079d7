"""From what a user calls a model to the model: a run folder means the model that the run ended with.

A run's model is used as the run used it: role, limits and precision are those of its recipe. Left out: choosing
between checkpoints of one stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.policy.lora import adapter_base
from rise_vlm.policy.names import BUILT_IN, resolve
from rise_vlm.recipes.loader import read_yaml
from rise_vlm.recipes.schema import STAGES, Recipe
from rise_vlm.stages.cost import Cost, add_costs, no_cost
from rise_vlm.stages.files import read_json
from rise_vlm.stages.plan import DONE
from rise_vlm.tasks.base import Role, Task

ANSWERING = ("grpo", "sft")
"""The stages whose model answers, the last first."""

KEPT = (
    "seed", "policy.precision", "policy.max_pixels",
    "evaluate.max_new_tokens", "evaluate.records_per_batch", "evaluate.resamples",
    "evaluate.quality.records", "evaluate.quality.judge",
)  # fmt: skip
"""The settings of a run that decide what its model answers, and the intervals."""

CARRIED = ("closed_loop", "task", "policy", "seed")
"""The settings of a run by which its rationales are sampled and judged."""

UNSEEN = "the built-in model knows drawn scenes only: on other pictures all parts run, but what comes out says nothing"
"""Said where the built-in model meets pictures that no world has drawn, as far as can be known."""


@dataclass(frozen=True)
class Found:
    """A model's name or folder, and what its run says, where there is one: the role in which it was evaluated, its
    ``KEPT`` settings by dotted key, its recipe's name (``arm``), the model that it began with (``base``), the task that
    it was trained on, once it is finished, and what the training cost.
    """

    model: str
    role: Role | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    arm: str | None = None
    base: str | None = None
    task: str | None = None
    cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """Who writes the rationales: the base model, the one of the warm-up, and the one that the loop trained.

    ``loop`` is the folder of the closed loop's stage in the run ``run``; ``settings`` are the run's own.
    """

    base: str
    warm: str
    model: str
    run: Path | None = None
    loop: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def find_model(name: str) -> Found:
    """``tiny``, a hub id, a model folder, a run folder, or a demo's folder (of which the arm ``rise`` is taken).

    The model folder of a run's stage is told by both: ``rise_warm_up``. Of a run folder a stage's model counts only
    where all stages before it are done; where the run's last one is not, it is said.

    Raises:
        UserError: a run folder without any finished model, or whose recipe cannot be read.
    """
    folder, stage = run_folder(name), ""
    if folder is None:
        folder, stage = stage_of(name)
    if folder is None:
        return Found(name)
    recipe = read_yaml(folder / "recipe.yaml")
    settings = {key: value for key in KEPT if (value := value_of(recipe, key)) is not None}
    roles = value_of(recipe, "evaluate.roles")
    role = roles[0] if isinstance(roles, list) and roles and roles[0] in ("think", "answer") else None
    stages = [stage for stage in STAGES if stage in (recipe.get("stages") or STAGES)]
    answering = [stage for stage in stages if stage in ANSWERING]
    base = str(recipe.get("model") or "tiny")
    found = Found(base, role, settings, str(recipe.get("name") or "recipe"), base)
    if stage:
        before = stages[: stages.index(stage) + 1] if stage in stages else []
        spent = add_costs(no_cost(), *(_cost(done) for _, _, done in _finished(folder, before)))
        return replace(found, model=name, arm=f"{found.arm}_{stage}", cost=spent)
    if not answering:
        return found
    model, last, cost = _last_model(folder, stages)
    if model is None:
        raise UserError(f"run {name} has no finished model yet: run it again to finish it, or name a model folder.")
    if last != answering[-1]:
        say(f"run {name} is not finished: the model of its stage {last} is used, not that of {answering[-1]}.")
    task = value_of(read_json(folder / "results.json"), "data.task")
    return replace(found, model=str(model), task=task, cost=cost)


def settled(recipe: Recipe) -> Recipe:
    """The recipe with models in the place of the runs that it names. Raises UserError as ``find_model``."""
    changed: dict[str, Any] = {"model": find_model(recipe.model).model}
    evaluate = recipe.evaluate
    if evaluate.measures_quality and evaluate.quality.judge:
        judge = find_model(evaluate.quality.judge).model
        quality = evaluate.quality.model_copy(update={"judge": judge})
        changed["evaluate"] = evaluate.model_copy(update={"quality": quality})
    return recipe.model_copy(update=changed)


def judged_by(base: str) -> dict[str, Any]:
    """The settings by which a run's base judges the rationales of its model; a base that is gone judges nothing."""
    try:
        require_model(base)
    except UserError:
        say(f"{base}, the run's base, is not there any more, so no rationales are judged by it.")
        return {"evaluate.quality.records": 0}
    return {"evaluate.quality.judge": base}


def find_writer(name: str) -> Writer:
    """A model's name or folder, or a run's folder: then the model of its loop, else of its warm-up, else its base.

    Raises UserError for a run whose recipe cannot be read.
    """
    folder = run_folder(name)
    if folder is None:
        return Writer(name, name, name)
    values = read_yaml(folder / "recipe.yaml")
    base = str(values.get("model") or "tiny")
    warm = _model_of(folder, "warm_up") or base
    loops = sorted(folder.glob("stages/*-closed_loop"))
    settings = {key: values[key] for key in CARRIED if key in values}
    apart = value_of(values, "closed_loop.reconstruct.reconstructor") == "warm_up"
    model = _model_of(folder, "closed_loop") or (base if apart else warm)
    return Writer(base, warm, model, folder, loops[-1] if loops else None, settings)


def _model_of(folder: Path, stage: str) -> str | None:
    for _, path, done in _finished(folder, [stage]):
        if trained := value_of(done, "summary.model"):
            return str(path / trained)
    return None


def run_folder(name: str) -> Path | None:
    """The run's folder that ``name`` is, of a demo's that of the arm ``rise``; None where it names no run."""
    folder = Path(name).expanduser()
    if name in BUILT_IN or adapter_base(name) or (folder / "config.json").is_file():
        return None
    if (folder / "arms" / "rise").is_dir():
        folder = folder / "arms" / "rise"
    return folder if (folder / "recipe.yaml").is_file() else None


def stage_of(name: str) -> tuple[Path | None, str]:
    """The run and the stage whose model folder ``name`` is; None and "" where it is not one."""
    stage = Path(name).expanduser().resolve().parent
    run = stage.parents[1] if len(stage.parts) > 2 and stage.parent.name == "stages" else None
    if run is None or not (run / "recipe.yaml").is_file():
        return None, ""
    return run, stage.name.partition("-")[2]


def require_model(name: str) -> None:
    """Raise UserError unless ``name`` is built in, a folder with a model, or may be a hub id. Nothing is opened."""
    resolve(adapter_base(name) or name)


def doubts(found: Found, task: Task) -> list[str]:
    """Why the answers of a model to ``task`` may be worth little."""
    said: list[str] = []
    if found.task not in (None, task.name):
        said.append(f"this model was trained on {found.task}, not on {task.name}: its answers may not be of that kind")
    if {found.model, found.base} & set(BUILT_IN):
        said.append(UNSEEN)
    return said


def unexplained(found: Found, role: str | None) -> list[str]:
    """Why there will be no rationales, where the run's own role leaves them out and no ``role`` was asked for."""
    if role or found.role != "answer":
        return []
    return [
        "no rationales are written: this run's model answers without (evaluate.roles: [answer]). --role think asks for "
        "them all the same, though it has not learned any; a run such as rise or cot_sft teaches them"
    ]


def _last_model(folder: Path, stages: Sequence[str]) -> tuple[Path | None, str, Cost]:
    """The model of the last answering stage up to which all are done, that stage, and what it took to get there."""
    model, last, cost, so_far = None, "", no_cost(), no_cost()
    for stage, path, done in _finished(folder, [stage for stage in stages if stage != "evaluate"]):
        so_far = add_costs(so_far, _cost(done))
        trained = value_of(done, "summary.model")
        if stage in ANSWERING and trained:
            model, last, cost = path / trained, stage, so_far
    return model, last, cost


def _finished(folder: Path, stages: Sequence[str]) -> Iterator[tuple[str, Path, Any]]:
    """Each stage's name, folder and ``done.json``, up to the first that is not done: what comes after that is of other
    settings, or of a run before."""
    for stage in stages:
        found = [(path, done) for path in sorted(folder.glob(f"stages/*-{stage}")) if (done := read_json(path / DONE))]
        if not found:
            return
        yield stage, *found[-1]


def _cost(done: Any) -> Mapping[str, float]:
    return value_of(done, "cost") or {}


def value_of(values: Any, key: str) -> Any:
    """What a recipe, or another mapping, as it was read has under a dotted key; None where it has nothing."""
    value = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
