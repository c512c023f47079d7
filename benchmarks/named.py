"""What the rationales of finished runs name: ``python benchmarks/named.py RUN ...``.

In ``affect`` the face and the thing beside it decide almost all (see decides.py), in ``errand`` the wanted thing. One
line per stage of a run (the loop in quarters): how many rationales truly name these, the share of what is stated that
is true, and the mean score by what is named: of the reconstruction in loop and harvest, of the answer in GRPO and
predictions.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq

from rise_vlm.data import Dataset
from rise_vlm.worlds import World, load_world

Rows = list[tuple[str, str, float | None]]
"""Record id, rationale, score."""


def stages(run: Path) -> Iterator[tuple[str, Rows]]:
    """Every stage of a run that wrote rationales, with its rows."""
    for file in sorted(run.glob("stages/*/descriptions.jsonl")):
        rows = [(row["id"], text, None) for row in _lines(file) for text in row["texts"]]
        yield file.parent.name, rows
    for file in sorted(run.glob("stages/*/rollouts.parquet")):
        rows = pq.read_table(file).to_pylist()
        steps = max(row["step"] for row in rows)
        for quarter in range(4):
            first, last = quarter * steps // 4, (quarter + 1) * steps // 4
            part = [row for row in rows if first < row["step"] <= last]
            if part:
                yield f"{file.parent.name}, steps {first + 1} to {last}", [_row(row) for row in part]
    for file in sorted(run.glob("stages/*/rationales.jsonl")):
        yield f"{file.parent.name}, kept", [_row(row) for row in _lines(file)]
    for file in sorted(run.glob("predictions/*.jsonl")):
        yield file.stem, [_row(row) for row in _lines(file)]


def _row(row: dict[str, Any]) -> tuple[str, str, float | None]:
    text = row.get("rationale")
    return row["id"], (row["completion"].split("<answer>")[0] if text is None else text), row.get("score")


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def deciding(world: World, scene: Any, stated: frozenset[str]) -> tuple[str, ...]:
    """Which of the deciding facts are truly among the stated ones."""
    if world.NAME == "errand":
        return ("target",) if f"thing={scene.target}" in stated else ()
    named = {fact.split("=")[0] for fact in stated & world.true_facts(scene)}
    return tuple(kind for kind in ("face", "thing") if kind in named)


def line(world: World, scenes: dict[str, Any], rows: Rows) -> str:
    """The figures of one stage in one line."""
    by_named: dict[tuple[str, ...], list[float | None]] = defaultdict(list)
    true = stated = 0
    for record, text, score in rows:
        found = world.stated_facts(text)
        true, stated = true + len(found & world.true_facts(scenes[record])), stated + len(found)
        by_named[deciding(world, scenes[record], found)].append(score)
    parts = [f"{len(rows):6d} rationales, {true / max(1, stated):4.0%} of what is stated is true"]
    for named, scores in sorted(by_named.items(), key=lambda item: (len(item[0]), item[0])):
        known = [score for score in scores if score is not None]
        worth = f", score {mean(known):.3f}" if known else ""
        parts.append(f"{' and '.join(named) or 'neither'} {len(scores) / len(rows):.0%}{worth}")
    return " | ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", type=Path)
    for run in parser.parse_args().run:
        if not (run / "results.json").is_file():
            parser.error(f"{run} is no finished run: it has no results.json")
        about = json.loads((run / "results.json").read_text())["data"]
        dataset = Dataset.open(run / about["folder"])  # an absolute folder stands for itself
        world = load_world(about["name"])
        scenes = {
            record.id: world.Scene.from_dict(record.meta["scene"])
            for split in dataset.splits
            for record in dataset.records(split)
        }
        print(run)
        for name, rows in stages(run):
            print(f"  {name:34s}", line(world, scenes, rows))


if __name__ == "__main__":
    main()
