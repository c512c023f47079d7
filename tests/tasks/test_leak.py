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


NUMBERED_BUT_CLEAN = [
    "Two dogs and one child, three balloons above.",
    "One person sits, two people stand.",
    "Two or three birds over the roof, two to three people below.",
    "One of three people waves; two of the four wear hats.",
    "They walk two by two, one by one.",
    "A clock that shows 10:15 and a table for four, two chairs beside it.",
    "Two figures, one in red and one in blue.",
    "Half of the table is in shade, half a melon on it.",
    "A player with number 9 stands second in line in the first row of seats.",
    "A shopping list on the table, the second item is crossed out.",
    "A first aid box in a class room of 20 seats.",
    "Seen from 2 sides, in 2019, 3 boats.",
]


@pytest.mark.parametrize("rationale", NUMBERED_BUT_CLEAN)
def test_counts_and_places_in_a_picture_are_clean(rationale, emotions, record):
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
    "j-o-y all over",
    "J.O.Y.",
    "a j o y",
    "s-u-r-p-r-i-s-e",
    "j\u043ey",
    "\u0458\u043e\u0443 of life",
    "F\u0395AR",
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


PLACES = [
    "It is the fourth of the list.",
    "Class number 4.",
    "class 4",
    "option 4",
    "option four",
    "Emotion #4 it is",
    "the answer is 4",
    "the fourth class",
    "the 4th option",
    "the fourth one in the list",
    "the last of the options",
    "number four on the list",
]


@pytest.mark.parametrize("rationale", PLACES)
def test_a_place_in_the_list_of_classes_leaks_in_every_task_that_has_one(rationale, emotions, things, record):
    for task, row in ((emotions, record(TRUTH)), (things, record("dog"))):
        assert any("a place in the list" in reason for reason in task.leaks(rationale, row, FRAME))


CLOTHES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]


@pytest.mark.parametrize(
    ("rationale", "named"),
    [
        ("It has short sleeves and a round neck.", []),
        ("A well dressed person at a dressing table.", []),
        ("A panting dog beside a footpath.", []),
        ("That is a chat about a shop.", []),
        ("A T shirt of cotton.", ["t-shirt"]),
        ("tshirt", ["t-shirt"]),
        ("T-Shirts and a shirt", ["shirt", "t-shirt"]),
        ("One shoe, two dresses, hats", ["dress", "hat", "shoes"]),
        ("a pair of shorts", ["shorts"]),
        ("long sleeves", ["longsleeve"]),
        ("a long sleeved top", ["longsleeve"]),
        ("long-sleeve", ["longsleeve"]),
        ("The table is long. Sleeves hang from it.", []),
        ("skirts", ["skirt"]),
    ],
)
def test_clothes_are_named_by_their_names_and_not_by_what_they_look_like(rationale, named, record):
    reasons = Classification(CLOTHES).leaks(rationale, record("t-shirt"), FRAME)
    assert sorted(reason.split("'")[1] for reason in reasons) == named


@pytest.mark.parametrize(
    ("rationale", "leaks"),
    [
        ("a wine glass", False),
        ("a tight fit", False),
        ("a slippery floor", False),
        ("a pair of glasses", True),
        ("one slipper", True),
        ("tights", True),
    ],
)
def test_names_in_the_plural_are_met_by_plural_and_singular_but_not_by_other_words(rationale, leaks, record):
    assert bool(Classification(["glasses", "tights", "slippers"]).leaks(rationale, record("tights"), FRAME)) is leaks


def test_words_of_other_scripts_stay_words_of_their_own():
    assert leak.visible("сор и рот, Дети играют") == "cop и рот, Дети играют"
    assert Classification(["сор", "рот"]).leaks("это сор", None, FRAME)


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
    "Nine people, four people, two people.",
    "9 votes then 4 then 2",
    "twelve of fifteen raters",
    "60 to 40",
    "a 60 to 40 balance",
    "a 3:1 balance",
    "half of the people",
    "fifty-fifty",
    "nine, four and two",
    "nine people and four people",
    "9 4 2",
    "nine raters",
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
    "It spans from 33 to 44 across. Downward it goes from around 33 to 44.",
    "fourteen percent of the way, then a gap, then sixty percent of it",
    "It spans from 145 on. Downward it goes to about 940.",
    "from 5 on to the 9 across, and then down it goes from about 3 to where the 8 is",
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
    "2 people and 1 red umbrella, 15 steps away",
]


@pytest.mark.parametrize("rationale", NO_COORDINATES)
def test_descriptions_of_a_region_are_clean(rationale, grounding, record):
    assert grounding.leaks(rationale, record(BOX, "Where?"), FRAME) == []


@pytest.mark.parametrize(
    "rationale",
    [
        "It spans from 15 to 58 across. Downward it goes from 24 to 74.",
        "from 145 to 575 across, while down it is between 235 and 735",
        "from one hundred and forty-five on across, while down it begins at two hundred and thirty-five",
    ],
)
def test_numbers_a_little_off_the_truth_leak(rationale, grounding, record):
    row = record([130, 220, 560, 720], "Where?", size=(1000, 1000))
    assert grounding.leaks(rationale, row, FRAME)


@pytest.mark.parametrize("rationale", ["2 people and 1 red umbrella", "One dog of 3 stands on the left"])
def test_counts_are_free_where_the_region_touches_the_edge(rationale, grounding, record):
    assert grounding.leaks(rationale, record([0, 0, 16, 20], "Where?"), FRAME) == []


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
