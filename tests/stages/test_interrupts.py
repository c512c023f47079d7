"""Ctrl-C where nothing is trained: what was sampled stays, and the run ends like one that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stage_kit import small_recipe

from rise_vlm.stages import harvest, predictions, warm_up
from rise_vlm.stages.files import Row, read_rows
from rise_vlm.stages.run import run_recipe

PLACES: dict[str, tuple[Any, str, str]] = {
    "warm_up": (warm_up, "stages=[warm_up]", "stages/01-warm_up/descriptions.jsonl"),
    "harvest": (harvest, "stages=[harvest]", "stages/01-harvest/samples.jsonl"),
    "evaluate": (predictions, "stages=[evaluate]", "predictions/rise-test.jsonl"),
}
OPTIONS = {
    "warm_up": ("warm_up.samples=2",),
    "harvest": ("harvest.records_per_batch=1",),
    "evaluate": ("evaluate.records_per_batch=1",),
}


@pytest.mark.parametrize("stage", PLACES)
def test_a_stage_that_samples_goes_on_with_the_batch_it_was_in(
    stage: str, classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, stages, file = PLACES[stage]
    recipe = small_recipe("rise", classes, model, stages, *OPTIONS[stage], "policy.precision=float32")
    monkeypatch.setattr(warm_up, "RECORDS_PER_BATCH", 1)
    real, calls = module.sample, []

    def sample(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(module, "sample", sample)
    stop = 0
    run_recipe(recipe, tmp_path / "whole", report=False)
    in_all = len(calls)
    calls.clear()
    stop = 2
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "cut", report=False)
    stop = 0
    calls.clear()
    run_recipe(recipe, tmp_path / "cut", report=False)
    assert len(calls) == in_all - 1, "the first batch was not sampled again"
    assert rows(tmp_path / "cut" / file) == rows(tmp_path / "whole" / file)


def rows(path: Path) -> list[Row]:
    """What was written, of which there is some."""
    found = list(read_rows(path))
    assert found
    return found
