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
from rise_vlm.stages.material import Material, digest_of, shared_pictures, visits


def recipe_for(root: Path, *overrides: str) -> Recipe:
    return load_recipe("ans_sft", [f"data={root}", *overrides])


def ids(records: tuple) -> set[str]:
    return {record.id for record in records}


def test_splits_that_exist_are_used_as_they_are(classes: Path) -> None:
    material = Material.open(recipe_for(classes))
    assert (len(material.train), len(material.val), len(material.tests["test"])) == (4, 2, 2)
    assert material.notes == []
    asked = Material.open(recipe_for(classes, "evaluate.splits=[test, ood]"))
    assert asked.notes == ["the dataset has no split 'ood', so it is not evaluated"]


def test_missing_splits_are_held_out_without_overlap(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=40, val=0, test=0)
    material = Material.open(recipe_for(root))
    parts = [ids(material.train), ids(material.val), ids(material.tests["test"])]
    assert [len(part) for part in parts] == [28, 4, 8]
    assert len(set.union(*parts)) == 40
    assert any("held out" in note for note in material.notes)


def test_a_test_is_held_out_even_where_nothing_is_evaluated(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=40, val=0, test=0)
    whole = Material.open(recipe_for(root))
    alone = Material.open(recipe_for(root, "stages=[harvest]"))
    assert ids(alone.train) == ids(whole.train) and not alone.tests


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


def two_pictures(root: Path, pairs: list[tuple[int, int]]) -> Path:
    """Transformations between pictures that are told by their numbers."""
    (root / "in").mkdir(parents=True)
    paths = {number: root / "in" / f"{number}.png" for pair in pairs for number in pair}
    for number, path in paths.items():
        picture(number).save(path)
    with DatasetWriter(root / "d", Card(name="d", task="transformation")) as writer:
        for at, (one, other) in enumerate(pairs):
            true = "change_color(0, red)"
            writer.add("train", id=f"{at}", image=paths[one], more=[paths[other]], annotation=true, question="How?")
    return root / "d"


def test_a_picture_is_in_one_part_be_it_the_first_or_the_second_of_its_records(tmp_path: Path) -> None:
    """Each second picture is shared by two records, one of which shares its first with a third."""
    pairs = [pair for k in range(0, 80, 4) for pair in ((k, k + 1), (k + 2, k + 1), (k + 2, k + 3))]
    material = Material.open(recipe_for(two_pictures(tmp_path, pairs)))
    parts = (material.train, material.val, material.tests["test"])
    assert [len(part) for part in parts] == [42, 6, 12]
    groups = [{image for record in part for image in record.images} for part in parts]
    assert sum(map(len, groups)) == 80
    assert shared_pictures(material) == []


def test_records_that_all_share_a_picture_cannot_be_held_out_and_it_is_said(tmp_path: Path) -> None:
    material = Material.open(recipe_for(two_pictures(tmp_path, [(0, k) for k in range(1, 21)])))
    assert len(material.train) == len(material.val) == len(material.tests["train"]) == 20
    material = Material.open(recipe_for(two_pictures(tmp_path / "second", [(k, 0) for k in range(1, 21)])))
    assert len(material.train) == 20
    assert "records that share pictures form too few groups to hold any out: 1" in material.notes


def test_too_few_records_serve_for_everything_and_it_is_said(tmp_path: Path) -> None:
    material = Material.open(recipe_for(make_classification(tmp_path / "d", train=1, val=0, test=0)))
    assert len(material.train) == len(material.val) == len(material.tests["train"]) == 1
    assert sum("too few" in note or "say little" in note for note in material.notes) == 2


def test_a_smaller_training_set_is_part_of_a_larger_one(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=12)
    small = Material.open(recipe_for(root, "data.limit=3"))
    large = Material.open(recipe_for(root, "data.limit=8"))
    assert len(small.train) == 3 and len(large.train) == 8
    assert ids(small.train) < ids(large.train)


def test_more_records_than_there_are_is_told(tmp_path: Path) -> None:
    material = Material.open(recipe_for(make_classification(tmp_path / "d", train=12, val=2, test=2), "data.limit=13"))
    assert "there are only 12 training records (data.limit=13)" in material.notes


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


def test_a_split_asked_for_by_name_must_be_there(classes: Path) -> None:
    """A misspelt test must not be answered by records held out of the training."""
    with pytest.raises(UserError, match=r"evaluate\.splits: .* has no split 'tset' .*Did you mean 'test'"):
        Material.open(recipe_for(classes, "evaluate.splits=[tset]"))
    with pytest.raises(UserError, match="has no split 'tset'"):
        Material.open(recipe_for(classes, "evaluate.splits=[test, tset]"))
    assert list(Material.open(recipe_for(classes, "evaluate.splits=[val]")).tests) == ["val"]


def test_nothing_is_held_out_for_a_test_that_the_dataset_has(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=12)
    with pytest.raises(UserError, match=r"none of the splits to evaluate \(ood\)"):
        Material.open(recipe_for(root, "evaluate.splits=[ood]"))
    assert len(Material.open(recipe_for(root)).train) == 12


def test_a_validation_split_without_records_is_told_as_such(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=20)
    (root / "val.jsonl").write_text("", encoding="utf-8")
    material = Material.open(recipe_for(root))
    assert material.val == material.train
    assert "split 'val' has no usable record: the controls run on training records" in material.notes


def test_test_pictures_that_are_trained_on_are_told(tmp_path: Path) -> None:
    root = make_classification(tmp_path / "d", train=4, test=3)
    material = Material.open(recipe_for(root))
    assert shared_pictures(material) == []
    copy = (root / material.train[1].images[0]).read_bytes()
    (root / material.tests["test"][2].images[0]).write_bytes(copy)
    assert shared_pictures(material) == ["1 of 3 records of 'test' have a picture that is trained on too"]


def test_the_recipe_s_score_rewards_and_never_judges(moods: Path, classes: Path) -> None:
    material = Material.open(recipe_for(moods, "task.score=official"))
    truth, other = {"joy": 0.5, "fear": 0.5, "calm": 0.0}, {"joy": 0.2, "fear": 0.0, "calm": 0.8}
    plain = Material.open(recipe_for(moods))
    assert material.task.score(truth, other) == plain.task.score(truth, other) == plain.rewards.score(truth, other)
    rewarding = material.rewarding()
    assert rewarding.task.score(truth, other) == material.rewards.score(truth, other) != plain.task.score(truth, other)
    assert (rewarding.train, rewarding.tests) == (material.train, material.tests)
    assert Material.open(recipe_for(classes, "task.score=official")).rewards.score("red", "red") == 1.0


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
    path = root / before.train[0].images[0]
    data = path.read_bytes()
    path.write_bytes(data)
    assert digest_of(before, {"train": before.train}) == first, "a copy is the same picture"
    path.write_bytes(data[:-20] + bytes(4) + data[-16:])  # as many bytes, others
    assert digest_of(before, {"train": before.train}) != first
    picture(99, 70, 70).save(path)
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
