"""Does a model read? ``python benchmarks/reading.py DATA MODEL ...`` (``affect``).

The world describes scenes that the model has not seen, truly, with random facts; the model rebuilds the distribution
from the description alone (greedy, reconstruct prompt). Mean score by whether face and thing are named: a reconstructor
that reads scores higher the more is said. The most that can be had from each is in decides.py.
"""

from __future__ import annotations

import random
from collections import defaultdict
from statistics import mean, pstdev

from kit import arguments, chosen, greedy

from rise_vlm.data import Dataset
from rise_vlm.policy import Policy
from rise_vlm.tasks import make_task
from rise_vlm.worlds import affect


def main() -> None:
    parser = arguments(__doc__, records=200)
    parser.add_argument("--descriptions", type=int, default=4, help="per record")
    args = parser.parse_args()
    dataset = Dataset.open(args.data)
    task, rng = make_task(dataset.card), random.Random(args.seed)
    asked = []
    for record in chosen(dataset, args):
        scene = affect.Scene.from_dict(record.meta["scene"])
        for _ in range(args.descriptions):
            text = affect.describe(scene, rng)
            kinds = {fact.split("=")[0] for fact in affect.stated_facts(text)}
            asked.append((record, text, " and ".join(k for k in ("face", "thing") if k in kinds) or "neither"))
    for name in args.model:
        policy = Policy.load(name)
        scores: dict[str, list[float]] = defaultdict(list)
        prompts = [policy.encode(task.prompt("reconstruct", r, policy.frame, text), ()) for r, text, _ in asked]
        for (record, _, named), answer in zip(asked, greedy(policy, prompts, 64), strict=True):
            value = task.parse_completion(answer, record, policy.frame, "reconstruct").parsed.value
            scores[named].append(0.0 if value is None else task.score(record.annotation, value))
        print(name)
        for named, values in sorted(scores.items(), key=lambda item: len(item[0])):
            print(f"  {named:16s} n={len(values):4d}  {mean(values):.3f} +- {pstdev(values) / len(values) ** 0.5:.3f}")


if __name__ == "__main__":
    main()
