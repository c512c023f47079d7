"""Arms as recipes: what extends what, shares of the records, rewards by name, scores; and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rise_vlm.errors import UserError
from rise_vlm.recipes import load_recipe

SIZES = ("train", "records_per_step", "loss", "per_record", "rollouts", "objective", "format_weight")


def test_the_arms_have_the_settings_of_the_recipe_that_they_are_compared_with() -> None:
    rise, zero = load_recipe("rise"), load_recipe("visual_rft")
    for name in ("cot_sft", "reason_rft"):
        arm = load_recipe(name)
        assert arm.sft.model_copy(update={"source": "harvest", "start": "warm_up", "records": None}) == rise.sft
        assert (arm.sft.source, arm.sft.start) == ("rationales", "base") and arm.evaluate == rise.evaluate
    theirs = {"records": "rest", "rewards": {"repetition": 0.0}}
    assert load_recipe("reason_rft").grpo == rise.grpo.model_copy(update=theirs)
    assert load_recipe("reason_rft_zero").grpo == zero.grpo


def test_a_recipe_that_extends_another_keeps_its_own_name_and_overrides_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: ans_sft\ndescription: of the base\nsft: {epochs: 3}\nseed: 5\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nsft: {loss: token}\n")
    mine = load_recipe(tmp_path / "mine.yaml", ["seed=7"])
    assert (mine.name, mine.description, mine.seed) == ("mine", "", 7)
    assert (mine.sft.epochs, mine.sft.loss, mine.stages) == (3, "token", ("sft", "evaluate"))
    assert mine.sft.train == load_recipe("ans_sft").sft.train


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extends: rize\n", "Did you mean 'rise'"),
        ("extends: mine.yaml\n", "in a circle"),
        ("extend: rise\n", "Did you mean 'extends'"),
        ("extends: rise\ngrpo: {reward: 1}\n", "unknown key 'grpo.reward'"),
    ],
)
def test_mistakes_in_a_base_are_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(tmp_path / "mine.yaml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{my.rewards:short: 0.5, repetition: 0.1}", {"my.rewards:short": 0.5, "repetition": 0.1}),
        ("my.rewards:short", {"my.rewards:short": 1.0}),
        ("[a:b, repetition]", {"a:b": 1.0, "repetition": 1.0}),
    ],
)
def test_rewards_are_named_with_or_without_weights(written: str, expected: dict, tmp_path: Path) -> None:
    assert load_recipe("visual_rft", [f"grpo.rewards={written}"]).grpo.rewards == expected
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: visual_rft\ngrpo:\n  rewards: {written}\n", encoding="utf-8")
    assert load_recipe(path).grpo.rewards == expected


@pytest.mark.parametrize(
    ("recipe", "overrides", "says"),
    [
        ("visual_rft", ["grpo.records=rest"], "no sft whose records it could leave out"),
        ("rise", ["grpo.records=rest"], "set sft.records"),
        ("rise", ["sft.records=2.5"], "a number of records or a share below 1"),
        ("rise", ["sft.records=0"], "sft.records=0: it should be"),
        ("rise", ["sft.records=-3"], "sft.records=-3: it should be"),
        ("visual_rft", ["grpo.rewards={a:b: .nan}"], "grpo.rewards"),
        ("visual_rft", ["grpo.rewards={a:b: much}"], "grpo.rewards"),
        ("rise", ["harvest.similarity=0"], "harvest.similarity=0: it should be"),
    ],
)
def test_shares_and_rewards_that_cannot_be_are_told(recipe: str, overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, overrides)
    assert says in str(caught.value)
