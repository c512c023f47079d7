"""Runs from the first stage to the report: every shipped recipe, tiny datasets, repeats, changes and interruptions."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from stage_kit import SMALL, environment, make_classification, small_recipe

from rise_vlm.engine.work import Prepared
from rise_vlm.errors import UserError
from rise_vlm.recipes import SHIPPED, load_recipe
from rise_vlm.stages.files import read_json, read_rows
from rise_vlm.stages.grpo import GrpoWork
from rise_vlm.stages.preflight import replaced
from rise_vlm.stages.run import prepare, run_recipe
from rise_vlm.stages.trained import find_model


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, classes: Path, model: Path) -> Path:
    """One run of ``rise``, finished."""
    out = tmp_path_factory.mktemp("runs") / "rise"
    run_recipe(small_recipe("rise", classes, model), out)
    return out


def test_what_a_kill_at_the_very_end_has_left_goes(finished: Path, classes: Path, model: Path, tmp_path: Path) -> None:
    """Killed after the stage was done and before its checkpoints were deleted, or amid a file."""
    out = tmp_path / "rise"
    shutil.copytree(finished, out)
    stage = out / "stages" / "02-closed_loop"
    for name in ("checkpoint-last", "checkpoint-before"):
        (stage / name).mkdir()
    (stage / ".rollouts.parquet.4711").write_bytes(b"PAR1")
    run_recipe(small_recipe("rise", classes, model), out, report=False)
    assert sorted(path.name for path in stage.iterdir()) == sorted(
        path.name for path in (finished / "stages" / "02-closed_loop").iterdir()
    )


def test_a_run_leaves_what_the_contract_promises(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    (arm,) = results["arms"]
    assert (arm["arm"], arm["seed"], arm["task"], arm["split"], arm["n"]) == ("rise", 0, "classification", "test", 2)
    assert {"score", "parsed"} <= set(arm["metrics"]) and set(arm["intervals"]) <= set(arm["metrics"])
    assert arm["cost"]["seconds"] > 0 and arm["cost"]["rollouts"] > 0 and arm["cost"]["peak_mb"] > 0
    assert set(results["loop"]["reconstruction"]) == {"real", "empty", "shuffled"}
    assert results["harvest"]["sampled"] == 12 and 0 < results["harvest"]["kept"] <= 8
    assert {floor["name"] for floor in results["floors"]} == {"uniform", "majority"}
    rows = list(read_rows(finished / "predictions" / "rise-test.jsonl"))
    assert len(rows) == 2
    promised = {"id", "image", "question", "annotation", "completion", "rationale", "value", "reason", "score"}
    assert all(promised <= set(row) for row in rows)
    assert (finished / "report.html").stat().st_size > 1000
    assert load_recipe(finished / "recipe.yaml").stages == load_recipe("rise").stages


def test_each_stage_leaves_its_files(finished: Path) -> None:
    stages = {folder.name: folder for folder in (finished / "stages").iterdir()}
    assert sorted(stages) == ["01-warm_up", "02-closed_loop", "03-harvest", "04-sft", "05-grpo", "06-evaluate"]
    for name in ("01-warm_up", "02-closed_loop", "04-sft", "05-grpo"):
        assert (stages[name] / "model" / "config.json").is_file()
        assert list(read_rows(stages[name] / "metrics.jsonl"))
        assert not (stages[name] / "checkpoint-last").exists()
    assert (stages["02-closed_loop"] / "rollouts.parquet").is_file()
    rationales = list(read_rows(stages["03-harvest"] / "rationales.jsonl"))
    assert rationales and all(row["model"] and "seed" in row and not row["leaks"] for row in rationales)
    assert read_json(stages["03-harvest"] / "histogram.json")["threshold"] == 0.5


def test_a_finished_run_is_not_run_again(finished: Path, classes: Path, model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("stages/*/done.json")}
    assert len(before) == 6
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    again = run_recipe(small_recipe("rise", classes, model), finished, command="another")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again["arms"] == results["arms"]
    assert again["environment"] == results["environment"], "when, how and where it was run stays"


def test_a_changed_setting_reaches_its_stage_and_those_after_it(finished: Path, classes: Path, model: Path) -> None:
    def waiting(*overrides: str) -> list[str]:
        return [
            step.stage
            for step in prepare(small_recipe("rise", classes, model, *overrides), finished).plan
            if not step.done
        ]

    assert waiting() == []
    assert waiting("evaluate.max_new_tokens=9") == ["evaluate"]
    assert waiting("grpo.format_weight=0.9") == ["grpo", "evaluate"]
    assert waiting("harvest.threshold=0.4") == ["harvest", "sft", "grpo", "evaluate"]
    assert waiting("seed=1") == list(load_recipe("rise").stages)
    assert waiting("grpo.save_every=3") == []


def test_a_result_that_is_replaced_is_kept_aside(finished: Path, classes: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    there = f"{out} holds a run of 'rise' on {classes}: its stages move to {out / 'former'}"
    assert replaced(small_recipe("rise", classes, model), out) == []
    (note,) = replaced(small_recipe("ans_sft", classes, model), out)
    assert note.startswith(there)
    results = run_recipe(small_recipe("rise", classes, model, "stages=[evaluate]"), out)
    assert results["loop"] is None and results["arms"][0]["cost"]["rollouts"] == 0
    assert [folder.name for folder in (out / "stages").iterdir()] == ["01-evaluate"]
    aside = {folder.name for folder in (out / "former").iterdir()}
    assert {"02-closed_loop.1", "06-evaluate.1"} <= aside
    assert (out / "former" / "05-grpo.1" / "model" / "config.json").is_file()


def test_results_of_before_do_not_stand_beside_a_changed_recipe(
    finished: Path, classes: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)

    def breaks(*_: object) -> dict:
        raise UserError("stopped")

    monkeypatch.setattr("rise_vlm.stages.run._run_stage", breaks)
    with pytest.raises(UserError, match="stopped"):
        run_recipe(small_recipe("rise", classes, model, "evaluate.max_new_tokens=9"), out)
    assert not (out / "results.json").exists()


def test_a_run_folder_is_a_model(finished: Path) -> None:
    found = find_model(str(finished))
    assert found.role == "think" and Path(found.model).parent.name == "05-grpo"
    assert find_model("tiny").model == "tiny"
    assert find_model("some/hub-id").model == "some/hub-id"


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "rise" and not name.endswith("7b")])
def test_every_shipped_recipe_runs(name: str, classes: Path, model: Path, tmp_path: Path) -> None:
    """rise itself is the ``finished`` run; those for 7B are those for 2B with another model."""
    shipped = load_recipe(name)
    data = explained(classes, tmp_path / "data") if shipped.sft.source == "rationales" else classes
    few = ("sft.records=2",) if shipped.sft.records == 1600 and "sft" in shipped.stages else ()
    recipe = small_recipe(name, data, model, "policy.precision=float32", *few)
    results = run_recipe(recipe, tmp_path / "run", report=False)
    arms = {arm["arm"] for arm in results["arms"]}
    assert arms == ({name} if name != "zero_shot" else {"zero_shot", "zero_shot_answer"})
    assert results["arms"][0]["n"] == 2


def test_grpo_by_epochs_goes_on_to_what_it_would_have_been(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One and a half epochs over 4 records, 2 a step, are 3 steps; a linear rate knows them from the start."""
    (tmp_path / "mine.yaml").write_text(
        "extends: visual_rft\ngrpo: {epochs: 1.5, train: {schedule: linear, warmup_steps: 0}}\n"
    )
    small = [line for line in SMALL if line.startswith(("grpo", "evaluate")) and "steps" not in line]
    recipe = load_recipe(tmp_path / "mine.yaml", [f"data={classes}", f"model={model}", *small, "grpo.save_every=1"])
    assert any(
        note.startswith("grpo: grpo.epochs=1.5 over 4 records makes grpo.steps=3")
        for note in prepare(recipe, tmp_path / "a").material.notes
    )
    run_recipe(recipe, tmp_path / "whole", report=False)
    prepared = GrpoWork.prepare

    def fails(self: GrpoWork, step: int, generator: torch.Generator) -> Prepared:
        if step == 3:
            raise UserError("the disk of the pictures is gone")
        return prepared(self, step, generator)

    with monkeypatch.context() as patched:
        patched.setattr(GrpoWork, "prepare", fails)
        with pytest.raises(UserError, match="is gone"):
            run_recipe(recipe, tmp_path / "run", report=False)
    results = run_recipe(recipe, tmp_path / "run", report=False)
    assert "continuing after step 2 of 3" in capsys.readouterr().err
    assert results["stages"]["grpo"]["summary"]["steps"] == 3
    whole, run = (
        [{key: row[key] for key in ("step", "loss", "learning_rate", "reward")} for row in read_rows(metrics)]
        for metrics in (tmp_path / name / "stages" / "01-grpo" / "metrics.jsonl" for name in ("whole", "run"))
    )
    assert whole == run and len(run) == 3 and run[2]["learning_rate"] < run[0]["learning_rate"]


def explained(data: Path, copy: Path) -> Path:
    """A copy of a dataset whose training records have rationales."""
    shutil.copytree(data, copy)
    rows = [json.loads(line) for line in (copy / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(row | {"rationale": "soft glow"}) + "\n" for row in rows]
    (copy / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    return copy


@pytest.mark.parametrize("name", ["rise", "ans_sft"])
def test_a_dataset_of_one_record_without_any_other_split(name: str, model: Path, tmp_path: Path) -> None:
    data = make_classification(tmp_path / "one", train=1, val=0, test=0)
    results = run_recipe(small_recipe(name, data, model), tmp_path / "run")
    assert results["arms"][0]["split"] == "train" and results["arms"][0]["n"] == 1
    assert len(results["notes"]) >= 2


def test_boxes_go_through_all_stages(places: Path, model: Path, tmp_path: Path) -> None:
    results = run_recipe(small_recipe("rise", places, model), tmp_path / "run")
    assert results["arms"][0]["task"] == "grounding"
    values = [row["value"] for row in read_rows(tmp_path / "run" / "predictions" / "rise-test.jsonl")]
    assert any(value is not None and len(value) == 4 for value in values)


def test_a_model_that_answers_nothing_readable_still_gets_to_the_end(moods: Path, model: Path, tmp_path: Path) -> None:
    """The model never went to school for distributions."""
    results = run_recipe(small_recipe("rise", moods, model, "reconstruct.max_new_tokens=4"), tmp_path / "run")
    assert results["arms"][0]["metrics"]["parsed"] == results["arms"][0]["metrics"]["score"] == 0.0
    assert results["harvest"]["sampled"] == 12


def test_the_official_score_rewards_and_the_test_stays_the_same(moods: Path, model: Path, tmp_path: Path) -> None:
    """The loop rewards by the recipe's score; the evaluation and its floors are those of any other run."""
    seen = {}
    for score in ("jsd", "official"):
        options = ("stages=[closed_loop, evaluate]", "closed_loop.steps=1", f"task.score={score}")
        results = run_recipe(small_recipe("rise", moods, model, *options), tmp_path / score, report=False)
        rows = list(read_rows(tmp_path / score / "predictions" / "rise-test.jsonl"))
        seen[score] = (results["floors"], results["arms"][0]["metrics"], [row["score"] for row in rows])
    assert seen["official"] == seen["jsd"]


@pytest.mark.parametrize("variant", ["official", "frozen", "ema", "token"])
def test_variants_of_the_loop_run(variant: str, classes: Path, model: Path, tmp_path: Path) -> None:
    options = {
        "official": ("closed_loop.preset=official",),
        "frozen": ("reconstruct.reconstructor=frozen", "reconstruct.baseline=empty"),
        "ema": ("reconstruct.reconstructor=ema", "closed_loop.objective.beta=0.1"),
        "token": (
            "sft.loss=token",
            "reconstruct.reconstructor=policy",
            "reconstruct.temperature=1",
            "reconstruct.samples=2",
            "credit=both",
        ),
    }[variant]
    recipe = small_recipe("rise", classes, model, "stages=[closed_loop, harvest, sft]", *options)
    results = run_recipe(recipe, tmp_path / "run", report=False)
    assert 0 <= results["loop"]["reconstruction"]["real"] <= 1
    rows = pyarrow.parquet.read_table(tmp_path / "run" / "stages" / "01-closed_loop" / "rollouts.parquet").to_pylist()
    assert len(rows) == 2 * 2 * 3
    assert [row["grounding"] == 0 for row in rows] == [variant == "official"] * len(rows)
    if variant == "official":
        for row in rows:
            factor = 1.0 if row["leaks"] == "[]" else 0.1
            assert row["reward"] == pytest.approx(factor * row["score"] + row["parsed"])


KILLED = """
import sys
from rise_vlm.recipes import load_recipe
from rise_vlm.stages.run import run_recipe
from pathlib import Path
run_recipe(load_recipe(sys.argv[1]), Path(sys.argv[2]), report=False)
"""


def test_a_killed_run_ends_like_one_that_was_not(classes: Path, model: Path, tmp_path: Path) -> None:
    import yaml
    from safetensors.torch import load_file

    recipe = small_recipe("rise", classes, model, "stages=[closed_loop, harvest]", "closed_loop.steps=4",
                   "closed_loop.save_every=1", "harvest.records_per_batch=1", "policy.precision=float32",
                   "reconstruct.reconstructor=ema")  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.resolved()), encoding="utf-8")
    run_recipe(load_recipe(path), tmp_path / "whole", report=False)

    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(path), str(out)]
    for mark, size in (("stages/01-closed_loop/metrics.jsonl", 1), ("stages/02-harvest/samples.jsonl", 1)):
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 240
            while process.poll() is None and time.monotonic() < until:
                if (out / mark).exists() and (out / mark).stat().st_size >= size:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.02)
        assert process.returncode == -signal.SIGKILL
    run_recipe(load_recipe(path), out, report=False)
    for name in ("01-closed_loop/model/model.safetensors",):
        one, other = (load_file(folder / "stages" / name) for folder in (tmp_path / "whole", out))
        assert all((one[key] == other[key]).all() for key in one)
    for name in ("02-harvest/samples.jsonl", "02-harvest/rationales.jsonl"):
        one, other = ([{k: v for k, v in row.items() if k != "model"} for row in read_rows(folder / "stages" / name)]
                      for folder in (tmp_path / "whole", out))  # fmt: skip
        assert one == other


def test_a_folder_that_cannot_be_written_is_told_before_any_work(classes: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="is a file"):
            prepare(small_recipe("ans_sft", classes, model), out)


def test_a_full_disk_is_told_before_any_work(classes: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    from rise_vlm.stages.preflight import check_writable

    with pytest.raises(UserError, match=r"cannot be written: No space left") as caught:
        check_writable(tmp_path / "run")
    assert caught.value.exit_code == 1


def test_a_checkpoint_of_another_architecture_is_told(classes: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(UserError, match="architecture is 'bert', which is no vision-language model"):
        prepare(small_recipe("ans_sft", classes, tmp_path / "m"), tmp_path / "run")
    with pytest.raises(UserError, match="no such folder"):
        prepare(small_recipe("ans_sft", classes, tmp_path / "nowhere"), tmp_path / "run")


def test_a_picture_that_breaks_in_the_middle_names_file_and_remedy(model: Path, tmp_path: Path) -> None:
    data = make_classification(tmp_path / "d")
    victim = next((data / "images" / "train").iterdir())
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(UserError) as caught:
        run_recipe(small_recipe("ans_sft", data, model), tmp_path / "run")
    message = str(caught.value)
    assert victim.name in message and "rise data check" in message and "record 'train-" in message
    assert caught.value.exit_code == 1
