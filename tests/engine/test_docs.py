"""The training in docs/engine.md runs as it stands there, and learns what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rise_vlm.engine.settings import TrainSettings

PAGE = Path(__file__).parents[2] / "docs" / "engine.md"


def test_the_training_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(code) == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code[0], str(PAGE), "exec"), names)
    weight, bias = (value.item() for value in names["Line"].model.parameters())
    assert (weight, bias) == pytest.approx((3, 1), abs=0.1)
    assert (tmp_path / "line/model/line.safetensors").is_file()


def test_the_page_names_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in TrainSettings.model_fields if f"`{name}`" not in page] == []
