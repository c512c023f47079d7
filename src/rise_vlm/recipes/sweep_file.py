"""The YAML file of a sweep: found, read behind the one that it ``extends``, with what is given after its name.

Left out: what a sweep may say and what follows from it (``sweep``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rise_vlm.console import say
from rise_vlm.errors import UserError, nearest
from rise_vlm.recipes.loader import EXTENDS, Values, expand, parse_overrides, read_yaml, told
from rise_vlm.recipes.sweep import FILE, Sweep, by_name, check_reached, data_settings

FOLDER = Path(__file__).parent / "sweeps"
SWEEPS: tuple[str, ...] = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
"""Names of the sweeps that come with the package."""

OWN = ("data", "seeds", "records", "against", "arms", "metric")
"""The keys of a sweep that may be given after its name; any other is a setting for all arms."""


def load_sweep(sweep: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """A shipped sweep, a YAML file, or the folder of one that was run, with ``key=value`` overrides.

    ``seeds``, ``records``, ``against``, ``metric`` and ``data`` replace the sweep's own (a name that its data sets have
    picks that one; write ./NAME for a folder of that name), ``arms=[a, b]`` picks some of its arms, any other key is a
    setting for every arm. Raises UserError naming file and key, and for sweeps that extend each other.
    """
    path = find(sweep)
    own = {"name": path.stem if path.name != FILE else path.resolve().parent.name} | _with_base(path)
    given = parse_overrides(overrides)
    values = dict(own)
    for key, value in given.items():
        if key == "data":
            values["data"] = _picked_data(path, value, own.get("data"))
        elif key in ("seeds", "records", "against", "metric"):
            values[key] = [value] if key in ("seeds", "records") and not isinstance(value, list) else value
        elif key == "arms":
            values["arms"] = _chosen(own.get("arms"), value, path)
            if "against" not in given:
                values["against"] = _among(values["arms"], own.get("against"), own.get("arms"))
        else:
            expand({key: value}, OWN)
            values["settings"] = {**_settings(path, values), key: value}
    found = _checked(path, values)
    check_reached(found, {key: value for key, value in given.items() if key not in OWN})
    if not Path(sweep).is_dir():  # that was checked when it was asked for, maybe for more arms than it has
        whole = _checked(path, own | {"data": values.get("data")}) if "arms" in given else found
        check_reached(whole, _settings(path, own))  # what the file sets may be for others than the arms picked
        for name in whole.data:
            check_reached(whole, data_settings(whole, name), f"data.{name}.set")
    return found


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> Values:
    """The values of a file before those of the sweep that it ``extends``: a key replaces the base's, of the settings
    each its own; data sets and arms listed by name alone are the base's of that name."""
    if path.resolve() in above:
        names = " -> ".join(one.stem for one in (*above, path))
        raise UserError(f"{path}: sweeps extend each other in a circle: {names}.")
    values = read_yaml(path)
    extended = values.pop(EXTENDS, None)
    if extended is None:
        return values
    beside = path.parent / str(extended)
    base = _with_base(beside if beside.is_file() else find(str(extended)), (*above, path.resolve()))
    base = {key: value for key, value in base.items() if key not in ("name", "description")}
    if "data" in values:
        values["data"] = _picked_data(path, values["data"], base.get("data"))
    if isinstance(values.get("arms"), list) and isinstance(base.get("arms"), Mapping):
        values["arms"] = {str(name): base["arms"].get(str(name)) for name in values["arms"]}
    return base | values | {"settings": {**_settings(path, base), **_settings(path, values)}}


def _settings(path: Path, values: Values) -> Values:
    settings = values.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise UserError(f"{path}: 'settings' must hold keys and values, such as 'settings: {{model: tiny}}'.")
    return dict(settings)


def _checked(path: Path, values: Values) -> Sweep:
    known = list(Sweep.model_fields)
    for key in values:
        if key not in known:
            raise UserError(f"{path}: unknown key '{key}'.{nearest(key, [*known, EXTENDS])}")
    try:
        return Sweep.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {told(error)}") from None


def _picked_data(path: Path, value: Any, own: Any) -> Any:
    try:
        return by_name(value, own if isinstance(own, Mapping) else {})
    except ValueError as error:
        raise UserError(f"{path}: data: {error}.") from None


def find(sweep: str | Path) -> Path:
    """The file of a shipped sweep, of a path, or in a sweep's folder."""
    if str(sweep) in SWEEPS:
        return FOLDER / f"{sweep}.yaml"
    path = Path(sweep)
    if path.is_dir() and (path / FILE).is_file():
        return path / FILE
    if path.is_file():
        return path
    what = f"holds no {FILE}" if path.is_dir() else "is neither a shipped sweep nor a file"
    raise UserError(f"sweep '{sweep}' {what}. Shipped: {', '.join(SWEEPS)}.{nearest(str(sweep), SWEEPS)}")


def _chosen(arms: Any, wanted: Any, path: Path) -> Any:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(arms, list):
        arms = dict.fromkeys(str(name) for name in arms)
    if not isinstance(arms, Mapping) or not isinstance(names, list):
        return wanted
    names = [str(name) for name in names]
    arms = {str(name): how for name, how in arms.items()}
    for name in names:
        if name not in arms:
            raise UserError(f"{path}: there is no arm '{name}'.{nearest(name, arms)}")
    return {name: arms[name] for name in names}


def _among(picked: Any, against: Any, whole: Any) -> Any:
    """The arm that the file compares with, or, where it is not among those ``picked`` of the whole, their first."""
    names = [str(name) for name in whole] if isinstance(whole, Mapping | list) else []
    if not picked or str(against) in picked or str(against) not in names:
        return against
    first = next(iter(picked))
    say(f"note: against: '{against}' is not among the arms picked, so tables compare with '{first}'.")
    return first
