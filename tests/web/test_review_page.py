"""The review page in headless Chromium: decisions, moves, and what is kept, with real clicks and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from page_kit import Open, at, finish, press_until, saved, until
from web_kit import journal, make_answers, make_dataset, post

from rise_vlm.data import Dataset


def test_keys_accept_correct_and_reject_and_finish_writes_the_dataset(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    press_until(page, "a", 1)  # r0, red, as it is
    page.keyboard.press("3")  # r1: green -> blue
    assert page.locator("button[aria-pressed=true]").inner_text().startswith("blue")
    press_until(page, "Enter", 2)
    page.keyboard.press("x")  # r2 is the last one
    page.wait_for_selector("body[data-state=rejected]")
    assert page.inner_text("#counts") == "3 of 3 reviewed"
    rows = {row["key"]: row for row in journal(running.session) if row["decision"] != "draft"}
    assert [rows[f"train/r{i}"]["state"] for i in range(3)] == ["accepted", "corrected", "rejected"]
    assert "train 2" in finish(page)
    records = {record.id: record for record in Dataset.open(tmp_path / "out").records("train", strict=True)}
    assert {key: record.annotation for key, record in records.items()} == {"r0": "red", "r1": "blue"}
    assert records["r1"].meta == {"reviewed": "corrected", "before": "green"}


def test_what_is_typed_is_on_the_disk_before_anything_is_decided(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    page.keyboard.press("e")
    page.keyboard.type(" More.")  # letters that are keys elsewhere are text here
    rows = saved(page, running, 1)
    while rows[-1]["rationale"] != "What can be seen, number 0. More.":
        rows = saved(page, running, len(rows) + 1)
    assert rows[-1]["decision"] == "draft" and running.session.counts["undecided"] == 3
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#rationale") == "What can be seen, number 0. More."
    page.keyboard.press("u")
    until(page, lambda: page.input_value("#rationale") == "What can be seen, number 0.")


def test_answers_come_least_certain_first_and_undecided_ones_are_left_out(opened: Open, tmp_path: Path) -> None:
    rows = [
        {"annotation": [40, 30, 100, 90], "confidence": 0.9, "reconstruction": 0.8, "review": False},
        {"annotation": [10, 10, 60, 60], "confidence": 0.3, "reconstruction": 0.9, "review": True},
        {"annotation": None, "reason": "no box", "confidence": 0.0, "review": True},
    ]
    page, _ = opened(make_answers(tmp_path / "a", rows))
    assert "p2.png" in page.inner_text("#place") and "no answer: no box" in page.inner_text("#hints")
    page.keyboard.press("a")
    page.wait_for_selector("#problem:not([hidden])")
    assert "There is nothing to accept yet" in page.inner_text("#problem")
    press_until(page, "j", 1)
    assert "p1.png" in page.inner_text("#place") and "confidence 30 %" in page.inner_text("#hints")
    press_until(page, "a", 2)
    assert "Written" in finish(page)
    dataset = Dataset.open(tmp_path / "out")
    kept = [record for split in dataset.splits for record in dataset.records(split, strict=True)]
    assert [(record.id, record.annotation) for record in kept] == [("p1.png", [10, 10, 60, 60])]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_page_fits_its_window_and_buttons_do_what_keys_do(
    opened: Open, tmp_path: Path, width: int, height: int
) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"), width=width, height=height)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in ("previous", "undo", "reject", "accept", "next"):
        box = page.locator(f"#{button}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
    page.get_by_role("button", name="blue").click()
    page.click("#accept")
    at(page, 1)
    assert running.session.now(0).annotation == "blue" and running.session.state(0) == "corrected"
    page.click("#reject")
    at(page, 2)
    page.click("#previous")
    at(page, 1)
    page.click("#undo")
    page.wait_for_selector("body[data-state=undecided]")
    assert running.session.counts == {"undecided": 2, "accepted": 0, "corrected": 1, "rejected": 0}


def test_an_item_is_not_left_while_its_edit_cannot_be_kept(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    page.route("**/api/items/0?*", lambda route: route.abort())
    page.keyboard.press("2")
    page.wait_for_selector("#problem:not([hidden])")
    page.keyboard.press("j")
    page.wait_for_timeout(500)
    assert page.get_attribute("body", "data-index") == "0" and "Not saved" in page.inner_text("#problem")
    page.unroute("**/api/items/0?*")
    press_until(page, "j", 1)
    assert running.session.now(0).annotation == "green"  # it was sent again


def test_nothing_is_edited_while_a_decision_is_on_its_way(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    held: list[Any] = []
    page.route("**/api/items/0?*", lambda route: held.append(route))
    page.focus("#rationale")
    page.keyboard.press("Control+Enter")
    until(page, lambda: bool(held))
    page.keyboard.type("lost")
    page.get_by_role("button", name="blue").click(force=True)
    page.wait_for_timeout(500)
    held[0].continue_()
    at(page, 1)
    page.wait_for_timeout(500)
    assert running.session.state(0) == "accepted" and len(journal(running.session)) == 1
    assert page.input_value("#rationale") == "What can be seen, number 1."


@pytest.mark.parametrize("part", ["#rationale", "input[type=number] >> nth=0", "input[type=range] >> nth=1"])
def test_after_a_decision_keys_are_shortcuts_wherever_it_was_taken(opened: Open, tmp_path: Path, part: str) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "distribution"))
    page.focus(part)
    press_until(page, "Enter" if "range" in part else "Control+Enter", 1)
    assert page.evaluate("document.activeElement === document.body")
    press_until(page, "x", 2)
    assert running.session.state(1) == "rejected"
    assert page.input_value("#rationale") == "What can be seen, number 2."
    assert not [row for row in journal(running.session) if row["decision"] == "draft"]


def test_a_decision_that_is_refused_leaves_one_where_it_was_typed(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "counting"))
    page.fill(".json", "[4")
    page.press(".json", "Control+Enter")
    page.wait_for_selector("#problem:not([hidden])")
    until(page, lambda: page.evaluate("document.activeElement.className") == "json")
    assert page.input_value(".json") == "[4"


def test_a_server_that_is_gone_is_told_and_the_page_stays(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "classification"))
    page.keyboard.press("2")
    page.route("**/api/**", lambda route: route.abort())
    page.keyboard.press("a")
    page.wait_for_selector("#problem:not([hidden])")
    assert "Not saved" in page.inner_text("#problem")
    assert page.locator("button[aria-pressed=true]").inner_text().startswith("green")
    page.unroute("**/api/**")
    press_until(page, "a", 1)


def test_the_last_decision_says_what_is_left_and_n_and_the_filter_go_there(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    press_until(page, "j", 1)
    press_until(page, "x", 2)
    page.keyboard.press("a")
    until(page, lambda: page.inner_text("#problem") == "That was the last one. 1 is still undecided (n).")
    press_until(page, "n", 0)  # there is none later, so from the start
    page.keyboard.press("n")
    until(page, lambda: page.inner_text("#problem") == "There is no other item that is undecided.")
    page.select_option("#filter", "rejected")
    at(page, 1)
    page.select_option("#filter", "undecided")
    at(page, 0)
    page.keyboard.press("a")
    until(page, lambda: page.inner_text("#problem") == "Everything is decided: Finish (f) writes the dataset.")
    assert running.session.counts["undecided"] == 0


def test_keys_after_a_move_edit_nothing_of_the_next_item(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "distribution"))
    page.keyboard.press("1")  # the first slider, in which arrows are its own
    page.keyboard.press("ArrowRight")
    press_until(page, "j", 1)
    press_until(page, "ArrowRight", 2)
    assert {row["key"] for row in journal(running.session)} == {"train/r0"}


def test_on_a_phone_every_item_starts_with_its_picture(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "classification"), width=390, height=500)
    page.locator("#rationale").scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 0
    page.click("#accept")
    at(page, 1)
    assert page.evaluate("scrollY") == 0


def test_finish_tells_of_edits_that_were_not_accepted(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "classification"))
    page.keyboard.press("2")
    press_until(page, "j", 1)
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    page.wait_for_selector("#finish-result:text-matches('Written:')")
    assert "Edits of 1 undecided are not in it" in page.inner_text("#finish-result")
    assert next(Dataset.open(tmp_path / "out").records("train")).annotation == "red"


def test_a_page_of_another_review_decides_nothing(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "classification"))
    _, other = opened(make_dataset(tmp_path / "e", "classification"), out=tmp_path / "other")

    def answer(route: Any) -> None:
        """As the other server would on the same port."""
        try:
            said = post(other.address, route.request.url.removeprefix(running.address), route.request.post_data_json)
            route.fulfill(json=said)
        except HTTPError as error:
            route.fulfill(status=error.code, body=error.read())

    page.route("**/api/**", answer)
    page.keyboard.press("a")
    page.wait_for_selector("#problem:not([hidden])")
    assert "another review" in page.inner_text("#problem") and journal(other.session) == []
