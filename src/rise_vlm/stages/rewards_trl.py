"""A user's reward as TRL takes them: ``reward(prompts, completions, **columns) -> list[float]``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError, nearest
from rise_vlm.stages.rewarding import RewardError, Sampled, failed, finite, shown


@dataclass
class TrlReward:
    """A function as TRL calls them: lists over the completions, the columns of the record repeated for each.

    ``completions`` are messages, as TRL gives them where there are pictures; plain texts where the parameter is
    annotated as a list of str, or where the function cannot take messages, which its first call shows. None counts 0.
    Raises UserError where its parameters cannot be given by name.
    """

    name: str
    function: Any
    parameters: Mapping[str, inspect.Parameter]
    plain: bool = False
    called: bool = False

    def __post_init__(self) -> None:
        several = [p for p in self.parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        single = [p for p in self.parameters.values() if p not in several]
        if self.parameters["completions"] in several or any(p.kind is p.POSITIONAL_ONLY for p in single):
            takes = inspect.Signature(list(self.parameters.values()))
            raise UserError(
                f"grpo.rewards: '{self.name}' takes {takes}, but completions and columns are given by name, as in TRL: "
                "write (completions, **columns), without '/'."
            )
        self.plain = "[str]" in str(self.parameters["completions"].annotation)
        takes_all = any(p.kind is p.VAR_KEYWORD for p in several)
        self.takes = None if takes_all else {p.name for p in single}
        known = set(columns(Sampled(_EXAMPLE, "", "", [], [], []), plain=True))
        # A record's own meta may hold further columns, so they are looked for when it is called.
        self.needed = [p.name for p in single if p.default is p.empty and p.name not in known]

    def __call__(self, group: Sampled) -> list[float]:
        try:
            values = self._call(group)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise failed(self.name, group.record, error) from error
        return self._numbers(group, values)

    def wants_texts(self, group: Sampled) -> bool:
        """Whether it takes messages, but tells the completions of a group apart only where they are plain texts: the
        mark of a function written for texts, for which all messages are alike. Raises nothing."""
        if self.plain or self._tells_apart(group, plain=False) is not False:
            return False
        return self._tells_apart(group, plain=True) is True

    def _tells_apart(self, group: Sampled, *, plain: bool) -> bool | None:
        """Whether completions differ in value; None where it cannot be asked."""
        try:
            values = self._numbers(group, self._asked(columns(group, plain=plain)))
        except (Exception, SystemExit):
            return None
        return len(set(values)) > 1

    def _call(self, group: Sampled) -> Any:
        given = columns(group, plain=self.plain)
        for name in self.needed:
            if name not in given:
                raise RewardError(
                    self.name,
                    f"reward '{self.name}' asks for '{name}', which record '{group.record.id}' does not have; there "
                    f"are {', '.join(given)}.{nearest(name, given)}",
                )
        first, self.called = not self.called, True
        try:
            return self._asked(given)
        except (TypeError, AttributeError, KeyError, IndexError):
            if self.plain or not first:
                raise
        self.plain = True
        return self._asked(columns(group, plain=True))

    def _asked(self, given: dict[str, Any]) -> Any:
        taken = given if self.takes is None else {key: value for key, value in given.items() if key in self.takes}
        return self.function(**taken)

    def _numbers(self, group: Sampled, values: Any) -> list[float]:
        if hasattr(values, "tolist"):  # an array or a tensor
            values = values.tolist()
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != len(group.completions):
            raise RewardError(
                self.name,
                f"reward '{self.name}' must return a list of {len(group.completions)} numbers, one for each "
                f"completion, for record '{group.record.id}'; it returned {shown(values)}.",
            )
        return [0.0 if value is None else finite(self.name, group.record, value) for value in values]


_OF_TRL: dict[str, Any] = {
    "trainer_state": None, "log_extra": lambda *_: None, "log_metric": lambda *_: None
}  # fmt: skip
"""What TRL's trainer passes for logging; there is nothing behind it here."""
_EXAMPLE = Record(id="example", images=("example.png",), annotation=None, width=1, height=1)


def columns(group: Sampled, *, plain: bool) -> dict[str, Any]:
    """The keyword arguments of a TRL reward: what every record has, then its ``meta``."""
    record, count = group.record, len(group.completions)
    each = {
        "prompts": group.prompt if plain else [{"role": "user", "content": group.prompt}],
        "solution": group.answer,
        "answer": group.answer,
        "annotation": record.annotation,
        "problem": record.question,
        "question": record.question,
        "id": record.id,
        "images": list(record.images),
        "image": record.images[0] if record.images else None,
        "cot": record.rationale,
        "meta": record.meta,
    }
    each = {**record.meta, **each}
    said = [text if plain else [{"role": "assistant", "content": text}] for text in group.completions]
    return {name: [value] * count for name, value in each.items()} | {
        "completions": said,
        "completion_ids": group.ids,
        **_OF_TRL,
    }
