"""Scenes of moves that have another answer as short as the true one, and scenes that have none."""

from __future__ import annotations

from rise_vlm.rewards.states import Thing
from rise_vlm.worlds.moves_rivals import one_answer

HERE, THERE, FAR, OUT = (0, 0), (0, 10), (3, 4), (30, 30)


def thing(place: tuple[int, int], color: str = "red", size: str = "small", shape: str = "cube") -> Thing:
    return Thing(shape, size, color, "metal", *place)


def test_a_thing_that_changes_may_have_no_twin_in_sight_or_out_of_it() -> None:
    before, after, other = thing(HERE), thing(HERE, "blue"), thing(FAR, "gray")
    assert one_answer((before, other), (after, other), {0})
    for place in (FAR, OUT):
        twin = thing(place)
        assert not one_answer((before, twin), (after, twin), {0})
    twins = (other, thing(OUT, "gray"))
    assert one_answer((before, *twins), (after, *twins), {0})  # of which none changes


def test_what_goes_while_its_like_comes_may_not_look_as_one_that_changed() -> None:
    here, like = thing(HERE), thing(OUT, "blue", "large")
    changed = thing(HERE, "blue", "large")
    # one goes and the other comes to its place: as short as a new colour and a new size
    assert not one_answer((here, like), (thing(OUT), changed), {0, 1})
    assert not one_answer((here, like), (changed, like), {0})
    assert one_answer((here, like), (thing(HERE, "blue"), like), {0})  # one call is shorter
    ball = thing(OUT, "blue", "large", "sphere")  # three calls are longer
    assert one_answer((here, ball), (thing(OUT), thing(HERE, "blue", "large", "sphere")), {0, 1})


def test_two_that_may_have_changed_places_rather_than_colours_do_if_a_move_leads_there() -> None:
    for place, alone in ((THERE, False), ((7, 7), True)):
        red, blue = thing(HERE), thing(place, "blue")
        assert one_answer((red, blue), (thing(HERE, "blue"), thing(place)), {0, 1}) is alone
