"""SFT: on answers alone (ANS-SFT), harvested rationales (Inspire) or the dataset's own (CoT-SFT).

A few rationales of a few records teach a form and not much else, so a source that covers little of the training set is
told. Left out: mixing sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rise_vlm.console import say
from rise_vlm.data import Record
from rise_vlm.engine.trainer import train
from rise_vlm.policy import Policy
from rise_vlm.stages.context import Context, Summary
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.material import lasting
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.shares import few_records
from rise_vlm.stages.supervised import Supervised, Target, Unit, rotated, target
from rise_vlm.tasks.base import bare_answer


def run(context: Context) -> Summary:
    """Leaves ``model/`` and ``metrics.jsonl``; with nothing harvested it leaves no model, and says so."""
    settings = context.recipe.sft
    notes: list[str] = []
    rationales = _rationales(context)
    records = list(context.material.train)
    if rationales is not None:
        records = [record for record in records if rationales.get(record.id)]
        if not records:
            note = "sft: the harvest kept no rationale, so there is nothing to learn from; the base model goes on"
            say(f"note: {note}.")
            return {"records": 0, "notes": [note]}
        notes += few_records(len(records), len(context.material.train), settings.source)
    for note in notes:
        say(f"note: {note}.")
    steps = lasting(context.train, settings.epochs, len(records), settings.records_per_step)
    start = context.models.warm if settings.start == "warm_up" else context.models.base
    with context.policy(start, trains=True) as policy:
        unit = _Units(context, policy, records, rationales, settings.per_record, settings.records_per_step)
        work = Supervised(
            policy,
            len(records),
            unit,
            records_per_step=settings.records_per_step,
            loss=settings.loss,
            train=steps,
            meter=context.meter,
        )
        train(policy, work, steps, context.folder, "sft")
    return {"model": "model", "records": len(records), "steps": steps.steps, "source": settings.source, "notes": notes}


class _Units:
    """What a visit of a record trains on: its answer, or some of its rationales with the answer."""

    def __init__(
        self,
        context: Context,
        policy: Policy,
        records: Sequence[Record],
        rationales: Mapping[str, list[str]] | None,
        per_record: int,
        per_step: int,
    ) -> None:
        self.policy, self.records, self.rationales = policy, records, rationales
        self.per_record, self.per_step = per_record, min(per_step, len(records))
        self.prompter = Prompter(policy, context.material)
        self.task = context.material.task

    def __call__(self, index: int, step: int) -> Unit:
        record = self.records[index]
        answer = bare_answer(self.task.render(record.annotation, record, self.policy.frame))
        if self.rationales is None:
            return [(self.prompter.prompt("answer", record), [target(self.policy, ("answer", answer))])]
        visit = (step - 1) * self.per_step // len(self.records)
        texts = rotated(self.rationales[record.id], self.per_record, visit)
        return [(self.prompter.prompt("think", record), [self._thought(text, answer) for text in texts])]

    def _thought(self, rationale: str, answer: str) -> Target:
        """``think_answer`` in its two parts, so that each token knows which it belongs to; the task's lead-in is the
        rationale's.
        """
        if self.task.lead_in:
            rationale = f"{rationale} {self.task.lead_in}"
        return target(self.policy, ("rationale", f"<think>{rationale}</think>"), ("answer", answer))


def _rationales(context: Context) -> dict[str, list[str]] | None:
    """By record id; None where only answers are learned."""
    source = context.recipe.sft.source
    if source == "annotations":
        return None
    if source == "rationales":
        return {record.id: [record.rationale] for record in context.material.train if record.rationale}
    found: dict[str, list[str]] = {}
    for row in read_rows(context.folders["harvest"] / "rationales.jsonl"):
        found.setdefault(row["id"], []).append(row["rationale"])
    return found
