"""Warm-up: the base model learns the reason and reconstruct roles from its own descriptions.

The base describes the training pictures; descriptions that give the annotation away are dropped. Then an SFT teaches
two roles at once (``roles``: or one): picture and annotation -> description, and description -> annotation. Without it
a base that cannot reconstruct at all would give the closed loop no signal.
Left out: choosing among the descriptions; that is what the loop is for.
"""

from __future__ import annotations

from pathlib import Path

from rise_vlm.console import progress, say
from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.engine.trainer import train
from rise_vlm.policy import Policy
from rise_vlm.stages.context import Context, Summary, batches
from rise_vlm.stages.files import append_rows, mend_rows
from rise_vlm.stages.loop_reward import LoopReward, count
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.supervised import Supervised, Unit, rotated, target
from rise_vlm.tasks.base import bare_answer

RECORDS_PER_BATCH = 8
PER_VISIT = 2
"""Descriptions of one record that one visit trains on."""


def run(context: Context) -> Summary:
    """Leaves ``descriptions.jsonl`` and ``model/``; without any usable description it leaves no model, and says so."""
    path = context.folder / "descriptions.jsonl"
    with context.policy(context.models.base) as base:
        _describe(context, base, path)
    clean = _clean(path)
    records = [record for record in context.material.train if clean.get(record.id)]
    made = sum(len(row["texts"]) for row in mend_rows(path))
    kept = sum(len(texts) for texts in clean.values())
    summary: Summary = {"descriptions": made, "clean": kept, "records": len(records)}
    if not records:
        say(
            "warm-up: every description was empty, cut off (warm_up.max_new_tokens) or gave the annotation away; the "
            "loop starts from the base model."
        )
        return summary
    with context.policy(context.models.base, trains=True) as policy:
        _teach(context, policy, records, clean)
    return summary | {"model": "model"}


def _describe(context: Context, base: Policy, path: Path) -> None:
    """Sample descriptions of every training record, batch by batch; batches already in the file are not repeated."""
    settings = context.recipe.warm_up
    records = context.material.train
    prompter = Prompter(base, context.material)
    loop = LoopReward(base, prompter, context.recipe.closed_loop, context.meter)
    blind = settings.prompt == "describe" or (settings.prompt == "auto" and not context.material.task.sees_image)
    done = {row["id"] for row in mend_rows(path)}
    with progress("warm-up: describing", total=len(records)) as bar:
        for batch in batches(len(records), RECORDS_PER_BATCH):
            chosen = [records[i] for i in batch]
            if all(record.id in done for record in chosen):
                bar.skip(len(chosen))
                continue
            reasons = [prompter.prompt("reason", record) for record in chosen]
            sampled = sample(
                base,
                [prompter.describe(record) for record in chosen] if blind else reasons,
                settings.samples,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                generator=context.generator("describe", batch.start),
            )
            count(context.meter, sampled)
            rows = []
            for record, reason, group in zip(chosen, reasons, sampled, strict=True):
                texts = [rollout.text.strip() for rollout in group]
                leaks = [loop.leaks(record, text, reason.text) for text in texts]
                cut = [not rollout.finished for rollout in group]
                rows.append({"id": record.id, "texts": texts, "leaks": leaks, "cut_off": cut})
            bar.update(len(chosen))
            # A batch that was cut in the middle is drawn again, from the same numbers; what is there stays.
            append_rows(path, [row for row in rows if row["id"] not in done])
            context.meter.save()


def _clean(path: Path) -> dict[str, list[str]]:
    """By record id: its distinct descriptions that are whole, not empty and do not leak."""
    return {
        row["id"]: list(
            dict.fromkeys(
                text
                for text, leaks, cut in zip(row["texts"], row["leaks"], row["cut_off"], strict=True)
                if text and not leaks and not cut
            )
        )
        for row in mend_rows(path)
    }


def _teach(context: Context, policy: Policy, records: list[Record], clean: dict[str, list[str]]) -> None:
    prompter = Prompter(policy, context.material)
    task = context.material.task
    sees_image = LoopReward(policy, prompter, context.recipe.closed_loop, context.meter).sees_image
    settings = context.recipe.warm_up
    per_step, roles = settings.records_per_step, settings.roles
    visited = min(per_step, len(records))

    def unit(index: int, step: int) -> Unit:
        record = records[index]
        visit = (step - 1) * visited // len(records)
        texts = rotated(clean[record.id], PER_VISIT, visit)
        answer = bare_answer(task.render(record.annotation, record, policy.frame))
        rows: Unit = []
        if "reason" in roles:
            rows.append((prompter.prompt("reason", record), [target(policy, ("rationale", text)) for text in texts]))
        if "reconstruct" in roles:
            prompts = [prompter.prompt("reconstruct", record, text, sees_image=sees_image) for text in texts]
            rows += [(prompt, [target(policy, ("answer", answer))]) for prompt in prompts]
        return rows

    work = Supervised(
        policy,
        len(records),
        unit,
        records_per_step=per_step,
        loss="balanced",
        train=context.train,
        meter=context.meter,
    )
    train(policy, work, context.train, context.folder, "warm-up")
