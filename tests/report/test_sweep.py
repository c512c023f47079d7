"""Sweeps without a model: what a file may say, data drawn once, tables between the marks of a page, mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from fake_runs import fake_run

from rise_vlm.cli import run
from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.recipes.joining import joined
from rise_vlm.recipes.sweep import Drawn, Sweep, cells, resolved, told_settings
from rise_vlm.recipes.sweep_file import SWEEPS, load_sweep
from rise_vlm.report.sweep import Block, _minus, blocks, fill, markdown, marks, publish, write_sweep_page
from rise_vlm.stages.drawing import draw_data, wanted
from rise_vlm.stages.paired import Difference
from rise_vlm.stages.run import write_recipe
from rise_vlm.stages.sweep import look, run_sweep


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_can_be(name: str, tmp_path: Path) -> None:
    sweep = load_sweep(name)
    planned = cells(sweep, tmp_path)
    assert len(planned) == len(sweep.arms) * len(sweep.seeds) * len(sweep.records) * len(sweep.data)
    assert len({cell.folder for cell in planned}) == len(planned)
    assert all(cell.recipe.name == cell.arm and cell.recipe.seed == cell.seed for cell in planned)
    known = [cell for cell in planned if not cell.waits]  # the others are as their plain arm until steps are derived
    assert len({json.dumps(cell.recipe.resolved() | {"name": ""}) for cell in known}) == len(known)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Sweep, Path]:
    """Two sizes, two seeds, two arms, with a loop's figures."""
    text = "data: {d: data}\nrecords: [50, 100]\nseeds: [0, 1]\narms: {ans_sft: null, rise: null}\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    loop = {"reconstruction": {"real": 0.7, "empty": 0.5, "shuffled": 0.55}, "facts": None, "leak_rate": 0.02}
    for cell in cells(sweep, out):
        base = 0.4 + 0.1 * (cell.arm == "rise") + 0.001 * (cell.records or 0)
        scores = {split: [base + 0.01 * (i % 7) for i in range(40)] for split in ("test", "ood")}
        more = {"loop": loop} if cell.arm == "rise" else {}
        fake_run(cell.folder, cell.arm, scores, seed=cell.seed, records=cell.records or 100, **more)
        write_recipe(cell.recipe, cell.folder)
    return sweep, out


def test_tables_come_from_the_results_and_go_between_the_marks(finished: tuple[Sweep, Path], tmp_path: Path) -> None:
    sweep, out = finished
    text = markdown(sweep, blocks(sweep, cells(sweep, out)))
    assert "### `d`, 50 training records" in text and "| RISE | 0.579" in text
    assert "+0.100 [" in text
    assert "score over training records" in text and "| ANS-SFT | 0.479 | 0.529 |" in text
    assert "real 0.700, shuffled 0.550, empty 0.500" in text and "*uniform*" in text
    start, end = marks("mine")
    page = written(tmp_path / "page.md", f"Before\n{start}\nstale\n{end}\nAfter\n")
    assert fill(page, "mine", text) and not fill(page, "mine", text)
    whole = page.read_text(encoding="utf-8")
    assert whole.startswith("Before\n") and whole.endswith("\nAfter\n")
    assert "stale" not in whole and text.strip() in whole
    shown = write_sweep_page(sweep, blocks(sweep, cells(sweep, out)), out)
    assert shown is not None and "Data efficiency" in shown.read_text(encoding="utf-8")


def test_a_page_gets_the_curves_as_a_drawing_beside_it(finished: tuple[Sweep, Path], tmp_path: Path) -> None:
    sweep, out = finished
    page = written(tmp_path / "page.md", "\n".join(marks("mine")))
    found = blocks(sweep, cells(sweep, out))
    assert publish(sweep, found, page) and not publish(sweep, found, page)
    assert "![score over training records of d](mine.svg)" in page.read_text(encoding="utf-8")
    drawing = tmp_path / "mine.svg"
    root = ElementTree.fromstring(drawing.read_text(encoding="utf-8"))
    inside = root.findall("{http://www.w3.org/2000/svg}svg")
    assert len(inside) == 2 and "var(--a3)" in drawing.read_text(encoding="utf-8")
    drawing.unlink()
    assert publish(sweep, found, page) and drawing.is_file()
    assert "mine.svg" not in markdown(sweep, found), "a table on the terminal has no drawing"


def structure_sweep(tmp_path: Path, metric: str, task: str = "structure") -> tuple[Sweep, list[Block]]:
    """Three of four numbers nearly right, one right: accuracy 0.25, score 1; the other arm has all right."""
    tmp_path.mkdir(exist_ok=True)
    text = f"data: {{d: {tmp_path / 'data'}}}\nmetric: {metric}\narms: {{ans_sft: null, rise: null}}\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    with DatasetWriter(tmp_path / "data", Card(name="d", task=task, question="How long is AB?")) as writer:
        writer.add("test", id="r0", image=Image.new("RGB", (32, 32)), annotation=100)
    for cell in cells(sweep, out):
        values = [100.0, 101.0, 102.0, 103.0] if cell.arm == "ans_sft" else [100.0] * 4
        floor = {"name": "majority", "split": "test", "metrics": {"score": 0.5, "accuracy": 0.125}}
        fake_run(cell.folder, cell.arm, {"test": [1.0] * 4}, task=task)
        fix(cell.folder, cell.arm, tmp_path / "data", values, floor)
        write_recipe(cell.recipe, cell.folder)
    return sweep, blocks(sweep, cells(sweep, out))


def fix(folder: Path, arm: str, data: Path, values: list[float], floor: dict) -> None:
    """The answers, the data set and the floors of a made-up run."""
    path = folder / "predictions" / f"{arm}-test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(row | {"annotation": 100, "value": value}) for row, value in zip(rows, values, strict=True)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results["data"]["folder"], results["floors"] = str(data), [floor]
    results["arms"][0]["metrics"] |= {"accuracy": 0.0}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


def test_tables_and_floors_are_in_the_metrics_that_the_sweep_names(tmp_path: Path) -> None:
    sweep, found = structure_sweep(tmp_path, "[accuracy, score]")
    text = markdown(sweep, found)
    head, second = (text.index(f"| {name} | test (4) |") for name in ("accuracy", "arm"))
    assert head < second and text.count("trained in") == 1
    assert "| ANS-SFT | 0.250 |" in text[head:second] and "| *majority* | 0.125 |" in text[head:second]
    assert "| ANS-SFT | 1.000 |" in text[second:] and "| *majority* | 0.500 |" in text[second:]
    page = write_sweep_page(sweep, found, tmp_path / "out")
    assert page is not None and "accuracy above RISE" in page.read_text(encoding="utf-8")


def test_what_could_be_read_is_told_once_also_where_it_is_the_metric(tmp_path: Path) -> None:
    text = markdown(*structure_sweep(tmp_path, "[parsed, accuracy]"))
    assert "| parsed | test (4) | test: rise minus it | trained in |" in text and text.count("parsed") == 1


def test_a_metric_that_the_task_lacks_is_left_out_and_one_that_none_has_is_told(tmp_path: Path) -> None:
    assert structure_sweep(tmp_path / "a", "[exact_set, accuracy]")[1][0].metrics == ("accuracy",)
    assert structure_sweep(tmp_path / "b", "[accuracy, score]", task="counting")[1][0].metrics == ("accuracy",)
    block = structure_sweep(tmp_path / "c", "exact_set")[1][0]
    assert block.comparison is None and "structure has no metric 'exact_set' (it has: score, parsed" in block.why_not


def test_a_metric_that_no_data_set_has_is_told_before_any_run(tmp_path: Path) -> None:
    text = "data: {b: {world: icons, train: 4, val: 1, test: 1}}\nmetric: acuracy\narms: [zero_shot]\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    with pytest.raises(
        UserError, match=r"metric: no data set has 'acuracy' \(there are: score, parsed, top1, macro_f1"
    ):
        run_sweep(sweep, cells(sweep, out), out, "")
    with pytest.raises(UserError, match="no data set has 'acuracy'"):
        look(sweep, cells(sweep, out))


def test_a_drawn_world_adds_the_floors_that_only_it_knows(tmp_path: Path) -> None:
    text = "data: {b: {world: blocks, train: 2, val: 1, test: 2}}\nmetric: accuracy\narms: [ans_sft, rise]\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    draw_data(sweep, out)
    for cell in cells(sweep, out):
        fake_run(cell.folder, cell.arm, {"test": [1.0, 0.0]}, task="counting")
        fix(
            cell.folder,
            cell.arm,
            out / "data" / "b",
            [100.0, 7.0],
            {"name": "majority", "split": "test", "metrics": {}},
        )
        write_recipe(cell.recipe, cell.folder)
    (block,) = blocks(sweep, cells(sweep, out))
    assert {"by_template", "things_there", "ceiling"} <= dict(block.floors("accuracy")).keys()


def test_rationales_have_a_table_of_their_own_stage_by_stage(tmp_path: Path) -> None:
    text = "data: {d: data}\nseeds: [0, 1]\narms: {ans_sft: null, visual_rft: null, rise: null}\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    for cell in cells(sweep, out):
        stages = [
            {"stage": stage, "role": "think", "metrics": {"gain_shuffled": gain + 0.02 * cell.seed, "words": 30.0}}
            for stage, gain in (("base", 0.0), ("grpo", 0.2))
        ]
        quality = {} if cell.arm == "ans_sft" else {"quality": {"n": 4, "judge": "tiny", "stages": stages}}
        fake_run(cell.folder, cell.arm, {"test": [0.5, 0.6, 0.7, 0.6]}, seed=cell.seed, **quality)
        write_recipe(cell.recipe, cell.folder)
    found = blocks(sweep, cells(sweep, out))
    lines = markdown(sweep, found).splitlines()
    start = lines.index("| rationales | gain | words |")
    assert lines[start + 2 : start + 6] == [
        "| Base | 0.010 (0.000 to 0.020) | 30.0 (30.0 to 30.0) |",
        "| Visual-RFT, after GRPO | 0.210 (0.200 to 0.220) | 30.0 (30.0 to 30.0) |",
        "| RISE, after GRPO | 0.210 (0.200 to 0.220) | 30.0 (30.0 to 30.0) |",
        "",
    ]


def test_what_is_missing_is_said(finished: tuple[Sweep, Path]) -> None:
    sweep, out = finished
    for seed in (0, 1):
        (out / "d" / "50" / "rise" / f"seed-{seed}" / "results.json").unlink()
    (out / "d" / "100" / "ans_sft" / "seed-1" / "results.json").unlink()
    text = markdown(sweep, blocks(sweep, cells(sweep, out)))
    assert "No table yet: rise, which the others are compared with, is not finished" in text
    assert "1 of 4 runs are missing: ans_sft seed 1" in text and "one seed" in text
    assert "from seed 0 only; left out, since not every arm is finished there: seed 1." in text


def test_floors_and_loops_are_those_of_the_seeds_that_are_compared(finished: tuple[Sweep, Path]) -> None:
    sweep, out = finished
    (out / "d" / "100" / "ans_sft" / "seed-1" / "results.json").unlink()
    path = out / "d" / "100" / "rise" / "seed-1" / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    results["floors"][0]["metrics"]["score"], results["loop"]["leak_rate"] = 0.9, 0.9
    path.write_text(json.dumps(results), encoding="utf-8")
    block = next(block for block in blocks(sweep, cells(sweep, out)) if block.records == 100)
    assert block.floors()[0][1]["test"] == 0.25 and "leaks 2.0%" in markdown(sweep, [block])


def test_a_part_of_a_sweep_does_not_replace_it_and_another_is_refused(tmp_path: Path) -> None:
    text = "data: {d: data}\nseeds: [0, 1]\narms: {ans_sft: null, rise: null}\n"
    path = written(tmp_path / "mine.yaml", text)
    whole = load_sweep(path)
    for settings in (["arms=[rise]", "seeds=1"], ["arms=[ans_sft]"], []):
        part = load_sweep(path, settings)
        assert joined(whole, part, tmp_path) == whole
        assert joined(part, whole, tmp_path) == whole
    assert joined(load_sweep(path, ["seeds=0"]), load_sweep(path, ["seeds=2"]), tmp_path).seeds == (0, 2)
    for other, named in ((["sft.steps=3"], r"\(sft\..*steps\)"), (["data={d: elsewhere}"], "data.d ")):
        with pytest.raises(UserError, match=f"{named}.*give another --out"):
            joined(whole, load_sweep(path, other), tmp_path)


def test_no_difference_has_no_sign_of_its_own() -> None:
    assert _minus(Difference(0.0, -0.1, 0.0, None, 4, 1)) == "+0.000 [+0.000, +0.100]"


def test_arms_picked_without_the_one_compared_with_are_compared_with_their_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "mine.yaml", "data: {d: data}\nagainst: rise\narms: [ans_sft, cot_sft, rise]\n")
    whole, part = load_sweep(path), load_sweep(path, ["arms=[cot_sft, ans_sft]"])
    assert part.reference == "cot_sft" and load_sweep(path, ["arms=[ans_sft, rise]"]).reference == "rise"
    said = "note: against: 'rise' is not among the arms picked, so tables compare with 'cot_sft'.\n"
    assert capsys.readouterr().err == said
    assert joined(part, whole, tmp_path).reference == joined(whole, part, tmp_path).reference == "rise"


def test_an_arms_own_epochs_or_steps_outrank_the_others_of_all_arms(tmp_path: Path) -> None:
    text = (
        "data: {d: data}\nsettings: {sft.steps: 4}\narms: {a: {recipe: ans_sft, set: {sft.epochs: 2}}, ans_sft: null}"
    )
    found = {cell.arm: cell.recipe.sft for cell in cells(load_sweep(written(tmp_path / "m.yaml", text)), tmp_path)}
    assert found["a"].epochs == 2 and (found["ans_sft"].epochs, found["ans_sft"].train.steps) == (None, 4)


def test_a_data_set_has_settings_of_its_own_between_those_of_all_and_an_arm_s(tmp_path: Path) -> None:
    text = (
        "data: {a: {world: blocks, set: {sft.epochs: 3, model: tiny_fine}}, b: {world: blocks}}\n"
        "settings: {sft.steps: 4, model: tiny}\narms: {ans_sft: null, own: {recipe: ans_sft, set: {sft.steps: 5}}}\n"
    )
    sweep = load_sweep(written(tmp_path / "mine.yaml", text))
    found = {(cell.data, cell.arm): cell.recipe for cell in cells(sweep, tmp_path)}
    assert {name: (one.model, one.sft.epochs or one.sft.train.steps) for name, one in found.items()} == {
        ("a", "ans_sft"): ("tiny_fine", 3), ("a", "own"): ("tiny_fine", 5),
        ("b", "ans_sft"): ("tiny", 4), ("b", "own"): ("tiny", 5),
    }  # fmt: skip
    assert found["a", "own"].sft.epochs is None
    assert 'all arms on a: sft.epochs=3 model="tiny_fine"' in told_settings(sweep)
    written(tmp_path / "sweep.yaml", resolved(sweep))
    assert load_sweep(tmp_path).data == sweep.data
    drawn = [wanted(one, 0) for one in sweep.data.values() if isinstance(one, Drawn)]
    assert len(drawn) == 2 and drawn[0] == drawn[1], "they decide nothing of what is drawn"
    assert load_sweep(tmp_path / "mine.yaml", ["data=b"]).data == {"b": sweep.data["b"]}


def test_a_data_set_of_the_sweep_is_picked_by_its_name(tmp_path: Path) -> None:
    sweep = load_sweep("arms_simple", ["data=street"])
    assert sweep.data == {"street": load_sweep("arms_simple").data["street"]}
    sweep = load_sweep("arms", [f"data=[affect, {tmp_path / 'mine'}]"])
    assert sweep.data == {"affect": load_sweep("arms").data["affect"], "mine": str(tmp_path / "mine")}
    assert load_sweep("arms", ["data=./affect"]).data == {"affect": "./affect"}
    with pytest.raises(UserError, match="two data sets would be called 'affect'"):
        load_sweep("arms", ["data=[affect, elsewhere/affect]"])


def test_what_the_file_says_for_arms_not_picked_is_no_mistake(tmp_path: Path) -> None:
    part = load_sweep("reason_rft", ["arms=[ans_sft]", "seeds=0", "data=moves", "sft.epochs=1"])
    (cell,) = cells(part, tmp_path)
    assert "grpo.objective.beta" in part.settings and cell.recipe.sft.epochs == 1
    written(tmp_path / "sweep.yaml", resolved(part))
    assert load_sweep(tmp_path).arms == part.arms
    for setting, arm in (("grpo.learning_rate=1", "ans_sft"), ("sft.epochs=1", "zero_shot")):
        with pytest.raises(UserError, match="reaches no arm"):
            load_sweep("reason_rft", [f"arms=[{arm}]", setting])
    path = written(tmp_path / "mine.yaml", "data: d\nsettings: {grpo.steps: 1}\narms: [ans_sft, cot_sft]\n")
    with pytest.raises(UserError, match="reaches no arm"):
        load_sweep(path, ["arms=[ans_sft]"])


def test_a_metric_of_the_data_not_picked_is_told_and_no_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "data: {m: {world: moves, train: 2, val: 1, test: 1}}\nmetric: [accuracy, score]\narms: [zero_shot]\n"
    sweep, out = load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path / "out"
    draw_data(sweep, out)
    look(sweep, cells(sweep, out))
    assert "note: metric: no data set has 'accuracy' (there are: score, parsed, partial" in capsys.readouterr().err


def test_a_sweep_extends_another(tmp_path: Path) -> None:
    base = (
        "data: {a: x, b: y}\nseeds: [0, 1]\nsettings: {sft.steps: 4, model: tiny}\n"
        "arms: {ans_sft: {set: {sft.steps: 5}}, rise: null}\n"
    )
    written(tmp_path / "base.yaml", base + "against: rise\ndescription: the base\n")
    path = written(
        tmp_path / "mine.yaml",
        "extends: base.yaml\ndata: b\nsettings: {sft.steps: 8}\narms: [rise, ans_sft, cot_sft]\n",
    )
    sweep = load_sweep(path, ["seeds=3"])
    assert (sweep.name, sweep.description, sweep.seeds, sweep.data) == ("mine", "", (3,), {"b": "y"})
    assert sweep.settings == {"sft.steps": 8, "model": "tiny"} and sweep.reference == "rise"
    assert {name: arm.set for name, arm in sweep.arms.items()} == {
        "rise": {},
        "ans_sft": {"sft.steps": 5},
        "cot_sft": {},
    }
    shipped, whole = load_sweep("data_efficiency"), load_sweep("reason_rft")
    assert (shipped.settings, shipped.arms) == (whole.settings, whole.arms), (
        "its largest size are the runs of the other"
    )
    written(tmp_path / "base.yaml", "extends: mine.yaml\n")
    with pytest.raises(UserError, match="extend each other in a circle: mine -> base -> mine"):
        load_sweep(path)
    with pytest.raises(UserError, match="sweep 'reason_rtf' is neither .* Did you mean 'reason_rft'"):
        load_sweep(written(tmp_path / "typo.yaml", "extends: reason_rtf\n"))


def test_values_reach_the_recipe_as_they_are_written(tmp_path: Path) -> None:
    text = "data: {d: 'da\U0001f600ta'}\narms: {rise: {set: {description: 2020-01-01}}}\n"
    (cell,) = cells(load_sweep(written(tmp_path / "mine.yaml", text)), tmp_path)
    assert cell.recipe.data.folder == "da\U0001f600ta"


def test_results_of_another_recipe_are_missing(finished: tuple[Sweep, Path], tmp_path: Path) -> None:
    _, out = finished
    for setting, whole in (("sft.steps=7", False), ("sft.train.save_every=7", True)):
        sweep = load_sweep(tmp_path / "mine.yaml", [setting])
        found = blocks(sweep, cells(sweep, out))
        assert all((block.finished == block.cells) == whole for block in found)


@pytest.mark.parametrize(
    "text", ["nothing", "<!-- rise sweep x -->", "<!-- end of rise sweep x -->\n<!-- rise sweep x -->"]
)
def test_a_page_without_its_marks_stays_as_it_is(text: str, tmp_path: Path) -> None:
    page = written(tmp_path / "page.md", text)
    with pytest.raises(UserError, match="must have the lines '<!-- rise sweep x -->'"):
        fill(page, "x", "tables")
    assert page.read_text(encoding="utf-8") == text
    with pytest.raises(UserError, match="cannot be read"):
        fill(tmp_path / "none.md", "x", "tables")


def test_worlds_are_drawn_once_and_other_data_is_not_replaced(tmp_path: Path) -> None:
    text = "data: {{s: {{world: icons, train: {}, val: 1, test: 1, seed: run}}}}\nseeds: [0, 1]\narms: [zero_shot]\n"
    sweep = load_sweep(written(tmp_path / "mine.yaml", text.format(2)))
    draw_data(sweep, tmp_path / "out")
    rows = [(tmp_path / "out" / "data" / f"s-seed-{seed}" / "train.jsonl").read_bytes() for seed in (0, 1)]
    assert rows[0] != rows[1]
    draw_data(sweep, tmp_path / "out")
    assert [str(cell.recipe.data.folder) for cell in cells(sweep, tmp_path / "out")] == [
        str(tmp_path / "out" / "data" / f"s-seed-{seed}") for seed in (0, 1)
    ]
    with pytest.raises(UserError, match="holds other data than the sweep asks for"):
        draw_data(load_sweep(written(tmp_path / "mine.yaml", text.format(3))), tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        ("arms: [rize]\ndata: d\n", [], "arm 'rize': recipe 'rize'"),
        ("arm: [rise]\ndata: d\n", [], "Did you mean 'arms'"),
        ("arms: [rise]\n", [], "'data' Field required"),
        ("arms: []\ndata: d\n", [], "'arms'"),
        ("arms: {rise: {recipes: rise}}\ndata: d\n", [], "arms.rise.recipes"),
        ("arms: {rise: {set: {data.limit: 5}}}\ndata: d\n", [], "Its sizes are records, as in 'records=[100, 300]'"),
        ("arms: [rise]\ndata: d\n", ["data.limit=5"], "'data.limit' is the sweep's to set. Its sizes are records"),
        ("arms: {rise: {set: {seed: 1}}}\ndata: d\n", [], "'seed' is the sweep's to set"),
        ("arms: {rise: {set: {closed_loop.stpes: 1}}}\ndata: d\n", [], "Did you mean 'closed_loop.steps'"),
        ("arms: [ans_sft]\ndata: d\n", ["grpo.steps=1"], "reaches no arm"),
        ("arms: [ans_sft]\ndata: {d: {world: blocks, set: {grpo.steps: 1}}}\n", [], "data.d.set: grpo.train.steps"),
        ("arms: [ans_sft]\ndata: {d: {world: blocks, set: {seed: 1}}}\n", [], "data.d.set: 'seed' is the sweep's"),
        ("arms: [ans_sft]\ndata: d\n", ["arms=[rise]"], "there is no arm 'rise'"),
        ("arms: [ans_sft]\ndata: d\nsettings: [a]\n", ["model=tiny"], "'settings' must hold keys and values"),
        ("arms: [{a: b}]\ndata: d\n", ["arms=[[a]]"], "there is no arm"),
        ("arms: [ans_sft]\ndata: d\n", ["seeds=[0, 0]"], "seeds: a value is listed twice"),
        ("arms: [ans_sft]\ndata: d\n", ["seeds=[]"], "'seeds'"),
        ("arms: [ans_sft]\ndata: [a/d, b/d]\n", [], "two data sets would be called 'd'"),
        ("arms: [ans_sft]\ndata: {x: {world: afect}}\n", [], "afect"),
        ("arms: [ans_sft]\nagainst: rise\ndata: d\n", [], "there is no arm 'rise'"),
        ("arms: [ans_sft, rise]\nagainst: rize\ndata: d\n", ["arms=[ans_sft]"], "there is no arm 'rize'"),
        ("arms: [ans_sft, rise]\nagainst: rise\ndata: d\n", ["arms=[ans_sft]", "against=rise"], "no arm 'rise'"),
        ("arms: [ans_sft, rise]\nagainst: rise\ndata: d\n", ["arms=[]"], "'arms'"),
        ("arms: [ans_sft]\ndata: d\n", ["armes=[ans_sft]"], "unknown key 'armes'. Did you mean 'arms'?"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    text: str, settings: list[str], says: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "mine.yaml", text)
    assert run(["sweep", str(path), *settings]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err and "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert run(["sweep", "ablation", "--table"]) == 2
    assert "Did you mean 'ablations'" in capsys.readouterr().err
