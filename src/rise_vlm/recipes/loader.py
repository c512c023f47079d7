"""From a recipe's name or file, and ``key=value`` overrides, to a checked ``Recipe``.

A key may be written short wherever that is clear: ``closed_loop.steps=10`` is ``closed_loop.train.steps=10``,
``grounding.weight=0`` is ``closed_loop.grounding.weight=0``. What a file leaves out keeps its default, or, where it
``extends`` another recipe, that one's value.
Left out: paths relative to the recipe file; ``data`` and ``model`` are relative to where the command runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rise_vlm.errors import UserError, nearest
from rise_vlm.recipes.presets import PRESETS
from rise_vlm.recipes.schema import STAGES, Recipe

FOLDER = Path(__file__).parent
EXTENDS = "extends"
"""The one key of a recipe file that is no setting: the recipe whose values it starts from."""
KINDS = ("literal['auto']", "literal['run']", "bool", "int", "constrained-int", "constrained-float", "drawn", "folder")
"""What pydantic adds to the place of a fault where a value may be of several kinds."""
IN_EPOCHS = ("sft", "grpo")
"""Stages that take epochs in the place of steps."""
RIVALS = {f"{stage}.{key}": f"{stage}.{other}"
          for stage in IN_EPOCHS for key, other in (("epochs", "train.steps"), ("train.steps", "epochs"))}  # fmt: skip
"""Settings of which one makes the other mean nothing."""
MOVED = {"records": "data.limit"}
"""Names that people know and that are not ours, and what is."""
FREE = ("grpo.rewards",)
"""Settings whose keys are the user's own."""
SHIPPED: tuple[str, ...] = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
"""Names of the recipes that come with the package."""

Values = dict[str, Any]


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe ``recipe`` (a shipped name or a YAML file) with ``key=value`` overrides.

    Raises:
        UserError: no such recipe, no YAML, an unknown key (with the nearest known one), a value of the wrong type.
    """
    path = find(recipe)
    files = with_bases(path)
    given = expand(parse_overrides(overrides))
    above: Values = {}
    for key, value in given.items():
        put(above, "data.folder" if key == "data" and not isinstance(value, Mapping) else key, value)
    typed = dict(zip(given, overrides, strict=True))
    _check_rivals(above, typed)
    whole = Recipe(name="recipe").model_dump(mode="json")
    # A preset gives way to what is said beside it, and outranks what it is laid over.
    layers = [layer for values in files for layer in (preset_of(values), values)]
    own = {"name": files[-1].get("name", path.stem), "description": files[-1].get("description", "")}
    for layer in (*layers, own):
        whole = merge(whole, _alone(layer))
    below = whole
    for layer in (preset_of(above), above):
        whole = merge(whole, _alone(layer))
    try:
        loaded = Recipe.model_validate(whole)
    except ValidationError as error:
        raise UserError(_blamed(error, path, below, typed)) from None
    _check_sections(loaded, given, path)
    return loaded


def with_bases(path: Path) -> list[Values]:
    """The values of a recipe file behind those that it ``extends``, the outermost base first.

    Raises UserError for an unknown key, a base that does not exist, and recipes that extend each other.
    """
    files: list[Values] = []
    seen: list[Path] = []
    while True:
        if path.resolve() in seen:
            raise UserError(
                f"{path}: recipes extend each other in a circle: {' -> '.join(p.stem for p in [*seen, path])}."
            )
        seen.append(path.resolve())
        values = read_yaml(path)
        base = values.pop(EXTENDS, None)
        _check_keys(values, f"{path}")
        if isinstance(values.get("data"), str):
            values["data"] = {"folder": values["data"]}
        files.insert(0, values)
        if base is None:
            return files
        beside = path.parent / str(base)
        path = beside if str(base) not in SHIPPED and beside.is_file() else find(str(base))


def find(recipe: str | Path) -> Path:
    """The file of a shipped recipe or of a path. Raises UserError naming the nearest shipped one."""
    if str(recipe) in SHIPPED:
        return FOLDER / f"{recipe}.yaml"
    path = Path(recipe)
    if path.is_file():
        return path
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    what = "holds no recipe.yaml" if path.is_dir() else "is neither a shipped recipe nor a file"
    raise UserError(f"recipe '{recipe}' {what}. Shipped: {', '.join(SHIPPED)}.{nearest(str(recipe), SHIPPED)}")


def read_yaml(path: Path) -> Values:
    """The mapping in a YAML file. Raises UserError naming file and place."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold keys and values, such as 'stages: [sft, evaluate]'.")
    return {str(key): value for key, value in values.items()}


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """The reverse of ``parse_overrides``: ``{"seed": 1}`` -> ``["seed=1"]``.

    Characters stay as they are: YAML reads JSON's escapes of those beyond the basic plane as two halves. A date, which
    YAML makes of some texts, becomes its text.
    """
    return [f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in settings.items()]


def parse_overrides(overrides: Iterable[str]) -> Values:
    """``["seed=1", "policy.lora={r: 8}"]`` -> ``{"seed": 1, "policy.lora": {"r": 8}}``; values are YAML."""
    parsed: Values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            such = f"data={override}" if Path(override).is_dir() else "seed=1"
            raise UserError(f"'{override}' is not of the form key=value, such as {such}.")
        if key in parsed:
            raise UserError(f"{key} is given twice.")
        try:
            parsed[key] = number(yaml.safe_load(text)) if text else None
        except yaml.YAMLError:
            parsed[key] = text
    return parsed


def number(value: Any) -> Any:
    """``1e-5`` as a number: YAML 1.1 takes it for text because it has no dot."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def expand(overrides: Values, others: Sequence[str] = ()) -> Values:
    """Short keys written out. Raises UserError for one that fits several or none: of the known ones and the ``others``
    that would do in its place the nearest is named.
    """
    known = leaves(Recipe)
    whole: Values = {}
    for key, value in overrides.items():
        full = _full(key, known, others)
        if full in whole:
            raise UserError(f"{full} is given twice.")
        whole[full] = value
    return whole


def _full(key: str, known: Sequence[str], others: Sequence[str]) -> str:
    if key in known:
        return key
    if key in MOVED:
        raise UserError(_moved(key))
    fits = [full for full in known if _is_short_for(key.split("."), full.split("."))]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f"the key '{key}' could be {', '.join(fits)}: write it out.")
    short = {".".join(p for p in full.split(".") if p != "train"): full for full in known}
    hint = nearest(key, [*known, *short, *others])
    raise UserError(f"unknown key '{key}'.{hint} 'rise run RECIPE --settings' lists them all.")


def _moved(key: str) -> str:
    return f"there is no key '{key}': the number of training records is {MOVED[key]}, as in {MOVED[key]}=100."


def _is_short_for(short: Sequence[str], full: Sequence[str]) -> bool:
    """Whether ``short`` is ``full`` with some parts left out, the last part being the same."""
    parts = iter(full)
    return short[-1] == full[-1] and all(part in parts for part in short)


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of ``model``: those of nested settings, and the nested settings themselves."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += leaves(kind, f"{prefix}{name}.")
    return keys


def put(values: Values, key: str, value: Any) -> None:
    """Set a dotted key; a section that is absent or null comes to be."""
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """``above`` laid over ``below``, sections key by key, all else as a whole. An empty section changes nothing."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and (isinstance(value, Mapping) or value is None):
            merged[key] = merge(inner, value or {})
        else:
            merged[key] = value if isinstance(value, Mapping) else number(value)
    return merged


def _alone(layer: Values) -> Values:
    """A layer that gives a stage's steps and no epochs puts aside those of a layer below, which would outrank them."""
    for stage in IN_EPOCHS:
        if _says_steps(layer, stage) and "epochs" not in layer[stage]:
            layer = merge(layer, {stage: {"epochs": None}})
    return layer


def _check_rivals(given: Values, typed: Mapping[str, str]) -> None:
    """Epochs and steps of a stage given together: one of them would be ignored without a word."""
    for stage in IN_EPOCHS:
        if _says_steps(given, stage) and given[stage].get("epochs") is not None:
            both = " and ".join(typed.get(key, key) for key in RIVALS if key.startswith(f"{stage}."))
            raise UserError(f"{both} both say how long {stage} trains: give one of them.")


def _says_steps(layer: Values, stage: str) -> bool:
    section = layer.get(stage)
    train = section.get("train") if isinstance(section, Mapping) else None
    return isinstance(train, Mapping) and "steps" in train


def preset_of(values: Mapping[str, Any]) -> Values:
    """What the presets named in ``values`` set; an unknown one sets nothing and is refused later."""
    found: Values = {}
    for section, presets in PRESETS.items():
        own = values.get(section)
        name = own.get("preset") if isinstance(own, Mapping) else None
        found = merge(found, presets.get(name, {}) if isinstance(name, str) else {})
    return found


def _check_keys(values: Values, where: str) -> None:
    """Unknown keys of a file, before anything else can go wrong with them."""
    known = leaves(Recipe)
    for key in _keys_of(values):
        if key not in known and not key.startswith(tuple(f"{free}." for free in FREE)):
            told = _moved(key) if key in MOVED else f"unknown key '{key}'.{nearest(key, [*known, EXTENDS])}"
            raise UserError(f"{where}: {told}")


def _keys_of(values: Mapping[Any, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys_of(value, f"{prefix}{key}.")


def _check_sections(recipe: Recipe, overrides: Values, path: Path) -> None:
    """An override of a stage that will not run would be ignored without a word."""
    for key in overrides:
        stage = key.split(".")[0]
        if stage in STAGES and stage not in recipe.resolved():
            raise UserError(f"{key}: recipe {path.stem} has no stage {stage} (its stages: {', '.join(recipe.stages)}).")


def _blamed(error: ValidationError, path: Path, below: Values, typed: Mapping[str, str]) -> str:
    """The first fault, told as what the user typed where that is at fault, else as the file's."""
    key, message = _fault(error)
    text = next((text for full, text in typed.items() if f"{key}.".startswith(f"{full}.")), None)
    if text is not None:
        said = f"it {message}" if message.startswith("should") else message
        return f"{text}: {said}." if key in typed else f"{text}: {told(error)}"
    try:
        Recipe.model_validate(below)
    except ValidationError:
        return f"{path}: {told(error)}"
    parts = [text for full, text in typed.items() if key and full.startswith(f"{key}.")]
    return ": ".join([*([", ".join(parts)] if parts else []), told(error)])


def _fault(error: ValidationError) -> tuple[str, str]:
    """Key and message of the first fault."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part not in KINDS)
    return key, first["msg"].removeprefix("Value error, ").removeprefix("Input ")


def told(error: ValidationError) -> str:
    """The first fault of a validation error as one sentence that names the key."""
    first = error.errors()[0]
    key, message = _fault(error)
    if first["type"] == "value_error":
        end = "" if message.endswith("?") else "."
        return f"{key}: {message}{end}" if key else f"{message}{end}"
    shown = repr(first["input"])
    return f"'{key}' {message}, not {shown if len(shown) <= 60 else shown[:57] + '...'}."
