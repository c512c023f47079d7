"""The rationales that the model of each stage writes, measured on the same held-out records with one judge.

The base, what SFT made of it and what GRPO made of that think and answer; the loop's model is told the annotation and
explains it. Of each rationale is measured what it gives away, how much of what it states holds, how it is written, and
how well the judge rebuilds the annotation from it, against another record's and none. The swap test asks whether the
answer follows from it: the model goes on to answer behind what it wrote of another picture, to which it had answered
otherwise.
What one model has to do is a file, whole or not there, so what was stopped goes on.
Left out: the figures (``quality_figures``).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.prompt import Prompt
from rise_vlm.ranks import once
from rise_vlm.recipes.schema import ClosedLoop, Reconstruct
from rise_vlm.stages.context import Context
from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import Row, mend_rows, read_json, replace_rows, write_json
from rise_vlm.stages.loop_reward import LoopReward, count
from rise_vlm.stages.material import first_by_hash
from rise_vlm.stages.plan import DONE, model_digest
from rise_vlm.stages.predictions import predict
from rise_vlm.stages.probes import scaled
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.quality_figures import bounds, distinct_n, figures, goes_with, partner
from rise_vlm.stages.selection import repeated
from rise_vlm.stages.trained import stage_of
from rise_vlm.tasks.base import Role

SAMPLES, SAMPLED = 4, 4
"""So many rationales are sampled at temperature 1, of one in so many records, by which diversity is told."""

STAMP = "quality.json"
"""What was measured in this folder, and by which judge: with others it is measured anew."""


@dataclass(frozen=True)
class Author:
    """A stage's model, and the role in which it writes rationales."""

    stage: str
    role: Role
    model: str


class Quality:
    """The measuring of one run. ``split`` is the first that is evaluated; ``records`` are the first of it by hash."""

    def __init__(self, context: Context) -> None:
        self.context, self.settings = context, context.recipe.evaluate
        self.arm = context.recipe.evaluated("think")
        self.split, records = next(iter(context.material.tests.items()))
        self.records: Sequence[Record] = first_by_hash(records, self.settings.quality.records)
        self.authors = authors(context)
        self.judge = self.settings.quality.judge or context.models.base
        once(self._settle)

    def _settle(self) -> None:
        """Other records, another judge or another loop leave nothing of what was measured before."""
        home = self.context.folder
        loop = self.context.folders.get("closed_loop")
        stamp = {
            "records": self.settings.quality.records,
            "judge": model_digest(self.judge) if self.settings.quality.judge else None,
            "loop": (read_json(loop / DONE) or {}).get("fingerprint") if loop else None,
        }
        if read_json(home / STAMP) != stamp:
            for name in ("written", "quality"):
                shutil.rmtree(home / name, ignore_errors=True)
            home.mkdir(parents=True, exist_ok=True)
            write_json(home / STAMP, stamp)

    def path(self, author: Author) -> Path:
        """The file of an author's rows, one per record."""
        return self.context.folder / "quality" / f"{self.arm}-{author.stage}.jsonl"

    def rows(self, author: Author) -> list[Row]:
        """What is there of an author; [] before it has written."""
        return mend_rows(self.path(author))

    def work(self, policy: Policy, model: str) -> None:
        """All that ``model``, as ``policy``, is needed for; it judges once all have written."""
        for author in self.authors:
            if author.model == model and not self.rows(author):
                self._write(policy, author)
        if model == self.judge and all(self.rows(author) for author in self.authors):
            self._judge(policy)

    def finish(self) -> dict[str, Any]:
        """The rest of the work, model by model, and what came of all: the entry of ``results.json``."""
        for model in dict.fromkeys(
            [*(author.model for author in self.authors if author.model != self.judge), self.judge]
        ):
            if self._left(model):
                with self.context.policy(model) as policy:
                    self.work(policy, model)
        return {
            "n": len(self.records),
            "judge": self.settings.quality.judge or self.context.recipe.model,
            "stages": [self._told(author) for author in self.authors],
        }

    def _left(self, model: str) -> bool:
        found = [(author, self.rows(author)) for author in self.authors]
        writes = any(author.model == model and not rows for author, rows in found)
        return writes or (model == self.judge and not all(_judged(rows) for _, rows in found))

    def _told(self, author: Author) -> dict[str, Any]:
        rows = self.rows(author)
        return {
            "stage": author.stage,
            "role": author.role,
            "swaps": sum(row["swapped"] is not None for row in rows),
            "metrics": {name: round(value, 6) for name, value in figures(rows).items()},
            "intervals": bounds(rows, resamples=self.settings.resamples, seed=self.context.recipe.seed),
        }

    def _write(self, policy: Policy, author: Author) -> None:
        """An author's rows, as far as it makes them itself."""
        answers = self._answers(policy, author)
        prompter = Prompter(policy, self.context.material)
        prompts = [prompter.prompt(author.role, record) for record in self.records]
        groups = self._samples(policy, author, prompts[: math.ceil(len(prompts) / SAMPLED)])
        swapped = self._swap(policy, answers, prompts) if author.role == "think" else [None] * len(answers)
        rows: list[Row] = []
        for place, (record, answer, prompt) in enumerate(zip(self.records, answers, prompts, strict=True)):
            text = answer["rationale"] or ""
            samples = groups[place] if place < len(groups) else None
            leaks = prompter.material.task.leaks(text, record, policy.frame, prompt.text) if text else []
            told = {"leaks": leaks, "repeated": abs(repeated({"rationale": text})), "facts": self._facts(record, text)}
            told |= {"samples": samples, "distinct_2": distinct_n(samples) if samples else None}
            rows.append({**answer, "stage": author.stage, "rationale": text, **told, "swapped": swapped[place]})
        replace_rows(self._made(author), rows)

    def _made(self, author: Author) -> Path:
        self.path(author).parent.mkdir(parents=True, exist_ok=True)
        return self.path(author)

    def _answers(self, policy: Policy, author: Author) -> list[Row]:
        """Greedy; those of the last model are among the predictions already."""
        home, settings = self.context.folder, self.settings
        last = author.role == "think" and author.model == self.context.models.final
        path = (
            home / "predictions" / f"{self.arm}-{self.split}.jsonl"
            if last
            else home / "written" / f"{author.stage}.jsonl"
        )
        if author.role == "reason":
            settings = settings.model_copy(update={"max_new_tokens": self._longest(author)})
        return predict(policy, self.context.material, self.records, author.role, settings, path, self.context.meter)

    def _longest(self, author: Author) -> int:
        """Tokens of a completion: of a rationale alone as many as the loop allows it."""
        recipe = self.context.recipe
        return recipe.closed_loop.rollouts.max_new_tokens if author.role == "reason" else recipe.evaluate.max_new_tokens

    def _samples(self, policy: Policy, author: Author, prompts: Sequence[Prompt]) -> list[list[str]]:
        """Rationales of a few records at temperature 1, without those that are empty or not there."""
        sampled = sample(
            policy,
            prompts,
            SAMPLES,
            max_new_tokens=self._longest(author),
            temperature=1.0,
            generator=self.context.generator("quality", author.stage),
        )
        count(self.context.meter, sampled)
        read = self.context.material.task.parse_completion
        return [
            [text for one in group if (text := read(one.text, record, policy.frame, author.role).rationale)]
            for record, group in zip(self.records, sampled, strict=False)
        ]

    def _swap(self, policy: Policy, answers: Sequence[Row], prompts: Sequence[Prompt]) -> list[Row | None]:
        """Of each record the answer behind another's rationale; None where there is no answer, or no other one."""
        cases: dict[int, tuple[int, Prompt, str]] = {}
        for place, prompt in enumerate(prompts):
            other = self._partner(place, answers)
            if other is not None:
                ids, text = answer_start(policy, answers[other]["completion"])
                behind = prompt.followed_by(ids)
                if len(behind) + self.settings.max_new_tokens <= policy.context:
                    cases[place] = other, behind, text
        sampled = sample(
            policy,
            [prompt for _, prompt, _ in cases.values()],
            1,
            max_new_tokens=self.settings.max_new_tokens,
            temperature=0.0,
            generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
        )
        count(self.context.meter, sampled)
        found: list[Row | None] = [None] * len(answers)
        task = self.context.material.task
        for (place, (other, _, text)), (rollout,) in zip(cases.items(), sampled, strict=True):
            record = self.records[place]
            value = task.parse_completion(text + rollout.text, record, policy.frame, "think").parsed.value
            goes = goes_with(task.score, answers[place]["value"], self._moved(other, place, answers), value)
            found[place] = {"other": self.records[other].id, "value": value, "goes": goes}
        return found

    def _partner(self, place: int, answers: Sequence[Row]) -> int | None:
        own = answers[place]["value"]
        if own is None:
            return None
        score, best = self.context.material.task.score, self.context.material.task.score(own, own)
        nearness = (
            {
                other: score(own, self._moved(other, place, answers)) / best
                for other, row in enumerate(answers)
                if other != place and row["value"] is not None and row["rationale"]
            }
            if best
            else {}
        )
        return partner(place, nearness, len(answers))

    def _moved(self, other: int, place: int, answers: Sequence[Row]) -> Any:
        """The answer to another record; boxes keep their place and size as shares of the picture."""
        theirs = self.records[other].model_copy(update={"annotation": answers[other]["value"]})
        return scaled(theirs, self.records[place])

    def _facts(self, record: Record, text: str) -> dict[str, int] | None:
        facts = Facts()
        facts.add(self.context.material, record, text)
        return {"stated": facts.stated, "true": facts.true, "both": facts.both} if facts.seen else None

    def _judge(self, policy: Policy) -> None:
        """Rebuild the annotations from each author's rationales, from those of the records behind, and from nothing."""
        how = ClosedLoop(reconstruct=Reconstruct(max_new_tokens=self.settings.max_new_tokens))
        loop = LoopReward(policy, Prompter(policy, self.context.material), how, self.context.meter)
        empty = rebuilt(loop, self.records, [""] * len(self.records))
        for author in self.authors:
            rows = self.rows(author)
            if _judged(rows):
                continue
            texts = [row["rationale"] for row in rows]
            scores = {"real": rebuilt(loop, self.records, texts), "empty": empty}
            if len(texts) > 1:
                scores["shuffled"] = rebuilt(loop, self.records, [*texts[1:], texts[0]])
            replace_rows(
                self.path(author),
                [row | {name: values[place] for name, values in scores.items()} for place, row in enumerate(rows)],
            )


def authors(context: Context) -> list[Author]:
    """Whose rationales are measured, in the order of the training; a stage that left no model has none.

    The first is the base, or, where the run only evaluates a model that another run has trained, its stage.
    """
    base = context.models.base
    found = [Author(stage_of(base)[1] or "base", "think", base)]
    for stage in ("closed_loop", "sft", "grpo"):
        folder = context.folders.get(stage)
        done = read_json(folder / DONE) if folder else None
        if folder and isinstance(done, dict) and (model := done["summary"].get("model")):
            found.append(Author(stage, "reason" if stage == "closed_loop" else "think", str(folder / model)))
    return found


def answer_start(policy: Policy, completion: str) -> tuple[torch.Tensor, str]:
    """The tokens (C,) of a well-formed think completion up to its answer, and their text.

    It is tokenised as a whole, and a token that reaches into the answer is left for the model to write: so what stands
    before the answer is what the model knows from its training.
    """
    opening = "<answer>"
    cut = completion.index(opening, completion.index("</think>")) + len(opening)
    encoded = policy.tokenizer(
        completion, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    ends = [end for _, end in encoded["offset_mapping"]]
    kept = next((place for place, end in enumerate(ends) if end > cut), len(ends))
    return torch.tensor(encoded["input_ids"][:kept]), completion[: ends[kept - 1] if kept else 0]


def rebuilt(loop: LoopReward, records: Sequence[Record], texts: Sequence[str]) -> list[float | None]:
    """The score (0..1) of what is rebuilt from each text; None where it is too long for the judge."""
    fits = [place for place, text in enumerate(texts) if _fits(loop, records[place], text)]
    greedy = torch.Generator().manual_seed(0)  # nothing is drawn
    found = loop.rebuild([records[i] for i in fits], [texts[i] for i in fits], greedy, greedy=True)
    scores: list[float | None] = [None] * len(texts)
    for place, one in zip(fits, found, strict=True):
        scores[place] = one.score
    return scores


def _fits(loop: LoopReward, record: Record, text: str) -> bool:
    try:
        prompt = loop.prompter.prompt("reconstruct", record, text, sees_image=loop.sees_image)
    except UserError as error:
        if text:
            return False
        raise error
    return not text or len(prompt) + loop.rebuild_limit <= loop.policy.context


def _judged(rows: Sequence[Row]) -> bool:
    return bool(rows) and "real" in rows[0]
