"""Presets: what they set, what outranks them, and what they reward."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.recipes import load_recipe
from rise_vlm.recipes.presets import PRESETS
from rise_vlm.rewards.boxes import giou
from rise_vlm.rewards.detection import Labelled, found_score, greedy_score
from rise_vlm.stages.material import Material
from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.grounding import Grounding


@pytest.mark.parametrize(("preset", "beta"), [("official", 0.0), ("visual_rft", 0.04)])
def test_grpo_s_presets_set_score_format_and_divergence(preset: str, beta: float) -> None:
    made, plain = load_recipe("visual_rft", [f"grpo.preset={preset}"]), load_recipe("visual_rft")
    assert (made.task.score, made.grpo.format_weight, made.grpo.objective.beta) == (preset, 1.0, beta)
    assert made.grpo.objective.loss == "grpo" and made.grpo.train == plain.grpo.train


def test_what_stands_beside_a_preset_outranks_it() -> None:
    made = load_recipe("visual_rft", ["grpo.preset=visual_rft", "grpo.objective.beta=0", "task.score=default"])
    assert (made.grpo.objective.beta, made.task.score, made.grpo.format_weight) == (0.0, "default", 1.0)


def test_loop_and_grpo_have_presets_side_by_side() -> None:
    both = load_recipe(
        "rise", ["closed_loop.preset=official", "grpo.preset=official", "reconstruct.reconstructor=policy"]
    )
    assert (both.closed_loop.credit, both.grpo.format_weight, both.task.score) == ("answer", 1.0, "official")
    assert set(PRESETS) == {"closed_loop", "grpo"}
    with pytest.raises(UserError, match=r"grpo\.preset=offical: it should be 'ours', 'official' or 'visual_rft'"):
        load_recipe("rise", ["grpo.preset=offical"])


def box(*sides: float, label: str = "a") -> Labelled:
    return Labelled(label, sides)


def test_official_detection_ignores_what_is_missed_and_visual_rft_what_is_rough() -> None:
    truth = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    assert found_score(truth, [truth[0]]) == 1.0 and greedy_score(truth, [truth[0]]) == 0.5
    rough = box(0, 0, 10, 4)  # IoU 0.4
    assert found_score(truth, [rough]) == pytest.approx(0.4) and greedy_score(truth, [rough]) == 0.0
    assert greedy_score(truth, [box(0, 0, 10, 10, label="b")]) == 0.0
    # Greedy: the first found box takes the true one that the second fits exactly.
    near = box(0, 0, 10, 8)
    assert greedy_score(truth[:1], [near, truth[0]]) == pytest.approx(0.8 / 2)
    assert found_score([], []) == greedy_score([], []) == 1.0 and found_score([], truth) == 0.0
    assert found_score(truth, []) == greedy_score(truth, []) == 0.0


def test_the_generalised_iou_by_hand() -> None:
    assert giou([0, 0, 2, 2], [0, 0, 2, 2]) == 1.0
    assert giou([0, 0, 1, 1], [3, 0, 4, 1]) == pytest.approx(-0.5)  # two of four squares covered
    assert Grounding(score="visual_rft").score([0, 0, 1, 1], [3, 0, 4, 1]) == pytest.approx(0.25)
    assert Detection(["a"], score="official").score([{"label": "a", "box": [0, 0, 9, 9]}], None) == 0.0


def test_a_preset_s_score_rewards_and_never_judges(tmp_path: Path) -> None:
    truth = [{"label": "car", "box": [0, 0, 20, 20]}, {"label": "car", "box": [30, 30, 50, 50]}]
    with DatasetWriter(tmp_path / "d", Card(name="d", task="detection", classes=["car"])) as writer:
        for split in ("train", "test"):
            writer.add(split, id=split, image=picture(1), annotation=truth)
    material = Material.open(load_recipe("visual_rft", [f"data={tmp_path / 'd'}", "grpo.preset=official"]))
    assert material.rewards.score(truth, truth[:1]) == 1.0 and material.task.score(truth, truth[:1]) == 0.5
