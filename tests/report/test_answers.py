"""The page of annotated pictures: least certain first, bounded, and nothing in it that runs or loads."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "stages"))

from answer_rows import ANSWERS, answers, row, task_called, write_rows
from PIL import Image

from rise_vlm.errors import UserError
from rise_vlm.report.answers import write_page


class Page(HTMLParser):
    """The ids under the pictures, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._at = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._at = dict(attrs).get("class") or ""

    def handle_data(self, data: str) -> None:
        if self._at == "id" and data.strip():
            self.ids.append(data.strip())


def page_of(folder: Path, out: Path, name: str, items: int = 60) -> tuple[str, Page, int]:
    shown = write_page(out, folder / "page.html", task_called(name), 0.5, items)
    text = (folder / "page.html").read_text(encoding="utf-8")
    return text, Page(text), shown


@pytest.mark.parametrize("name", ANSWERS)
def test_every_task_has_its_page(tmp_path: Path, name: str) -> None:
    text, page, shown = page_of(tmp_path, answers(tmp_path, name), name)
    assert shown == len(page.ids) == 4
    assert page.ids[0].endswith("q.jpg")  # the one without an answer
    assert text.count("<blockquote") == 5 and "soft fur" in text and "no answer that could be read" in text
    boxes = {"grounding": 3, "detection": 3}.get(name, 0)
    assert sum(tag == "rect" and "answer" in (a.get("class") or "") for tag, a in page.tags) == boxes
    assert text.count('class="share"') == (9 if name == "distribution" else 0)


def test_nothing_runs_and_nothing_is_loaded(tmp_path: Path) -> None:
    _, page, _ = page_of(tmp_path, answers(tmp_path, "detection"), "detection")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    assert all(str(a["src"]).startswith("data:image/jpeg;base64,") for tag, a in page.tags if tag == "img")
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_least_certain_come_first_and_only_so_many_are_drawn(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (30, 24)).save(image)
    certain = [0.9, 0.2, 0.7, 0.4, 1.0]
    rows = [row(image, "counting", i, id=f"n{i}", confidence=c, review=c < 0.5) for i, c in enumerate(certain)]
    text, page, shown = page_of(tmp_path, write_rows(tmp_path / "a.jsonl", rows), "counting", items=3)
    assert shown == 3 and page.ids == ["n1", "n3", "n2"]
    assert "3 of 5, the least certain first" in text and text.count("the samples disagree</li>") == 2


def test_text_of_a_model_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\ud800"
    one = row(tmp_path / "gone.png", "classification", "cat", rationale=evil, question=evil)
    text, page, _ = page_of(tmp_path, write_rows(tmp_path / "a.jsonl", [one]), "classification")
    assert "&lt;script&gt;" in text and not [tag for tag, _ in page.tags if tag == "script"]
    assert "there is no such image file" in text


def test_a_rationale_that_gives_the_answer_away_is_marked(tmp_path: Path) -> None:
    rows = [row(tmp_path / "a.png", "classification", "cat", leaks=["names class 'cat'"])]
    text, _, _ = page_of(tmp_path, write_rows(tmp_path / "a.jsonl", rows), "classification")
    assert "the rationale gives it away" in text


@pytest.mark.parametrize(
    ("name", "answer", "leaks", "told"),
    [
        ("classification", "cat", ["names class 'dog' ('dogs')"], ["the rationale names the class &#39;dog&#39;"]),
        ("classification", "cat", ["names class 'cat' ('cats')"], ["the rationale gives it away"]),
        ("classification", "cat", ["names class 'cat' ('cat')", "names class 'dog' ('dog')"],
         ["the rationale gives it away", "the rationale names the class &#39;dog&#39;"]),
        ("distribution", {"cat": 0.25, "dog": 0.75}, ["names class 'dog' ('dog')"], ["the rationale gives it away"]),
        ("distribution", {"cat": 0.25, "dog": 0.75}, ["holds a decimal"], ["the rationale holds a decimal"]),
        ("detection", [{"label": "dog", "box": [0.0, 0.0, 8.0, 8.0]}], ["names class 'cat' ('cat')"],
         ["the rationale names the class &#39;cat&#39;"]),
        ("counting", 3, ["names the number ('three')"], ["the rationale gives it away"]),
        ("grounding", [1.0, 2.0, 20.0, 21.5], ["holds a true coordinate in pixels ('20')"],
         ["the rationale gives it away"]),
    ],
)  # fmt: skip
def test_what_a_rationale_holds_is_said_and_that_it_gives_the_answer_away_only_of_the_answer_itself(
    tmp_path: Path, name: str, answer: Any, leaks: list[str], told: list[str]
) -> None:
    rows = [row(tmp_path / "a.png", name, answer, leaks=leaks)]
    text, _, _ = page_of(tmp_path, write_rows(tmp_path / "a.jsonl", rows), name)
    assert re.findall('<li class="aside">(.*?)</li>', text) == told


def test_why_the_answers_may_be_worth_little_stands_at_the_top(tmp_path: Path) -> None:
    out = answers(tmp_path, "counting")
    write_page(out, tmp_path / "page.html", task_called("counting"), 0.5, cautions=["it knows <scenes> only"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<p class="lead caution">it knows &lt;scenes&gt; only.</p>' in text.partition("<main>")[0]


def test_greedy_answers_have_no_charts(tmp_path: Path) -> None:
    rows = [row(tmp_path / "a.png", "counting", 3, confidence=None, reconstruction=None, samples=None)]
    rows[0]["source"]["samples"] = 0
    text, _, _ = page_of(tmp_path, write_rows(tmp_path / "a.jsonl", rows), "counting")
    assert "How certain" not in text and "1, greedy" in text and "as they were annotated" in text


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    out = answers(tmp_path, "counting")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match=r"page\.html cannot be written") as told:
        write_page(out, tmp_path / "page.html", task_called("counting"), 0.5)
    assert told.value.exit_code == 1
