"""``dataset.yaml``: what a dataset is about, which classes it has, which files hold its splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rise_vlm.data.record import MAX_QUESTION
from rise_vlm.errors import DataError, nearest

CARD = "dataset.yaml"
VALIDATION = ("val", "validation", "valid", "dev")
"""How a validation split may be called."""


class Card(BaseModel):
    """The head of a dataset. ``splits`` maps a split's name to its ``.jsonl`` or ``.parquet`` file.

    ``named_by`` maps a class to the words that give it away in place of its name; ``language`` is that of the names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    task: str
    classes: list[str] = Field(default_factory=list)
    question: Annotated[str | None, Field(max_length=MAX_QUESTION)] = None
    synonyms: dict[str, list[str]] = Field(default_factory=dict)
    named_by: dict[str, list[str]] = Field(default_factory=dict)
    language: Literal["en", "de", "fr", "es"] = "en"
    splits: dict[str, str] = Field(default_factory=dict)
    frame: Literal["pixels"] = "pixels"
    source: str = ""
    licence: str = ""
    world: str | None = None

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        twice = sorted({name for name in classes if classes.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed more than once")
        return classes

    @field_validator("splits")
    @classmethod
    def _known_suffix(cls, splits: dict[str, str]) -> dict[str, str]:
        for split, file in splits.items():
            if Path(file).suffix not in (".jsonl", ".parquet"):
                raise ValueError(f"the file of split '{split}' must end in .jsonl or .parquet, not '{file}'")
        return splits

    @classmethod
    def read(cls, folder: Path) -> Card:
        """The card of the dataset in ``folder``. Raises DataError naming the file and the key."""
        path = folder / CARD
        if not folder.is_dir():
            siblings = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
            raise DataError(f"There is no folder {folder}.{nearest(folder.name, siblings)}")
        if not path.is_file():
            raise DataError(f"{folder} is not a dataset: it has no {CARD}. 'rise data import' makes one.")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
        if not isinstance(values, dict):
            raise DataError(f"{path} must hold keys and values such as 'task: classification'.")
        try:
            return cls(**{str(key): value for key, value in values.items()})
        except ValidationError as error:
            raise DataError(f"{path}: {explain(error, cls)}") from error

    def write(self, folder: Path) -> None:
        """Write ``dataset.yaml`` into ``folder``."""
        values = self.model_dump(exclude_defaults=True)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
        (folder / CARD).write_text(text, encoding="utf-8")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a validation error as one sentence that names the key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(key, model.model_fields)}"
    if first["type"] == "missing":
        return f"the key '{key}' is missing."
    if first["type"] == "too_short" and not first["input"]:
        return f"'{key}' is an empty list."
    if first["type"] == "value_error":
        return f"'{key}': {first['msg'].removeprefix('Value error, ')}."
    message = first["msg"].replace("Input should", "should").replace("String should", "should").replace("tuple", "list")
    value = repr(first["input"])
    return f"'{key}' {message}, not {value if len(value) <= 60 else value[:57] + '...'}."
