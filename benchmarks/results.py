"""The comparison behind docs/results.md: every arm on every world, training size and seed, and the tables of it.

    python benchmarks/results.py run runs/results       # rise demo again and again; stop and repeat it as you like
    python benchmarks/results.py variants runs/results  # RISE with one choice of ours changed, where a demo is done
    python benchmarks/results.py table runs/results     # Markdown on stdout, from the results.json files alone

A figure is the mean over the seeds with the least and the greatest; a difference is taken within a seed, where both
arms had the same records, first. Left out: choosing any setting (that is done on validation records).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

WORLDS, SIZES, SEEDS = ("affect", "errand"), (100, 300), (0, 1, 2)
SPLITS = ("test", "ood")
VARIANTS = {
    "rise-token": ["sft.loss=token"],
    "rise-ungrounded": ["closed_loop.grounding.weight=0"],
    "rise-no-loop": ["stages=[warm_up,harvest,sft,grpo,evaluate]"],
    "rise-sft-base": ["sft.start=base"],
}
"""Each is the demo's RISE run with these settings; what they do not touch is taken over from it."""
Key = tuple[str, int]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "variants", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worlds", nargs="+", default=WORLDS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    given = parser.parse_args()
    if given.what == "table":
        print("\n".join(tables(given.folder)))
        return
    job = demo if given.what == "run" else variants
    for seed in given.seeds:
        for size in given.sizes:
            for world in given.worlds:
                job(given.folder, world, size, seed)


def demo(folder: Path, world: str, size: int, seed: int) -> None:
    """One ``rise demo``, which continues or skips what is there."""
    out = folder / f"{world}-{size}-{seed}"
    words = ["demo", "--world", world, "--train", str(size), "--seed", str(seed), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "rise_vlm", *words], check=True)


def variants(folder: Path, world: str, size: int, seed: int) -> None:
    """The variants of one demo's RISE run. Each begins as a copy: only what differs runs again."""
    demo_folder = folder / f"{world}-{size}-{seed}"
    for name, settings in VARIANTS.items():
        out = demo_folder / "variants" / name
        if not out.exists():
            shutil.copytree(demo_folder / "arms" / "rise", out)
        words = ["run", "rise", f"name={name}", f"data={demo_folder / 'data'}", f"seed={seed}", *settings]
        subprocess.run([sys.executable, "-m", "rise_vlm", *words, "--out", str(out)], check=True)


def tables(folder: Path) -> Iterable[str]:
    """Per world and training size: the arms and floors, the differences to RISE, and what the loop did."""
    runs: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*/results.json")):
        world, size, _ = path.parent.name.rsplit("-", 2)
        result = json.loads(path.read_text())
        for variant in sorted(path.parent.glob("variants/*/results.json")):
            result["arms"] += json.loads(variant.read_text())["arms"]
        runs[world, int(size)].append(result)
    for (world, size), results in sorted(runs.items()):
        yield f"\n### `{world}`, {size} training records, {len(results)} seeds\n"
        yield from arm_table(results)
        yield from loop_lines(results)


def arm_table(results: list[dict[str, Any]]) -> Iterable[str]:
    """One row per arm: score in and out of domain, how much less than RISE, share parsed, minutes."""
    yield "| arm | in domain | out of domain | RISE minus it, in | out | parsed in, out | minutes |"
    yield "|---|---|---|---|---|---|---|"
    found = [{(a["arm"], a["split"]): a for a in one["arms"]} for one in results]
    for arm in dict.fromkeys(name for one in found for name, _ in one):
        mine = [one for one in found if all((arm, split) in one for split in SPLITS)]
        scores = [span([one[arm, split]["metrics"]["score"] for one in mine]) for split in SPLITS]
        both = [one for one in mine if ("rise", "test") in one]
        less = ["", ""]
        if arm != "rise" and both:
            less = [
                span([one["rise", s]["metrics"]["score"] - one[arm, s]["metrics"]["score"] for one in both], "+.3f")
                for s in SPLITS
            ]
        parsed = ", ".join(f"{mean(one[arm, split]['metrics']['parsed'] for one in mine):.0%}" for split in SPLITS)
        minutes = mean(one[arm, "test"]["cost"]["seconds"] for one in mine) / 60
        yield f"| {arm} | {' | '.join(scores)} | {' | '.join(less)} | {parsed} | {minutes:.1f} |"
    floors = [{(f["name"], f["split"]): f["metrics"]["score"] for f in one["floors"]} for one in results]
    for name in dict.fromkeys(name for name, _ in floors[0]):
        cells = [span([one[name, split] for one in floors if (name, split) in one]) for split in SPLITS]
        yield f"| *{name}* | {' | '.join(cells)} | | | | |"


def loop_lines(results: list[dict[str, Any]]) -> Iterable[str]:
    """What the closed loop did, from its first step to its end."""
    loops = [one["loop"] for one in results if one.get("loop")]
    if not loops:
        return
    yield ""
    for name in ("real", "empty", "shuffled"):
        before, after = ([loop[when][name] for loop in loops] for when in ("before", "reconstruction"))
        yield f"- reconstruction, {name}: {span(before)} before the loop, {span(after)} after it"
    for name in ("precision", "recall"):
        before, after = ([loop[when][name] for loop in loops if loop.get(when)] for when in ("facts_before", "facts"))
        yield f"- facts, {name}: {span(before)} before, {span(after)} after"
    yield f"- leak rate after: {span([loop['leak_rate'] for loop in loops])}"
    kept = [one["harvest"]["kept"] / one["harvest"]["sampled"] for one in results]
    yield f"- share of rationales that the harvest kept: {span(kept)}"


def span(values: list[float], form: str = ".3f") -> str:
    """The mean, with the least and the greatest where there are several."""
    if not values:
        return "-"
    middle = format(mean(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
