"""A training whose groups do not differ: told once with its reason, ended where asked, whole and resumable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage_kit import small_recipe

from rise_vlm.errors import Interrupted
from rise_vlm.stages import closed_loop, grpo
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.preflight import prepare
from rise_vlm.stages.run import run_recipe
from rise_vlm.stages.spread import STRETCH, Watch, why_grpo, why_loop


def rows(folder: Path, flat: str, **metrics: float) -> Path:
    """A row per letter: ``f`` without spread, ``s`` with."""
    text = "".join(
        json.dumps({"step": step, "zero_spread": 1.0 if kind == "f" else 0.5, **metrics}) + "\n"
        for step, kind in enumerate(flat, 1)
    )
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_it_is_told_when_the_stretch_is_long_enough_and_once(tmp_path: Path, capsys) -> None:
    rows(tmp_path, "ss" + "f" * (STRETCH + 3), score=0.0, well_formed=0.4)
    watch = Watch("grpo", tmp_path, None, why_grpo)
    assert not any(watch.ends(step) for step in range(1, STRETCH + 6))
    told = [line for line in capsys.readouterr().err.splitlines() if "spread" in line]
    assert len(told) == 1 and f"steps 3 to {STRETCH + 2}" in told[0] and "every answer scored 0" in told[0]
    assert told[0].endswith("grpo.stop_without_spread=20 would end it.")
    (note,) = watch.notes(STRETCH + 5, STRETCH + 5)
    assert f"steps 3 to {STRETCH + 5}" in note


def test_a_short_stretch_is_nothing_to_tell(tmp_path: Path, capsys) -> None:
    watch = Watch("grpo", rows(tmp_path, ("f" * (STRETCH - 1) + "s") * 3), None, why_grpo)
    assert not any(watch.ends(step) for step in range(1, 3 * STRETCH + 1))
    assert watch.notes(3 * STRETCH, 3 * STRETCH) == [] and "spread" not in capsys.readouterr().err


def test_a_short_training_without_any_spread_is_told_at_its_end(tmp_path: Path) -> None:
    (note,) = Watch("grpo", rows(tmp_path, "fff", score=1.0), None, why_grpo).notes(3, 3)
    assert "steps 1 to 3" in note and "right already" in note
    (note,) = Watch("grpo", rows(tmp_path, "f", score=1.0), None, why_grpo).notes(1, 1)
    assert "in step 1," in note


def test_it_ends_after_as_many_steps_in_a_row_as_asked(tmp_path: Path) -> None:
    watch = Watch("grpo", rows(tmp_path, "ffsfff"), 3, why_grpo)
    assert [watch.ends(step) for step in range(1, 7)] == [False] * 5 + [True]
    (note,) = watch.notes(6, 20)
    assert "steps 4 to 6" in note and "stopped after step 6 of 20 (stop_without_spread=3)" in note


@pytest.mark.parametrize(
    ("why", "means", "says"),
    [
        (why_loop, {"length": 0}, "every rationale was empty"),
        (why_loop, {"length": 5, "parsed": 0, "reconstruction": 0}, "no reconstruction could be read"),
        (why_loop, {"length": 5, "parsed": 0.5, "reconstruction": 0}, "every reconstruction scored 0"),
        (why_loop, {"length": 5, "parsed": 1, "reconstruction": 1}, "right already"),
        (why_loop, {"length": 5, "parsed": 1, "reconstruction": 0.4, "leak_rate": 1}, "every rationale leaked"),
        (why_loop, {"length": 5, "parsed": 1, "reconstruction": 0.4, "leak_rate": 0.5}, "rebuilt alike"),
        (why_grpo, {"well_formed": 0, "score": 0}, "kept to the form"),
        (why_grpo, {"well_formed": 1, "score": 1}, "right already"),
        (why_grpo, {"well_formed": 1, "score": 0.3}, "rewarded alike"),
    ],
)
def test_the_reason_follows_from_the_metrics(why, means, says) -> None:
    assert says in why(means)


STOP = "stop_without_spread"
LOOP = ("stages=[closed_loop]", "closed_loop.steps=6", "closed_loop.group=2", "policy.precision=float32")


def test_a_loop_that_cannot_be_read_ends_early_with_whole_files(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reconstructions of one token are no answers. A kill between the last step and the stage's end changes nothing."""
    recipe = small_recipe(
        "rise", classes, model, *LOOP, "reconstruct.max_new_tokens=1", "closed_loop.stop_without_spread=2"
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(closed_loop.ClosedLoopWork, "final_controls", killed)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path, report=False)
    results = run_recipe(recipe, tmp_path, report=False)
    (note,) = [note for note in results["notes"] if "spread" in note]
    assert "no reconstruction could be read" in note and "stopped after step 2 of 6" in note
    folder = tmp_path / "stages" / "01-closed_loop"
    assert [row["step"] for row in read_rows(folder / "metrics.jsonl")] == [1, 2]
    assert (folder / "rollouts.parquet").is_file() and (folder / "model" / "config.json").is_file()
    assert json.loads((folder / "done.json").read_text(encoding="utf-8"))["summary"]["steps"] == 2
    assert all(step.done for step in prepare(recipe, tmp_path).plan)


def test_grpo_ends_early_and_a_run_without_the_key_goes_on_with_it(
    classes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("stages=[grpo]", "grpo.steps=5", "grpo.max_new_tokens=1", "grpo.train.save_every=1")
    stopped = grpo.GrpoWork.prepare

    def third(self: grpo.GrpoWork, step: int, generator: object):
        if step == 3:
            raise KeyboardInterrupt
        return stopped(self, step, generator)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(grpo.GrpoWork, "prepare", third)
        with pytest.raises(Interrupted):
            run_recipe(small_recipe("visual_rft", classes, model, *options), tmp_path, report=False)
    recipe = small_recipe("visual_rft", classes, model, *options, f"grpo.{STOP}=3")
    results = run_recipe(recipe, tmp_path, report=False)
    assert not (tmp_path / "former").exists()
    (note,) = [note for note in results["notes"] if "spread" in note]
    assert "steps 1 to 3" in note and "kept to the form" in note
