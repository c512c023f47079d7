"""``rise evaluate``: figures, predictions, and mistakes told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_models import picture

from rise_vlm.cli import run
from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.trained import find_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_model_is_scored_on_a_split(classes: Path, model: Path, capsys) -> None:
    assert (
        run(["evaluate", str(model), str(classes), "--split", "val", "--role", "answer", "--out", "e", "--json"]) == 0
    )
    results = json.loads(capsys.readouterr().out)
    (arm,) = results["arms"]
    assert (arm["arm"], arm["split"], arm["role"], arm["n"]) == ("zero_shot_answer", "val", "answer", 2)
    assert arm["cost"]["seconds"] == 0
    rows = list(read_rows(Path("e/predictions/zero_shot_answer-val.jsonl")))
    assert arm["metrics"]["score"] == pytest.approx(sum(row["score"] for row in rows) / 2)
    assert all(row["rationale"] is None for row in rows)


def test_the_table_names_where_the_predictions_are(classes: Path, model: Path, capsys) -> None:
    assert run(["evaluate", str(model), str(classes), "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "zero_shot" in out and "predictions" in out and "training records" not in out
    page = next(Path("runs").glob("evaluate-*/report.html")).read_text(encoding="utf-8")
    assert "1 test" in page and "4 train" not in page


def run_folder(folder: Path, model: Path, recipe: str, *done: str) -> Path:
    """A run folder whose finished stages ``NN-name`` each hold the model."""
    for stage in done:
        shutil.copytree(model, folder / "stages" / stage / "model")
        (folder / "stages" / stage / "done.json").write_text(json.dumps(DONE), encoding="utf-8")
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return folder


DONE = {"summary": {"model": "model"}, "cost": {"seconds": 2.0, "rollouts": 3}}
RECIPE = """
name: mine
stages: [warm_up, closed_loop, harvest, sft, grpo, evaluate]
seed: 5
policy: {precision: float32, max_pixels: 2352, lora: {r: 4, alpha: 8}}
evaluate: {roles: [answer, think], max_new_tokens: 7, resamples: 11}
"""
STAGES = ("01-warm_up", "02-closed_loop", "03-harvest", "04-sft", "05-grpo")


def test_a_runs_model_is_evaluated_as_its_run_did(classes: Path, model: Path, capsys) -> None:
    run_folder(Path("r"), model, RECIPE, *STAGES)
    assert run(["evaluate", "r", str(classes), "--limit", "1", "--out", "e", "--json"]) == 0
    used = yaml.safe_load(Path("e/recipe.yaml").read_text(encoding="utf-8"))
    assert (used["evaluate"]["max_new_tokens"], used["evaluate"]["resamples"], used["seed"]) == (7, 11, 5)
    assert used["policy"]["precision"] == "float32" and used["policy"]["max_pixels"] == 2352
    assert used["evaluate"]["roles"] == ["answer"] and used["model"].endswith("05-grpo/model")
    told = capsys.readouterr()
    assert "is not finished" not in told.err
    (arm,) = json.loads(told.out)["arms"]
    assert (arm["arm"], arm["cost"]["seconds"], arm["cost"]["rollouts"]) == ("mine", 10.0, 15)

    more = ["--max-new-tokens", "9", "--role", "think"]
    assert run(["evaluate", "r", str(classes), "--limit", "1", "--out", "e", *more]) == 0
    assert Path("e/predictions/mine_think-test.jsonl").is_file()
    used = yaml.safe_load(Path("e/recipe.yaml").read_text(encoding="utf-8"))
    assert used["evaluate"]["max_new_tokens"] == 9


def test_a_model_of_another_task_is_doubted(classes: Path, places: Path, model: Path, capsys) -> None:
    run_folder(Path("r"), model, RECIPE, *STAGES)
    Path("r/results.json").write_text(json.dumps({"data": {"task": "classification"}}), encoding="utf-8")
    assert run(["evaluate", "r", str(places), "--limit", "1", "--out", "e", "--json"]) == 0
    captured = capsys.readouterr()
    said = "this model was trained on classification, not on grounding"
    assert captured.err.count(said) == 1
    assert [note for note in json.loads(captured.out)["notes"] if said in note]
    assert captured.err.count("the built-in model knows drawn scenes") == 1
    assert run(["evaluate", "r", str(classes), "--limit", "1", "--out", "f", "--json"]) == 0
    assert "was trained on" not in capsys.readouterr().err


def test_a_stages_model_is_told_by_its_run_and_stage(model: Path) -> None:
    folder = run_folder(Path("r"), model, RECIPE, *STAGES)
    found = find_model(str(folder / "stages/04-sft/model"))
    assert (found.arm, found.role, found.cost["seconds"]) == ("mine_sft", "answer", 8.0)
    assert found.settings["evaluate.max_new_tokens"] == 7


@pytest.mark.parametrize("done", [STAGES[:4], (*STAGES[1:4], STAGES[4])])
def test_an_unfinished_run_says_whose_model_is_taken_and_takes_no_stale_one(model: Path, capsys, done) -> None:
    folder = run_folder(Path("r"), model, RECIPE, *done)
    if done[0] != STAGES[0]:  # the first stage runs again: all after it is of former settings
        with pytest.raises(UserError, match="no finished model yet"):
            find_model(str(folder))
        return
    assert find_model(str(folder)).model.endswith("04-sft/model")
    assert "the model of its stage sft is used, not that of grpo" in capsys.readouterr().err


def test_a_run_whose_recipe_is_broken_is_one_line(classes: Path, model: Path, capsys) -> None:
    run_folder(Path("r"), model, "stages: [sft\n  x: {", "01-sft")
    assert run(["evaluate", "r", str(classes)]) == 2
    told = capsys.readouterr().err
    assert "recipe.yaml is not readable YAML" in told and "Traceback" not in told


def test_a_picture_that_the_model_does_not_take_is_named_before_the_work(tmp_path: Path, model: Path, capsys) -> None:
    with DatasetWriter(tmp_path / "d", Card(name="d", task="classification", classes=["red", "blue"])) as writer:
        for i in range(3):
            writer.add("test", id=f"good {i}", image=picture(i), annotation="red")
        writer.add("test", id="strip", image=picture(9, 3000, 10), annotation="red")
    assert run(["evaluate", str(model), "d", "--out", "e"]) == 2
    told = capsys.readouterr().err
    assert "'strip'" in told and "3000 x 10" in told and ".png" in told
    assert not any(path.stat().st_size for path in Path("e").rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{model}", "nowhere"], "There is no folder nowhere"),
        (["{model}", "{data}", "--split", "tset"], "Did you mean 'test'"),
        (["{model}", "{data}", "--role", "thinks"], "--role is think or answer"),
        (["nowhere", "{data}"], "no such folder"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(classes: Path, model: Path, capsys, arguments, says) -> None:
    assert run(["evaluate", *(argument.format(model=model, data=classes) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err
