"""The four prompts word for word, the tag grammar, class names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import ResizedPixels, Thousand
from rise_vlm.tasks.base import ROLES, Parsed, bare_answer, normal_name, think_answer
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.tasks.grounding import Grounding

FRAME = Thousand()
CLASSES = ["joy", "fear"]
CLASS = "Which class does this picture show?\nClasses: joy, fear.\nGive the one class that fits."
SHARES = (
    "Which classes would people give this picture?\nClasses: joy, fear.\n"
    "Give the probability of each class and leave out those with probability 0."
)
REGION = "What keeps me dry?\nFind the one region that answers this. Coordinates run from 0 to 1000."
EXPLAIN = "Explain in at most 100 words what can be seen that supports it."


def cases(record):
    yield Classification(CLASSES), record("joy"), CLASS, "class", "joy", "Do not name a class or a probability."
    yield (
        Distribution(CLASSES),
        record({"joy": 0.25, "fear": 0.75}),
        SHARES,
        "class: probability, ...",
        "fear: 0.75, joy: 0.25",
        "Do not name a class or a probability.",
    )
    yield (
        Grounding(),
        record([80, 60, 400, 300], "What keeps me dry?"),
        REGION,
        "[x1, y1, x2, y2]",
        "[100, 100, 500, 500]",
        "Do not give coordinates or numbers.",
    )


def test_answer_think_and_reason_prompts_are_the_texts_the_built_in_model_was_trained_on(record):
    for task, row, statement, form, answer, forbid in cases(record):
        assert task.prompt("answer", row, FRAME) == f"{statement}\nReply only with <answer>{form}</answer>."
        assert task.prompt("think", row, FRAME) == (
            f"{statement}\nFirst give your reasons in <think>...</think>, then <answer>{form}</answer>."
        )
        assert task.prompt("reason", row, FRAME) == f"{statement}\nThe right answer is: {answer}\n{EXPLAIN} {forbid}"


def test_blind_reconstruction_puts_the_description_before_the_statement(record):
    expected = f"Someone described a picture like this:\nA smile.\n{CLASS}\nReply only with <answer>class</answer>."
    assert Classification(CLASSES).prompt("reconstruct", record("joy"), FRAME, "A smile.") == expected


def test_sighted_reconstruction_withholds_the_question(record):
    prompt = Grounding().prompt("reconstruct", record([80, 60, 400, 300], "What keeps me dry?"), FRAME, "It is open.")
    assert prompt == (
        "Someone described one region of this picture like this:\nIt is open.\nFind that region. "
        "Coordinates run from 0 to 1000.\nReply only with <answer>[x1, y1, x2, y2]</answer>."
    )


def test_only_the_reason_prompt_holds_the_annotation(record):
    for task, row, *_, answer, _ in cases(record):
        for role in ROLES:
            assert (answer in task.prompt(role, row, FRAME, "words").splitlines()[-2]) == (role == "reason")


def test_question_of_the_record_goes_before_the_data_sets_and_that_before_the_tasks(record):
    task = Classification(CLASSES, question="Which mood?")
    assert task.prompt("answer", record("joy"), FRAME).startswith("Which mood?\n")
    assert task.prompt("answer", record("joy", "Which face?"), FRAME).startswith("Which face?\n")


def test_hint_of_the_frame_is_in_the_prompt(record):
    row = record([80, 60, 400, 300], "Where?")
    assert "Coordinates are in pixels." in Grounding().prompt("answer", row, ResizedPixels())


def test_grounding_without_a_question_names_the_record(record):
    with pytest.raises(UserError, match="record 'one' has no question"):
        Grounding().prompt("answer", record([80, 60, 400, 300]), FRAME)


def test_reconstruction_takes_an_empty_rationale_but_not_none(things, record):
    assert "like this:\n\nWhich" in things.prompt("reconstruct", record("dog"), FRAME, "")
    with pytest.raises(ValueError, match="rationale"):
        things.prompt("reconstruct", record("dog"), FRAME)


WELL_FORMED = [
    ("answer", "<answer>dog</answer>", None),
    ("reconstruct", "\n <answer> dog\n</answer> ", None),
    ("think", "<think>It barks.</think><answer>dog</answer>", "It barks."),
    ("think", "<think>\nIt barks.\n\nLoudly.\n</think>\n\n<answer>dog</answer>\n", "It barks.\n\nLoudly."),
]


@pytest.mark.parametrize(("role", "completion", "rationale"), WELL_FORMED)
def test_completions_that_keep_to_the_grammar(role, completion, rationale, things, record):
    whole = things.parse_completion(completion, record("dog"), FRAME, role)
    assert (whole.rationale, whole.parsed, whole.well_formed) == (rationale, Parsed("dog", None), True)


BROKEN = [
    ("answer", ""),
    ("answer", "dog"),
    ("answer", "<answer>dog"),
    ("answer", "dog</answer>"),
    ("answer", "The answer: <answer>dog</answer>"),
    ("answer", "<answer>dog</answer> I am sure."),
    ("answer", "<answer>dog</answer><answer>frying pan</answer>"),
    ("answer", "<answer><answer>dog</answer></answer>"),
    ("answer", "<think>It barks.</think><answer>dog</answer>"),
    ("answer", "<ANSWER>dog</ANSWER>"),
    ("think", "<answer>dog</answer>"),
    ("think", "<think>It barks.<answer>dog</answer>"),
    ("think", "It barks.</think><answer>dog</answer>"),
    ("think", "<think>It barks.</think> So <answer>dog</answer>"),
    ("think", "<think>a</think><think>b</think><answer>dog</answer>"),
    ("think", "<think>a <answer>dog</answer></think><answer>dog</answer>"),
    ("think", "<answer>dog</answer><think>It barks.</think>"),
    ("think", "<think>It barks.</think>"),
]


@pytest.mark.parametrize(("role", "completion"), BROKEN)
def test_a_breach_of_the_grammar_leaves_no_value_but_a_reason(role, completion, things, record):
    whole = things.parse_completion(completion, record("dog"), FRAME, role)
    assert whole.parsed.value is None
    assert whole.parsed.reason
    assert not whole.well_formed
    assert things.score("dog", whole.parsed.value) == 0.0


def test_an_empty_rationale_is_not_well_formed_though_its_answer_counts(things, record):
    whole = things.parse_completion("<think> \n</think><answer>dog</answer>", record("dog"), FRAME, "think")
    assert (whole.rationale, whole.parsed.value, whole.well_formed) == ("", "dog", False)


def test_a_bad_answer_in_good_tags_is_well_formed(things, record):
    whole = things.parse_completion("<think>It barks.</think><answer>cat</answer>", record("dog"), FRAME, "think")
    assert whole.well_formed
    assert whole.parsed.reason == "'cat' is not one of the classes"


def test_the_rationale_survives_a_broken_answer(things, record):
    whole = things.parse_completion("<think>It barks.</think><answer>dog", record("dog"), FRAME, "think")
    assert whole.rationale == "It barks."


@pytest.mark.parametrize(
    ("text", "good"), [("It barks.", True), ("  ", False), ("<think>It barks.</think>", False), ("a </ANSWER>", False)]
)
def test_a_rationale_is_plain_text(text, good, things, record):
    whole = things.parse_completion(text, record("dog"), FRAME, "reason")
    assert whole.well_formed is good
    assert whole.rationale == text.strip()
    assert whole.parsed.value is None


@given(st.text(alphabet=st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1).map(str.strip))
def test_written_completions_are_read_back(rationale):
    task = Classification(CLASSES)
    row = type("Row", (), {"id": "one", "annotation": "joy"})
    if rationale:
        whole = task.parse_completion(think_answer(rationale, "joy"), row, FRAME, "think")
        assert (whole.rationale, whole.parsed.value, whole.well_formed) == (rationale, "joy", True)
    assert task.parse_completion(bare_answer("joy"), row, FRAME, "answer").parsed.value == "joy"


@given(st.text(st.sampled_from("<>/thinkanswer dog:01.5[],{}\"'\n"), max_size=80), st.sampled_from(ROLES))
def test_no_text_makes_a_parser_raise(text, role):
    row = type("Row", (), {"id": "one", "annotation": None, "width": 40, "height": 30})
    for task in (Classification(CLASSES), Distribution(CLASSES), Grounding()):
        for whole in (
            task.parse_completion(text, row, FRAME, role),
            task.parse_completion(bare_answer(text), row, FRAME, role),
        ):
            assert (whole.parsed.value is None) != (whole.parsed.reason is None)


def test_a_parsed_holds_exactly_one_of_value_and_reason():
    with pytest.raises(ValueError):
        Parsed(None, None)
    with pytest.raises(ValueError):
        Parsed("dog", "why")


@pytest.mark.parametrize("name", ["hot dog", "Hot_Dog", " HOT-DOG ", "hot  dog", "ｈｏｔ dog"])
def test_names_that_are_the_same(name):
    assert normal_name(name) == "hot dog"


@pytest.mark.parametrize("name", ["hotdog", "hot dogs", "hot", "dog hot"])
def test_names_that_are_not(name):
    assert normal_name(name) != "hot dog"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["hot dog", "Hot-Dog"], "'hot dog' and 'Hot-Dog' are the same name"),
        (["dog", " "], "empty"),
        (["dog", "</answer>"], "contains <"),
        (["dog"], "at least two classes"),
        ([], "at least two classes"),
    ],
)
def test_label_sets_that_no_answer_could_name_are_refused(classes, message):
    for kind in (Classification, Distribution):
        with pytest.raises(UserError, match=message):
            kind(classes)


def test_a_synonym_of_an_unknown_class_is_refused_with_the_nearest_one():
    with pytest.raises(UserError, match="Did you mean 'joy'"):
        Classification(CLASSES, synonyms={"joi": ["happiness"]})
