"""Leak rules: what gives the annotation away, and what does not. They read the raw rationale."""

from __future__ import annotations

import re
import re._parser as sre

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.policy.frames import ResizedPixels, Thousand
from rise_vlm.tasks import base, distribution, drawing, inflection, leak, numerals
from rise_vlm.tasks import grounding as grounding_module
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution

FRAME = Thousand()
TRUTH = {"joy": 0.6, "surprise": 0.4}

CLEAN = [
    "",
    "People are enjoying a meal under a bright sky.",
    "A wide smile, raised arms and balloons around a long table.",
    "Two dogs and one child run on the grass, about ten birds fly above.",
    "A half-open door, a quarter moon, a second figure, the third person from the left.",
    "At this point one can see the rain. It fills most of the frame.",
    "The danger of the cliff edge, a saddle, an angle of the arm.",
    "Ein Kind lächelt. Дети играют. 子供が笑う。",
    "In the top left corner there are 3 cups and 12 plates.",
]


@pytest.mark.parametrize("rationale", CLEAN)
def test_descriptions_are_clean(rationale, emotions, record):
    assert emotions.leaks(rationale, record(TRUTH), FRAME) == []


NAMED = [
    "The JOY is clear. Fear is absent.",
    "Smiles everywhere suggesting joy",
    "The mood is joyful.",
    "It feels joyous",
    "She joyfully waves.",
    "the\njoy\nof the party",
    "Not sad at all.",
    "A sadly drooping head.",
    "An angry frown.",
    "the child's surprise",
    "surprise/astonishment",
    "joy_like",
    "*joy*",
    "j\u200boy in the air",
    "ｊｏｙ in the air",
    "it isn't neutral",
]


@pytest.mark.parametrize("rationale", NAMED)
def test_a_class_name_leaks_in_any_case_and_simple_inflection(rationale, emotions, record):
    assert any("names class" in reason for reason in emotions.leaks(rationale, record(TRUTH), FRAME))


def test_every_class_named_is_reported_once_with_the_word(emotions, record):
    reasons = emotions.leaks("The JOY is clear. Joyful! Fear is absent.", record(TRUTH), FRAME)
    assert reasons == ["names class 'joy' ('joy')", "names class 'fear' ('fear')"]


def test_synonyms_leak_with_their_inflections(record):
    task = Distribution(["joy", "fear"], synonyms={"joy": ["happy", "in high spirits"]})
    row = record({"joy": 1.0})
    assert task.leaks("They look HAPPIER than before", row, FRAME) == ["names class 'joy' ('happier')"]
    assert task.leaks("all in high spirits", row, FRAME)
    assert not task.leaks("high clouds and spirits in a bottle", row, FRAME)


@pytest.mark.parametrize(
    ("rationale", "leaks"),
    [
        ("A frying pan on the stove", True),
        ("two Frying-Pans", True),
        ("remote_control", True),
        ("a pan for frying", False),
        ("a remote place under control", False),
        ("dog", True),
        ("a hot dogma", False),
    ],
)
def test_names_of_several_words_leak_as_a_whole(rationale, leaks, things, record):
    assert bool(things.leaks(rationale, record("dog"), FRAME)) is leaks


@pytest.mark.parametrize(
    ("rationale", "leaks"),
    [
        ("A dog on a lawn", False),
        ("I see B written nowhere, a b c", False),
        ("so the answer is B", True),
        ("Option A fits", True),
        ("it must be (A)", True),
        ('"B"', True),
        ("written in C++ here", True),
        ("C and c+ are not it", False),
        ("7", True),
        ("17 or 70", False),
        ("一只猫在睡觉", True),
        ("一只狗", False),
    ],
)
def test_short_names_and_scripts_without_blanks(rationale, leaks, record):
    task = Classification(["A", "B", "C++", "7", "猫"])
    assert bool(task.leaks(rationale, record("A"), FRAME)) is leaks


FRACTIONS = [
    "joyless aside, 0.6 of it",
    "about .6",
    "0,6",
    "60%",
    "60 %",
    "６０％",
    "60 percent",
    "sixty percent",
    "sixty-five per cent",
    "3/5",
    "3 / 5",
    "⅗ of them",
    "one third of the people",
    "two-thirds",
    "three quarters of it",
    "a third of the raters",
    "nine out of fifteen",
    "9 out of 15",
    "one in ten",
    "zero point six",
    "point six",
    "6e-1",
    "seven tenths",
]


@pytest.mark.parametrize("rationale", FRACTIONS)
def test_whatever_a_probability_can_be_written_as_leaks(rationale, emotions, record):
    assert any(reason.startswith("holds a") for reason in emotions.leaks(rationale, record(TRUTH), FRAME))


def test_a_class_alone_may_be_described_with_numbers(things, record):
    assert things.leaks("It is 0.6 m long, 60% of the frame", record("dog"), FRAME) == []


BOX = [120, 340, 560, 580]  # of 800 x 600: thousandths 150, 567, 700, 967; percent 15, 56.7, 70, 96.7

COORDINATES = [
    "The dog at [120, 340, 560, 780] lies left.",
    "[1, 2, 3]",
    "(1; 2; 3)",
    "1 2 3 4",
    "from 1, 2 to 3, 4",
    "x1=120 y1=340",
    "x = 7",
    "X:9",
    "x1=1, y1=2, x2=3, y2=4",
    "left 1 px, top 2 px, right 3 px",
    "starts at 120",
    "starts at 121.5 px",
    "near 150",
    "at 15%",
    "at 15 percent of the width",
    "0.15 across",
    "from .567 down",
    "one hundred and twenty",
    "five hundred sixty-one pixels",
    "fifty-seven percent",
    "one, two, three, four",
    "in the box <answer>left</answer>",
    "１２０",
]


@pytest.mark.parametrize("rationale", COORDINATES)
def test_whatever_a_coordinate_can_be_written_as_leaks(rationale, grounding, record):
    assert grounding.leaks(rationale, record(BOX, "Where?"), FRAME)


NO_COORDINATES = [
    "",
    "The dog lies left of the two red chairs, near the bottom edge.",
    "One of three people; two of the four wear hats.",
    "A house with 40 windows and 200 steps.",
    "A clock that shows 3 on a wall of 1950.",
    "1 dog, another 1 beside it",
    "x marks the spot, y shaped branch",
    "fifteen people in line",
    "Dog number 2, next to it a sign.",
]


@pytest.mark.parametrize("rationale", NO_COORDINATES)
def test_descriptions_of_a_region_are_clean(rationale, grounding, record):
    assert grounding.leaks(rationale, record(BOX, "Where?"), FRAME) == []


def test_the_models_own_frame_counts(grounding, record):
    row = record([1200, 100, 1900, 900], "Where?", size=(4000, 3000))
    small = ResizedPixels(max_pixels=401_408)  # 4000 x 3000 -> 728 x 532: x1 = 218
    assert grounding.leaks("it starts at 218", row, small)
    assert not grounding.leaks("it starts at 218", row, FRAME)


@given(st.lists(st.integers(0, 600), min_size=4, max_size=4), st.sampled_from([Thousand(), ResizedPixels()]))
def test_a_written_out_box_always_leaks(numbers, frame):
    row = type("Row", (), {"annotation": [10, 10, 50, 50], "width": 800, "height": 600, "question": "Where?"})
    task = grounding_module.Grounding()
    assert task.leaks(f"The region {numbers} holds it.", row, frame)
    assert task.leaks(f"It is at {task.render(row.annotation, row, frame)}.", row, frame)


@given(st.lists(st.integers(1, 15), min_size=2, max_size=7))
def test_a_written_out_distribution_always_leaks(counts):
    names = ["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"][: len(counts)]
    task = Distribution(names)
    annotation = {name: n / sum(counts) for name, n in zip(names, counts, strict=True)}
    reasons = task.leaks(task.render(annotation, None, FRAME), None, FRAME)
    assert "holds a decimal" in reasons
    assert len(reasons) == 1 + len(names)


@pytest.mark.parametrize("text", ["<think>a", "</answer>", "< Answer >", "so <ANSWER>x", "＜think＞"])
def test_tags_leak_in_every_task(text, things, emotions, grounding, record):
    for task, row in ((things, record("dog")), (emotions, record(TRUTH)), (grounding, record(BOX, "Where?"))):
        assert "holds a think or answer tag" in task.leaks(text, row, FRAME)


def test_the_prompt_repeated_leaks(things, emotions, grounding, record):
    for task, row in ((things, record("dog")), (emotions, record(TRUTH)), (grounding, record(BOX, "Where is it?"))):
        prompt = task.prompt("reason", row, FRAME)
        assert any("copies the prompt" in reason for reason in task.leaks(prompt, row, FRAME, prompt))
        some = "Well: explain IN AT MOST 100 words what can be seen, that is a smile."
        assert any("copies the prompt" in reason for reason in task.leaks(some, row, FRAME, prompt))


def test_seven_words_of_the_prompt_are_no_copy_and_eight_are():
    prompt = "a b c d e f g h i j"
    assert leak.copy_leaks("so a b c d e f g x", prompt) == []
    assert leak.copy_leaks("so b c d e f g h i x", prompt) == ["copies the prompt ('b c d e f g h i')"]


def test_the_class_list_alone_is_the_business_of_the_class_rule(record):
    task = Classification(["kind one", *(f"kind {letter * 3}" for letter in "bcdefgh")])
    row = record("kind one")
    prompt = task.prompt("reason", row, FRAME)
    reasons = task.leaks(", ".join(task.classes), row, FRAME, prompt)
    assert len(reasons) == 8
    assert all("names class" in reason for reason in reasons)


@given(st.text(max_size=200))
def test_any_text_gets_a_verdict(rationale):
    row = type("Row", (), {"annotation": [10, 10, 50, 50], "width": 80, "height": 60, "question": "Where?"})
    assert isinstance(grounding_module.Grounding().leaks(rationale, row, FRAME, "a prompt of some words"), list)
    assert isinstance(Distribution(["joy", "猫"]).leaks(rationale, row, FRAME, "a prompt"), list)


def repeats(tree, inside=False):
    """Yields True for every unbounded repeat of a parsed pattern that stands inside another one."""
    for op, argument in tree:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            unbounded = argument[1] is sre.MAXREPEAT
            yield unbounded and inside
            yield from repeats(argument[2], inside or unbounded)
        elif op is sre.SUBPATTERN:
            yield from repeats(argument[3], inside)
        elif op is sre.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch, inside)
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            yield from repeats(argument[1], inside)


def patterns():
    for module in (base, distribution, drawing, grounding_module, inflection, leak, numerals):
        for name, value in vars(module).items():
            for pattern in value.values() if isinstance(value, dict) and name.isupper() else [value]:
                if isinstance(pattern, re.Pattern):
                    yield pytest.param(pattern, id=f"{module.__name__.rpartition('.')[2]}.{name}")


@pytest.mark.parametrize("pattern", patterns())
def test_no_pattern_repeats_a_repeat_without_bound(pattern):
    """So none can take exponential time on any text; the gap pattern alone may follow one repeat by another."""
    assert not any(repeats(sre.parse(pattern.pattern, pattern.flags)))


def test_the_gap_between_numbers_is_only_matched_on_short_text():
    assert leak._GAP_LENGTH <= 32


def test_a_question_and_a_rationale_of_ten_thousand_characters(things, emotions, grounding, record):
    long = ("The 5 dogs, ünïcödé 漢字 and [ 1 , x= <think " * 300)[:10_000]
    for task, row in ((things, record("dog")), (emotions, record(TRUTH)), (grounding, record(BOX, "Where?"))):
        row = row.model_copy(update={"question": long})
        prompt = task.prompt("think", row, FRAME)
        assert prompt.startswith(long)
        assert task.leaks(long, row, FRAME, prompt)
        assert task.parse_completion(f"<think>{long}</think><answer>{long}</answer>", row, FRAME, "think").parsed.reason
