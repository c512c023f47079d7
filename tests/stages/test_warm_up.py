"""The warm-up's descriptions: none twice after a kill, and each visit of a record the next of its descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_kit import small_recipe

from rise_vlm.stages import warm_up
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.run import run_recipe


def test_a_batch_that_was_cut_in_the_middle_is_not_there_twice(classes: Path, model: Path, tmp_path: Path) -> None:
    recipe = small_recipe("rise", classes, model, "stages=[warm_up]")
    run_recipe(recipe, tmp_path, report=False)
    path = tmp_path / "stages" / "01-warm_up" / "descriptions.jsonl"
    whole = list(read_rows(path))
    assert [row["id"] for row in whole] == [f"train-{i}" for i in range(4)]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:20], encoding="utf-8")
    (path.parent / "done.json").unlink()
    run_recipe(recipe, tmp_path, report=False)
    assert list(read_rows(path)) == whole


def test_each_visit_takes_the_next_descriptions(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four records, three a step: the first epoch ends within step 2; larger steps than records are whole epochs."""
    asked: list[tuple[int, int]] = []
    real = warm_up.rotated

    def spy(texts: list[str], count: int, visit: int) -> list[str]:
        asked.append((len(texts), visit))
        return real(texts, count, visit)

    monkeypatch.setattr(warm_up, "rotated", spy)
    for per_step, wanted in ((3, {0, 1, 2}), (16, {0, 1, 2, 3})):
        asked.clear()
        options = ("stages=[warm_up]", f"warm_up.records_per_step={per_step}", "warm_up.steps=4")
        run_recipe(small_recipe("rise", classes, model, *options), tmp_path / str(per_step), report=False)
        assert {visit for _, visit in asked} == wanted
