"""A model of ours as the reader of a teacher's rationales: does it reach the annotation from the rationale alone?

Greedy, blind for the tasks that are rebuilt blind and with the picture for boxes, as in the closed loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from rise_vlm.console import progress
from rise_vlm.data import Record
from rise_vlm.policy import ImageInput, Policy
from rise_vlm.recipes.schema import Reconstruct
from rise_vlm.stages.context import batches
from rise_vlm.stages.explain import reading_score
from rise_vlm.stages.explaining import Explaining
from rise_vlm.stages.limits import rebuild_limit
from rise_vlm.stages.prompter import Prompter
from rise_vlm.stages.rebuilding import greedily, reconstruct_prompt

BATCH = 8


def read_with(model: str, work: Explaining) -> None:
    """Let ``model`` read every rationale that waits for it, and note what it answers, batch by batch."""
    todo = work.to_read()
    if not todo:
        return
    material, task = work.material, work.material.task
    policy = Policy.load(model, frozen=True)
    prompter = Prompter(policy, material)
    limit = rebuild_limit(Reconstruct(), policy.tokenizer, policy.frame, material, policy.context)
    with progress("read", total=len(todo)) as bar:
        for part in batches(len(todo), BATCH):
            chosen = [todo[i] for i in part]
            prompts = [
                reconstruct_prompt(policy, task, record, _pictures(prompter, record), text, limit)
                for record, text in chosen
            ]
            texts = [text or "" for text in greedily(policy, prompts, limit)]  # from one too long nothing is reached
            read = [
                (record, text, reading_score(task, record, text, policy.frame))
                for (record, _), text in zip(chosen, texts, strict=True)
            ]
            work.note_readings(work.asking.reader, read)
            bar.update(len(chosen), score=sum(score for *_, score in read) / len(read))


def _pictures(prompter: Prompter, record: Record) -> Sequence[ImageInput]:
    return prompter.pictures(record) if prompter.material.task.sees_image else ()
