"""rise compare: what is paired, what is refused and how that is told, the page, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_runs import fake_run

from rise_vlm.cli import run
from rise_vlm.errors import UserError
from rise_vlm.report.comparison import compare, verdict
from rise_vlm.report.comparison_page import Group, render
from rise_vlm.report.run_answers import read_answers, run_folders
from rise_vlm.report.whole_split import Drawn, difference_of
from rise_vlm.tasks.detection_coco import coco_figures

RNG = np.random.default_rng(0)
HARD = RNG.uniform(0, 0.8, 80)


def scores(above: float = 0.0) -> list[float]:
    """Records differ much; arms differ little from each other: pairing tells them apart."""
    return [float(x) for x in np.clip(HARD + above + RNG.normal(0, 0.02, 80), 0.001, 1)]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    a = fake_run(tmp_path / "a", "ans_sft", {"test": scores(), "ood": scores()}, seconds=30)
    b = fake_run(tmp_path / "b", "rise", {"test": scores(0.1), "ood": scores()}, seconds=300)
    return a, b


def told(*words: object, **options) -> str:
    with pytest.raises(UserError) as caught:
        compare(read_answers([str(word) for word in words]), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_difference_is_paired_by_record(two: tuple[Path, Path]) -> None:
    found = compare(read_answers([str(path) for path in two]))
    assert (found.arms, found.splits, found.seeds, found.against) == (
        ["ans_sft", "rise"],
        ["test", "ood"],
        [0],
        "ans_sft",
    )
    d = found.paired("rise", "test", "score").difference
    assert 0.09 < d.low < d.mean < d.high < 0.11 and verdict(d) == "above" and d.detectable < 0.02
    assert verdict(found.paired("rise", "ood", "score").difference) == "not told apart"
    assert found.costs["rise"]["seconds"] == 300
    assert any("one seed" in note for note in found.notes)
    assert (
        compare(read_answers([str(p) for p in two]), against="rise").paired("ans_sft", "test", "score").difference.mean
        < 0
    )


def test_seeds_of_an_arm_are_brought_together_and_each_may_have_its_own_records(tmp_path: Path) -> None:
    words = []
    for seed in range(3):
        for arm, above in (("ans_sft", 0.0), ("rise", 0.1)):
            folder = tmp_path / f"{arm}-{seed}"
            words.append(str(fake_run(folder, arm, {"test": scores(above)}, seed=seed, truth=f"red{seed}")))
    found = compare(read_answers(words))
    assert found.arms == ["ans_sft", "rise"] and found.seeds == [0, 1, 2]
    assert found.paired("rise", "test", "score").difference.seeds == 3
    assert any("records of its own" in note for note in found.notes)
    assert found.figure("rise", "test", "score").least < found.figure("rise", "test", "score").most
    assert compare(read_answers(words[:-1])).seeds == [0, 1]


def test_the_same_arm_twice_is_told_apart_by_folder_or_label(tmp_path: Path) -> None:
    a = fake_run(tmp_path / "a", "rise", {"test": scores()})
    b = fake_run(tmp_path / "b", "rise", {"test": scores()})
    assert compare(read_answers([str(a), str(b)])).arms == ["rise (a)", "rise (b)"]
    assert compare(read_answers([f"old={a}", f"new={b}"])).arms == ["old", "new"]
    assert "OTHER=" in told(f"x={a}", f"x={b}")


def test_other_tasks_splits_seeds_and_records_are_refused(tmp_path: Path, two: tuple[Path, Path]) -> None:
    a = two[0]
    assert "different tasks" in told(a, fake_run(tmp_path / "t", "x", {"test": scores()}, task="counting"))
    assert "no split in common" in told(a, fake_run(tmp_path / "s", "x", {"val": scores()}))
    assert "no seed in common" in told(a, fake_run(tmp_path / "n", "x", {"test": scores()}, seed=4))
    other = fake_run(tmp_path / "o", "x", {"test": scores()}, truth="blue")
    assert "record 'r0' of 'test' has another annotation" in told(a, other)
    fewer = fake_run(tmp_path / "f", "x", {"test": scores()[:50]})
    assert "answered 80" in told(a, fewer) and "--common" in told(a, fewer)
    found = compare(read_answers([str(a), str(fewer)]), common=True)
    assert found.figure("x", "test", "score").n == 50 and any("only the 50" in note for note in found.notes)
    assert any("left out" in note and "ood" in note for note in found.notes)


def test_folders_that_are_no_runs_are_told(tmp_path: Path, two: tuple[Path, Path]) -> None:
    assert "one arm only" in told(two[0])
    assert "Did you mean" in told(two[0], tmp_path / "aa")
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in told(two[0], tmp_path / "empty")
    (tmp_path / "empty" / "recipe.yaml").write_text("name: x\n", encoding="utf-8")
    assert "has no results yet" in told(two[0], tmp_path / "empty")
    (two[1] / "predictions" / "rise-test.jsonl").unlink()
    assert "there are no predictions" in told(*two)
    assert "there is no arm 'rize'" in told(*two, against="rize")
    (two[1] / "results.json").write_text("{}", encoding="utf-8")
    assert "is not the results of a run" in told(*two)


def test_a_folder_of_runs_stands_for_all_of_them_but_not_for_runs_inside_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "sweep"
    fake_run(home / "d" / "all" / "rise" / "seed-0", "rise", {"test": scores()})
    fake_run(home / "d" / "all" / "ans" / "seed-0", "ans", {"test": scores()})
    fake_run(home / "d" / "all" / "ans" / "seed-0" / "arms" / "inner", "inner", {"test": scores()})
    assert [path.parent.name for path in run_folders(home)] == ["ans", "rise"]
    assert compare(read_answers([str(home)])).arms == ["ans", "rise"]
    assert not capsys.readouterr().err
    (home / "d" / "all" / "cot").mkdir()
    (home / "d" / "all" / "cot" / "recipe.yaml").write_text("name: cot\n", encoding="utf-8")
    assert compare(read_answers([str(home)])).arms == ["ans", "rise"]
    assert "not finished and left out: d/all/cot." in capsys.readouterr().err


def test_a_sweep_of_several_data_sets_is_compared_one_by_one(tmp_path: Path) -> None:
    home = tmp_path / "sweep"
    for data in ("d", "e"):
        fake_run(home / data / "all" / "rise" / "seed-0", "rise", {"test": scores()})
    (home / "sweep.yaml").write_text("name: sweep\n", encoding="utf-8")
    assert f"name one of {home / 'd' / 'all'}, {home / 'e' / 'all'}" in told(home)


def detections(folder: Path, arm: str, rng: np.random.Generator, slip: int, seed: int = 0) -> tuple[Path, list]:
    """A run that found two of three things in each of 30 pictures, up to ``slip`` pixels off; its (true, found)."""
    home = fake_run(folder, arm, {"test": [0.5] * 30}, seed=seed, task="detection")
    path = home / "predictions" / f"{arm}-test.jsonl"
    rows, pairs = [json.loads(line) for line in path.read_text().splitlines()], []
    for at, row in enumerate(rows):
        boxes = [[40 * n, at, 40 * n + 30, at + 30] for n in range(3)]
        truth = [{"label": "car" if n else "dog", "box": box} for n, box in enumerate(boxes)]
        found = [one | {"box": [int(x + rng.integers(slip)) for x in one["box"]]} for one in truth[: 1 + at % 3]]
        row.update(annotation=truth, value=found)
        pairs.append((truth, found))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = home / "data"
    data.mkdir()
    card = "name: d\ntask: detection\nclasses: [car, dog]\n"
    (data / "dataset.yaml").write_text(card, encoding="utf-8")
    return home, pairs


def test_average_precision_is_paired_by_resampled_pictures(tmp_path: Path) -> None:
    words, means = [], []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        (rough, poor), (fine, good) = (
            detections(tmp_path / f"{arm}{seed}", arm, rng, slip, seed) for arm, slip in (("rough", 14), ("fine", 5))
        )
        words += [str(rough), str(fine)]
        means.append(coco_figures(good, ["car", "dog"])["ap"] - coco_figures(poor, ["car", "dog"])["ap"])
    found = compare(read_answers(words), metrics=["ap", "ap50", "score"])
    d = found.paired("fine", "test", "ap").difference
    assert d.mean == pytest.approx(np.mean(means)) and d.seeds == 2 and d.records == 60
    assert 0 < d.low < d.mean < d.high and d.detectable < d.mean
    assert found.figure("fine", "test", "ap50").mean > found.figure("rough", "test", "ap50").mean
    one = compare(read_answers([words[0], f"again={words[0]}"]), metrics=["ap"]).paired("again", "test", "ap")
    assert one.difference.mean == 0 and one.difference.low < 0 < one.difference.high
    assert "has no metric 'ap75'" in told(*words, metrics=["ap75"]) and "ap50" in told(*words, metrics=["ap75"])


def test_a_draw_of_the_difference_is_that_of_the_drawn_pictures() -> None:
    """Two records of a picture are drawn together, and both arms' pictures are the same."""

    class Sums:
        def __init__(self, values: list[float]) -> None:
            self.values = np.array(values)

        def figures(self, drawn: np.ndarray) -> dict[str, float]:
            return {"sum": float(self.values[drawn].sum())}

    pictures = ["a", "a", "b", "c"]
    one = Drawn(Sums([1, 2, 4, 8]), "sum", pictures, 400)
    other = Drawn(Sums([0, 2, 4, 8]), "sum", pictures, 400)
    assert one.value == 15 and set(one.draws - other.draws) == {0, 1, 2, 3}
    assert difference_of([(one, other)]).mean == 1


def test_other_metrics_are_paired_if_they_are_means_over_records(two: tuple[Path, Path]) -> None:
    found = compare(read_answers([str(path) for path in two]), metrics=["parsed"])
    assert found.paired("rise", "test", "parsed").difference.mean == 0
    assert "There is no" in told(*two, metrics=["top1"]) or "no folder" in told(*two, metrics=["top1"])


def test_the_page_is_complete_and_escapes_what_it_shows(two: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare(read_answers([f"<b>={two[0]}", f"rise={two[1]}"]))
    page = render("<i>", [Group("Differences", found, {"score": [("uniform", {"test": 0.25})]})])
    assert "<b>" + "=" not in page and "&lt;b&gt;" in page and "<title>&lt;i&gt;" in page
    assert "uniform" in page and "Detectable" in page and "5 min 00 s" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_the_command_prints_a_table_a_page_and_json(two: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    page = tmp_path / "out" / "page.html"
    words = ["compare", *map(str, two)]
    assert run([*words, "--report", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "above" in shown and "not told apart" in shown and "detectable" in shown and page.is_file()
    assert run([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {d["split"] for d in result["differences"]} == {"test", "ood"}
    assert run(["compare", str(two[0]), str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err and len(captured.err.strip().splitlines()) == 1
