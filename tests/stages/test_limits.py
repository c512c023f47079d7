"""Token limits against the records: what is derived, what is noted, what is refused before any work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stage_kit import small_recipe
from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.recipes import load_recipe
from rise_vlm.recipes.schema import Reconstruct
from rise_vlm.stages.limits import Ruler, answer_tokens, derived, rebuild_limit
from rise_vlm.stages.material import Material
from rise_vlm.stages.preflight import prepare
from rise_vlm.stages.prompter import Prompter


def make_cars(root: Path, boxes: dict[str, int], classes: list[str] | None = None) -> Path:
    """Pictures by id with so many cars each; ids begin with their split."""
    names = classes or ["car", "dog"]
    with DatasetWriter(root, Card(name="cars", task="detection", classes=names)) as writer:
        for number, (id, count) in enumerate(boxes.items()):
            truth = [{"label": names[0], "box": [i, 0, i + 20, 40]} for i in range(count)]
            writer.add(id.split("-")[0], id=id, image=picture(number), annotation=truth)
    return root


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    boxes = {"train-few": 1, "train-many": 9, "train-none": 0, "val-more": 12, "test-few": 1, "test-most": 20}
    return make_cars(tmp_path_factory.mktemp("cars") / "cars", boxes)


def notes_of(cars: Path, out: Path, recipe: str, *overrides: str) -> list[str]:
    return prepare(load_recipe(recipe, [f"data={cars}", *overrides]), out).material.notes


def test_a_ruler_counts_what_the_model_gets(cars: Path, model: Path) -> None:
    policy = Policy.load(str(model), dtype="float32")
    material = Material.open(load_recipe("rise", [f"data={cars}"]))
    by, prompter = Ruler(str(model), None), Prompter(policy, material)
    assert by.context == policy.context
    for record in material.train:
        for role in ("reason", "think", "reconstruct"):
            prompt = prompter.prompt(role, record, "" if role == "reconstruct" else None)
            pictures = sum(image.tokens for image in prompt.images)
            assert by.prompt(prompt.text, record, sees_image=True) == (len(prompt), pictures)


def test_the_loops_limit_comes_from_the_longest_true_answer(cars: Path, tmp_path: Path) -> None:
    material = Material.open(load_recipe("rise", [f"data={cars}"]))
    by = Ruler("tiny", None)
    records = [*material.train, *material.val]
    most = max(answer_tokens(by.tokenizer, by.frame, material.task, records, "reconstruct"))
    limit = rebuild_limit(Reconstruct(), by.tokenizer, by.frame, material, by.context)
    assert most * 1.25 <= limit < most * 1.25 + 8
    assert rebuild_limit(Reconstruct(max_new_tokens=3), by.tokenizer, by.frame, material, by.context) == 3
    assert derived(10_000, 4096) == 2048
    (note,) = [n for n in notes_of(cars, tmp_path / "run", "rise") if "reconstruct.max_new_tokens" in n]
    assert f"is {limit}, " in note and f"{most} tokens, of record 'val-more'" in note


@pytest.mark.parametrize(
    ("recipe", "override", "over"),
    [
        ("visual_rft", "grpo.rollouts.max_new_tokens=40", "1 of 3 records; .* 'train-many'"),
        ("ans_sft", "evaluate.max_new_tokens=40", "1 of 2 records; .* 'test-most'"),
        ("rise", "closed_loop.reconstruct.max_new_tokens=40", "1 of 3 records; .* 'train-many'"),
    ],
)
def test_answers_over_a_limit_are_counted_and_the_value_noted_holds_them(
    cars: Path, tmp_path: Path, recipe: str, override: str, over: str
) -> None:
    key = override.split("=")[0]
    found = [note for note in notes_of(cars, tmp_path / "run", recipe, override) if note.startswith(f"{key}: ")]
    assert len(found) == 1 and re.search(over, found[0])
    enough = re.search(rf"{re.escape(key)}=(\d+) holds all", found[0])
    assert enough is not None
    value = int(enough[1])
    for limit, noted in ((value, False), (value - 1, True)):
        notes = notes_of(cars, tmp_path / "run", recipe, f"{key}={limit}")
        assert any(note.startswith(f"{key}: ") for note in notes) == noted


def test_a_rationale_needs_room_too_where_the_harvest_teaches_one(cars: Path, tmp_path: Path) -> None:
    key = "grpo.rollouts.max_new_tokens"
    (note,) = [n for n in notes_of(cars, tmp_path / "r", "rise", f"{key}=200") if n.startswith(key)]
    assert "behind a rationale as the harvest keeps them (about 45 tokens)" in note
    assert not any(n.startswith(key) for n in notes_of(cars, tmp_path / "v", "visual_rft", f"{key}=200"))


def test_a_reinforcement_that_rebuilds_has_the_loop_s_limit(cars: Path, tmp_path: Path) -> None:
    key, rebuilds = "closed_loop.reconstruct.max_new_tokens", "grpo.rewards={reconstruction: 1}"
    assert any(n.startswith(f"{key} is") for n in notes_of(cars, tmp_path / "r", "visual_rft", rebuilds))
    assert not any(n.startswith(key) for n in notes_of(cars, tmp_path / "v", "visual_rft"))
    with pytest.raises(UserError, match=rf"^grpo: the reconstruct prompt of record .* \({key}\)"):
        notes_of(cars, tmp_path / "l", "visual_rft", rebuilds, f"{key}=4090")


@pytest.mark.parametrize("recipe", ["ans_sft", "visual_rft", "rise", "zero_shot"])
def test_a_class_list_over_the_models_context_is_refused_before_any_work(
    tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"thing number {i}" for i in range(1000)]
    boxes = {"train-0": 1, "val-0": 1, "test-0": 1}
    root = make_cars(tmp_path / "things", boxes, names)
    with pytest.raises(UserError, match=r"record '(train|test)-0' .* tokens.* takes 4096 in all.*class list"):
        prepare(load_recipe(recipe, [f"data={root}"]), tmp_path / "run")
    assert not (tmp_path / "run").exists() and "indexing errors" not in capsys.readouterr().err


def test_an_explicit_small_context_is_met_by_what_follows_too(classes: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"grpo: .*up to 5000 follow \(grpo.rollouts.max_new_tokens\)"):
        prepare(small_recipe("visual_rft", classes, model, "grpo.max_new_tokens=5000"), tmp_path / "run")
