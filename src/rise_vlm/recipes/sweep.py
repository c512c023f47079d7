"""Sweeps: arms x data sets x sizes x seeds, as one YAML file. Each combination is a cell, and each cell a run.

Left out: reading that file (``sweep_file``), running them (``rise_vlm.stages.sweep``), and any search: a sweep tries
what it lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from rise_vlm.errors import UserError, nearest
from rise_vlm.recipes.equal_time import derive, trained_stage
from rise_vlm.recipes.loader import RIVALS, Values, as_overrides, expand, load_recipe
from rise_vlm.recipes.schema import STAGES, Count, Recipe, Settings
from rise_vlm.worlds import WORLDS

SWEEPS_TO_SET = ("name", "seed", "data", "data.folder", "data.limit")
"""The keys of a recipe that differ between the cells of a sweep: no arm and no setting may give them."""

FILE = "sweep.yaml"
"""In a sweep's folder: the sweep, resolved."""

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]


def by_name(value: Any, own: Mapping[str, Any]) -> Any:
    """One data set or a list, by name: those of ``own`` by theirs, a folder or world by its own; what has names already
    stays. Raises ValueError where two would have one name.
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        return value
    named: dict[str, Any] = {}
    for one in listed:
        known = not isinstance(one, Mapping) and str(one) in own
        name = str(one.get("world", "")) if isinstance(one, Mapping) else Path(str(one)).resolve().name
        name = str(one) if known else name
        if name in named:
            raise ValueError(
                f"two data sets would be called '{name}': give them names, as in 'data: {{a: ..., b: ...}}'"
            )
        named[name] = own[str(one)] if known else one
    return named


class Drawn(Settings):
    """A data set to draw. ``seed`` is its seed, or ``run``: drawn anew for every seed of the sweep, with that seed.
    ``set``: settings for every arm on it, before those that all data sets share, behind an arm's own.
    """

    world: str
    train: Count = 300
    val: Count = 64
    test: Count = 200
    seed: Annotated[int, Field(ge=0)] | Literal["run"] = 0
    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("world")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in WORLDS:
            raise ValueError(f"there is no world '{value}' (known: {', '.join(WORLDS)}){nearest(value, WORLDS)}")
        return value


Source = Annotated[
    Annotated[str, Tag("folder")] | Annotated[Drawn, Tag("drawn")],
    Discriminator(lambda value: "folder" if isinstance(value, str) else "drawn"),
]
"""A folder or what is to be drawn; the tags keep pydantic from telling the faults of the other kind."""


class Arm(Settings):
    """A recipe (by default the one that is called like the arm) and the settings that it is given.

    With ``like`` and ``time_of`` it is the arm ``like`` trained for as long as the arm ``time_of`` (``equal_time``).
    """

    recipe: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    like: str | None = None
    time_of: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Arm:
        if (self.like is None) != (self.time_of is None):
            raise ValueError("like and time_of belong together: an arm, and the one whose time it is given")
        if self.like is not None and (self.recipe is not None or self.set):
            raise ValueError("an arm with like takes its recipe and settings from there: leave recipe and set out")
        return self


class Sweep(Settings):
    """``data`` maps names to folders or to worlds to draw; ``records`` are training sizes (null: all). ``settings`` are
    for every arm that has the stage. ``against`` is the arm that tables compare with: the last, if nothing is said.
    ``metric``: the test metrics of the tables, of which each data set shows those that its task has; curves show the
    first of these."""

    name: Name
    description: str = ""
    data: Annotated[dict[Name, Source], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    records: Annotated[tuple[Count | None, ...], Field(min_length=1)] = (None,)
    settings: dict[str, Any] = Field(default_factory=dict)
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    against: str | None = None
    metric: Annotated[tuple[str, ...], Field(min_length=1)] = ("score",)

    @field_validator("metric", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> Any:
        """One metric or a list."""
        return [value] if isinstance(value, str) else value

    @field_validator("arms", mode="before")
    @classmethod
    def _arms(cls, value: Any) -> Any:
        """A list of recipes, or a mapping in which an arm may be its recipe's name or nothing."""
        if isinstance(value, list):
            value = dict.fromkeys(str(name) for name in value)
        if not isinstance(value, Mapping):
            return value
        return {str(k): {"recipe": v} if isinstance(v, str) else {} if v is None else v for k, v in value.items()}

    @field_validator("data", mode="before")
    @classmethod
    def _data(cls, value: Any) -> Any:
        """One folder or world, or a list of them, which are then called by their folder's or world's name."""
        if isinstance(value, Mapping) and "world" in value and not isinstance(value["world"], Mapping):
            value = [value]
        return by_name(value, {})

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        for key in ("seeds", "records", "metric"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: a value is listed twice")
        if self.against is not None and self.against not in self.arms:
            raise ValueError(f"against: there is no arm '{self.against}'{nearest(self.against, self.arms)}")
        for name, arm in self.arms.items():
            for key, other in (("like", arm.like), ("time_of", arm.time_of)):
                if other is not None and other not in self.arms:
                    raise ValueError(f"arms.{name}: {key}: there is no arm '{other}'{nearest(other, self.arms)}")
                if other is not None and self.arms[other].like is not None:
                    raise ValueError(f"arms.{name}: {key}: '{other}' itself is given another's time")
        return self

    @property
    def reference(self) -> str:
        """The arm that tables compare with."""
        return self.against or list(self.arms)[-1]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. ``data`` is the data set's name in the sweep, ``folder`` the run's, ``recipe`` what runs.

    ``note``: how its steps were derived, where they are. ``waits``: the arms that must be finished before that can be.
    """

    data: str
    records: int | None
    arm: str
    seed: int
    folder: Path
    recipe: Recipe
    note: str = ""
    waits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is called in messages: its place in the sweep's folder."""
        return f"{self.data}/{size_name(self.records)}/{self.arm}/seed-{self.seed}"


def size_name(records: int | None) -> str:
    """The folder of a training size."""
    return "all" if records is None else str(records)


def cells(sweep: Sweep, out: Path) -> list[Cell]:
    """Every run of ``sweep``, seed by seed, so that what is there after some time is balanced; arms that are given
    another's time come after the others.

    Raises UserError for an arm whose recipe or settings cannot be.
    """
    _check_free("settings", sweep.settings)
    for name in sweep.data:
        _check_free(f"data.{name}.set", data_settings(sweep, name))
    for name, arm in sweep.arms.items():
        if arm.like is not None:
            trained_stage(_bare(sweep, name), name)
    arms = sorted(sweep.arms, key=lambda arm: sweep.arms[arm].like is not None)
    return [
        make_cell(sweep, out, data, records, arm, seed)
        for seed in sweep.seeds
        for data in sweep.data
        for records in sweep.records
        for arm in arms
    ]


def make_cell(sweep: Sweep, out: Path, data: str, records: int | None, arm: str, seed: int) -> Cell:
    """One cell, as far as what is finished below ``out`` decides it."""
    below = out / data / size_name(records)
    folder, where = below / arm / f"seed-{seed}", data_folder(sweep, data, seed, out)
    own = expand(data_settings(sweep, data))
    shared = {key: value for key, value in expand(sweep.settings).items() if RIVALS.get(key) not in own}
    sweep = sweep.model_copy(update={"settings": {**shared, **own}})
    recipe = arm_recipe(sweep, arm, where, records, seed)
    like, time_of = sweep.arms[arm].like, sweep.arms[arm].time_of
    if like is None or time_of is None:
        return Cell(data, records, arm, seed, folder, recipe)
    runs = [(other, below / other / f"seed-{seed}") for other in (like, time_of)]
    found = derive(recipe, arm, *runs)
    if found is None:
        return Cell(data, records, arm, seed, folder, recipe, waits=(like, time_of))
    recipe = arm_recipe(sweep, arm, where, records, seed, {f"{found.stage}.train.steps": found.steps})
    return Cell(data, records, arm, seed, folder, recipe, note=found.told)


def data_folder(sweep: Sweep, name: str, seed: int, out: Path) -> Path:
    """Where a data set of the sweep is: the user's folder, or one below ``out/data``."""
    source = sweep.data[name]
    if isinstance(source, str):
        return Path(source)
    return out / "data" / (f"{name}-seed-{seed}" if source.seed == "run" else name)


def data_settings(sweep: Sweep, name: str) -> Values:
    """What is set for a data set alone."""
    source = sweep.data[name]
    return source.set if isinstance(source, Drawn) else {}


def arm_recipe(
    sweep: Sweep, arm: str, data: Path, records: int | None, seed: int, steps: Mapping[str, int] | None = None
) -> Recipe:
    """The recipe of one cell; its name is the arm's. ``steps``: a key and what it is derived to be."""
    source, how = _source(sweep, arm)
    own: Values = {"name": arm, "data.folder": str(data), "seed": seed, "data.limit": records}
    _check_free(f"arms.{arm}.set", how.set)
    bare = _bare(sweep, arm)
    arms_own = {key: value for key, value in expand(how.set).items() if not steps or RIVALS.get(key) not in steps}
    shared = {
        key: value
        for key, value in expand(sweep.settings).items()
        if _has(bare, key) and RIVALS.get(key) not in {**arms_own, **(steps or {})}
    }
    try:
        return load_recipe(source, as_overrides({**shared, **arms_own, **own, **(steps or {})}))
    except UserError as error:
        raise UserError(f"arm '{arm}': {error}") from None


def _source(sweep: Sweep, arm: str) -> tuple[str, Arm]:
    """The recipe that an arm takes, and the arm whose settings it has: its own or that which it is ``like``."""
    name = sweep.arms[arm].like or arm
    return sweep.arms[name].recipe or name, sweep.arms[name]


def _bare(sweep: Sweep, arm: str) -> Recipe:
    """An arm without the settings that all share. Raises UserError naming the arm."""
    source, how = _source(sweep, arm)
    try:
        return load_recipe(source, as_overrides(how.set))
    except UserError as error:
        raise UserError(f"arm '{arm}': {error}") from None


def _has(recipe: Recipe, key: str) -> bool:
    stage = key.split(".")[0]
    return stage not in STAGES or stage in recipe.resolved()


def check_reached(sweep: Sweep, settings: Values, where: str = "settings") -> None:
    """A setting that reaches no arm would be ignored without a word. Raises UserError naming the first."""
    recipes = [_bare(sweep, arm) for arm in sweep.arms]
    for key in expand(settings):
        if not any(_has(recipe, key) for recipe in recipes):
            raise UserError(f"{where}: {key} reaches no arm, since none has the stage {key.split('.')[0]}.")


def _check_free(where: str, settings: Values) -> None:
    """Raises UserError naming the first of the settings that is the sweep's own business."""
    for key in expand(settings):
        if key in SWEEPS_TO_SET:
            sizes = " Its sizes are records, as in 'records=[100, 300]'." if key == "data.limit" else ""
            raise UserError(f"{where}: '{key}' is the sweep's to set.{sizes}")


def told_settings(sweep: Sweep) -> list[str]:
    """A line for the settings that all share, and one for each arm: its recipe and what is set."""
    lines = [f"all arms: {' '.join(as_overrides(sweep.settings))}"] if sweep.settings else []
    own = {name: as_overrides(data_settings(sweep, name)) for name in sweep.data}
    lines += [f"all arms on {name}: {' '.join(settings)}" for name, settings in own.items() if settings]
    for name, arm in sweep.arms.items():
        own = f"like {arm.like}, in the time of {arm.time_of}" if arm.like else arm.recipe or name
        lines.append(" ".join([f"{name}: {own}", *as_overrides(arm.set)]))
    return lines


def resolved(sweep: Sweep) -> str:
    """The sweep as YAML, for its folder."""
    import yaml

    return yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def stamp_of(folder: Path) -> Path:
    """The file beside a drawn data set that says what it is, and the floors that its world knows."""
    return folder.with_name(f"{folder.name}.json")
