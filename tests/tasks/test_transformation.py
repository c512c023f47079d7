"""Spatial transformation: grammar, partial credit, tricks, and final states on the published TRANCE sample."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.rewards.sequences import exact_credit, likeness, official_credit, partial_credit, penalty_credit
from rise_vlm.rewards.states import FUNCTIONS, Call, Thing, change, difference, fits, outcomes
from rise_vlm.tasks.base import ROLES, bare_answer, think_answer
from rise_vlm.tasks.transformation import SCORES, Transformation, read_calls, write
from rise_vlm.tasks.transformation_ways import ways

FRAME = Thousand()
TWO = ("before.png", "after.png")
TASK = Transformation()
TRUTH = "change_color(2, cyan), change_position(2, behind), change_color(4, brown)"
SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "transform-trance-sample" / "assets" / "example.json"

calls = st.builds(
    lambda pair, thing: Call(pair[0], thing, pair[1]),
    st.sampled_from([(name, value) for name, values in FUNCTIONS.items() for value in values]),
    st.integers(0, 9),
)
answers = st.lists(calls, min_size=1, max_size=5)


def triples(sequence):
    return [call[:3] for call in sequence]


def reward(text, truth=TRUTH, task=TASK):
    return task.score(truth, task.parse(text, _row(truth), FRAME).value)


def _row(truth):
    return type("Row", (), {"annotation": truth, "question": "What changed?", "id": "x"})


@given(answers)
def test_what_is_written_is_read_back(sequence):
    assert list(read_calls(write(sequence))) == sequence
    distinct = write(list(dict.fromkeys(sequence)))
    assert reward(distinct, truth=distinct) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    [TRUTH, TRUTH.replace(", change", "\nchange"), TRUTH.replace(", change", "; change"), TRUTH.upper(),
     TRUTH.replace("cyan", "'cyan'"), TRUTH.replace(", c", ",c"), f"  {TRUTH}\n",
     f"{TRUTH}.", f"{TRUTH};", TRUTH.replace("(2", "('2'"), "1. " + TRUTH.replace(", change", "\n2. change"),
     "- " + TRUTH.replace(", change", "\n- change"), f"[{TRUTH}]", f"[{TRUTH}].", f"`{TRUTH}`", f"```\n{TRUTH}\n```",
     f"```text\n{TRUTH}\n```", TRUTH.replace(", ch", " -> ch"), TRUTH.replace(", ch", " and ch"),
     TRUTH.replace(", ch", ", and ch")],
)  # fmt: skip
def test_spelling_of_joints_and_case_is_free(text):
    assert TASK.parse(text, _row(TRUTH), FRAME).value == TRUTH
    for way in ("front-left", "front left", "'Front Left'"):
        assert reward(f"change_position(1, {way})", "change_position(1, front_left)") == 1.0


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), ("none", "is not a function"), ("change_colour(2, cyan)", "no function 'change_colour'. Did you"),
     ("move(2, behind)", "no function 'move'"), ("change_color(2, pink)", "no value 'pink'"),
     ("change_size(2, cyan)", "no value 'cyan'"), ("change_color(cyan)", "is not a function"),
     ("change_color(2, cyan),", "is not a function"), (f"I think {TRUTH}", "is not a function"),
     (f"{TRUTH}..", "is not a function"), (f"[{TRUTH}", "is not a function"), ("[]", "empty"),
     ("change_color(2, cyan) and", "is not a function"), ("change_color(2, cyan) ->", "is not a function"),
     ("change_position(2, behind, 1000)", "no number of steps"),
     ("change_color(2, cyan, 1)", "no number of steps"), (", ".join(["change_color(2, cyan)"] * 1000), "more than 32"),
     ("change_color(-1, cyan)", "is not a function"), ("change_color(2, cyan", "is not a function")],
)  # fmt: skip
def test_anything_else_is_a_failure_with_a_reason(text, why):
    parsed = TASK.parse(text, _row(TRUTH), FRAME)
    assert parsed.value is None
    assert why in parsed.reason


@given(st.text(max_size=80))
def test_no_text_whatever_raises(text):
    assert reward(text) == 0.0


def test_under_penalty_what_cannot_be_read_is_no_better_than_a_wrong_answer():
    task = Transformation(score="penalty")
    wrong = reward("change_color(5, red), change_position(7, left)", task=task)
    assert reward("change_colour(2, cyan)", task=task) == reward("", task=task) == -0.5 <= wrong < 0


def test_partial_credit_by_hand():
    def credit(*guess):
        return partial_credit(triples(read_calls(TRUTH)), triples(read_calls(", ".join(guess))))

    assert credit("change_color(2, cyan)") == pytest.approx(1 / 3)
    assert credit("change_color(2, red)") == pytest.approx(0.5 / 3)  # the object is right
    assert credit("change_color(9, cyan)") == pytest.approx(0.5 / 3)  # the value is right
    assert credit("change_color(9, red)") == pytest.approx(0.25 / 3)  # the function is right
    assert credit("change_shape(2, cube)") == 0.0
    # cyan on 4: half for 2 by its value, half for 4 by its object; together with (2, red) the best pairs are worth 1
    assert credit("change_color(4, cyan)", "change_color(2, red)") == pytest.approx(1 / 3)


@given(answers, answers)
@settings(deadline=None)
def test_the_assignment_is_the_best_there_is_and_the_order_never_matters(truth, guess):
    true, said = list(dict.fromkeys(triples(truth))), list(dict.fromkeys(triples(guess)))
    few, many = sorted((true, said), key=len)
    best = max(sum(map(likeness, few, chosen)) for chosen in itertools.permutations(many, len(few)))
    expected = best * len(said) / len(guess) / max(len(true), len(said))
    ours = partial_credit(triples(truth), triples(guess))
    assert ours == pytest.approx(expected)
    assert ours == pytest.approx(partial_credit(triples(truth), triples(guess)[::-1]))
    assert ours >= official_credit(triples(truth), triples(guess)) - 1e-9
    assert ours >= exact_credit(triples(truth), triples(guess)) - 1e-9
    assert 0 <= ours <= 1
    assert -0.5 <= penalty_credit(triples(truth), triples(guess)) <= exact_credit(triples(truth), triples(guess))


def test_the_official_variants_by_hand():
    truth = triples(read_calls("change_color(2, cyan), change_color(4, brown)"))
    guess = triples(read_calls("change_color(4, cyan), change_color(2, red)"))
    # greedy by object: (4, cyan) takes (4, brown), then (2, red) takes (2, cyan); by value nothing is left
    assert official_credit(truth, guess) == pytest.approx(0.5)
    assert exact_credit(truth, guess) == 0.0
    assert penalty_credit(truth, guess) == pytest.approx(-0.25)
    assert Transformation(score="penalty").score("change_color(1, red)", "change_color(2, blue)") == -0.5
    assert exact_credit(truth, truth[:1]) == 0.5
    # greedy goes wrong where the first by object spoils a second pair: ours gives both halves
    truth = triples(read_calls("change_color(1, red), change_color(2, blue)"))
    guess = triples(read_calls("change_color(1, blue), change_color(3, red)"))
    assert partial_credit(truth, guess) == pytest.approx(0.5)
    assert official_credit(truth, guess) == pytest.approx((0.5 + 0.25) / 2)


def test_saying_things_twice_and_listing_everything_costs():
    assert reward(TRUTH) == 1.0
    assert reward(f"{TRUTH}, {TRUTH}") == pytest.approx(0.5)
    assert reward("change_color(2, cyan), change_color(2, cyan)") == pytest.approx(1 / 6)
    spray = [f"change_color({thing}, {value})" for thing in range(4) for value in FUNCTIONS["change_color"]]
    assert reward(", ".join(spray), "change_color(2, cyan)") == pytest.approx(1 / 32)
    one_of_each = ", ".join(f"{name}(0, {values[0]})" for name, values in FUNCTIONS.items())
    assert reward(one_of_each) < 0.2


@pytest.mark.parametrize("completion", ["", TRUTH, "<answer></answer>", f"<answer>{TRUTH}</answer><answer>x</answer>",
                                        f"<answer>{TRUTH}", f"<answer><answer>{TRUTH}</answer></answer>"])  # fmt: skip
def test_no_tag_and_two_answers_earn_nothing(completion, record):
    # official evaluation: without a readable tag the whole output counts, functions in the reasons too
    parsed = TASK.parse_completion(completion, record(TRUTH), FRAME, "answer").parsed
    assert TASK.score(TRUTH, parsed.value) == 0.0


def test_functions_in_the_reasons_count_for_nothing_and_line_breaks_do_not_matter(record):
    read = TASK.parse_completion(think_answer(TRUTH, "change_shape(0, cube)"), record(TRUTH), FRAME, "think")
    assert TASK.score(TRUTH, read.parsed.value) == 0.0
    broken = f"<think>\nTwo\nthings\n</think>\n<answer>\n{TRUTH}\n</answer>"  # official: not found without DOTALL
    assert TASK.score(TRUTH, TASK.parse_completion(broken, record(TRUTH), FRAME, "think").parsed.value) == 1.0


def test_the_prompt_repeated_earns_nothing(record):
    row = record(TRUTH, "What changed?")
    for role in ROLES:
        prompt = TASK.prompt(role, row, FRAME, "A cube moved.")
        assert ("cyan)" in prompt) is (role == "reason")
        for completion in (prompt, bare_answer(prompt), bare_answer(TASK.form)):
            assert TASK.score(TRUTH, TASK.parse_completion(completion, row, FRAME, "answer").parsed.value) == 0.0


@pytest.fixture(scope="module")
def sample():
    if not SAMPLE.is_file():
        pytest.skip(f"the real TRANCE sample is not there: {SAMPLE}")
    data = json.loads(SAMPLE.read_text())
    before, after = (data["states"][i]["objects"] for i in (0, -1))
    return {"functions": TRUTH, "objects": before, "final": after}, data["transformations"]


def test_the_published_sample_ends_in_its_published_state(sample, record):
    annotation, transformations = sample
    scene = tuple(Thing.from_dict(values) for values in annotation["objects"])
    after = tuple(Thing.from_dict(values) for values in annotation["final"])
    end = scene
    for step in transformations:
        if step["attr"] == "position":
            call = Call("change_position", step["obj_idx"], *step["val"])
        else:
            call = Call(f"change_{step['attr']}", step["obj_idx"], step["val"])
        end = change(end, call)
        assert fits(end, call.object)
    assert end == after
    assert difference(scene, after, scene) == len(transformations) == 3
    assert TASK.check(annotation, record(TRUTH, images=TWO)) is None
    assert TASK.metrics([(annotation, TRUTH)])["final_state"] == 1.0


def test_final_states_of_the_sample(sample):
    annotation, _ = sample
    task = Transformation(score="simulated")
    for answer, end in (
        (TRUTH, 1), (", ".join(TRUTH.split("), ")[::-1]), 0), ("change_color(4, brown), change_color(2, cyan)", 0),
        ("change_position(2, behind), change_color(4, brown), change_color(2, cyan)", 1),  # another order
        ("change_position(2, behind, 2), change_color(4, brown), change_color(2, cyan)", 1),
        ("change_position(2, behind, 1), change_color(4, brown), change_color(2, cyan)", 0),  # one step is too short
        ("change_position(2, behind, 1), change_position(2, behind, 1), change_color(4, brown), change_color(2, cyan)",
         1),
        (f"{TRUTH}, change_shape(2, sphere), change_shape(2, cube)", 1),  # there and back again
        (f"{TRUTH}, change_shape(2, sphere)", 0),
    ):  # fmt: skip
        assert reward(answer, annotation, task) == end, answer
    metrics = TASK.metrics([(annotation, "change_color(2, cyan)"), (annotation, None)])
    assert metrics["difference"] == (2 + 3) / 2
    assert metrics["normalised_difference"] == pytest.approx((2 / 3 + 3 / 3) / 2)
    assert metrics["final_state"] == metrics["exact_set"] == 0.0
    parsed = TASK.parse("change_color(10, red)", _row(annotation), FRAME)
    assert parsed.reason == "object 10 does not exist, there are 0 to 9"


@pytest.mark.parametrize(
    "row", ["({}, cube, small, red, metal)", "('{}', 'sphere', 'large', 'cyan', 'glass')", "cyan cylinder ({})"]
)
def test_without_states_the_objects_are_those_that_the_question_lists(row, record):
    asked = record(TRUTH, "Objects: " + ", ".join(row.format(number) for number in range(10)) + ". What changed?")
    assert TASK.parse(TRUTH, asked, FRAME).value == TRUTH
    assert TASK.parse("change_color(99, cyan)", asked, FRAME).reason == "object 99 does not exist, there are 0 to 9"
    few = record("change_color(7, cyan)", "Objects: " + row.format(0))  # moved in from out of sight, and not listed
    assert TASK.parse("change_color(7, cyan)", few, FRAME).reason is None
    assert TASK.parse("change_color(99, cyan)", record(TRUTH, "What changed?"), FRAME).reason is None, "nobody knows"
    assert TASK.parse("change_color(0, cyan)", record("", "Objects: " + row.format(0)), FRAME).reason is None


def things(*places, size="small"):
    return [Thing("cube", size, "red", "metal", x, y).to_dict() for x, y in places]


def test_every_way_out_of_sight_is_right_and_a_collision_on_the_way_is_not(record):
    out = {"functions": "change_position(0, right)", "objects": things((0, 15), (-40, -40)),
           "final": things((0, 25), (-40, -40))}  # fmt: skip
    task = Transformation(score="simulated")
    assert TASK.check(out, record(out, images=TWO)) is None
    assert reward("change_position(0, right)", out, task) == 1.0
    assert reward("change_position(0, front_right, 1)", out, task) == 1.0  # out of sight too
    assert reward("change_position(0, left)", out, task) == 0.0
    free = {"functions": "change_position(1, behind), change_position(0, right)",
            "objects": things((0, 0), (0, 10)), "final": things((0, 10), (10, 10))}  # fmt: skip
    assert reward(free["functions"], free, task) == 1.0
    assert reward("change_position(0, right, 1), change_position(1, behind, 1)", free, task) == 0.0  # not in this order
    metrics = TASK.metrics([(free, "change_position(0, right, 1), change_position(1, behind, 1)")])
    assert (metrics["final_state"], metrics["final_loose"], metrics["score"]) == (0.0, 1.0, 1.0)


def test_a_way_that_nobody_can_tell_from_the_true_one_counts_as_it():
    seen = {"functions": "change_position(0, right), change_position(1, left)",
            "objects": things((0, 15), (0, 30), (-40, -40)), "final": things((0, 25), (0, 20), (-40, -40))}  # fmt: skip
    exact, official = Transformation(score="exact"), Transformation(score="official")
    for answer, credit in (
        (seen["functions"], 1), ("change_position(0, front_right), change_position(1, front_left)", 1),
        ("change_position(0, right, 2), change_position(1, front_left, 1)", 1),
        ("change_position(0, left), change_position(1, left)", 0.5), ("change_position(0, right)", 0.5),  # not out
        ("change_position(0, right), change_position(1, right)", 0.5),  # in sight before
        ("change_position(2, right), change_position(1, behind_left)", 0.5),  # another thing
        ("change_position(0, right), change_position(0, front_right)", 0.5),  # one of them is too many
    ):  # fmt: skip
        assert reward(answer, seen, exact) == credit, answer
        assert reward(answer, seen) >= max(credit, reward(answer, seen, official)), answer
        assert reward(answer, seen["functions"]) == partial_credit(
            *map(triples, map(read_calls, (seen["functions"], answer)))
        )
    assert reward("change_position(0, front_right), change_position(1, front_left)", seen, official) == 0.5
    every = ", ".join(f"change_position(0, {way})" for way in FUNCTIONS["change_position"])
    assert reward(f"{every}, change_position(1, left)", seen) == pytest.approx(2 / 9)
    assert TASK.metrics([(seen, "change_position(0, front_right), change_position(1, front_left)")])["exact_set"] == 1.0


def test_only_unseen_places_inside_the_area_are_ways_and_moves_in_sight_have_none():
    def of(before, after):
        scenes = [tuple(Thing.from_dict(thing) for thing in things(place)) for place in (before, after)]
        return ways(*scenes, 0)

    assert of((0, 0), (10, 0)) == of((30, 0), (40, 0)) == frozenset()
    assert of((0, 15), (0, 25)) == {(way, n) for way in ("right", "front_right", "behind_right") for n in (1, 2)}
    assert of((0, 25), (0, 15)) == {(way, n) for way in ("left", "front_left", "behind_left") for n in (1, 2)}
    assert ("left", 2) not in of((0, 35), (0, 25)) | of((0, -35), (0, 0)) | of((0, 0), (0, 30))


def test_many_open_moves_end_soon_and_mean_nothing():
    scene = tuple(Thing.from_dict(t) for t in things((0, 0)))
    back = [Call("change_position", 0, way) for way in ("left", "right")]
    assert len(list(outcomes(scene, back * 4, ordered=False))) < 80
    assert list(outcomes(scene, back * 16, ordered=False)) == []


def test_the_simulated_score_says_what_it_needs():
    with pytest.raises(UserError, match="'objects' and 'final'"):
        Transformation(score="simulated").score(TRUTH, TRUTH)
    with pytest.raises(UserError, match=r"no score 'simulate'.*Did you mean 'simulated'"):
        Transformation(score="simulate")


@given(answers, answers, st.sampled_from(SCORES[:-1]))
@settings(deadline=None)
def test_every_score_is_within_its_bounds_and_1_for_the_truth(truth, guess, kind):
    task = Transformation(score=kind)
    distinct = write(list(dict.fromkeys(truth)))
    assert (-0.5 if kind == "penalty" else 0.0) <= task.score(write(truth), write(guess)) <= 1.0
    assert task.score(write(truth), distinct) == pytest.approx(1.0)
    assert task.score(write(truth), None) == (-0.5 if kind == "penalty" else 0.0)


def test_floors_and_metrics(record):
    floors = TASK.floors([TRUTH, "change_shape(0, cube)"], train=[TRUTH, TRUTH, "change_size(1, small)"])
    assert floors == {"majority": 0.5, "random": pytest.approx(1 / 3)}
    metrics = TASK.metrics([(TRUTH, TRUTH), (TRUTH, "change_color(2, cyan)"), (TRUTH, None)])
    assert metrics["partial"] == metrics["score"] == pytest.approx((1 + 1 / 3) / 3)
    assert metrics["exact_set"] == pytest.approx(1 / 3)
    assert metrics["parsed"] == pytest.approx(2 / 3)
    assert "final_state" not in metrics
    assert math.isfinite(sum(metrics.values()))


def test_check_names_what_is_wrong(record):
    two = things((0, 0), (10, 10))
    assert TASK.check(TRUTH, record(TRUTH, images=TWO)) is None
    assert TASK.check(TRUTH.split("?"), record(TRUTH, images=TWO)) is None
    for images in (TWO[:1], (*TWO, "three.png")):
        assert f"has {len(images)}" in TASK.check(TRUTH, record(TRUTH, images=images))
    for wrong, why in (
        (None, "functions as text"), ("change_it(1, red)", "no function"), ({"functions": 3}, "functions as text"),
        ({"functions": TRUTH, "objects": two}, "both be there"),
        ({"functions": TRUTH, "objects": two, "final": two}, "beyond the 2"),
        ({"functions": "change_color(0, blue)", "objects": two, "final": two}, "do not lead"),
        ({"functions": "change_color(0, blue)", "objects": [{"shape": "cone"}], "final": two}, "needs shape"),
    ):  # fmt: skip
        assert why in TASK.check(wrong, record(wrong, images=TWO)), wrong


def test_leaks(record):
    row = record(TRUTH)
    for text in ("change_color of it", "It is change position.", "f(2, cyan)", "<answer>"):
        assert TASK.leaks(text, row, FRAME), text
    assert TASK.leaks("The small cube of glass turned cyan and stands nearer to the viewer.", row, FRAME) == []
