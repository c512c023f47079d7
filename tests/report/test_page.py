from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import rise_vlm
from rise_vlm.errors import UserError
from rise_vlm.report import write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
MakeRun = Callable[..., Path]


class Page(HTMLParser):
    """A parsed page: elements with their attributes, and whether every tag was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page_of(run: Path, **options: int) -> Page:
    return Page(write_report(run, **options).read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", ["classification", "distribution", "grounding"])
def test_a_whole_run_makes_a_well_formed_page_with_every_part(make_run: MakeRun, task: str) -> None:
    page = page_of(make_run(task))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"results", "loop", "training", "run", "pictures", "cost"} <= ids
    assert len(page.all("article")) == len(page.all("img")) == 12
    for word in ("RISE", "Zero-shot", "In domain", "Out of domain", "0.400", "A warm light", "kept", "3.11.7"):
        assert word in page.words


def test_the_page_asks_for_nothing_from_outside(make_run: MakeRun) -> None:
    run = make_run("grounding")
    page = page_of(run)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    text = (run / "report.html").read_text()
    assert not re.search(r"url\(|@import|<link|<iframe|https?://", text)


def test_the_content_policy_allows_only_the_pages_own_script(make_run: MakeRun) -> None:
    run = make_run()
    page = page_of(run)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", (run / "report.html").read_text(), flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


HOSTILE = "</p></article><script>alert(1)</script><img src=x onerror=alert(2)>\"'>{{ 7 * 7 }}"


def test_hostile_text_is_shown_and_never_run(make_run: MakeRun) -> None:
    run = make_run("classification", arms=("zero_shot", "rise"), rationale=HOSTILE)
    path = run / "predictions" / "rise-test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for hostile in rows:
        hostile |= {"id": HOSTILE + hostile["id"], "question": HOSTILE, "annotation": HOSTILE, "value": HOSTILE}
    rows[0] |= {"value": None, "completion": HOSTILE, "reason": HOSTILE}
    path.write_text("".join(json.dumps(hostile) + "\n" for hostile in rows))
    path.rename(path.with_name("ri<i>se-te<b>st.jsonl"))
    results = json.loads((run / "results.json").read_text())
    results["data"]["name"] = results["environment"]["command"] = HOSTILE
    results["arms"][0]["arm"] = results["arms"][0]["split"] = HOSTILE
    results["arms"][0]["metrics"][HOSTILE] = 0.5
    results["notes"] = [HOSTILE]
    (run / "results.json").write_text(json.dumps(results))
    (run / "recipe.yaml").write_text(f"name: rise\nnote: {HOSTILE}\n")
    page = page_of(run)
    assert len(page.all("script")) == 1
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all((image["src"] or "").startswith("data:image/jpeg") for image in page.all("img"))
    assert "alert(1)" in page.words and "{{ 7 * 7 }}" in page.words


def test_hostile_text_in_distributions_is_escaped(make_run: MakeRun) -> None:
    run = make_run("distribution", splits=("test",))
    path = run / "predictions" / "rise-test.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"annotation": {HOSTILE: 1.0}, "value": {HOSTILE: 1e300, "x": -5}}) + "\n")
    page = page_of(run)
    assert len(page.all("script")) == 1 and HOSTILE.split(">")[-1] in page.words
    widths = re.findall(r"(?:width|left):([\d.]+)%", (run / "report.html").read_text())
    assert widths and all(0 <= float(width) <= 100 for width in widths)


@pytest.mark.parametrize(
    "missing", ["results.json", "recipe.yaml", "stages", "predictions", "data", "stages/01-closed_loop/histogram.json"]
)
def test_any_piece_may_be_missing(make_run: MakeRun, missing: str) -> None:
    run = make_run("distribution")
    (run / missing).rename(run.parent / "elsewhere")
    page = page_of(run)
    assert bool(page.all("article")) == (missing != "predictions")
    if missing == "data":
        assert "is not where it was" in page.words


def test_a_run_that_has_finished_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    assert "Nothing has been finished yet" in page_of(tmp_path).words


def test_one_arm_on_one_split_needs_no_choice(make_run: MakeRun) -> None:
    page = page_of(make_run("classification", arms=("rise",), splits=("test",), records=1))
    assert not [a for a in page.all("button") if "data-judge" in a or a.get("data-split")]
    assert len(page.all("article")) == 1


def test_boxes_are_drawn_in_pixels_of_the_original(make_run: MakeRun) -> None:
    page = page_of(make_run("grounding", arms=("rise",), splits=("test",), records=3))
    boxes = [a for a in page.all("rect") if "answer" in (a.get("class") or "")]
    assert [(a["x"], a["y"], a["height"]) for a in boxes] == [("10.0", "10.0", "40.0")] * 2
    assert "0 0 64 60" in {a.get("viewbox") for a in page.all("svg")}


def test_sixty_large_photographs_stay_under_eight_megabytes(make_run: MakeRun) -> None:
    run = make_run("classification", arms=("rise",), splits=("test",), records=70, rationale="because " * 4000)
    noise = Image.merge("RGB", [Image.effect_noise((700, 520), 120) for _ in range(3)])
    for path in (run / "data/images").iterdir():
        noise.save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
        path.with_suffix(".jpg").rename(path)
    target = write_report(run)
    assert 1_000_000 < target.stat().st_size < 8_000_000


def test_the_same_run_makes_the_same_page(make_run: MakeRun) -> None:
    run = make_run("distribution")
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_the_number_of_pictures_can_be_chosen(make_run: MakeRun) -> None:
    assert len(page_of(make_run("classification"), items=4).all("article")) == 4


def test_a_page_that_cannot_be_written_is_told_and_leaves_nothing_behind(make_run: MakeRun) -> None:
    run = make_run()
    (run / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html cannot be written"):
        write_report(run)
    assert not list(run.glob(".report*"))


def test_the_report_needs_no_torch(make_run: MakeRun) -> None:
    code = "import sys; from pathlib import Path; from rise_vlm.report import write_report; "
    code += f"write_report(Path({str(make_run())!r})); sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(rise_vlm.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_the_harvest_shows_what_was_kept_and_why_the_others_were_not(make_run: MakeRun) -> None:
    run = make_run()
    bars = {"edges": [0, 0.5, 1], "counts": [32, 8], "kept": [0, 3], "threshold": 0.6}
    bars["dropped"] = {"leak": 4, "no gain over other records": 33}
    (run / "stages/01-closed_loop/histogram.json").write_text(json.dumps(bars))
    page = page_of(run)
    assert len([a for a in page.all("rect") if a.get("class") == "column kept"]) == 1
    assert "Dropped: no gain over other records 33, leak 4." in page.words
    assert "of 40 rationales, by threshold 0.60" in page.words
    results = json.loads((run / "results.json").read_text())
    for repetition, told in ((0.0, "by threshold 0.60, gain 0.05, repetition 0.00"), (1.0, "gain 0.05")):
        results["harvest"] |= {"gain": 0.05, "repetition": repetition}
        (run / "results.json").write_text(json.dumps(results))
        words = page_of(run).words
        assert told in words and ("repetition" in words) is (repetition < 1)


def test_a_harvest_where_none_passed_says_so(make_run: MakeRun) -> None:
    run = make_run()
    results = json.loads((run / "results.json").read_text())
    results["harvest"] |= {"fallback": True, "gain": 0.05}
    results["notes"] = ["harvest: hardly any gained", "data: other"]
    (run / "results.json").write_text(json.dumps(results))
    words = page_of(run).words
    assert "none passed, so the best of each record were taken" in words and "by threshold" not in words
    assert words.count("hardly any gained") == 2 and words.count("data: other") == 1  # beside the loop, and with all


def test_a_demo_whose_scores_say_nothing_is_told_in_the_place_of_its_headline(make_run: MakeRun) -> None:
    run = make_run()
    assert "too close to call" in page_of(run).words or "is ahead of" in page_of(run).words
    results = json.loads((run / "results.json").read_text())
    results["notes"] = ["demo: its scores say nothing", "data: other"]
    (run / "results.json").write_text(json.dumps(results))
    text = write_report(run).read_text(encoding="utf-8")
    top = text.partition("<main>")[0]
    assert '<p class="lead caution">its scores say nothing.</p>' in top and "data: other" not in top
    assert "too close to call" not in top and "is ahead of" not in top and "demo: its scores" in text


def test_the_controls_are_shown_with_their_number_and_interval(make_run: MakeRun) -> None:
    run = make_run()
    results = json.loads((run / "results.json").read_text())
    results["loop"] |= {"n": 32, "differences": {"shuffled": {"mean": 0.17, "interval": [0.1, 0.25]}, "empty": {}}}
    (run / "results.json").write_text(json.dumps(results))
    words = page_of(run).words
    assert "32 records" in words and "rebuilt is +0.17 [+0.10, +0.25] from it" in words


def test_what_the_loop_changed_and_what_a_wrong_annotation_is_compared_with_are_shown(make_run: MakeRun) -> None:
    run = make_run()
    results = json.loads((run / "results.json").read_text())
    detail = {"honest_false_score": 0.31, "honest_true_score": 0.72, "argued": {"mean": 0.2, "interval": [0.1, 0.3]}}
    results["loop"] |= {
        "before": {"real": 0.6}, "gain": {"mean": 0.11, "interval": [-0.02, 0.24], "n": 64},
        "wrong_annotation": 0.51, "wrong_annotation_before": 0.44, "wrong_annotation_detail": detail,
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    words = page_of(run).words
    assert "0.60 before the loop, which changed it by +0.11 [-0.02, +0.24]" in words
    assert "rebuilt from a rationale that argues for it; 0.44 before the loop. From" in words
    assert "From a rationale for the truth the wrong one scores 0.31, the truth 0.72." in words
    assert "Arguing changes the wrong one's by +0.20 [+0.10, +0.30]" in words
