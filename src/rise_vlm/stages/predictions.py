"""A model's greedy answers to records, written down batch by batch, so that what was stopped goes on where it was.

Left out: what they are worth as a whole (``evaluate``, ``quality``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from rise_vlm.console import progress
from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.recipes.schema import Evaluate
from rise_vlm.stages.context import batches
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import Row, append_rows, mend_rows
from rise_vlm.stages.loop_reward import count
from rise_vlm.stages.material import Material
from rise_vlm.stages.prompter import Prompter
from rise_vlm.tasks.base import Role


def predict(
    policy: Policy,
    material: Material,
    records: Sequence[Record],
    role: Role,
    settings: Evaluate,
    path: Path,
    meter: Meter,
) -> list[Row]:
    """The greedy answer to each record, in order; those already in ``path`` are not asked again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {row["id"]: row for row in mend_rows(path)}
    if all(record.id in done for record in records):  # told when they were asked: a bar would tell it twice
        return [done[record.id] for record in records]
    prompter = Prompter(policy, material)
    with progress(f"evaluate: {path.stem}", total=len(records)) as bar:
        for batch in batches(len(records), settings.records_per_batch):
            chosen = [records[i] for i in batch if records[i].id not in done]
            bar.skip(len(batch) - len(chosen))
            if chosen:
                rows = _answer(policy, prompter, chosen, role, settings, meter)
                append_rows(path, rows)
                meter.save()
                done |= {row["id"]: row for row in rows}
            asked = [done[records[i].id]["score"] for i in range(batch.stop)]
            bar.update(len(chosen), score=sum(asked) / len(asked))
    return [done[record.id] for record in records]


def _answer(
    policy: Policy, prompter: Prompter, records: Sequence[Record], role: Role, settings: Evaluate, meter: Meter
) -> list[Row]:
    task = prompter.material.task
    sampled = sample(
        policy,
        [prompter.prompt(role, record) for record in records],
        1,
        max_new_tokens=settings.max_new_tokens,
        temperature=0.0,
        generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
    )
    count(meter, sampled)
    rows: list[Row] = []
    for record, (rollout,) in zip(records, sampled, strict=True):
        read = task.parse_completion(rollout.text, record, policy.frame, role)
        rows.append(
            {
                "id": record.id,
                "image": record.images[0],
                **({"more": list(record.images[1:])} if len(record.images) > 1 else {}),
                "question": task.ask(record),
                "annotation": record.annotation,
                "completion": rollout.text,
                "finished": rollout.finished,
                "rationale": read.rationale,
                "value": read.parsed.value,
                "reason": read.parsed.reason,
                "score": task.score(record.annotation, read.parsed.value),
            }
        )
    return rows
