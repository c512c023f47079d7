"""What is told before any work: models, adapters, limits, folders that another process works in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stage_kit import environment, make_classification, small_recipe
from tiny_families import save_llava

from rise_vlm.errors import UserError
from rise_vlm.lock import alone
from rise_vlm.policy.traits import FAMILIES
from rise_vlm.recipes import SHIPPED, load_recipe
from rise_vlm.stages.preflight import short_limits
from rise_vlm.stages.run import prepare, run_recipe


def test_a_folder_of_a_family_that_nobody_wrote_out_runs(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by its hub id: the probe at load decides. And so does what the run leaves."""
    monkeypatch.delitem(FAMILIES, "llava")
    save_llava(tmp_path / "llava")
    options = ("evaluate.max_new_tokens=4", "policy.precision=float32", "sft.steps=1")
    recipe = small_recipe("ans_sft", classes, tmp_path / "llava", *options)
    assert run_recipe(recipe, tmp_path / "run", report=False)["arms"][0]["n"] == 2
    left = tmp_path / "run" / "stages" / "01-sft" / "model"
    assert json.loads((left / "config.json").read_text(encoding="utf-8"))["model_type"] == "llava"
    prepare(small_recipe("zero_shot", classes, left), tmp_path / "again")


def test_a_run_folder_is_a_model_to_start_from(classes: Path, model: Path, tmp_path: Path) -> None:
    run_recipe(small_recipe("ans_sft", classes, model, "sft.steps=1"), tmp_path / "run", report=False)
    run = prepare(small_recipe("visual_rft", classes, tmp_path / "run"), tmp_path / "next")
    assert Path(run.recipe.model) == tmp_path / "run" / "stages" / "01-sft" / "model"


def test_unknown_targets_are_told_before_the_run(classes: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lora\.targets: \['qkv'\] are not among .*'q_proj'"):
        prepare(small_recipe("rise", classes, model, "lora.targets=[q_proj, qkv]"), tmp_path / "run")
    prepare(small_recipe("rise", classes, model, "lora.targets=[q_proj, v_proj]"), tmp_path / "run")
    prepare(small_recipe("rise", classes, model, "lora.r=2"), tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("lora.r=2", "policy.freeze_tower=false"), "freeze_tower true"),
        (("policy.max_pixels=5",), "policy.max_pixels=5: it should be"),
        (("evaluate.splits=[]",), "evaluate.splits=[]: "),
    ],
)
def test_settings_that_cannot_work_are_told_as_typed(overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("rise", overrides)
    assert says in str(caught.value)


def test_class_names_that_are_everyday_words_are_noted_with_their_remedy(model: Path, tmp_path: Path) -> None:
    plain = make_classification(tmp_path / "plain")
    (note,) = [n for n in prepare(small_recipe("rise", plain, model), tmp_path / "a").material.notes if "everyday" in n]
    assert "'red', 'blue' are class names" in note and "'named_by: {red: [words]}'" in note
    told = make_classification(tmp_path / "told", named_by={"red": ["crimson"], "blue": []})
    assert not any("everyday" in n for n in prepare(small_recipe("rise", told, model), tmp_path / "b").material.notes)
    for recipe in ("ans_sft", "visual_rft"):  # which write no rationale that could leak
        assert not any(
            "everyday" in n for n in prepare(small_recipe(recipe, plain, model), tmp_path / "c").material.notes
        )


def test_limits_that_cut_rationales_off_are_noted(classes: Path, model: Path, tmp_path: Path) -> None:
    small = small_recipe("rise", classes, model)
    notes = prepare(small, tmp_path / "run").material.notes
    assert any("closed_loop: 12 new tokens cannot hold the 30 words" in note for note in notes)
    assert [note.split(":")[0] for note in short_limits(small)] == ["warm_up", "closed_loop", "harvest"]
    for shipped in SHIPPED:
        assert short_limits(load_recipe(shipped)) == [], shipped


@pytest.mark.parametrize(
    ("overrides", "noted"),
    [
        # A word is about 1.5 tokens: 45 for the 30 words of the recipe.
        (("closed_loop.rollouts.max_new_tokens=44",), ["closed_loop"]),
        (("closed_loop.rollouts.max_new_tokens=45",), []),
        (("closed_loop.length.words=100",), ["grpo", "evaluate"]),
        # 45 tokens of a rationale and 48 of the answer.
        (("evaluate.max_new_tokens=92",), ["evaluate"]),
        (("evaluate.max_new_tokens=93",), []),
        (("grpo.rollouts.max_new_tokens=92",), ["grpo"]),
        # No longer ones can be kept.
        (("harvest.max_new_tokens=40", "evaluate.max_new_tokens=88"), ["harvest"]),
        (("evaluate.roles=[answer]", "evaluate.max_new_tokens=10"), []),
        (("stages=[grpo, evaluate]", "evaluate.max_new_tokens=10"), []),
    ],
)
def test_limits_are_compared_in_tokens_and_with_what_comes_after(overrides: tuple[str, ...], noted: list[str]) -> None:
    assert [note.split(":")[0] for note in short_limits(load_recipe("rise", overrides))] == noted


def test_a_second_process_in_the_same_folder_is_refused(classes: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    code = "import sys; from pathlib import Path; from rise_vlm.lock import alone\n"
    code += f"with alone(Path({str(out)!r})): print('in', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match="another process is at work in this folder"):
            run_recipe(small_recipe("ans_sft", classes, model), out)
        assert list(out.iterdir()) == []
        other.kill()
    with alone(out):
        pass
