"""The diagnostics behind docs/results.md and docs/settings.md run, and count what they say they count."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rise_vlm.data import Dataset
from rise_vlm.worlds import load_world
from rise_vlm.worlds.affect_words import CLAUSES

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


def output(script: str, *args: object) -> str:
    """What `benchmarks/script` prints."""
    done = subprocess.run([sys.executable, SCRIPTS / script, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["affect", "errand"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("drawn") / request.param
    load_world(request.param).make(folder, train=60, val=8, test=2, seed=0)
    return Dataset.open(folder)


def test_named_counts_the_deciding_facts_that_are_true(drawn: Dataset, tmp_path: Path) -> None:
    record = next(iter(drawn.records("val")))
    scene = load_world(drawn.card.name).Scene.from_dict(record.meta["scene"])
    if drawn.card.name == "errand":
        right, wrong, named = f"thing={scene.target}", f"thing={'key' if scene.target != 'key' else 'cup'}", "target"
        texts = [f"There is a {fact.removeprefix('thing=').replace('_', ' ')}." for fact in (right, wrong)]
    else:
        right, wrong, named = f"face={scene.face}", f"face={'smile' if scene.face != 'smile' else 'calm'}", "face"
        texts = [CLAUSES[fact][0].format(p="figure") for fact in (right, wrong)]
    rows = [
        {"id": record.id, "rationale": text, "score": score} for text, score in zip(texts, (0.75, 0.25), strict=True)
    ]
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions/rise-val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "results.json").write_text(json.dumps({"data": {"name": drawn.card.name, "folder": str(drawn.root)}}))
    told = output("named.py", tmp_path)
    assert f"2 rationales,  50% of what is stated is true | neither 50%, score 0.250 | {named} 50%, score 0.750" in told


def test_decides_finds_that_two_facts_say_more_than_one(drawn: Dataset) -> None:
    if drawn.card.name != "affect":
        pytest.skip("a regression on the facts of affect")
    rows = dict(re.findall(r"^(.*?)  +(\d\.\d+)  \d\.\d+$", output("decides.py", drawn.root, "--split", "train"), re.M))
    assert float(rows["nothing"]) < float(rows["face"]) < float(rows["face and thing"]) <= 1


def test_the_built_in_model_is_asked(drawn: Dataset) -> None:
    if drawn.card.name == "affect":
        told = output("reading.py", drawn.root, "tiny", "--records", "4", "--descriptions", "2")
        assert sum(int(n) for n in re.findall(r"n= *(\d+)", told)) == 8
    else:
        told = output("follows.py", drawn.root, "tiny", "--records", "6")
        overlap = {way.strip(): float(iou) for way, iou in re.findall(r"^  (.*?)  +(\d\.\d+)", told, re.M)}
        assert overlap["a question"] > 0.5 > overlap["its own rationale"]


def test_curves_of_ours_alone_are_measured_and_drawn(tmp_path: Path) -> None:
    small = ["--groups", "1,2", "--sizes", "4", "--image-tokens", "4", "--group", "2", "--completion-tokens", "3"]
    told = output("curves.py", *small, "--rounds", "1", "--alone", "--no-memory", "--out", tmp_path)
    assert re.findall(r"^\| (\d+) \| \d", told, re.M) == ["1", "2", "4"]
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert [case["ours"]["tower_passes"] for case in curves["group"]] == [1, 1]
    drawing = (tmp_path / "curves.svg").read_text()
    assert drawing.count("<polyline") == 2 and drawing.rstrip().endswith("</svg>")


def test_the_table_of_scaling_is_what_the_script_computes() -> None:
    assert output("scaling.py").strip() in (SCRIPTS.parent / "docs/scaling.md").read_text(encoding="utf-8")
    rows = {tuple(row.split(" | ")[:3]): row.split(" | ")[3:] for row in output("scaling.py").splitlines()[2:]}
    one, eight = ([float(cell.strip("()")) for cell in rows["| 7B", "all", n][:2]] for n in ("1", "8"))
    assert one[0] - eight[0] == pytest.approx(12 * 8.3 * 7 / 8, abs=1), "the owners share masters and moments"


def test_the_table_of_weights_in_parts_is_what_the_script_computes() -> None:
    told = output("scaling.py", "--parts").strip()
    assert told in (SCRIPTS.parent / "docs/scaling.md").read_text(encoding="utf-8")
    rows = {tuple(row.split(" | ")[:3]): row.split(" | ")[3:] for row in told.splitlines()[2:]}
    eight, sixteen = (float(rows["| 32B", "all", n][0]) for n in ("8", "16"))
    assert eight == pytest.approx(2 * sixteen, abs=0.1), "all that is of a layer is divided"
    assert eight == pytest.approx(16 * 31.2 / 8, abs=0.2)


def test_the_floor_counts_what_a_step_computes() -> None:
    small = ("--group", 4, "--prompts", 1, "--completion-tokens", 6, "--rounds", 1, "--threads", 1)
    told = output("floor.py", "--sizes", "4,16", *small)
    rows = [line.strip("| ").split(" | ") for line in told.splitlines() if re.match(r"\| \d+ \| \w", line)]
    assert [row[:2] for row in rows if row[1] != "score"] == [
        [size, phase] for size in ("4", "16") for phase in ("rollout", "update")
    ]
    found = {(size, phase): (float(flops), calls) for size, phase, flops, calls, *_ in rows}
    assert found["16", "update"][0] > found["4", "update"][0] > 0
    assert found["16", "rollout"][1] == found["4", "rollout"][1], "as many calls, whatever the picture"


def test_attention_compares_two_that_agree() -> None:
    told = output("attention.py", "--rows", 2, "--length", 24, "--repeat", 3)
    errors = [float(found) for found in re.findall(r"largest error (\S+)", told)]
    assert len(errors) == 2
    assert all(0 < error < 0.05 for error in errors)
    assert re.search(r"plain / fused: \d+\.\d+ ", told)


def test_an_import_is_measured_on_a_source_that_is_drawn(tmp_path: Path) -> None:
    sizes = ["--images", "6", "--boxes", "200", "--folder", tmp_path / "drawn"]
    told = output("importing.py", *sizes, "--sides", "rise,rise --link", "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["source"]["images"] == 6 and told.count("| rise") == 2
    for side in figures["sides"].values():
        assert side["seconds"] > 0 and side["cpu_seconds"] > 0 and 20 < side["peak_mb"] < 500
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["drawn"]


def test_what_annotating_takes_beside_the_model_is_measured(tmp_path: Path) -> None:
    small = ["--pictures", "2", "--rounds", "1", "--samples", "2", "--max-new-tokens", "8"]
    told = output("annotating.py", *small, "--json", tmp_path / "figures.json")
    cases = json.loads((tmp_path / "figures.json").read_text())["cases"]
    assert [(case["samples"], case["check"]) for case in cases] == [(2, False), (2, True)] and told.count("| 2 |") == 2
    for case in cases:
        assert 0.2 < case["parts"]["model"] < 1 and case["beside"] > 0
        assert {"reading", "encoding", "rows", "appending", "outputs"} <= case["parts"].keys()
