"""Rationales measured stage by stage in a run: what is there, what is not, and what goes on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_kit import WORDS, small_recipe

from rise_vlm.cli import run
from rise_vlm.engine.sample import sample
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.recipes import load_recipe
from rise_vlm.report import write_report
from rise_vlm.report.comparison import compare
from rise_vlm.report.run_answers import read_answers
from rise_vlm.stages import quality
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.material import Material
from rise_vlm.stages.preflight import prepare
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.quality import answer_start
from rise_vlm.stages.run import run_recipe
from rise_vlm.worlds import load_world

RECONSTRUCTED = {"real", "empty", "shuffled", "gain_empty", "gain_shuffled"}


def measured(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By stage, what the one entry that has some says."""
    (found,) = [arm["quality"] for arm in results["arms"] if "quality" in arm]
    return {stage["stage"]: stage for stage in found["stages"]}


@pytest.fixture(scope="module")
def finished(classes: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quality") / "rise"
    run_recipe(small_recipe("rise", classes, model, "policy.precision=float32"), out)
    return out


def test_every_stage_of_a_run_is_measured_with_one_judge(finished: Path, model: Path) -> None:
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    stages = measured(results)
    assert list(stages) == ["base", "closed_loop", "sft", "grpo"]
    assert [stage["role"] for stage in stages.values()] == ["think", "reason", "think", "think"]
    (arm,) = [arm for arm in results["arms"] if "quality" in arm]
    assert arm["split"] == "test" and arm["quality"]["n"] == 2 and arm["quality"]["judge"] == str(model)
    for name, stage in stages.items():
        assert set(stage["metrics"]) >= {*RECONSTRUCTED, "written", "words", "leak_rate", "cut_off", "distinct"}, name
        assert not any("facts" in figure for figure in stage["metrics"]), "nobody knows what noise shows"
        assert stage["intervals"]["gain_shuffled"][0] <= stage["metrics"]["gain_shuffled"]
    assert not any(figure.startswith("swap") for figure in stages["closed_loop"]["metrics"]), "it does not answer"
    empties = {json.dumps([row["empty"] for row in read_rows(path)]) for path in finished.glob("quality/*.jsonl")}
    assert len(empties) == 1, "one judge rebuilds the same from nothing, whoever wrote"
    assert {path.name for path in (finished / "quality").iterdir()} == {f"rise-{name}.jsonl" for name in stages}


def test_the_last_model_s_rationales_are_those_of_its_predictions(finished: Path) -> None:
    told = {row["id"]: row["completion"] for row in read_rows(finished / "predictions" / "rise-test.jsonl")}
    assert {row["id"]: row["completion"] for row in read_rows(finished / "quality" / "rise-grpo.jsonl")} == told


def test_the_report_shows_the_stages_and_the_same_pictures_side_by_side(finished: Path) -> None:
    page = write_report(finished).read_text(encoding="utf-8").partition('id="rationales"')[2].partition("</section>")[0]
    for name in ("Base", "After the loop", "After SFT", "After GRPO"):
        assert page.count(f">{name}<") == 3, "in the table, and with each of two pictures"
    assert any(words in page for words in WORDS) and page.count(">told the annotation<") == 2


def test_a_run_that_is_stopped_while_it_measures_ends_like_one_that_was_not(
    finished: Path, classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe("rise", classes, model, "policy.precision=float32", "stages=[evaluate]")
    whole = run_recipe(recipe, tmp_path / "whole", report=False)
    real = quality.rebuilt
    monkeypatch.setattr(quality, "rebuilt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "cut", report=False)
    monkeypatch.setattr(quality, "rebuilt", real)
    monkeypatch.setattr(quality.Quality, "_write", None)  # what was written is not written again
    assert measured(run_recipe(recipe, tmp_path / "cut", report=False)) == measured(whole)


def test_other_records_or_another_judge_measure_anew_from_the_same_predictions(
    classes: Path, model: Path, tmp_path: Path
) -> None:
    lines = ["stages=[evaluate]", "policy.precision=float32"]
    out = tmp_path / "run"
    assert measured(run_recipe(small_recipe("rise", classes, model, *lines), out, report=False))
    stamp = (predictions := next(out.glob("stages/*/predictions/rise-test.jsonl"))).stat().st_mtime_ns
    fewer = small_recipe("rise", classes, model, *lines, "evaluate.quality.records=1")
    results = run_recipe(fewer, out, report=False)
    assert [arm["quality"]["n"] for arm in results["arms"] if "quality" in arm] == [1]
    assert predictions.stat().st_mtime_ns == stamp
    assert "shuffled" not in measured(results)["base"]["metrics"], "one record has no other"
    assert all(step.done for step in prepare(fewer, out).plan)
    judged = small_recipe("rise", classes, model, *lines, f"evaluate.quality.judge={out}")
    assert not prepare(judged, out).plan[-1].done
    off = run_recipe(small_recipe("rise", classes, model, *lines, "evaluate.quality.records=0"), out, report=False)
    assert not any("quality" in arm for arm in off["arms"])


def test_answers_alone_have_no_rationales_to_measure(classes: Path, model: Path, tmp_path: Path) -> None:
    results = run_recipe(small_recipe("ans_sft", classes, model), tmp_path / "run")
    assert not any("quality" in arm for arm in results["arms"])
    assert not list(tmp_path.glob("run/**/quality*"))
    assert 'id="rationales"' not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_judge_of_boxes_sees_the_picture(places: Path, model: Path, tmp_path: Path) -> None:
    results = run_recipe(small_recipe("visual_rft", places, model), tmp_path / "run", report=False)
    stages = measured(results)
    assert list(stages) == ["base", "grpo"] and set(stages["grpo"]["metrics"]) >= RECONSTRUCTED


def test_the_built_in_model_on_a_world_states_facts(tmp_path: Path) -> None:
    load_world("affect").make(tmp_path / "data", train=2, val=2, test=3, seed=0)
    lines = [f"data={tmp_path / 'data'}", "evaluate.quality.records=2", "evaluate.limit=3", "evaluate.resamples=20"]
    results = run_recipe(load_recipe("zero_shot", [*lines, "evaluate.splits=[test]"]), tmp_path / "run", report=False)
    found = measured(results)["base"]["metrics"]
    assert found["written"] == 1 and found["words"] > 5
    assert 0 < found["facts_precision"] <= 1 and 0 < found["facts_recall"] < 1
    assert 0 < found["distinct_2"] <= 1


def test_behind_its_own_rationale_a_model_answers_as_it_did(classes: Path, model: Path) -> None:
    """What the swap test does with another's: the model goes on from there."""
    policy = Policy.load(str(model), dtype="float32")
    material = Material.open(small_recipe("visual_rft", classes, model))
    prompt = Prompter(policy, material).prompt("think", material.tests["test"][0])
    how = {"max_new_tokens": 64, "temperature": 0.0, "generator": torch.Generator().manual_seed(0)}
    whole = sample(policy, [prompt], 1, **how)[0][0].text
    ids, text = answer_start(policy, whole)
    assert whole.startswith(text) and "</think>" in text and len(text) <= whole.index("<answer>") + len("<answer>")
    assert text + sample(policy, [prompt.followed_by(ids)], 1, **how)[0][0].text == whole


def test_quality_is_compared_between_the_arms_that_have_rationales(
    finished: Path, classes: Path, model: Path, tmp_path: Path
) -> None:
    run_recipe(small_recipe("visual_rft", classes, model), tmp_path / "b", report=False)
    run_recipe(small_recipe("ans_sft", classes, model), tmp_path / "c", report=False)
    words = [str(finished), str(tmp_path / "b"), str(tmp_path / "c")]
    found = compare(read_answers(words), metrics=["quality.gain_shuffled", "quality.words"])
    assert found.arms == ["rise", "visual_rft"] and found.splits == ["test"]
    assert any("ans_sft" in note for note in found.notes)
    mean = measured(json.loads((finished / "results.json").read_text(encoding="utf-8")))["grpo"]["metrics"]
    assert found.figure("rise", "test", "quality.words").mean == pytest.approx(mean["words"])
    for metrics, reason in (
        (["quality.wrods"], "quality.words"),
        (["quality.words", "score"], "compared by themselves"),
        (["quality.facts_recall"], "mean over records"),
        (["quality.words"], "measured of ans_sft"),
    ):
        with pytest.raises(UserError, match=reason):
            compare(read_answers(words), metrics=metrics, against="ans_sft" if "ans" in reason else None)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("evaluate.quality.records=-1", "evaluate.quality.records"),
        ("evaluate.quality.records=many", "evaluate.quality.records"),
        ("evaluate.quality.judge=nowhere", "evaluate.quality.judge"),
        ("evaluate.quality.juge=tiny", "evaluate.quality.judge"),
    ],
)
def test_bad_values_are_told_before_any_work(line: str, told: str, classes: Path, tmp_path: Path, capsys) -> None:
    assert run(["run", "zero_shot", f"data={classes}", line, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
