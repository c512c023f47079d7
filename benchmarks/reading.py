"""Does a model read? ``python benchmarks/reading.py DATA MODEL ...`` (``affect``).

The world describes scenes that the model has not seen, truly, with random facts; the model rebuilds the distribution
from the description alone (greedy, reconstruct prompt). Mean score by whether face and thing are named: a reconstructor
that reads scores higher the more is said. The most that can be had from each is in decides.py.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from itertools import islice
from statistics import mean, pstdev

import torch

from rise_vlm.data import Dataset
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.tasks import make_task
from rise_vlm.worlds import affect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--descriptions", type=int, default=4, help="per record")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dataset = Dataset.open(args.data)
    task, rng = make_task(dataset.card), random.Random(args.seed)
    asked = []
    for record in islice(dataset.records(args.split), args.records):
        scene = affect.Scene.from_dict(record.meta["scene"])
        for _ in range(args.descriptions):
            text = affect.describe(scene, rng)
            kinds = {fact.split("=")[0] for fact in affect.stated_facts(text)}
            asked.append((record, text, " and ".join(k for k in ("face", "thing") if k in kinds) or "neither"))
    for name in args.model:
        policy = Policy.load(name)
        scores: dict[str, list[float]] = defaultdict(list)
        for first in range(0, len(asked), 64):
            part = asked[first : first + 64]
            prompts = [policy.encode(task.prompt("reconstruct", r, policy.frame, text), ()) for r, text, _ in part]
            groups = sample(policy, prompts, 1, max_new_tokens=64, temperature=0.0, generator=torch.Generator())
            for (record, _, named), (rollout,) in zip(part, groups, strict=True):
                value = task.parse_completion(rollout.text, record, policy.frame, "reconstruct").parsed.value
                scores[named].append(0.0 if value is None else task.score(record.annotation, value))
        print(name)
        for named, values in sorted(scores.items(), key=lambda item: len(item[0])):
            print(f"  {named:16s} n={len(values):4d}  {mean(values):.3f} +- {pstdev(values) / len(values) ** 0.5:.3f}")


if __name__ == "__main__":
    main()
