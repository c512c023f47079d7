"""Cost of a step against the group and against the picture: ``python benchmarks/curves.py --out FOLDER``.

Runs ``rise bench step`` (or ``loop``) case by case and leaves ``curves.json``, rewritten after every case, and
``curves.svg``; prints the table as Markdown. TRL takes no group of one, so there ours is alone.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rise_vlm.bench.case import Case
from rise_vlm.bench.compare import compare, environment

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 340, 240, 50, 28, 36, 40
COLOURS = {"ours": "#1668b8", "trl": "#c4501b", "official": "#c4501b"}
Points = list[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("step", "loop"), default="step")
    parser.add_argument("--groups", default="1,2,4,8,16,32", help="at --image-tokens")
    parser.add_argument("--sizes", default="16,64,256,1024", help="image tokens, at --group; empty: none")
    parser.add_argument("--image-tokens", type=int, default=256)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--completion-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    other = {"step": "trl", "loop": "official"}[args.what]
    shared = {"prompts": args.prompts, "completion_tokens": args.completion_tokens}
    curves = {
        "group": [Case(args.image_tokens, group, **shared) for group in numbers(args.groups)],
        "image_tokens": [Case(size, args.group, **shared) for size in numbers(args.sizes)],
    }
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"what": args.what, "environment": environment()} | {name: [] for name in curves}
    for name, cases in curves.items():
        for case in cases:
            alone = args.alone or (other == "trl" and case.group < 2)
            found[name].append(compare(other, case, args.rounds, alone=alone, memory=not args.no_memory))
            (args.out / "curves.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (args.out / "curves.svg").write_text(drawn(found), encoding="utf-8")
    print("\n\n".join(table(found[name], name, other) for name in curves if found[name]))


def numbers(text: str) -> list[int]:
    """``"1,2"`` -> ``[1, 2]``."""
    return [int(part) for part in text.split(",") if part]


def table(cases: Sequence[dict[str, Any]], along: str, other: str) -> str:
    """Markdown, a row for each case; a dash where the other side is missing."""
    lines = [f"| {along} | ours, s | {other}, s | time ratio | memory ratio |", "|---|---|---|---|---|"]
    for case in cases:
        theirs = case.get(other, {}).get("seconds")
        values = [case["ours"]["seconds"], theirs, case.get("time_ratio"), case.get("memory_ratio")]
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"| {case[along]} | {' | '.join(shown)} |")
    return "\n".join(lines)


def drawn(found: dict[str, Any]) -> str:
    """An SVG: seconds of a step against each of the two, both axes logarithmic."""
    panels = [(name, label) for name, label in (("group", "G"), ("image_tokens", "image tokens")) if found[name]]
    parts = [panel(found[name], name, label, i * (WIDTH + GAP)) for i, (name, label) in enumerate(panels)]
    whole = len(panels) * (WIDTH + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {HEIGHT}" font-family="sans-serif" '
    return head + 'font-size="11">\n' + "\n".join(parts) + "\n</svg>\n"


def panel(cases: Sequence[dict[str, Any]], along: str, label: str, shift: int) -> str:
    """One pair of axes with a line for each side."""
    sides = {name: [(c[along], c[name]["seconds"]) for c in cases if name in c] for name in COLOURS}
    sides = {name: points for name, points in sides.items() if points}
    every = [point for points in sides.values() for point in points]
    across, up = span([x for x, _ in every]), span([y for _, y in every])

    def place(x: float, y: float) -> tuple[float, float]:
        right = (math.log(x) - across[0]) / (across[1] - across[0])
        high = (math.log(y) - up[0]) / (up[1] - up[0])
        return shift + LEFT + right * (WIDTH - LEFT), HEIGHT - BOTTOM - high * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{shift + LEFT}" y="14">seconds of a step against {label}</text>']
    parts += [
        f'<text x="{place(x, every[0][1])[0]:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{x:g}</text>'
        for x in sorted({x for x, _ in every})
    ]
    for y in {min(y for _, y in every), max(y for _, y in every)}:
        at = place(every[0][0], y)[1]
        parts.append(f'<text x="{shift + LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    for name, points in sides.items():
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        x, y = place(*points[-1])
        parts.append(f'<text x="{x - 4:.1f}" y="{y - 6:.1f}" text-anchor="end" fill="{COLOURS[name]}">{name}</text>')
    return "\n".join(parts)


def span(values: Sequence[float]) -> tuple[float, float]:
    """Logarithms of the smallest and the largest, apart even where these are equal."""
    low, high = math.log(min(values)), math.log(max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


if __name__ == "__main__":
    main()
