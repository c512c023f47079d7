"""Token limits against the records: true answers that a limit cuts off, prompts that the model's context cannot hold.

An answer longer than its limit can never be right, and nothing shows it but a score that stays low; so it is measured
before any work, from the annotations as the model would write them, with the model's own tokenizer and no weights.
Left out: rationales, whose length nobody knows beforehand; where the harvest bounds them, that bound is added.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError
from rise_vlm.policy.lora import adapter_base, adapter_pixels
from rise_vlm.policy.names import config_file
from rise_vlm.recipes.schema import Recipe, Reconstruct
from rise_vlm.stages.material import Material
from rise_vlm.tasks.base import Frame, Role, Task, bare_answer, think_answer

REBUILD = "closed_loop.reconstruct.max_new_tokens"
MARGIN = 1.25
"""A derived limit over the longest true answer: an answer may be longer than the truth and still be worth reading."""

ROUND = 8
"""Derived limits are multiples of this."""

CONTEXT_SHARE = 0.5
"""A derived limit takes no more of the model's context: the prompt needs the rest."""

TRUTH = "the longest true answer"
"""What an SFT's completions are as long as, in place of a setting."""

CANDIDATES = 16
"""Prompts that are measured: so many of the longest texts, and so many of the largest pictures."""


@dataclass(frozen=True)
class Longest:
    """The longest of some true answers, in tokens with tags and the stop token."""

    tokens: int
    record: str


def answer_tokens(tokenizer: Any, frame: Frame, task: Task, records: Sequence[Record], role: Role) -> list[int]:
    """The tokens of each record's true answer as a completion of ``role``, its rationale empty."""
    answers = [task.render(record.annotation, record, frame) for record in records]
    texts = [think_answer(task.lead_in, one) if role == "think" else bare_answer(one) for one in answers]
    if not texts:
        return []
    found = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [len(ids) + 1 for ids in found]


def longest(lengths: Sequence[int], records: Sequence[Record]) -> Longest:
    """The first of the longest."""
    index = max(range(len(lengths)), key=lengths.__getitem__)
    return Longest(lengths[index], records[index].id)


def rebuild_limit(how: Reconstruct, tokenizer: Any, frame: Frame, material: Material, context: int) -> int:
    """The most tokens of a reconstruction: what the recipe says, or what the true answers to be rebuilt need.

    These are of training and validation, which the controls rebuild; the tests have no say.
    """
    if how.max_new_tokens is not None:
        return how.max_new_tokens
    records = [*material.train, *material.val]
    lengths = answer_tokens(tokenizer, frame, material.task, records, "reconstruct")
    return derived(max(lengths, default=ROUND), context)


def derived(tokens: int, context: int) -> int:
    """The limit for true answers of up to ``tokens``."""
    return min(ROUND * math.ceil(tokens * MARGIN / ROUND), int(context * CONTEXT_SHARE))


class Ruler:
    """Measures texts and prompts as a model of some name would take them, without its weights."""

    def __init__(self, name: str, max_pixels: int | None) -> None:
        from rise_vlm.policy.loading import load_front
        from rise_vlm.policy.prompt import special_tokens

        base = adapter_base(name)
        if base is not None and max_pixels is None:
            max_pixels = adapter_pixels(name)
        config, self.family = load_front(base or name, max_pixels=max_pixels)
        self.tokenizer, self.frame = self.family.tokenizer, self.family.frame
        self.context = int(config.get_text_config().max_position_embeddings)
        self._special = special_tokens(self.tokenizer)
        self._blank = lru_cache(maxsize=4096)(self.family.blank)

    def prompt(self, text: str, record: Record, *, sees_image: bool) -> tuple[int, int]:
        """Tokens of a whole prompt, and those of its pictures. All are taken to be as large as the first; what a model
        does not take counts nothing here and is told where it is read."""
        from rise_vlm.policy.prompt import user_turn

        count = len(record.images) if sees_image else 0
        try:
            images = [self._blank(record.width, record.height, count == 1)] * count
        except UserError:
            images = []
        family = self.family
        ids = user_turn(self.tokenizer, text, images, family.marker, family.image_token_id, self._special)
        return len(ids), sum(image.tokens for image in images)


_RULERS: dict[tuple[str, int | None], Ruler] = {}


def ruler(recipe: Recipe) -> Ruler | None:
    """That of the recipe's model; None where the model is not on this machine, or cannot be read, which its load tells.

    One is kept: the cells of a sweep share it.
    """
    key = recipe.model, recipe.policy.max_pixels
    if key not in _RULERS:
        try:
            if config_file(recipe.model) is None:
                return None
            made = Ruler(*key)
        except UserError:
            return None
        _RULERS.clear()
        _RULERS[key] = made
    return _RULERS[key]


def derived_note(recipe: Recipe, material: Material, by: Ruler) -> list[str]:
    """What the loop's limit is where the recipe leaves it to the data."""
    how = recipe.closed_loop.reconstruct
    records = [*material.train, *material.val]
    if how.max_new_tokens is not None or not records or not recipe.rebuilding:
        return []
    found = longest(answer_tokens(by.tokenizer, by.frame, material.task, records, "reconstruct"), records)
    limit = derived(found.tokens, by.context)
    said = f"{REBUILD} is {limit}, from the longest true answer: {found.tokens} tokens, of record '{found.record}'"
    if limit < found.tokens:
        said += f", which does not fit, being over half of the {by.context} tokens that the model takes"
    return [said]


def short_answers(recipe: Recipe, material: Material, by: Ruler, rationale: int) -> list[str]:
    """Notes on limits that true answers do not fit: the key, how many, the longest, and what would hold all.

    ``rationale``: tokens that come before an answer where a harvest teaches them.
    """
    notes: list[str] = []
    for key, limit, role, records in _limits(recipe, material):
        lengths = answer_tokens(by.tokenizer, by.frame, material.task, records, role)
        before = rationale if role == "think" else 0
        over = sum(length + before > limit for length in lengths)
        if not over:
            continue
        most = longest(lengths, records)
        behind = f" behind a rationale as the harvest keeps them (about {before} tokens)" if before else ""
        notes.append(
            f"{key}: {limit} new tokens cannot hold the true answers (role {role}) of {over} of {len(records)} "
            f"records{behind}; such an answer is cut off and scores 0. The longest, of record '{most.record}', has "
            f"{most.tokens} tokens: {key}={most.tokens + before} holds all"
        )
    return notes


def _limits(recipe: Recipe, material: Material) -> Iterator[tuple[str, int, Role, Sequence[Record]]]:
    """(key, limit, role, records) of the limits that answers have to fit, of the stages that run."""
    stages, fixed = recipe.stages, recipe.closed_loop.reconstruct.max_new_tokens
    if fixed is not None and recipe.rebuilding:
        yield REBUILD, fixed, "reconstruct", material.train
    if "grpo" in stages:
        yield "grpo.rollouts.max_new_tokens", recipe.grpo.rollouts.max_new_tokens, "think", material.train
    tests = [record for records in material.tests.values() for record in records]
    if "evaluate" in stages:
        for role in recipe.evaluate.roles:
            yield "evaluate.max_new_tokens", recipe.evaluate.max_new_tokens, role, tests


@dataclass(frozen=True)
class Place:
    """Prompts that a stage makes, and how many tokens may follow each by the setting ``key`` (or by the answers).

    ``inside``: tokens that take the place of the empty rationale in a reconstruct prompt.
    """

    stage: str
    role: Role
    records: Sequence[Record]
    key: str
    after: int
    inside: int = 0


def check_prompts(recipe: Recipe, material: Material, by: Ruler) -> None:
    """Raise UserError for a prompt that with its completion is over the model's context.

    The longest texts and the largest pictures of each stage are measured, which are the longest prompts but for a
    tokenizer's whims.
    """
    for place in _places(recipe, material, by):
        task = material.task
        sees = _sees(recipe, task) if place.role == "reconstruct" else True
        for record in _candidates(task, place, by.frame):
            tokens, pictures = by.prompt(_text(task, place.role, record, by.frame), record, sees_image=sees)
            tokens += place.inside
            if tokens + place.after > by.context:
                with_pictures = f", {pictures} of them for its picture" if pictures else ""
                raise UserError(
                    f"{place.stage}: the {place.role} prompt of record '{record.id}' of {material.dataset.root} has "
                    f"{tokens} tokens{with_pictures}, and up to {place.after} follow ({place.key}); model "
                    f"{recipe.model} takes {by.context} in all. {_remedy(material, place, by)}, or take a model of a "
                    "longer context."
                )


def _remedy(material: Material, place: Place, by: Ruler) -> str:
    """What makes a prompt shorter: without records of many objects, where the annotation is what is long."""
    if place.role == "reason" or place.key == TRUTH:
        lengths = answer_tokens(by.tokenizer, by.frame, material.task, place.records, "answer")
        most, over = longest(lengths, place.records), sum(length > by.context // 2 for length in lengths)
        if over:
            share = f"{over} of {len(place.records)} annotations take more than half of that"
            return f"{share}, that of record '{most.record}' {most.tokens} tokens: take such records out"
    return "Lower that or policy.max_pixels, shorten the class list or the question"


def _sees(recipe: Recipe, task: Task) -> bool:
    wanted = recipe.closed_loop.reconstruct.sees_image
    return task.sees_image if wanted == "auto" else bool(wanted)


def _places(recipe: Recipe, material: Material, by: Ruler) -> Iterator[Place]:
    train, stages, loop = material.train, recipe.stages, recipe.closed_loop
    if not train:
        stages = tuple(stage for stage in stages if stage == "evaluate")
    rebuild = rebuild_limit(loop.reconstruct, by.tokenizer, by.frame, material, by.context)
    if "warm_up" in stages:
        limit = recipe.warm_up.max_new_tokens
        yield Place("warm_up", "reason", train, "warm_up.max_new_tokens", limit)
    if "closed_loop" in stages:
        limit = loop.rollouts.max_new_tokens
        yield Place("closed_loop", "reason", train, "closed_loop.rollouts.max_new_tokens", limit)
        yield Place("closed_loop", "reconstruct", train, REBUILD, rebuild, limit)
    if "harvest" in stages:
        limit = recipe.harvest.max_new_tokens
        yield Place("harvest", "reason", train, "harvest.max_new_tokens", limit)
        yield Place("harvest", "reconstruct", train, REBUILD, rebuild, limit)
    if "sft" in stages:
        role: Role = "answer" if recipe.sft.source == "annotations" else "think"
        longest_answer = max(answer_tokens(by.tokenizer, by.frame, material.task, train, role))
        kept = recipe.harvest.max_new_tokens if recipe.sft.source == "harvest" else 0
        yield Place("sft", role, train, TRUTH, longest_answer + kept)
    if "grpo" in stages:
        limit = recipe.grpo.rollouts.max_new_tokens
        yield Place("grpo", "think", train, "grpo.rollouts.max_new_tokens", limit)
        if recipe.grpo.rebuilds:
            yield Place("grpo", "reconstruct", train, REBUILD, rebuild, limit)
    if "evaluate" in stages:
        tests = [record for records in material.tests.values() for record in records]
        for role in recipe.evaluate.roles:
            yield Place("evaluate", role, tests, "evaluate.max_new_tokens", recipe.evaluate.max_new_tokens)


def _text(task: Task, role: Role, record: Record, frame: Frame) -> str:
    return task.prompt(role, record, frame, "" if role == "reconstruct" else None)


def _candidates(task: Task, place: Place, frame: Frame) -> list[Record]:
    texts = heapq.nlargest(CANDIDATES, place.records, key=lambda one: len(_text(task, place.role, one, frame)))
    pictures = heapq.nlargest(CANDIDATES, place.records, key=lambda one: one.width * one.height * len(one.images))
    return list({id(record): record for record in [*texts, *pictures]}.values())
