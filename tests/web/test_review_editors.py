"""The editors of annotations on the review page, in headless Chromium, with real clicks, drags and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_kit import Open, at, drag, press_until, until
from web_kit import journal, make_dataset


def test_boxes_are_drawn_named_pulled_by_a_corner_and_removed(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "detection"))
    assert page.locator("#overlay g").count() == 1
    page.keyboard.press("2")  # the next box is a plate
    drag(page, (120, 100), (180, 140))
    drag(page, (180, 140), (190, 145))  # the lower right corner of the new box, which is chosen
    assert page.locator("#overlay g").count() == 2
    page.keyboard.press("]")  # the first one
    page.keyboard.press("Delete")
    press_until(page, "a", 1)
    (one,) = [row for row in journal(running.session) if row["decision"] == "accept"]
    (box,) = one["annotation"]
    assert box["label"] == "plate" and box["box"] == pytest.approx([120, 100, 190, 145], abs=1)
    assert one["state"] == "corrected"


def test_a_region_is_replaced_by_a_new_one_and_moved_by_keys(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "grounding"))
    page.keyboard.press("Escape")
    drag(page, (110, 20), (150, 60))
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+Alt+ArrowDown")
    press_until(page, "a", 1)
    (one,) = [row for row in journal(running.session) if row["decision"] == "accept"]
    assert one["annotation"] == pytest.approx([111, 20, 151, 61], abs=1)


def test_a_distribution_is_refused_until_it_sums_to_one(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "distribution"))
    page.locator("input[type=number]").nth(0).fill("0.9")
    page.locator("input[type=number]").nth(0).press("Escape")
    page.keyboard.press("a")
    page.wait_for_selector("#problem:not([hidden])")
    assert "sum to 1.2, not 1" in page.inner_text("#problem")
    page.keyboard.press("=")
    press_until(page, "a", 1)
    (one,) = [row for row in journal(running.session) if row["decision"] == "accept"]
    assert one["annotation"] == {"joy": 0.75, "fear": 0.25}


def test_an_annotation_without_a_picture_form_is_edited_as_json(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "counting"))
    page.fill(".json", "[4")
    page.press(".json", "Control+Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert "not valid JSON" in page.inner_text("#problem")
    page.fill(".json", "4")
    page.press(".json", "Control+Enter")
    at(page, 1)
    (one,) = [row for row in journal(running.session) if row["decision"] == "accept"]
    assert one["annotation"] == 4 and one["state"] == "corrected"


def test_a_number_that_was_typed_is_accepted_by_enter_and_none_below_zero_is(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "distribution"))
    joy, fear, calm = (page.locator("input[type=number]").nth(index) for index in range(3))
    calm.fill("-0.2")
    calm.press("Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert running.session.state(0) == "undecided"
    for field, share in [(joy, "0.6"), (fear, "0.4"), (calm, "0")]:
        field.fill(share)
    calm.press("Enter")
    at(page, 1)
    assert running.session.now(0).annotation == {"joy": 0.6, "fear": 0.4}


def test_edits_are_taken_back_one_by_one_and_so_is_the_undo(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "detection"))
    sizes = page.locator(".boxes small")
    drag(page, (120, 100), (180, 140))
    page.wait_for_timeout(400)  # what follows faster is one edit
    page.keyboard.press("Delete")
    assert sizes.all_inner_texts() == ["60 × 60"] and page.inner_text("#accept-word") == "Accept"
    page.keyboard.press("Control+z")
    assert sizes.all_inner_texts() == ["60 × 60", "60 × 40"] and page.inner_text("#accept-word") == "Accept edits"
    page.keyboard.press("u")
    until(page, lambda: sizes.count() == 1)
    page.wait_for_selector("main > section:not([inert])")
    page.keyboard.press("Control+z")
    assert sizes.all_inner_texts() == ["60 × 60", "60 × 40"]
    page.keyboard.press("Control+z")
    assert sizes.all_inner_texts() == ["60 × 60"]
    page.keyboard.press("Control+z")
    assert page.inner_text("#problem") == "There is no edit to take back."


def test_the_class_that_is_marked_is_that_of_the_next_box(opened: Open, tmp_path: Path) -> None:
    page, running = opened(make_dataset(tmp_path / "d", "detection"))
    page.keyboard.press("2")
    page.locator(".boxes button").first.click()  # a cup
    assert page.locator(".classes button[aria-pressed=true]").inner_text().startswith("cup")
    drag(page, (120, 100), (180, 140))
    press_until(page, "a", 1)
    assert [box["label"] for box in running.session.now(0).annotation] == ["cup", "cup"]


def test_choosing_a_class_moves_no_button(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "classification"))
    places = "all => all.map((one) => [one.offsetLeft, one.offsetTop, one.offsetWidth])"
    before = page.locator(".classes button").evaluate_all(places)
    page.get_by_role("button", name="blue").click()
    assert page.locator(".classes button").evaluate_all(places) == before


def test_the_chosen_box_can_be_seen_in_a_long_list(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "detection"))
    for number in range(9):
        drag(page, (5 + 20 * number, 100), (20 + 20 * number, 140))
    edges = "(one) => [one.getBoundingClientRect().top, one.getBoundingClientRect().bottom]"

    def inside() -> bool:
        (top, bottom), (first, last) = (page.locator(one).evaluate(edges) for one in (".boxes", ".boxes .chosen"))
        return top - 1 <= first and last <= bottom + 1

    assert page.locator(".boxes li").count() == 10 and inside()
    page.keyboard.press("]")  # the first one
    assert inside()


def test_an_edit_right_after_a_decision_is_taken_back_by_itself(opened: Open, tmp_path: Path) -> None:
    page, _ = opened(make_dataset(tmp_path / "d", "classification"))
    page.evaluate("Date.now = () => 1e12")  # all of it within a moment
    page.keyboard.press("3")
    press_until(page, "Enter", 1)
    page.keyboard.press("3")
    page.keyboard.press("Control+z")
    assert page.locator("button[aria-pressed=true]").inner_text().startswith("green")
