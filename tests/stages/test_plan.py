"""Which changes make a stage run again, what is kept of the one before, and what goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage_kit import make_classification, small_recipe

from rise_vlm.recipes.schema import StageName
from rise_vlm.stages.plan import DONE, INPUTS, Step, begin, finish
from rise_vlm.stages.run import prepare


def step_of(stage: StageName, out: Path, data: Path, model: Path, *overrides: str) -> Step:
    """The step of ``stage`` in a run of ``rise`` on ``data``."""
    plan = prepare(small_recipe("rise", data, model, *overrides), out).plan
    return next(step for step in plan if step.stage == stage)


def started(step: Step, out: Path, reached: int = 1) -> None:
    """The stage as it lies there after it was stopped behind step ``reached``."""
    begin(step, out)
    (step.folder / "checkpoint-last").mkdir()
    (step.folder / "checkpoint-last" / "state.json").write_text(json.dumps({"step": reached}), encoding="utf-8")


GOES_ON = [
    ("sft", "sft.token_budget=1024"),
    ("sft", "sft.save_every=1"),
    ("closed_loop", "closed_loop.token_budget=512"),
    ("closed_loop", "probes.every=7"),
    ("closed_loop", "closed_loop.steps=9"),
    ("evaluate", "evaluate.records_per_batch=3"),
    ("evaluate", "evaluate.resamples=50"),
]


@pytest.mark.parametrize(("stage", "override"), GOES_ON)
def test_what_does_not_decide_what_was_begun_lets_it_go_on(
    stage: StageName, override: str, classes: Path, model: Path, tmp_path: Path
) -> None:
    started(step_of(stage, tmp_path, classes, model), tmp_path)
    step = step_of(stage, tmp_path, classes, model, override)
    begin(step, tmp_path)
    assert (step.folder / "checkpoint-last" / "state.json").is_file()
    assert not (tmp_path / "former").exists()


BEGINS_ANEW = [
    ("sft", "sft.learning_rate=1e-3"),
    ("sft", "sft.steps=9"),  # at a falling rate every step depends on how many there are
    ("harvest", "harvest.records_per_batch=3"),  # the harvest draws batch by batch
    ("closed_loop", "task.score=official"),
]


@pytest.mark.parametrize(("stage", "override"), BEGINS_ANEW)
def test_a_stage_under_way_goes_aside_and_it_is_said(
    stage: StageName, override: str, classes: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(step_of(stage, tmp_path, classes, model), tmp_path)
    step = step_of(stage, tmp_path, classes, model, override)
    begin(step, tmp_path)
    aside = tmp_path / "former" / f"{step.folder.name}.1"
    assert (aside / "checkpoint-last" / "state.json").is_file()
    assert [path.name for path in step.folder.iterdir()] == [INPUTS]
    said = capsys.readouterr().err
    assert f"{stage}: its settings or inputs have changed" in said
    assert f"what it had begun is in former/{aside.name}" in said


def test_a_reward_of_weight_0_decides_as_little_as_none(classes: Path, model: Path, tmp_path: Path) -> None:
    def prints(*overrides: str) -> list[str]:
        return [
            step.fingerprint for step in prepare(small_recipe("visual_rft", classes, model, *overrides), tmp_path).plan
        ]

    assert prints("grpo.rewards={repetition: 0}") == prints() != prints("grpo.rewards={repetition: 1}")


def test_a_record_set_aside_makes_the_training_start_anew_but_loses_nothing(model: Path, tmp_path: Path) -> None:
    """As 'rise data check --quarantine' does, when a picture is found to be broken in the middle of a run."""
    data, out = make_classification(tmp_path / "d"), tmp_path / "run"
    started(step_of("sft", out, data, model), out)
    rows = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "train.jsonl").write_text("".join(rows[1:]), encoding="utf-8")
    begin(step_of("sft", out, data, model), out)
    assert (out / "former" / "04-sft.1" / "checkpoint-last" / "state.json").is_file()


def test_fewer_steps_than_were_made_start_anew(classes: Path, model: Path, tmp_path: Path) -> None:
    started(step_of("closed_loop", tmp_path, classes, model, "closed_loop.steps=5"), tmp_path, reached=4)
    begin(step_of("closed_loop", tmp_path, classes, model, "closed_loop.steps=3"), tmp_path)
    assert (tmp_path / "former" / "02-closed_loop.1" / "checkpoint-last").is_dir()


def test_other_resamples_keep_the_predictions_of_a_finished_evaluation(
    classes: Path, model: Path, tmp_path: Path
) -> None:
    step = step_of("evaluate", tmp_path, classes, model)
    begin(step, tmp_path)
    (step.folder / "predictions").mkdir()
    finish(step, {}, {})
    again = step_of("evaluate", tmp_path, classes, model, "evaluate.resamples=50")
    assert step_of("evaluate", tmp_path, classes, model).done is not None and again.done is None
    begin(again, tmp_path)
    assert (step.folder / "predictions").is_dir() and not (step.folder / DONE).exists()
    assert not (tmp_path / "former").exists()


def test_a_finished_training_that_is_made_longer_is_kept_aside(classes: Path, model: Path, tmp_path: Path) -> None:
    """Its checkpoint is gone, so it cannot go on."""
    step = step_of("closed_loop", tmp_path, classes, model)
    started(step, tmp_path)
    for name in ("checkpoint-before", "checkpoint-damaged", "checkpoint-last-new"):
        (step.folder / name).mkdir()
    finish(step, {"model": "model"}, {})
    assert not list(step.folder.glob("checkpoint-*"))
    again = step_of("closed_loop", tmp_path, classes, model, "closed_loop.steps=9")
    assert again.done is None
    begin(again, tmp_path)
    assert (tmp_path / "former" / "02-closed_loop.1" / DONE).is_file()


def test_looking_closer_does_not_repeat_what_is_done(classes: Path, model: Path, tmp_path: Path) -> None:
    step = step_of("closed_loop", tmp_path, classes, model)
    begin(step, tmp_path)
    finish(step, {"model": "model"}, {})
    for override in ("probes.records=1", "probes.every=3", "closed_loop.token_budget=99"):
        assert step_of("closed_loop", tmp_path, classes, model, override).done is not None
