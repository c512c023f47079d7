"""Which records a run trains on, controls itself with and is tested on, when the dataset lacks some of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_kit import make_classification
from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.recipes import Recipe, load_recipe
from rise_vlm.stages.material import Material, digest_of, visits


def recipe_for(root: Path, *overrides: str) -> Recipe:
    return load_recipe("ans_sft", [f"data={root}", *overrides])


def ids(records: tuple) -> set[str]:
    return {record.id for record in records}


def test_splits_that_exist_are_used_as_they_are(classes: Path) -> None:
    material = Material.open(recipe_for(classes))
    assert (len(material.train), len(material.val), len(material.tests["test"])) == (4, 2, 2)
    assert material.notes == ["the dataset has no split 'ood', so it is not evaluated"]


def test_missing_splits_are_held_out_without_overlap(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=40, val=0, test=0)
    material = Material.open(recipe_for(root))
    parts = [ids(material.train), ids(material.val), ids(material.tests["test"])]
    assert [len(part) for part in parts] == [28, 4, 8]
    assert len(set.union(*parts)) == 40
    assert any("held out" in note for note in material.notes)


def test_records_of_one_picture_are_held_out_together(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", Card(name="d", task="grounding", question="Where?")) as writer:
        for i in range(15):
            path = tmp_path / f"{i}.png"
            picture(i).save(path)
            for part in range(2):
                writer.add("train", id=f"{i}-{part}", image=path, annotation=[1, 1, 9, 9 + part])
    material = Material.open(recipe_for(tmp_path / "d"))
    groups = [{record.images[0] for record in part} for part in (material.train, material.val, material.tests["test"])]
    assert sum(map(len, groups)) == 15
    assert all(not one & other for one in groups for other in groups if one is not other)


def test_too_few_records_serve_for_everything_and_it_is_said(tmp_path: Path) -> None:
    material = Material.open(recipe_for(make_classification(tmp_path / "d", train=1, val=0, test=0)))
    assert len(material.train) == len(material.val) == len(material.tests["train"]) == 1
    assert sum("too few" in note or "say little" in note for note in material.notes) == 2


def test_a_smaller_training_set_is_part_of_a_larger_one(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=12)
    small = Material.open(recipe_for(root, "records=3"))
    large = Material.open(recipe_for(root, "records=8"))
    assert len(small.train) == 3 and len(large.train) == 8
    assert ids(small.train) < ids(large.train)


def test_a_dataset_without_a_training_split_is_refused(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=0)
    with pytest.raises(UserError, match="no split 'train'"):
        Material.open(recipe_for(root))
    assert Material.open(load_recipe("zero_shot", [f"data={root}"])).train == ()


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d")
    (root / "train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is empty"):
        Material.open(recipe_for(root))


def test_a_training_split_of_bad_rows_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d")
    rows = (root / "train.jsonl").read_text(encoding="utf-8")
    (root / "train.jsonl").write_text(rows.replace('"red"', '"grey"').replace('"blue"', '"grey"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"(?s)4 rows are bad.*row 1.*grey"):
        Material.open(recipe_for(root))


def test_bad_rows_among_good_ones_are_told(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d")
    with (root / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("not json\n")
    material = Material.open(recipe_for(root))
    assert len(material.train) == 4
    assert any("1 bad rows of split 'train'" in note and "row 5" in note for note in material.notes)


def test_no_dataset_and_no_such_dataset_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data=FOLDER"):
        Material.open(load_recipe("ans_sft"))
    with pytest.raises(UserError, match="There is no folder"):
        Material.open(recipe_for(tmp_path / "nowhere"))


def test_the_digest_tells_records_and_pictures_apart(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d")
    before = Material.open(recipe_for(root))
    first = digest_of(before, {"train": before.train})
    assert digest_of(before, {"train": before.train}) == first
    assert digest_of(before, {"train": before.train[:3]}) != first
    picture(99, 70, 70).save(root / before.train[0].images[0])
    assert digest_of(before, {"train": before.train}) != first


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_every_step_visits_distinct_records_and_every_epoch_nearly_all(count: int, per_step: int, seed: int) -> None:
    taken = min(per_step, count)
    steps = -(-count // taken)
    seen: list[int] = []
    for step in range(1, steps + 1):
        chosen = visits(count, per_step, step, seed)
        assert chosen == visits(count, per_step, step, seed)
        assert len(set(chosen)) == len(chosen) == taken
        assert all(0 <= index < count for index in chosen)
        seen += chosen
    assert set(seen[: count // taken * taken]) <= set(range(count))
    if count % taken == 0:
        assert sorted(seen) == list(range(count))
