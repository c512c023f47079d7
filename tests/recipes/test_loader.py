"""Recipes: shipped ones load, overrides are found, mistakes are told with the key and the nearest one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from stage_kit import environment

from rise_vlm.errors import UserError
from rise_vlm.recipes import SHIPPED, Recipe, load_recipe
from rise_vlm.recipes.loader import expand, leaves, merge, parse_overrides


def test_the_promised_recipes_are_shipped() -> None:
    assert set(SHIPPED) >= {"rise", "ans_sft", "visual_rft", "zero_shot", "rise_qwen2_vl_2b"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_and_its_resolved_form_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.resolved()), encoding="utf-8")
    again = load_recipe(path)
    assert again.resolved() == recipe.resolved()


def test_the_recipe_for_qwen_has_the_known_settings() -> None:
    recipe = load_recipe("rise_qwen2_vl_2b")
    assert recipe.model == "Qwen/Qwen2-VL-2B-Instruct"
    assert recipe.policy.max_pixels == 401_408
    for stage in (recipe.closed_loop, recipe.grpo):
        assert (stage.rollouts.group, stage.rollouts.temperature, stage.rollouts.max_new_tokens) == (8, 1.0, 256)
        assert (stage.train.steps, stage.train.learning_rate) == (200, 2e-6)
        assert stage.records_per_step == 16
        assert stage.objective.beta == 0


@pytest.mark.parametrize("size", ["2b", "7b"])
def test_the_recipes_of_reason_rft_for_qwen_have_the_known_settings(size: str) -> None:
    whole, zero, cot, ans = (
        load_recipe(f"{arm}_qwen2_vl_{size}") for arm in ("reason_rft", "reason_rft_zero", "cot_sft", "ans_sft")
    )
    assert {one.model for one in (whole, zero, cot, ans)} == {f"Qwen/Qwen2-VL-{size.upper()}-Instruct"}
    assert (whole.sft.records, whole.sft.epochs, whole.sft.train.warmup_steps) == (1600, 1, 100)
    assert whole.grpo.objective.beta == 0.04 and whole.grpo.objective.loss == "grpo"
    assert (whole.grpo.records_per_step, whole.grpo.rollouts.group, whole.grpo.rollouts.temperature) == (14, 8, 0.9)
    assert zero.grpo == whole.grpo.model_copy(update={"records": "all"}) and zero.stages == ("grpo", "evaluate")
    assert cot.sft == whole.sft.model_copy(update={"records": None}) and cot.stages == ("sft", "evaluate")
    assert ans.sft == cot.sft.model_copy(update={"source": "annotations"}) and ans.evaluate.roles == ("answer",)
    assert all(one.policy == whole.policy and one.policy.gradient_checkpointing for one in (zero, cot, ans))


@pytest.mark.parametrize(
    ("override", "full"),
    [
        ("closed_loop.steps=10", "closed_loop.train.steps"),
        ("grounding.weight=0", "closed_loop.grounding.weight"),
        ("reconstruct.temperature=0.7", "closed_loop.reconstruct.temperature"),
        ("threshold=0.9", "harvest.threshold"),
        ("data=clothing", "data"),
        ("sft.loss=token", "sft.loss"),
        ("lora.r=8", "policy.lora.r"),
    ],
)
def test_short_keys_are_written_out(override: str, full: str) -> None:
    assert list(expand(parse_overrides([override]))) == [full]


@given(st.sampled_from(leaves(Recipe)))
def test_every_full_key_is_itself(key: str) -> None:
    assert list(expand({key: 1})) == [key]


def test_overrides_reach_the_settings() -> None:
    recipe = load_recipe("rise", ["closed_loop.steps=7", "grounding.weight=0", "seed=3", "sft.learning_rate=1e-5"])
    assert recipe.closed_loop.train.steps == 7
    assert recipe.closed_loop.grounding.weight == 0
    assert recipe.training("closed_loop").seed == 3
    assert recipe.sft.train.learning_rate == 1e-5


def test_a_folder_stands_for_the_whole_section_of_data(tmp_path: Path) -> None:
    assert load_recipe("rise", ["data.limit=1600", "data=shapes"]).data.model_dump() == {
        "folder": "shapes",
        "limit": 1600,
    }
    whole = load_recipe("rise", ["data={folder: a, limit: 3}"])
    assert whole.data == load_recipe("rise", ["data=a", "data.limit=3"]).data
    path = tmp_path / "mine.yaml"
    path.write_text("extends: ans_sft\ndata: shapes\n", encoding="utf-8")
    (tmp_path / "few.yaml").write_text("extends: mine.yaml\ndata: {limit: 8}\n", encoding="utf-8")
    assert load_recipe(tmp_path / "few.yaml").data.model_dump() == {"folder": "shapes", "limit": 8}
    assert load_recipe(path, ["data.limit=9"]).data.model_dump() == {"folder": "shapes", "limit": 9}


def test_a_section_that_is_null_comes_to_be() -> None:
    assert load_recipe("rise").policy.lora is None
    lora = load_recipe("rise", ["lora.r=4"]).policy.lora
    assert lora is not None and lora.r == 4 and lora.alpha == 32


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["closed_loop.stpes=1"], "Did you mean 'closed_loop.steps'"),
        (["steps=1"], "could be warm_up.train.steps"),
        (["seed"], "not of the form key=value"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (
            ["records=100"],
            "there is no key 'records': the number of training records is data.limit, as in data.limit=100",
        ),
        (["data.limit=0"], "data.limit=0: it should be greater than or equal to 1."),
        (["data.limit=many"], "data.limit=many: it should be a valid integer"),
        (["data=3"], "data=3: it should be a valid string"),
        (["closed_loop.steps=1", "closed_loop.train.steps=2"], "closed_loop.train.steps is given twice"),
        (["closed_loop.steps=many"], "closed_loop.steps=many: it should be a valid integer, "),
        (["closed_loop.steps=0"], "closed_loop.steps=0: it should be greater than 0."),
        (["grounding.weight=.nan"], "grounding.weight=.nan: it should be a finite number."),
        (["sft.loss=balansed"], "sft.loss=balansed: it should be 'balanced' or 'token'."),
        (["closed_loop.preset=oficial"], "closed_loop.preset=oficial: it should be 'ours' or 'official'."),
        (["policy.lora={r: x}"], "policy.lora={r: x}: 'policy.lora.r' should be a valid integer"),
        (["sft.records=1.5"], "sft.records=1.5: it is a number of records or a share below 1."),
        (["sft.epochs=1", "sft.steps=4"], "sft.epochs=1 and sft.steps=4 both say how long sft trains: give one"),
        (["sft={epochs: 1, train: {steps: 4}}"], "sft.epochs and sft.train.steps both say how long sft trains"),
        (["grpo.epochs=1", "grpo.steps=4"], "grpo.epochs=1 and grpo.steps=4 both say how long grpo trains: give one"),
        (["grpo.epochs=0"], "grpo.epochs=0: it should be greater than 0."),
        (["closed_loop.train.seed=4"], "set once, as 'seed'"),
        (["stages=[sft, harvest, evaluate]"], "the order must be"),
        (["stages=[sft, evaluate]"], "the stages have no harvest"),
        (["stages=[harvets]"], "stages"),
        (["credit=answer"], "reconstruct.temperature above 0"),
        (["reconstruct.samples=4"], "greedy reconstructions are all the same"),
    ],
)
def test_mistakes_in_overrides_are_told(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("rise", overrides)
    assert says in str(caught.value) and ".yaml" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_the_file_has_wrong_is_told_as_the_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("stages: [sft, evaluate]\nsft: {train: {steps: two}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: 'sft\.train\.steps' should be a valid integer.*, not 'two'"):
        load_recipe(path, ["seed=1"])
    path.write_text("stages: [sft, evaluate]\nsft: {source: harvest}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: sft\.source is 'harvest'"):
        load_recipe(path, ["seed=1"])


def test_a_section_that_an_override_makes_impossible_is_told_with_the_override() -> None:
    with pytest.raises(UserError, match=r"^credit=answer: closed_loop: credit 'answer' needs sampled"):
        load_recipe("rise", ["credit=answer", "seed=1"])


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ("epochs: 3", "sft.steps=4", (None, 4)),
        ("epochs: 3", "sft={train: {steps: 4}}", (None, 4)),
        ("train: {steps: 9}", "sft.epochs=2", (2, 9)),
        ("epochs: 3, train: {steps: 9}", "seed=1", (3, 9)),
        ("epochs: 3", "sft={epochs: null, train: {steps: 4}}", (None, 4)),
    ],
)
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_epochs_of_a_file_yield_to_steps_given_above_it(
    tmp_path: Path, stage: str, below: str, above: str, expected: tuple[float | None, int]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"stages: [{stage}, evaluate]\n{stage}: {{{below}}}\n", encoding="utf-8")
    found = getattr(load_recipe(path, [above.replace("sft", stage)]), stage)
    assert (found.epochs, found.train.steps) == expected


def test_a_mistake_in_a_recipe_is_told_without_waiting_for_torch() -> None:
    code = "import sys, rise_vlm.recipes as r; r.load_recipe('rise'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert found.stdout.strip() == "False"


def test_an_override_of_a_stage_that_does_not_run_is_refused() -> None:
    with pytest.raises(UserError, match="recipe ans_sft has no stage closed_loop"):
        load_recipe("ans_sft", ["closed_loop.steps=3"])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'rise'"):
        load_recipe("rize")


def test_an_unknown_key_in_a_file_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("stages: [sft, evaluate]\nsft: {leraning_rate: 1}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert "mine.yaml" in str(caught.value) and "sft.leraning_rate" in str(caught.value)


def test_records_in_a_file_are_told_by_their_name_here(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("stages: [sft, evaluate]\nrecords: 100\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: there is no key 'records': .* is data\.limit"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["a: [", "- 1", "just words", "", "\x00"])
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        load_recipe(path)


def test_a_file_of_a_few_lines_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "my-arm.yaml"
    path.write_text("stages: [sft, evaluate]\nsft: {train: {learning_rate: 1e-5}}\n", encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.name == "my-arm"
    assert recipe.sft.train.learning_rate == 1e-5


def test_the_official_preset_outranks_the_recipe_and_yields_to_overrides() -> None:
    loop = load_recipe("rise", ["closed_loop.preset=official"]).closed_loop
    assert (loop.credit, loop.grounding.weight, loop.reconstruct.sees_image) == ("answer", 0, True)
    assert loop.reconstruct.temperature == 0.7
    assert loop.rollouts == load_recipe("rise").closed_loop.rollouts
    mixed = load_recipe("rise", ["closed_loop.preset=official", "credit=both"]).closed_loop
    assert mixed.credit == "both" and mixed.grounding.weight == 0
    assert load_recipe("rise", ["closed_loop.preset=official"]).task.score == "official"


_values = st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
_sections = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@given(_sections, _sections)
def test_merging_keeps_what_is_above_and_fills_from_below(below: dict, above: dict) -> None:
    merged = merge(below, above)
    assert set(merged) == set(below) | set(above)
    assert merge(merged, above) == merged
    assert merge({}, above) == above
    assert merge(below, {}) == below
    for key, value in above.items():
        if not isinstance(value, dict):
            assert merged[key] == value
