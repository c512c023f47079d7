"""``rise data check`` and ``rise data stats`` as typed: the summary, the JSON, the pages, what wrong use is told."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter

HOSTILE = "<script>alert(1)</script>&\"'"
ODD = 'cat & "kitten"'


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Boxes, hostile names, an image that is in train and test, a transposed box, a turned photo."""
    card = Card(name=HOSTILE, task="detection", classes=[ODD, "dog"])
    with DatasetWriter(tmp_path / "set", card) as writer:
        for split in ("train", "test"):
            for at in range(3):
                image = Image.linear_gradient("L").resize((90, 40 + at)).convert("RGB")
                thing = {"label": ODD, "box": [50, 5, 80, 20]}
                writer.add(split, id=f"{split}{at}{HOSTILE}", image=image, annotation=[thing], question="Where?")
    path = tmp_path / "set" / "train.jsonl"
    path.write_text(path.read_text().replace("[50, 5, 80, 20]", "[5, 50, 20, 80]", 1))
    return tmp_path / "set"


def rise(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["data", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_check_sums_up_what_is_refused_and_what_is_doubtful(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    code, out, _ = rise(capsys, "check", dataset)
    assert code == 1
    assert "1 box-transposed: box that fits only with x and y exchanged. To do: exchange x and y." in out
    assert re.search(r"2 leak: .*--aside leak.*\n +e.g. train.jsonl row 2: the image is in test too", out)
    assert out.index("Refused, ") < out.index("box-transposed") < out.index("Doubtful, ") < out.index(" leak: ")
    code, out, _ = rise(capsys, "check", dataset, "--json")
    result = json.loads(out)
    found = {finding["kind"]: finding for finding in result["findings"]}
    assert found["box-transposed"]["refused"] and found["leak"]["count"] == 2 == len(found["leak"]["rows"])
    assert found["leak"]["rows"][0]["row"] == 2 and found["leak"]["rows"][0]["other"].startswith("images/test/")


def test_aside_quarantines_the_rows_of_a_finding(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    code, out, _ = rise(capsys, "check", dataset, "--aside", "leak")
    assert code == 1 and "quarantine.jsonl: 3 rows of the dataset" in out
    opened = Dataset.open(dataset)
    assert list(opened.records("train")) == [] and len(list(opened.records("test"))) == 3
    code, out, _ = rise(capsys, "check", dataset)
    assert " leak: " not in out and "Put aside earlier: 2 rows" in out


def check_page(text: str) -> None:
    """The page is whole, loads nothing, runs nothing, and lets no text of the data be markup."""
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "default-src 'none'" in text and not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,|#)", text)
    assert "prefers-color-scheme: dark" in text and "max-width: 620px" in text
    anchors = set(re.findall(r'href="#([\w-]+)"', text))
    assert anchors <= set(re.findall(r'id="([\w-]+)"', text))


def test_the_page_of_a_check_draws_examples(capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, _ = rise(capsys, "check", dataset, "--report", page)
    assert code == 1 and f"Report: {page}" in out
    text = page.read_text()
    check_page(text)
    assert 'class="stated" x="5" y="50" width="15" height="30"' in text
    assert 'class="meant" x="50" y="5" width="30" height="15"' in text
    assert 'viewBox="0 0 90 60"' in text  # widened by half to show the box that leaves the image of 90 x 40
    assert text.count("<svg") == 1 + 2 * text.count('class="example pair"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "set"]


def test_the_page_of_a_sound_dataset_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="counting")) as writer:
        writer.add("train", id="1", image=Image.linear_gradient("L").convert("RGB"), annotation=3, question="How many?")
    code, _, _ = rise(capsys, "check", tmp_path / "set", "--report", tmp_path / "page.html")
    assert code == 0 and "Nothing was found" in (tmp_path / "page.html").read_text()


def test_stats_counts_and_plots(capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path) -> None:
    code, out, _ = rise(capsys, "stats", dataset, "--out", tmp_path / "page.html")
    assert code == 0 and "train: 2 records, 1 bad" in out and "boxes: 3, 1 in a record; 3 small" in out
    text = (tmp_path / "page.html").read_text()
    check_page(text)
    assert all(f'id="{part}"' in text for part in ("splits", "classes", "images", "boxes", "texts"))
    assert text.count("<figure>") == text.count('<svg class="chart"') == 5
    code, out, _ = rise(capsys, "stats", dataset, "--json")
    assert json.loads(out)["splits"]["test"]["boxes"]["total"] == 3


def test_stats_print_up_to_thirty_classes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = [f"kind{number}" for number in range(31)]
    for used in (30, 31):
        folder = tmp_path / str(used)
        with DatasetWriter(folder, Card(name="x", task="classification", classes=names)) as writer:
            for name in names[:used]:
                writer.add("train", id=name, image=Image.linear_gradient("L").convert("RGB"), annotation=name)
        _, out, _ = rise(capsys, "stats", folder)
        assert out.count("kind") == 30 and (", and 1 more" in out) is (used > 30)


def test_stats_of_no_records(capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (dataset / f"{split}.jsonl").write_text("")
    code, out, _ = rise(capsys, "stats", dataset, "--out", tmp_path / "page.html")
    assert code == 0 and "train: 0 records" in out and "no good records" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "{set}", "--report", "{out}/page.pdf"], "must end in .html"),
        (["check", "{set}", "--report", "{out}/none/page.html"], "in a folder that does not exist"),
        (["stats", "{set}", "--out", "{out}/folder.html"], "is a folder"),
        (["check", "{set}", "--aside", "leek"], "Did you mean 'leak'?"),
        (["check", "{set}", "--aside", "wrong-size"], "'wrong-size' cannot be put aside"),
        (["stats", "{out}/none"], "There is no folder"),
        (["split", "{out}/none"], "There is no folder"),
        (["check", "{out}"], "is not a dataset"),
    ],
)
def test_wrong_use_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    words = [word.replace("{set}", str(dataset)).replace("{out}", str(tmp_path)) for word in arguments]
    code, out, err = rise(capsys, *words)
    assert code == 2 and out == "" and told in err and len(err.splitlines()) == 1


def test_damage_to_the_dataset_itself_is_told(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    (dataset / "quarantine.jsonl").write_text("nonsense\n")
    for command in ("check", "stats", "split"):
        code, _, err = rise(capsys, command, dataset)
        assert code != 0 and "Traceback" not in err
    (dataset / "quarantine.jsonl").unlink()
    (dataset / "test.jsonl").unlink()
    code, _, err = rise(capsys, "check", dataset)
    assert code == 2 and "the file 'test.jsonl' of split 'test' is missing" in err


def test_real_photos(capsys: pytest.CaptureFixture[str], tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    """20 photos: no two alike; a rescaled copy of one among them is found, and nothing else."""
    source = shared_data("det-voc100-multiformat") / "database" / "images"
    photos = sorted(source.iterdir())[:20]
    with DatasetWriter(tmp_path / "set", Card(name="x", task="classification", classes=["a", "b"])) as writer:
        for at, path in enumerate(photos):
            writer.add("train", id=str(at), image=path, annotation="a")
        copy = Image.open(photos[7]).convert("RGB")
        writer.add("test", id="copy", image=copy.resize((copy.width // 2, copy.height // 2)), annotation="a")
    code, out, _ = rise(capsys, "check", tmp_path / "set", "--json")
    found = json.loads(out)["findings"]
    assert code == 0 and [finding["kind"] for finding in found] == ["similar-leak", "class-unused"]
    assert [row["id"] for row in found[0]["rows"]] == ["7"]
    shutil.rmtree(tmp_path / "set")
