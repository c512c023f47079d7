"""Harvest: sample rationales from the trained loop, judge them by the loop's reward, keep the best.

Leaves ``samples.jsonl`` (all, with the parts of their reward), ``rationales.jsonl`` (kept, with provenance) and
``histogram.json``. Sampling goes batch by batch; a stage that was killed goes on with the batch it was in.

A reconstructor that answers the same whatever it reads rebuilds every record that happens to agree with it. So a blind
reconstruction must also *gain*: beat, on its own record, what the rationales of other records lead to (``baselines``).
Left out: which to keep (``selection``), and training on them (``sft``).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rise_vlm.console import progress, say
from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.recipes.schema import Harvest
from rise_vlm.stages.closed_loop import RECONSTRUCTOR, make_reward
from rise_vlm.stages.context import Context, Summary, batches
from rise_vlm.stages.facts import Facts
from rise_vlm.stages.files import Row, append_rows, mend_rows, replace_rows, write_json
from rise_vlm.stages.loop_reward import LoopReward, Verdict, count
from rise_vlm.stages.selection import advice, best_of_all, histogram, reason_alone, select, unusable
from rise_vlm.tasks.base import Task

FEW_GAIN = 0.1
"""A smaller share of usable rationales with a gain is worth a note."""


def run(context: Context) -> Summary:
    """Samples and selects; the summary counts what was sampled, kept, and dropped for which reason."""
    path = context.folder / "samples.jsonl"
    sees_image = sample_all(context, path)
    rows = mend_rows(path)
    settings = context.recipe.harvest
    kept, dropped = select(rows, settings, classes_of(context.material.train))
    notes = gain_notes(rows, settings, blind=not sees_image)
    fallback = not kept
    if fallback:
        kept = best_of_all(rows)
        instead = f"the best of each record are kept instead ({len(kept)})" if kept else "none can be used at all"
        notes.append(
            f"harvest: no rationale passed ({conditions(settings, not sees_image)}); {instead}; "
            f"{advice(rows, settings)}"
        )
        chosen = {id(row) for row in kept}
        dropped = Counter(reason_alone(row, settings) for row in rows if id(row) not in chosen)
    for note in notes:
        say(f"note: {note}.")
    provenance = {"model": context.models.loop, "seed": context.recipe.seed, "recipe": context.recipe.name}
    replace_rows(context.folder / "rationales.jsonl", ({**row, **provenance} for row in kept))
    figures = histogram(rows, kept, settings.threshold) | {"dropped": dict(dropped), "fallback": fallback}
    write_json(context.folder / "histogram.json", figures)
    return {
        "sampled": len(rows),
        "kept": len(kept),
        "records": len({row["id"] for row in kept}),
        "of_records": len(context.material.train),
        "threshold": settings.threshold,
        "gain": None if sees_image else settings.gain,
        "repetition": settings.repetition,
        "fallback": fallback,
        "dropped": dict(dropped),
        "facts": _facts(context, kept),
        "notes": notes,
    }


def sample_all(context: Context, path: Path) -> bool:
    """Sample and judge what is not yet in ``path``; returns whether the reconstructor sees the picture."""
    with ExitStack() as stack:
        policy = stack.enter_context(context.policy(context.models.loop))
        loop = make_reward(context, policy, stack)
        if context.recipe.closed_loop.reconstruct.reconstructor in ("frozen", "warm_up"):
            loop.rebuilder = stack.enter_context(context.policy(context.models.warm))
        if (average := _moving_average(context)) is not None:
            loop.rebuilder = stack.enter_context(context.policy(str(average)))
        _sample(context, loop, path)
        return loop.sees_image


def _moving_average(context: Context) -> Path | None:
    """The model that reconstructed in the loop where that was a moving average, and a loop has run."""
    if context.recipe.closed_loop.reconstruct.reconstructor != "ema" or "closed_loop" not in context.folders:
        return None
    folder = context.folders["closed_loop"] / RECONSTRUCTOR
    return folder if folder.is_dir() else None


def conditions(settings: Harvest, blind: bool) -> str:
    """What a rationale had to reach, for messages."""
    told = [f"threshold {settings.threshold:g}"]
    told += [f"gain {settings.gain:g}"] if blind else []
    told += [f"repetition {settings.repetition:g}"] if settings.repetition < 1 else []
    return ", ".join(told)


def gain_notes(rows: Sequence[Row], settings: Harvest, *, blind: bool) -> list[str]:
    """What a reader should know of the gain: it could not be measured for some, or hardly any had one."""
    if not blind:
        return []
    usable = [row for row in rows if unusable(row) is None]
    alone = sum(row["gain"] is None for row in usable)
    gained = sum(row["gain"] is not None and row["gain"] >= settings.gain for row in usable)
    notes: list[str] = []
    if alone:
        notes.append(
            f"harvest: {alone} of {len(usable)} usable rationales shared a batch with no record of another annotation, "
            "so their gain is unknown and the threshold alone decided"
        )
    measured = len(usable) - alone
    if measured and gained < FEW_GAIN * measured:
        few = f"only {gained}" if gained else "none"
        notes.append(
            f"harvest: {few} of {measured} usable rationales rebuild their own record's annotation better, by "
            f"{settings.gain:g}, than those of other records do; the reconstructor hardly reads them: warm up or train "
            "the loop longer"
        )
    return notes


def _sample(context: Context, loop: LoopReward, path: Path) -> None:
    """Sample and judge every training record, batch by batch; a batch that is whole in the file is not repeated.

    The order is drawn, since a dataset is often sorted by class and a batch of one class has no gain to measure.
    """
    settings, records = context.recipe.harvest, list(context.material.train)
    random.Random(f"harvest/{context.recipe.seed}").shuffle(records)
    parts = parts_of(len(records), settings.records_per_batch)
    whole = whole_batches(path, [[records[i].id for i in part] for part in parts], settings.samples)
    with progress("harvest", total=len(records)) as bar:
        for part, done in zip(parts, whole, strict=True):
            chosen = [records[i] for i in part]
            if done:
                bar.skip(len(chosen))
                continue
            rows = _judged(context, loop, chosen, part.start)
            append_rows(path, rows)
            context.meter.save()
            bar.update(len(chosen), worth=sum(row["worth"] for row in rows) / len(rows))


def parts_of(count: int, size: int) -> list[range]:
    """0..count cut into ranges of ``size``; a single one left over joins those before it, to be compared with them."""
    parts = batches(count, size)
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [range(parts[-2].start, count)]
    return parts


def whole_batches(path: Path, ids: Sequence[Sequence[str]], samples: int) -> list[bool]:
    """Which batches are whole in the file. Rows of others, left by a kill amid writing, are taken out of it."""
    rows = mend_rows(path)
    done = Counter(row["id"] for row in rows)
    whole = [all(done[id] == samples for id in batch) for batch in ids]
    good = {id for batch, is_whole in zip(ids, whole, strict=True) if is_whole for id in batch}
    if any(row["id"] not in good for row in rows):
        replace_rows(path, (row for row in rows if row["id"] in good))
    return whole


def _judged(context: Context, loop: LoopReward, records: Sequence[Record], start: int) -> list[Row]:
    settings = context.recipe.harvest
    generator = context.generator("batch", start)
    prompts = [loop.prompter.prompt("reason", record) for record in records]
    sampled = sample(
        loop.policy,
        prompts,
        settings.samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        generator=generator,
    )
    count(context.meter, sampled)
    verdicts = loop.judge(records, prompts, sampled, generator)
    others: Sequence[float | None] = [None] * len(records)
    if not loop.sees_image:
        others = baselines(loop.task, records, verdicts)
    return [
        {
            "id": record.id,
            "sample": number,
            **verdict.row(),
            "others": other,
            "gain": None if other is None else verdict.score - other,
        }
        for record, group, other in zip(records, verdicts, others, strict=True)
        for number, verdict in enumerate(group)
    ]


def baselines(task: Task, records: Sequence[Record], verdicts: Sequence[Sequence[Verdict]]) -> list[float | None]:
    """For each record: what the reconstructions from the other records' rationales score against its annotation.

    The mean over all that could be read, of records with another annotation; an equal one is no other. None where
    there are none. It costs no model call: a blind reconstruction depends on the rationale, not on the record.
    """
    values = [
        [value for verdict in group for value in verdict.rebuilt.answers if value is not None] for group in verdicts
    ]
    return baselines_of(task, records, values)


def baselines_of(task: Task, records: Sequence[Record], values: Sequence[Sequence[Any]]) -> list[float | None]:
    """The same from what was read out of the reconstructions: ``values`` are those of each record's rationales."""
    found: list[float | None] = []
    for record in records:
        scores = [
            task.score(record.annotation, value)
            for other, read in zip(records, values, strict=True)
            if other.annotation != record.annotation
            for value in read
        ]
        found.append(sum(scores) / len(scores) if scores else None)
    return found


def classes_of(records: Sequence[Record]) -> dict[str, str | None]:
    """By record id: its class, or its most probable one; None for boxes, which have none."""
    found: dict[str, str | None] = {}
    for record in records:
        annotation = record.annotation
        if isinstance(annotation, dict):
            annotation = max(annotation, key=lambda name: annotation[name])
        found[record.id] = annotation if isinstance(annotation, str) else None
    return found


def _facts(context: Context, kept: Sequence[Row]) -> dict[str, float] | None:
    records = {record.id: record for record in context.material.train}
    facts = Facts()
    for row in kept:
        facts.add(context.material, records[row["id"]], row["rationale"])
    return facts.figures()
