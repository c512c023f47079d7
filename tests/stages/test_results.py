"""``results.json``: what the stages noted, and what follows from their figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rise_vlm.recipes import load_recipe
from rise_vlm.stages.files import append_rows
from rise_vlm.stages.material import Material
from rise_vlm.stages.probes import unchanged, unread
from rise_vlm.stages.results import build_results, merge_results, stage_notes, world_floors

COST = {"seconds": 1.0, "rollouts": 2, "tokens": 3, "peak_mb": 4.0}


def probes(shuffled: tuple[float, float, float], empty: tuple[float, float, float], n: int = 32) -> dict[str, float]:
    """The controls at the loop's end, from the differences of real to the others and their intervals."""
    found = {"n": float(n), "real": 0.6, "shuffled": 0.6 - shuffled[0], "empty": 0.6 - empty[0]}
    for name, triple in (("real_shuffled", shuffled), ("real_empty", empty)):
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), triple, strict=True))
    return found | {"leak_rate": 0.0, "length": 20.0}


def done_loop(figures: dict[str, float], **harvest: Any) -> dict[str, dict[str, Any]]:
    loop = {"probes": figures, "wrong_annotation": None, "training": {"zero_spread": 0.9, "reward_zero_spread": 0.1}}
    kept = {"sampled": 40, "kept": 4, "records": 4, "of_records": 4, "threshold": 0.5, "gain": 0.05, "fallback": True}
    kept |= {"dropped": {"leak": 30, "cut off": 6}, "facts": None, "notes": ["harvest: no rationale passed"], **harvest}
    return {"closed_loop": {"cost": COST, "summary": loop}, "harvest": {"cost": COST, "summary": kept}}


@pytest.fixture
def material(classes: Path) -> Material:
    return Material.open(load_recipe("ans_sft", [f"data={classes}"]))


@pytest.mark.parametrize(
    ("shuffled", "empty", "told"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "does not read the rationale"),
        ((0.02, -0.03, 0.06), (0.01, -0.02, 0.05), "does not read the rationale"),
        ((0.02, -0.03, 0.06), (0.6, 0.5, 0.7), "say nothing about their own records"),
        ((0.02, -0.03, 0.06), (-0.2, -0.3, -0.1), "say nothing about their own records"),
        ((-0.135, -0.351, -0.005), (0.0, -0.1, 0.1), "worse from its own rationale than from another record's: real"),
        ((0.2, 0.1, 0.3), (0.0, -0.1, 0.1), None),
    ],
)
def test_a_reconstructor_that_does_not_read_is_told(shuffled, empty, told) -> None:
    notes = unread(probes(shuffled, empty))
    assert len(notes) == (told is not None)
    assert all(told in note and "32 records" in note and "warm up or train" in note for note in notes)
    assert all(("within noise" in note) is (shuffled[2] >= 0) for note in notes)  # not beside an interval without 0


@pytest.mark.parametrize(
    ("interval", "told"),
    [([0.01, 0.2], None), ([-0.01, 0.2], "neither better nor worse"), ([-0.2, -0.1], "rebuilt worse"), (None, None)],
)
def test_a_loop_that_changed_nothing_is_told(interval, told) -> None:
    notes = unchanged({"mean": 0.05, "interval": interval, "n": 64})
    assert len(notes) == (told is not None) and all(told in note and "64 records" in note for note in notes)
    assert unchanged(None) == []


def test_one_control_record_is_too_few_to_say_anything() -> None:
    figures = {"n": 1.0, "real": 0.5, "empty": 0.5, "real_empty": 0.0, "leak_rate": 0.0, "length": 3.0}
    assert unread(figures) == []


def test_controls_come_with_their_number_and_intervals_and_the_harvest_with_its_reasons(material, tmp_path) -> None:
    done = done_loop(probes((0.1, 0.05, 0.15), (0.2, 0.1, 0.3)))
    before = {f"probe_{name}": value for name, value in probes((0.0, -0.1, 0.1), (0.0, -0.1, 0.1), n=31).items()}
    append_rows(tmp_path / "metrics.jsonl", [before])
    recipe = load_recipe("rise", ["stages=[closed_loop, harvest]"])
    results = build_results(recipe, material, done, {"closed_loop": tmp_path}, "rise run", 0.0)
    loop = results["loop"]
    assert loop["n"] == 32
    assert loop["differences"]["shuffled"] == {"mean": 0.1, "interval": [0.05, 0.15]}
    assert loop["gain"] is loop["wrong_annotation_before"] is None  # a loop of before these were kept
    assert loop["differences_before"]["empty"] == {"mean": 0.0, "interval": [-0.1, 0.1]}
    assert (loop["zero_spread"], loop["reward_zero_spread"]) == (0.9, 0.1)
    harvest = results["harvest"]
    assert harvest["fallback"] is True and harvest["dropped"] == {"leak": 30, "cut off": 6} and harvest["gain"] == 0.05
    assert "harvest: no rationale passed" in results["notes"]
    assert results["environment"]["precision"] in ("float32", "bfloat16")


def test_the_wrong_annotation_and_the_gain_are_told_for_both_ends_of_the_loop(material, tmp_path) -> None:
    done = done_loop(probes((0.1, 0.05, 0.15), (0.2, 0.1, 0.3)))
    ends = {
        "wrong_annotation": {"false_score": 0.5, "honest_false_score": 0.3, "honest_true_score": 0.7},
        "wrong_annotation_before": {"false_score": 0.4},
        "gain": {"mean": 0.1, "interval": [0.0, 0.2], "n": 32},
    }
    done["closed_loop"]["summary"] |= ends
    recipe = load_recipe("rise", ["stages=[closed_loop, harvest]"])
    results = build_results(recipe, material, done, {"closed_loop": tmp_path}, "rise run", 0.0)
    loop = results["loop"]
    assert (loop["wrong_annotation"], loop["wrong_annotation_before"], loop["gain"]) == (0.5, 0.4, ends["gain"])
    assert loop["wrong_annotation_detail"] == ends["wrong_annotation"]
    assert loop["wrong_annotation_detail_before"] == {"false_score": 0.4}
    assert not set(ends) & set(results["stages"]["closed_loop"]["summary"])  # each stands in one place


def test_an_evaluation_of_the_base_model_under_a_recipes_name_is_told(material) -> None:
    done = {"warm_up": {"cost": COST, "summary": {}}, "evaluate": {"cost": COST, "summary": {"arms": []}}}
    assert any("base model was judged" in note for note in
               stage_notes(load_recipe("rise", ["stages=[warm_up, evaluate]"]), material, done))  # fmt: skip
    assert stage_notes(load_recipe("zero_shot"), material, {"evaluate": done["evaluate"]}) == []
    assert stage_notes(load_recipe("ans_sft"), material, {"evaluate": done["evaluate"]}) == []


def test_merged_results_name_all_recipes_and_mark_floors_that_are_not_blind() -> None:
    part = {"arms": [], "loop": None, "harvest": None, "stages": {}, "notes": ["same"]}
    parts = [{**part, "recipe": name, "floors": [{"name": "uniform", "split": "test"}]} for name in ("a", "b")]
    whole = merge_results(parts, [{"name": "additive", "split": "test"}])
    assert whole["recipe"] == "a + b" and whole["notes"] == ["same"]
    assert [floor.get("blind", True) for floor in whole["floors"]] == [True, False]


@pytest.mark.parametrize(
    ("task", "best", "wanted"),
    [
        ("structure", 1.0, {"choice": {"score", "accuracy"}, "ceiling": {"score", "accuracy"}}),
        ("structure", 0.9, {"choice": {"score", "accuracy"}, "ceiling": {"score"}}),
        ("counting", 0.9, {"by_template": {"score", "accuracy"}, "ceiling": {"score", "accuracy"}}),
        ("transformation", 1.0, {"other": {"score", "partial"}, "ceiling": {"score", "partial", "exact_set"}}),
        ("distribution", 1.0, {"additive": {"score"}, "ceiling": {"score"}}),
    ],
)
def test_a_worlds_floors_are_in_every_metric_in_which_they_are_known(
    task: str, best: float, wanted: dict[str, set[str]]
) -> None:
    """A letter guessed by chance is right or wrong, and the truth itself is right, however near an answer may come."""
    summary = {"floors": dict.fromkeys([*wanted, "majority"], 0.125), "best": best}
    rows = world_floors(summary, task)
    assert {row["name"]: set(row["metrics"]) for row in rows} == wanted
    for row in rows:
        assert set(row["metrics"].values()) == {best if row["name"] == "ceiling" else 0.125}
