"""The built-in model through whole recipes on the worlds that the demo does not show, a step or two of each stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage_kit import small_recipe

from rise_vlm.stages.files import read_rows
from rise_vlm.stages.run import prepare, run_recipe
from rise_vlm.worlds import load_world


@pytest.mark.parametrize(
    ("recipe", "world", "splits", "metric"),
    [
        ("rise", "icons", {"test", "ood"}, "top1"),
        ("rise", "street", {"test", "ood"}, "ap"),
        ("rise", "street_one", {"test", "ood"}, "ap"),
        ("reason_rft", "blocks", {"test", "ood", "ood_long"}, "accuracy"),
        ("reason_rft", "figures", {"test", "ood"}, "accuracy"),
        ("reason_rft", "moves", {"test", "ood_left", "ood_right"}, "exact_set"),
    ],
)
def test_a_recipe_runs_whole(recipe: str, world: str, splits: set[str], metric: str, tmp_path: Path) -> None:
    load_world(world).make(tmp_path / "data", train=4, val=2, test=2, seed=0)
    results = run_recipe(small_recipe(recipe, tmp_path / "data", Path("tiny")), tmp_path / "run")
    arms = {arm["split"]: arm for arm in results["arms"]}
    assert set(arms) == splits
    for split, arm in arms.items():
        assert arm["n"] == 2 and 0 <= arm["metrics"]["score"] <= 1 and metric in arm["metrics"]
        assert len(list(read_rows(tmp_path / "run" / "predictions" / f"{recipe}-{split}.jsonl"))) == 2
    assert (results["loop"] is not None) == (recipe == "rise")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["data"]["counts"]["train"] == 4
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(("world", "suited", "other"), [("icons", "tiny", "tiny_fine"), ("moves", "tiny_fine", "tiny")])
def test_a_built_in_model_that_has_not_learned_to_see_a_world_is_noted(
    world: str, suited: str, other: str, tmp_path: Path
) -> None:
    load_world(world).make(tmp_path / "data", train=4, val=2, test=2, seed=0)

    def notes(model: str) -> str:
        recipe = small_recipe("ans_sft", tmp_path / "data", Path(model))
        return "\n".join(prepare(recipe, tmp_path / "run").material.notes)

    assert f"{other} has hardly learned to see {world}: model={suited} has" in notes(other)
    assert "hardly learned" not in notes(suited)
