"""The questions of CLEVR-Math over a blocks scene: programs of adding and taking away, their words, answers, reasons.

A program is a list of steps, `("subtract", "all", description)`, `("subtract", n, ...)` or `("add", n, ...)`, and what
is counted at the end. Descriptions are those of `blocks_words`. The answer follows from carrying the program out. The
families are CLEVR-Math's (addition, subtraction, multihop, adversarial); `long`, three or four steps, is ours and for
the out-of-domain test. Source: dali-does/clevr-math, question templates. Left out: its misprints.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rise_vlm.worlds.blocks_words import Description, Seen, article, fits, in_order, phrase, where

Step = tuple[str, int | str, Description]
THING: Description = ("", "", "", "thing")
LARGEST = 10
"""No answer is larger (CLEVR-Math caps sums at 10)."""

FAMILIES = ("addition", "subtraction", "multihop", "adversarial")


@dataclass(frozen=True)
class Program:
    """`steps` carried out on a scene, then `query` is counted; `goal` asks instead how many of `query` must go for so
    many to stay.
    """

    template: str
    steps: tuple[Step, ...]
    query: Description
    goal: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"template": self.template, "steps": [[a, n, list(d)] for a, n, d in self.steps],
                "query": list(self.query), "goal": self.goal}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Program:
        """The inverse of `to_dict`."""
        steps = tuple((step[0], step[1], tuple(step[2])) for step in values["steps"])
        return cls(values["template"], steps, tuple(values["query"]), values["goal"])


def covers(general: Description, special: Description) -> bool:
    """Whether all that `special` describes is described by `general` too."""
    return all(g in ("", "thing", s) for g, s in zip(general, special, strict=True))


def apart(a: Description, b: Description) -> bool:
    """Whether nothing can be described by both."""
    return any(x != y and x not in ("", "thing") and y not in ("", "thing") for x, y in zip(a, b, strict=True))


def trace(program: Program, seen: Sequence[Seen]) -> list[int]:
    """How many of the query there are at first and after each step. Raises ValueError where a step's effect on the
    count is not determined, or takes away more than there is.
    """
    left = list(seen)
    added: list[list[Any]] = []  # [description, how many]
    taken = 0  # of things that match the query, but which ones is open
    counts: list[int] = [sum(fits(one, program.query) for one in left)]
    for action, amount, what in program.steps:
        if action == "add":
            _sure(covers(program.query, what) or apart(program.query, what))
            added.append([what, int(amount)])
        elif amount == "all":
            _sure(taken == 0 and all(covers(what, d) or apart(what, d) for d, _ in added))
            left = [one for one in left if not fits(one, what)]
            added = [pair for pair in added if not covers(what, pair[0])]
        else:
            _sure(covers(program.query, what) and not added)
            _sure(sum(fits(one, what) for one in left) >= int(amount))
            taken += int(amount)
        plus = sum(n for d, n in added if covers(program.query, d))
        counts.append(sum(fits(one, program.query) for one in left) + plus - taken)
    _sure(min(counts) >= 0)
    return counts


def _sure(condition: bool) -> None:
    if not condition:
        raise ValueError("the program has no certain answer")


def answer(program: Program, seen: Sequence[Seen]) -> int:
    """The number that answers the program's question."""
    count = trace(program, seen)[-1]
    if program.goal is None:
        return count
    _sure(count >= program.goal)
    return count - program.goal


# --- drawing a program at random -------------------------------------------------------------------------------------


def _some(rng: random.Random, seen: Sequence[Seen], slots: str) -> Description:
    """A description that fits a thing of the scene; `slots` of z c m (size, colour, material) are filled at random,
    capitals always, s is the shape.
    """
    one = rng.choice(list(seen))
    looks = [
        value if slot.upper() in slots or (slot in slots and rng.random() < 0.5) else ""
        for slot, value in zip("zcm", one.full[:3], strict=True)
    ]
    return looks[0], looks[1], looks[2], one.shape


def _of_shape(description: Description) -> Description:
    return "", "", "", description[3]


def _addition(rng: random.Random, seen: Sequence[Seen]) -> Program:
    what = _some(rng, seen, "zcm")
    if rng.random() < 0.5:
        return Program("add_total", (("add", rng.randint(1, max(1, LARGEST - len(seen))), what),), THING)
    here = sum(fits(one, what) for one in seen)
    return Program("add_same", (("add", rng.randint(1, max(1, LARGEST - here - 2)), what),), what)


def _subtraction(rng: random.Random, seen: Sequence[Seen]) -> Program:
    kind = rng.choice(("all_shape", "all_detailed", "some_total", "goal", "all_total", "some_shape"))
    what = _some(rng, seen, "zcm" if kind == "all_detailed" else "" if kind == "some_shape" else "c")
    here = sum(fits(one, what) for one in seen)
    if kind == "goal":
        return Program("subtract_goal", (), what, goal=rng.randint(0, here - 1))
    query = THING if kind.endswith("total") else _of_shape(what)
    amount: int | str = "all" if kind.startswith("all") else rng.randint(1, here)
    return Program(f"subtract_{kind}", (("subtract", amount, what),), query)


def _multihop(rng: random.Random, seen: Sequence[Seen]) -> Program:
    first, second = (_some(rng, seen, "zcm") for _ in range(2))
    _sure(first != second)
    return Program("multihop", (("subtract", "all", first), ("subtract", "all", second)), THING)


def _adversarial(rng: random.Random, seen: Sequence[Seen]) -> Program:
    first, second = (_some(rng, seen, "C") for _ in range(2))
    _sure(first[3] != second[3])
    kind = rng.choice(("two", "other", "add"))
    if kind == "two":
        return Program("adversarial_two", (("subtract", "all", first), ("subtract", "all", second)), _of_shape(first))
    if kind == "other":
        return Program("adversarial_other", (("subtract", "all", first),), second)
    return Program("adversarial_add", (("add", rng.randint(1, 6), first),), second)


def _long(rng: random.Random, seen: Sequence[Seen]) -> Program:
    """Three or four steps, at least one of them adding; the query is a shape or all."""
    steps: list[Step] = []
    for k in range(rng.choice((3, 3, 4))):
        what = _some(rng, seen, "zc" if rng.random() < 0.7 else "c")
        adds = rng.random() < 0.4 or (k == 2 and all(step[0] != "add" for step in steps))
        steps.append(("add", rng.randint(1, 3), what) if adds else ("subtract", "all", what))
    _sure(len({step[2] for step in steps}) > 1 and any(step[0] == "subtract" for step in steps))
    query = THING if rng.random() < 0.4 else _of_shape(rng.choice(steps)[2])
    return Program("long", tuple(steps), query)


_DRAW: dict[str, Callable[[random.Random, Sequence[Seen]], Program]] = {
    "addition": _addition, "subtraction": _subtraction, "multihop": _multihop, "adversarial": _adversarial,
    "long": _long,
}  # fmt: skip


def sample_program(rng: random.Random, seen: Sequence[Seen], family: str) -> Program:
    """A program of a family with a certain answer from 0 to `LARGEST`; zeros are made rarer. Where all things have one
    shape, which leaves nothing to mistake for another, multihop stands in for adversarial.
    """
    if family == "adversarial" and len({one.shape for one in seen}) == 1:
        family = "multihop"
    while True:
        try:
            program = _DRAW[family](rng, seen)
            number = answer(program, seen)
        except ValueError:
            continue
        if number <= LARGEST and (number > 0 or rng.random() < 0.3):
            return program


# --- words -----------------------------------------------------------------------------------------------------------

_TAKE = ("Subtract", "Take away", "Remove", "Withdraw")
_ADD = ("Add", "Introduce", "Insert")


def question(program: Program, rng: random.Random) -> str:
    """The program as CLEVR-Math asks it, with its synonyms."""
    name = phrase(program.query, 2, rng)
    if program.goal is not None:
        same = name if program.goal != 1 else phrase(program.query)
        if rng.random() < 0.5:
            return f"How many {name} must be subtracted to get {program.goal} {same}?"
        verb = "is" if program.goal == 1 else "are"
        return f"Some {name} are subtracted. How many were subtracted if there {verb} {program.goal} {same} left?"
    parts: list[str] = []
    for action, amount, what in program.steps:
        verb = rng.choice(_ADD if action == "add" else _TAKE)
        if amount == "all":
            every = rng.random() < 0.2
            parts.append(f"{verb} {'every' if every else 'all'} {phrase(what, 1 if every else 2, rng)}.")
        else:
            parts.append(f"{verb} {amount} {phrase(what, int(amount), rng)}.")
    last = program.steps[-1][0]
    ends = ("exist", "are there", "are left") if last == "add" else ("are left", "are left", "exist")
    return " ".join([*parts, f"How many {name} {rng.choice(ends)}?"])


def reasons(program: Program, seen: Sequence[Seen], rng: random.Random) -> str:
    """A rationale that lists what is counted, from left to right, and follows the count step by step; right by
    construction.
    """
    counts = trace(program, seen)
    asked = in_order([one for one in seen if fits(one, program.query)])
    plural = phrase(program.query, 2)
    listed = ", ".join(f"{article(name)} {name} {where(place)}" for name, place in asked)
    begin = rng.choice(("I look for the {p}: {l}.", "The {p} in the picture: {l}.", "First the {p}. I see {l}."))
    begin = begin if asked else "What is asked for is not in the picture."
    text = [begin.replace("{p}", plural).replace("{l}", listed)]
    text.append(rng.choice(("That makes {n}.", "So I count {n}.", "The count is {n}.")).replace("{n}", str(counts[0])))
    for (action, amount, what), before, after in zip(program.steps, counts, counts[1:], strict=False):
        text.append(_step(action, amount, what, program.query, before, after, rng))
    if program.goal is not None:
        rest = counts[0] - program.goal
        return " ".join([*text, f"For {program.goal} to stay, {counts[0]} - {program.goal} = {rest} must go."])
    return " ".join([*text, rng.choice(("The answer is {n}.", "So it is {n}.")).replace("{n}", str(counts[-1]))])


def _step(action: str, amount: int | str, what: Description, query: Description, before: int, after: int,
          rng: random.Random) -> str:  # fmt: skip
    """One step of a rationale. It never names what is added, since that is not in the picture."""
    if before == after:
        if action == "add":
            return f"What is added is of another kind, so it stays {after}."
        return rng.choice(("None of them is taken away: still {n}.", "That takes none of them away, so {n} stay."
                           )).replace("{n}", str(after))  # fmt: skip
    if action == "add":
        return f"Adding {amount} gives {before} + {amount} = {after}."
    gone = before - after
    if amount != "all":
        return f"Taking {gone} away leaves {before} - {gone} = {after}."
    if what == query or covers(what, query):
        return f"All of them go: {before} - {gone} = {after}."
    looks = " ".join(word for word, known in zip(what, query, strict=True) if word and word != known)
    if what[3] != query[3]:  # the shape says it: a large cube, large cubes
        looks = phrase(what) if gone == 1 else phrase(what, gone)
        looks = f"{article(looks)} {looks}" if gone == 1 else looks
    return f"Of these {gone} {'is' if gone == 1 else 'are'} {looks}: {before} - {gone} = {after}."
