"""What SFT learns from, and what it says when that is little."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from stage_kit import picture, small_recipe

from rise_vlm.data import Card, DatasetWriter
from rise_vlm.engine.objective import RATIONALE
from rise_vlm.policy import Policy
from rise_vlm.stages import sft
from rise_vlm.stages.context import Context, Models
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import append_rows
from rise_vlm.stages.material import Material
from rise_vlm.stages.shares import check_shares, few_records, for_stage


def context_of(tmp_path: Path, rationales: list[str | None], monkeypatch, *overrides: str) -> Context:
    """A context over records with these rationales; the training itself does nothing."""
    with DatasetWriter(tmp_path / "data", Card(name="n", task="classification", classes=["red", "blue"])) as writer:
        for i, text in enumerate(rationales):
            writer.add("train", id=str(i), image=picture(i), annotation=["red", "blue"][i % 2], rationale=text)
        writer.add("val", id="v", image=picture(900), annotation="red")
        writer.add("test", id="t", image=picture(901), annotation="red")
    recipe = small_recipe("ans_sft", tmp_path / "data", tmp_path / "model", *overrides)
    monkeypatch.setattr(Context, "policy", lambda self, name, **how: nullcontext(object()))
    monkeypatch.setattr(sft, "_Units", lambda *given: given)
    monkeypatch.setattr(sft, "Supervised", lambda *given, **more: given)
    monkeypatch.setattr(sft, "train", lambda *given: None)
    folders = {"harvest": tmp_path}
    material = for_stage(Material.open(recipe), recipe, "sft")
    return Context(recipe, material, Models(*["m"] * 4), "sft", tmp_path, folders, Meter(tmp_path))


@pytest.mark.parametrize(
    ("having", "of", "told"),
    [
        (2, 27, "only 2 of 27 training records"),
        (1, 27, "only 1 of 27 training records has a rationale"),
        (16, 16, None),
        (19, 100, "only 19 of 100"),
        (20, 100, None),
    ],
)
def test_a_source_that_covers_little_is_told_with_numbers_and_remedy(having, of, told) -> None:
    for source, remedy in (("harvest", "harvest.gain"), ("rationales", "sft.source=annotations")):
        notes = few_records(having, of, source)
        assert len(notes) == (told is not None)
        assert all(told in note and remedy in note for note in notes)


@pytest.mark.parametrize(
    ("records", "told"), [(1, "there is only 1 training record to"), (15, "there are only 15 training records to")]
)
def test_few_records_that_all_have_a_rationale_are_told_as_few(records, told) -> None:
    (note,) = few_records(records, records, "harvest")
    assert told in note and "add more" in note and "rationale" not in note


def test_the_note_is_said_and_stays_in_the_summary(tmp_path, monkeypatch, capsys) -> None:
    context = context_of(tmp_path, ["a"] * 2 + [None] * 10, monkeypatch, "sft.source=rationales")
    summary = sft.run(context)
    assert summary["records"] == 2 and "only 2 of 12" in summary["notes"][0]
    assert "only 2 of 12" in capsys.readouterr().err


def test_annotations_cover_all_and_need_no_note(tmp_path, monkeypatch) -> None:
    assert sft.run(context_of(tmp_path, [None] * 10, monkeypatch))["notes"] == []


def test_a_harvest_of_few_records_is_told(tmp_path, monkeypatch) -> None:
    context = context_of(tmp_path, [None] * 10, monkeypatch)
    harvested = context.recipe.model_copy(update={"sft": context.recipe.sft.model_copy(update={"source": "harvest"})})
    append_rows(tmp_path / "rationales.jsonl", [{"id": "3", "rationale": "a wall"}] * 2)
    context = Context(
        harvested, context.material, context.models, "sft", tmp_path, {"harvest": tmp_path}, context.meter
    )
    assert "only 1 of 10" in sft.run(context)["notes"][0]
    (tmp_path / "rationales.jsonl").unlink()
    nothing = sft.run(context)
    assert "model" not in nothing and "base model goes on" in nothing["notes"][0]


def test_a_box_is_led_into_as_in_the_reconstruct_prompt_and_a_class_is_not(places, classes, model, tmp_path) -> None:
    for data, lead_in in ((places, " Find that region."), (classes, "")):
        recipe = small_recipe("rise", data, model)
        material = Material.open(recipe)
        context = Context(recipe, material, Models(*[str(model)] * 4), "sft", tmp_path, {}, Meter(tmp_path))
        policy, record = Policy.load(str(model), dtype="float32"), material.train[0]
        units = sft._Units(context, policy, [record], {record.id: ["it is there"]}, 2, 1)
        ((_, (made,)),) = units(0, 1)
        said = policy.tokenizer.decode(made.ids[made.segments == RATIONALE])
        assert said == f"<think>it is there{lead_in}</think>"


def test_few_rationales_are_told_before_the_run(tmp_path: Path) -> None:
    for having, told in (
        (1, "sft: only 1 of 20 training records has a rationale to learn from"),
        (16, "sft: 16 of 20 training records have a rationale to learn from; the answers of the others are not"),
        (20, None),
    ):
        card = Card(name="n", task="classification", classes=["red", "blue"])
        with DatasetWriter(tmp_path / f"{having}", card) as writer:
            for i in range(20):
                text = "It glows." if i < having else None
                writer.add("train", id=str(i), image=picture(i), annotation=["red", "blue"][i % 2], rationale=text)
            writer.add("val", id="v", image=picture(900), annotation="red")
            writer.add("test", id="t", image=picture(901), annotation="red")
        recipe = small_recipe("cot_sft", tmp_path / f"{having}", tmp_path / "model")
        notes = [note for note in check_shares(Material.open(recipe), recipe) if "rationale" in note]
        assert not notes if told is None else notes[0].startswith(told)
