"""What ``rise annotate`` costs beside the model: ``python benchmarks/annotating.py``.

Annotates the pictures of a drawn dataset, writes COCO or the like of it, and in turn replays the very same calls of
``engine.sample`` on the prompts that were made for them: the overhead is the whole over the model alone, less one.
Medians of ``--rounds``, in wall and in processor seconds (which count the thread that reads pictures ahead). ``parts``
are shares of the whole's wall time, of the functions named; ``reading`` happens in that thread while the model answers.
``beside`` is what the whole takes over its own calls of the model, less one: it holds on a busy machine, where two runs
of the same calls differ by more than what is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from rise_vlm.bench.compare import environment
from rise_vlm.data import Dataset
from rise_vlm.policy import Policy
from rise_vlm.stages import annotate as stage
from rise_vlm.stages.outputs import Made, outputs_of, write_output
from rise_vlm.tasks.base import Task
from rise_vlm.worlds import load_world

PARTS = {"reading": "_opened", "rows": "_row", "appending": "append_rows", "model": "sample"}
"""Part -> the function of ``stages.annotate`` that does it. Encoding is ``Policy.encode``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--world", default="street")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--samples", default="1,8", help="1 is the greedy answer")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--to", default="coco", help="the format that is made of the rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go")
    args = parser.parse_args()
    found: dict[str, Any] = {"environment": environment(), "model": args.model, "pictures": args.pictures, "cases": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "drawn"
        load_world(args.world).make(root, train=args.pictures, val=2, test=2, seed=0)
        dataset, policy = Dataset.open(root), Policy.load(args.model)
        for samples in (int(part) for part in args.samples.split(",")):
            for check in (False, True):
                how = stage.Asking(args.max_new_tokens, 0 if samples == 1 else samples, check=check)
                found["cases"].append(case(policy, dataset, how, args))
                print(json.dumps(found["cases"][-1]), file=sys.stderr, flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found["cases"]))


def case(policy: Policy, dataset: Dataset, how: stage.Asking, args: argparse.Namespace) -> dict[str, Any]:
    """One setting: the whole and the model alone in turn, the first round to warm up."""
    rounds: list[dict[str, Any]] = []
    for _ in range(args.rounds + 1):
        with recorded() as calls, timed(policy) as parts:
            whole = spent(lambda: annotated(policy, dataset, how, args, parts))
        alone = spent(lambda calls=calls: replay(calls))
        shares = {name: seconds / whole[0] for name, seconds in parts.items()}
        rounds.append({"whole": whole, "alone": alone, "parts": shares})
    counted = rounds[1:]
    shares = {name: round(median(one["parts"][name] for one in counted), 4) for name in counted[0]["parts"]}
    figures: dict[str, Any] = {"samples": how.samples or 1, "check": how.check}
    figures["beside"] = round(1 / shares["model"] - 1, 4)
    for at, clock in enumerate(("wall", "cpu")):
        ratios = [one["whole"][at] / one["alone"][at] - 1 for one in counted]
        figures |= {
            f"{clock}_seconds": round(median(one["whole"][at] for one in counted), 3),
            f"{clock}_alone": round(median(one["alone"][at] for one in counted), 3),
            f"{clock}_overhead": round(median(ratios), 4),
            f"{clock}_overhead_range": [round(min(ratios), 4), round(max(ratios), 4)],
        }
    return figures | {"parts": shares}


def annotated(
    policy: Policy, dataset: Dataset, how: stage.Asking, args: argparse.Namespace, parts: dict[str, float]
) -> None:
    """What ``rise annotate --to`` does once the model is loaded."""
    task: Task = dataset.task
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answers.jsonl"
        made = Made(out)
        (output,) = outputs_of([f"{args.to}:{Path(folder) / 'answers.json'}"], task, [out], made)
        names = [str(dataset.root / record.images[0]) for record in dataset.records("train")]
        source = stage.Source.of(args.model, task, dataset.card.question, "think", how)
        stage.annotate(policy, task, source, names, out, how, stage.Outcome())
        start = time.perf_counter()
        write_output(output, out, task, source.question, made)
        parts["outputs"] += time.perf_counter() - start


@contextmanager
def recorded() -> Iterator[list[Callable[[], Any]]]:
    """Notes every call of the sampler as it is made, to be made again."""
    calls: list[Callable[[], Any]] = []
    real = stage.sample

    def noted(*values: Any, generator: torch.Generator, **options: Any) -> Any:
        state = generator.get_state()

        def again() -> Any:
            return real(*values, generator=torch.Generator().set_state(state), **options)

        calls.append(again)
        return real(*values, generator=generator, **options)

    stage.sample = noted  # type: ignore[assignment]
    try:
        yield calls
    finally:
        stage.sample = real


def replay(calls: list[Callable[[], Any]]) -> None:
    for call in calls:
        call()


@contextmanager
def timed(policy: Policy) -> Iterator[dict[str, float]]:
    """Adds up the seconds of each part."""
    spent_in: dict[str, float] = defaultdict(float)
    places = [(name, stage, function) for name, function in PARTS.items()] + [("encoding", policy, "encode")]
    before = [(place, function, getattr(place, function)) for _, place, function in places]

    def around(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*values, **options)
            finally:
                spent_in[name] += time.perf_counter() - start

        return call

    for (name, place, function), (_, _, real) in zip(places, before, strict=True):
        setattr(place, function, around(name, real))
    try:
        yield spent_in
    finally:
        for place, function, real in before:
            setattr(place, function, real)
        del policy.encode  # the instance's own, which hid the class's


def spent(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def table(cases: list[dict[str, Any]]) -> str:
    """Markdown, a row for each setting; shares of the whole in percent."""
    names = [
        name for name in ("model", "encoding", "rows", "appending", "outputs", "reading") if name in cases[0]["parts"]
    ]
    lines = [f"| samples | check | beside | processor, s | model alone | overhead | wall | {' | '.join(names)} |"]
    lines.append("|---|---|---|---|---|---|---|" + "---|" * len(names))
    for one in cases:
        shares = [f"{one['parts'].get(name, 0):.1%}" for name in names]
        overhead = [f"{one['cpu_overhead']:.1%}", f"{one['wall_overhead']:.1%}"]
        told = [
            str(one["samples"]),
            "yes" if one["check"] else "no",
            f"{one['beside']:.1%}",
            f"{one['cpu_seconds']:.2f}",
            f"{one['cpu_alone']:.2f}",
        ]
        lines.append(f"| {' | '.join(told + overhead + shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
