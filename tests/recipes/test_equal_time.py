"""Arms that are given another arm's time, and the arms that a full ablation has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm.errors import UserError
from rise_vlm.recipes.schema import Recipe
from rise_vlm.recipes.sweep import cells, told_settings
from rise_vlm.recipes.sweep_file import load_sweep

TEXT = """
data: {noise: noise}
seeds: [0, 1]
arms:
  longer: {like: plain, time_of: rise}
  plain: {recipe: ans_sft, set: {sft.epochs: 3}}
  rise:
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def finished(folder: Path, **stages: tuple[float, int]) -> None:
    """A run's results: the seconds and steps of its stages."""
    folder.mkdir(parents=True)
    found = {
        name: {"cost": {"seconds": seconds}, "summary": {"steps": steps}} for name, (seconds, steps) in stages.items()
    }
    (folder / "results.json").write_text(json.dumps({"stages": found}), encoding="utf-8")


def test_steps_follow_from_the_measured_rate_and_the_other_arms_whole_training(tmp_path: Path) -> None:
    sweep = load_sweep(written(tmp_path, TEXT))
    planned = cells(sweep, tmp_path)
    assert [cell.arm for cell in planned] == ["plain", "rise", "longer"] * 2
    assert planned[2].waits == ("plain", "rise") and planned[2].note == ""
    below = tmp_path / "noise" / "all"
    finished(below / "plain" / "seed-0", sft=(20.0, 40), evaluate=(99.0, 1))
    assert cells(sweep, tmp_path)[2].waits
    finished(below / "rise" / "seed-0", warm_up=(50.0, 1), closed_loop=(60.0, 1), sft=(10.0, 1), evaluate=(99.0, 1))
    after = [cell for cell in cells(sweep, tmp_path) if cell.arm == "longer"]
    first, second = after
    assert first.waits == () and second.waits
    # 120 s at half a second a step; the epochs of the arm that it is like are put aside.
    assert (first.recipe.sft.train.steps, first.recipe.sft.epochs) == (240, None)
    assert first.recipe.name == "longer" and first.recipe.stages == ("sft", "evaluate")
    assert "240 steps of sft" in first.note and "120 s" in first.note and "0.5 s a step" in first.note
    assert cells(sweep, tmp_path)[2] == first


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ("{a: {like: ans_sft}, ans_sft: , rise: }", "like and time_of belong together"),
        ("{a: {like: ans_sft, time_of: rize}, ans_sft: , rise: }", "there is no arm 'rize'.*'rise'"),
        ("{a: {like: b, time_of: rise}, b: {like: ans_sft, time_of: rise}, ans_sft: , rise: }", "'b' itself is given"),
        ("{a: {like: ans_sft, time_of: rise, set: {seed: 1}}, ans_sft: , rise: }", "leave recipe and set out"),
        ("{a: {like: rise, time_of: ans_sft}, ans_sft: , rise: }", "an arm that trains in one stage"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, arms: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        cells(load_sweep(written(tmp_path, f"data: {{noise: noise}}\narms: {arms}\n")), tmp_path)


def test_the_settings_of_each_arm_are_told(tmp_path: Path) -> None:
    lines = told_settings(load_sweep(written(tmp_path, TEXT)))
    assert lines == ["longer: like plain, in the time of rise", "plain: ans_sft sft.epochs=3", "rise: rise"]


def test_the_shipped_ablations_have_every_arm(tmp_path: Path) -> None:
    def arms(sweep: str) -> dict[str, Recipe]:
        return {cell.arm: cell.recipe for cell in cells(load_sweep(sweep, ["seeds=0"]), tmp_path)}

    made, whole = arms("ablations"), arms("ablations_rft")
    loop = {name: recipe.closed_loop for name, recipe in made.items() if "closed_loop" in recipe.stages}
    stages = {recipe.stages for recipe in (*made.values(), *whole.values())}
    assert not any("grpo" in recipe.stages for recipe in made.values())
    for left_out in (("warm_up", "grpo"), ("closed_loop", "grpo"), ("closed_loop",), ("grpo",)):
        assert tuple(s for s in whole["rise"].stages if s not in left_out) in stages
    assert {one.credit for one in loop.values()} == {"rationale", "answer", "both"}
    assert {one.reconstruct.sees_image for one in loop.values()} == {"auto", True, False}
    assert {one.reconstruct.reconstructor for one in loop.values()} == {"warm_up", "policy", "frozen", "ema"}
    assert {one.reconstruct.samples for one in loop.values()} == {1, 2, 4}
    assert {one.reconstruct.baseline for one in loop.values()} == {"none", "empty"}
    assert {one.leak_factor for one in loop.values()} == {0.1, 1.0}
    assert {one.grounding.weight for one in loop.values()} == {0.0, 0.25, 0.5, 1.0}
    assert {recipe.harvest.threshold for recipe in made.values()} >= {-9, 0.3, 0.5, 0.7}
    assert {one.preset for one in loop.values()} == {"ours", "official"}
    assert {recipe.grpo.preset for recipe in whole.values()} == {"ours", "official", "visual_rft"}
    assert {"ans_sft_equal_time", "visual_rft_equal_time"} <= set(whole)


def test_the_ablations_of_the_reinforcement_change_just_what_they_name(tmp_path: Path) -> None:
    made = {cell.arm: cell.recipe for cell in cells(load_sweep("ablations_rft", ["seeds=0"]), tmp_path)}
    whole = made["rise"].grpo
    assert whole.rewards == {"repetition": 1.0} and whole.objective.beta > 0
    assert made["rise_no_repetition"].grpo == whole.model_copy(update={"rewards": {"repetition": 0.0}})
    assert made["rise_no_beta"].grpo == whole.model_copy(
        update={"objective": whole.objective.model_copy(update={"beta": 0.0})}
    )
    rebuilds = {"repetition": 1.0, "reconstruction": 0.5}
    assert made["rise_reconstruction"].grpo == whole.model_copy(update={"rewards": rebuilds})
    assert made["rise_no_sft"].stages == ("grpo", "evaluate") and made["rise_no_sft"].grpo == whole
    for bare in ("reason_rft", "rise_official", "visual_rft_official"):
        assert not any(made[bare].grpo.rewards.values()), bare
