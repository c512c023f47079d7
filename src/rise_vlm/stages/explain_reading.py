"""A model of ours as the reader of a teacher's rationales: does it reach the annotation from the rationale alone?

Greedy, blind for the tasks that are rebuilt blind and with the picture for boxes, as in the closed loop.
"""

from __future__ import annotations

import torch

from rise_vlm.console import progress
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.recipes.schema import Reconstruct
from rise_vlm.stages.context import batches
from rise_vlm.stages.explain import reading_score
from rise_vlm.stages.explaining import Explaining
from rise_vlm.stages.limits import rebuild_limit
from rise_vlm.stages.prompter import Prompter

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
                prompter.prompt("reconstruct", record, text, sees_image=task.sees_image) for record, text in chosen
            ]
            sampled = sample(
                policy,
                prompts,
                1,
                max_new_tokens=limit,
                temperature=0.0,
                generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
            )
            read = [
                (record, rollout.text, reading_score(task, record, rollout.text, policy.frame))
                for (record, _), (rollout,) in zip(chosen, sampled, strict=True)
            ]
            work.note_readings(work.asking.reader, read)
            bar.update(len(chosen), score=sum(score for *_, score in read) / len(read))
