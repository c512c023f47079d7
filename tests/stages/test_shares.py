"""Which records SFT and GRPO learn from, rationales of a world, splits under auto, scores; and what older runs are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage_kit import make_classification
from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.recipes import Recipe, load_recipe
from rise_vlm.stages.material import Material
from rise_vlm.stages.shares import check_shares, for_stage, sft_records
from rise_vlm.worlds import load_world


def ids(material: Material) -> set[str]:
    return {record.id for record in material.train}


def opened(name: str, root: Path, *overrides: str) -> tuple[Recipe, Material]:
    recipe = load_recipe(name, [f"data={root}", *overrides])
    return recipe, Material.open(recipe)


@pytest.fixture(scope="module")
def some_explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training records, the first six with a rationale."""
    root = tmp_path_factory.mktemp("data") / "explained"
    with DatasetWriter(root, Card(name="e", task="classification", classes=["red", "blue"])) as writer:
        for i in range(12):
            why = "soft glow" if i < 6 else None
            writer.add("train", id=f"t{i}", image=picture(i), annotation=["red", "blue"][i % 2], rationale=why)
        for split in ("val", "test"):
            writer.add(split, id=split, image=picture(40), annotation="red")
    return root


def test_sft_takes_a_share_and_grpo_the_rest(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=12)
    recipe, material = opened("rise", root, "sft.records=0.25", "grpo.records=rest")
    sft, grpo = for_stage(material, recipe, "sft"), for_stage(material, recipe, "grpo")
    assert len(sft.train) == 3 and len(grpo.train) == 9 and ids(sft) | ids(grpo) == ids(material)
    assert for_stage(material, recipe, "closed_loop").train == material.train
    more = opened("rise", root, "sft.records=5")[0]
    assert ids(sft) < ids(for_stage(material, more, "sft")) and len(for_stage(material, more, "grpo").train) == 12


def test_the_whole_share_is_not_one_record(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=40, val=2, test=2)
    for wanted, count in (("1.0", 40), ("1", 1), ("8.0", 8)):
        recipe, material = opened("reason_rft", root, "sft.source=annotations", f"sft.records={wanted}")
        assert len(sft_records(material, recipe)) == count
    with pytest.raises(UserError, match="sft.records"):
        opened("reason_rft", root, "sft.records=1.5")


def test_with_rationales_the_share_is_of_those_that_have_one(some_explained: Path) -> None:
    recipe, material = opened("reason_rft", some_explained)
    sft, grpo = for_stage(material, recipe, "sft"), for_stage(material, recipe, "grpo")
    assert len(sft.train) == 3 and all(record.rationale for record in sft.train)
    assert len(grpo.train) == 9 and not ids(sft) & ids(grpo)
    recipe, material = opened("reason_rft", some_explained, "sft.records=null")
    assert ids(for_stage(material, recipe, "grpo")) == {f"t{i}" for i in range(6, 12)}


def explained_by(root: Path, texts: list[str]) -> Path:
    with DatasetWriter(root, Card(name="t", task="classification", classes=["red", "blue"])) as writer:
        for i, text in enumerate(texts):
            writer.add("train", id=str(i), image=picture(i), annotation=["red", "blue"][i % 2], rationale=text)
        for split in ("val", "test"):
            writer.add(split, id=split, image=picture(40), annotation="red")
    return root


def test_rationales_with_tags_or_without_words_are_none(tmp_path: Path) -> None:
    texts = ["fine", "<think>no</think>", "  ", "so <ANSWER>red</ANSWER>", " trimmed "] + ["more"] * 15
    recipe, material = opened("reason_rft", explained_by(tmp_path / "d", texts), "sft.records=null")
    found = {record.id: record.rationale for record in for_stage(material, recipe, "sft").train if record.rationale}
    assert set(found) == {str(i) for i in range(20)} - {"1", "2", "3"} and found["4"] == "trimmed"
    assert ids(for_stage(material, recipe, "grpo")) == {"1", "2", "3"}
    notes = check_shares(material, recipe)
    assert any("2 rationales" in note and "'1'" in note for note in notes)
    assert any("17 of 20" in note for note in notes) and any("other 3" in note for note in notes)
    recipe, material = opened("cot_sft", explained_by(tmp_path / "none", ["<think>no</think>"] * 4))
    with pytest.raises(UserError, match="'rationale' without <think>"):
        check_shares(material, recipe)


def test_nothing_left_for_grpo_is_told_before_any_work(tmp_path: Path, some_explained: Path) -> None:
    recipe, material = opened("rise", make_classification(tmp_path / "d"), "sft.records=4", "grpo.records=rest")
    with pytest.raises(UserError, match="nothing is left"):
        check_shares(material, recipe)
    recipe, material = opened("reason_rft", some_explained)
    assert any("3 of 12" in note for note in check_shares(material, recipe))


@pytest.mark.parametrize("world", ["affect", "errand", "icons", "street", "blocks", "moves"])
def test_a_world_explains_records_without_rationales_truly_and_the_same_each_time(world: str, tmp_path: Path) -> None:
    drawn = load_world(world)
    drawn.make(tmp_path / "d", train=2, val=1, test=1, seed=0)
    recipe, material = opened("cot_sft", tmp_path / "d")
    records = for_stage(material, recipe, "sft").train
    assert records == for_stage(material, recipe, "sft").train
    for record in records:
        assert record.rationale
        scene = drawn.Scene.from_dict(record.meta["scene"])
        assert drawn.stated_facts(record.rationale) <= drawn.true_facts(scene)
    own = all(record.rationale for record in material.train)
    assert own == (world in ("blocks", "moves"))
    assert any("those of its world" in note for note in check_shares(material, recipe)) == (not own)


def test_every_split_that_begins_with_test_or_ood_is_evaluated(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d")
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    for split in ("ood_left", "ood_right", "test_hard", "extra"):
        (root / f"{split}.jsonl").write_text((root / "test.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
        text = text.replace("splits:\n", f"splits:\n  {split}: {split}.jsonl\n")
    (root / "dataset.yaml").write_text(text, encoding="utf-8")
    material = opened("ans_sft", root)[1]
    assert set(material.tests) == {"test", "test_hard", "ood_left", "ood_right"}
    assert [split[:3] for split in material.tests] == ["tes", "tes", "ood", "ood"] and material.notes == []
    assert set(opened("ans_sft", root, "evaluate.splits=[auto, extra]")[1].tests) == {*material.tests, "extra"}
    assert set(opened("ans_sft", root, "evaluate.splits=[test]")[1].tests) == {"test"}


def test_a_score_of_another_task_is_refused_and_official_never_is(tmp_path: Path, classes: Path) -> None:
    for world, kinds in (("blocks", "number"), ("figures", "exact"), ("moves", "simulated")):
        load_world(world).make(tmp_path / world, train=1, val=1, test=1, seed=0)
        for score in (kinds, "official", "default"):
            material = opened("ans_sft", tmp_path / world, f"task.score={score}")[1]
            wanted = score if score != "default" else material.task.kind  # type: ignore[attr-defined]
            assert material.rewards.kind == wanted  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"task\.score: .* has no score 'exakt' .it has: default, official"):
            opened("ans_sft", tmp_path / world, "task.score=exakt")
    with pytest.raises(UserError, match=r"classification has no score 'exact' .it has: default, official\)"):
        opened("ans_sft", classes, "task.score=exact")


def test_a_score_that_needs_states_is_refused_before_any_work_where_a_record_has_none(tmp_path: Path) -> None:
    load_world("moves").make(tmp_path, train=2, val=1, test=1, seed=0)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[1]["annotation"] = rows[1]["annotation"]["functions"]  # as Reason-RFT's files have it
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert opened("ans_sft", tmp_path, "task.score=exact")[1].rewards.kind == "exact"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"task\.score: the score 'simulated' needs .*; record 'train-00001' of"):
        opened("ans_sft", tmp_path, "task.score=simulated")
