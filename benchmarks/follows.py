"""Does the box follow from what was named? ``python benchmarks/follows.py DATA MODEL ...`` (``errand``).

A thing of the picture is picked at random and named in four ways: as the model's own rationale without and with the
lead-in of grounding, as a description in the reconstruct prompt, and in a question of its own. Printed is the mean
overlap (IoU) of the greedy answer with that thing's box, whatever the record's question asks for.
"""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import mean

import torch
from kit import arguments, chosen, greedy

from rise_vlm.data import Dataset
from rise_vlm.data.record import Record
from rise_vlm.policy import Policy, Prompt
from rise_vlm.rewards.boxes import iou
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import Frame, Task
from rise_vlm.worlds import errand

WAYS = ("its own rationale", "its own rationale, lead-in", "a description to rebuild from", "a question")


def begun(policy: Policy, prompt: Prompt, text: str) -> Prompt:
    """`prompt` with a completion that has begun with `text`."""
    ids = torch.tensor(policy.tokenizer(text, add_special_tokens=False)["input_ids"])
    after = torch.arange(prompt.next_position, prompt.next_position + len(ids)).expand(prompt.positions.shape[0], -1)
    return replace(
        prompt,
        input_ids=torch.cat([prompt.input_ids, ids]),
        positions=torch.cat([prompt.positions, after], 1),
        next_position=prompt.next_position + len(ids),
    )


def asking(way: str, task: Task, record: Record, frame: Frame, kind: str) -> tuple[str, str]:
    """The prompt that names `kind` in this way, and how the completion begins."""
    said = f"There is a {kind}."
    if way == "a description to rebuild from":
        return task.prompt("reconstruct", record, frame, said), "<answer>"
    if way == "a question":
        return task.prompt("answer", record.model_copy(update={"question": f"Where is the {kind}?"}), frame), "<answer>"
    said = f"{said} {task.lead_in}" if way.endswith("lead-in") else said
    return task.prompt("think", record, frame), f"<think>{said}</think><answer>"


def main() -> None:
    args = arguments(__doc__, records=100).parse_args()
    dataset = Dataset.open(args.data)
    task, rng = make_task(dataset.card), random.Random(args.seed)
    asked = []
    for record in chosen(dataset, args):
        scene = errand.Scene.from_dict(record.meta["scene"])
        kind = rng.choice([thing.kind for thing in scene.things])
        box = [value * record.width for value in errand.boxes(scene)[kind]]
        asked.append((record, kind.replace("_", " "), dataset.image(record), box))
    for name in args.model:
        policy = Policy.load(name)
        frame = policy.frame
        print(name)
        for way in WAYS:
            texts = [asking(way, task, record, frame, kind) for record, kind, _, _ in asked]
            prompts = [
                begun(policy, policy.encode(text, [image]), start)
                for (text, start), (_, _, image, _) in zip(texts, asked, strict=True)
            ]
            overlaps = []
            for (record, _, _, box), answer in zip(asked, greedy(policy, prompts, 40), strict=True):
                value = task.parse_completion(f"<answer>{answer}", record, frame, "answer").parsed.value
                overlaps.append(0.0 if value is None else iou(value, box))
            print(f"  {way:32s} {mean(overlaps):.3f}  n={len(overlaps)}")


if __name__ == "__main__":
    main()
