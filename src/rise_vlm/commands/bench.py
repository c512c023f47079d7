"""``rise bench``: a training step of ours beside TRL's, and a closed-loop step beside the official code's structure.

``docs/performance.md`` says how it is measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from rise_vlm.console import figures_table, say, stdout_console
from rise_vlm.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Measure a training step of ours beside others'.")


class Precision(StrEnum):
    """Of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Tower(StrEnum):
    """Whether the vision tower trains."""

    frozen = "frozen"
    trained = "trained"


class Credit(StrEnum):
    """Which tokens of our loop take the gradient."""

    rationale = "rationale"
    answer = "answer"


ImageTokens = Annotated[str, typer.Option(help="Tokens of a picture; several are several cases.")]
Group = Annotated[str, typer.Option(help="Rollouts of a prompt; several are several cases.")]
Prompts = Annotated[int, typer.Option(min=1, help="Prompts of a step, each with a picture of its own.")]
Completion = Annotated[int, typer.Option(min=2, help="Tokens of every completion.")]
Rounds = Annotated[int, typer.Option(min=1, help="Counted rounds; one more before them warms up.")]
Weights = Annotated[Precision, typer.Option(help="Type of the weights, on both sides.")]
Towers = Annotated[Tower, typer.Option(help="Whether the vision tower trains, on both sides.")]
Model = Annotated[str, typer.Option(help="tiny, a folder, or a hub id; of Qwen's kind.")]
Seed = Annotated[int, typer.Option(min=0, help="Of pictures and sampling.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of both sides; torch's own choice if not given.")]
Alone = Annotated[bool, typer.Option("--alone", help="Ours only.")]
NoMemory = Annotated[bool, typer.Option("--no-memory", help="Leave the peak memory out: half the time.")]
Profile = Annotated[bool, typer.Option("--profile", help="Take one more step of ours apart: where does its time go?")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object to this file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def step(
    image_tokens: ImageTokens = "64,256,1024",
    group: Group = "8",
    prompts: Prompts = 2,
    completion_tokens: Completion = 64,
    rounds: Rounds = 5,
    precision: Weights = Precision.float32,
    tower: Towers = Tower.frozen,
    beta: Annotated[float, typer.Option(min=0.0, help="Weight of the KL to a reference, on both sides.")] = 0.0,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing in TRL.")] = False,
    model: Model = "tiny",
    seed: Seed = 0,
    threads: Threads = None,
    alone: Alone = False,
    no_memory: NoMemory = False,
    profile: Profile = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """One whole GRPO step (rollout, score, update) of ours and of TRL's GRPOTrainer, taking turns in one process.

    Same weights, pictures, prompts, lengths and precision; ratios are ours over TRL's.
    """
    if not alone:
        from rise_vlm.bench.trl_side import require

        require()
    shared: dict[str, Any] = {"beta": beta, "checkpointing": checkpointing}
    shared |= {"prompts": prompts, "completion_tokens": completion_tokens, "model": model, "seed": seed}
    shared |= {"precision": precision.value, "tower": tower.value}
    how = {"alone": alone, "memory": not no_memory, "profile": profile}
    _bench("trl", image_tokens, group, rounds, shared, how, threads, out, as_json)


@app.command()
def loop(
    image_tokens: ImageTokens = "64,256,1024",
    group: Group = "8",
    prompts: Prompts = 2,
    completion_tokens: Completion = 64,
    answer_tokens: Annotated[int, typer.Option(min=2, help="Tokens of every reconstruction.")] = 32,
    rounds: Rounds = 5,
    credit: Annotated[Credit, typer.Option(help="What ours trains; the official code trains the answer.")] = (
        Credit.rationale
    ),
    blind: Annotated[bool, typer.Option("--blind", help="Ours reconstructs without the picture.")] = False,
    precision: Weights = Precision.float32,
    tower: Towers = Tower.frozen,
    model: Model = "tiny",
    seed: Seed = 0,
    threads: Threads = None,
    alone: Alone = False,
    no_memory: NoMemory = False,
    profile: Profile = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """One closed-loop step (reason, reconstruct, update) of ours beside the structure of the official code.

    There each role is a generation of its own and every rollout encodes its picture again: 4 G tower passes a picture.
    """
    shared: dict[str, Any] = {"answer_tokens": answer_tokens, "credit": credit.value, "sees_image": not blind}
    shared |= {"prompts": prompts, "completion_tokens": completion_tokens, "model": model, "seed": seed}
    shared |= {"precision": precision.value, "tower": tower.value}
    how = {"alone": alone, "memory": not no_memory, "profile": profile}
    _bench("official", image_tokens, group, rounds, shared, how, threads, out, as_json)


def _bench(
    other: str,
    image_tokens: str,
    group: str,
    rounds: int,
    shared: dict[str, Any],
    how: dict[str, bool],
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    sizes = list(product(_numbers(image_tokens, "--image-tokens", 1), _numbers(group, "--group", 1)))
    if other == "trl" and not how["alone"] and any(size < 2 for _, size in sizes):
        raise UserError("--group 1: TRL needs at least 2 rollouts of a prompt. Measure ours only with --alone.")
    say(f"Sizes to measure: {len(sizes)}; rounds of each: {rounds}, and one to warm up. Loading the libraries ...")
    import torch

    from rise_vlm.bench.case import Case
    from rise_vlm.bench.compare import compare, environment

    if threads is not None:
        torch.set_num_threads(threads)
    found: dict[str, Any] = {"cases": [], "environment": environment()}
    for tokens, size in sizes:
        case = compare(other, Case(tokens, size, **shared), rounds, **how)
        found["cases"].append(case)
        say(_line(case, other))
        if out is not None:
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(found))
        return
    _print(found, other)


def _numbers(text: str, option: str, least: int) -> list[int]:
    """``"64,256"`` -> ``[64, 256]``. Raises UserError."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option}: '{text}' is not a list of whole numbers, such as 64,256.") from None
    if min(numbers) < least:
        raise UserError(f"{option}: {min(numbers)} is below {least}.")
    return numbers


def _line(case: dict[str, Any], other: str) -> str:
    """What a size came to, in one line; the table at the end has more."""
    sides = [name for name in ("ours", other) if name in case]
    told = [f"{name} {case[name]['seconds']:.2f} s" for name in sides]
    told += [f"ratio {case['time_ratio']:.3f}"] if "time_ratio" in case else []
    told += [f"peak of {name} {case[name]['peak_mb']:,.0f} MB" for name in sides if "peak_mb" in case[name]]
    told += [f"ratio {case['memory_ratio']:.3f}"] if "memory_ratio" in case else []
    return f"{case['image_tokens']} image tokens, group {case['group']}: " + ", ".join(told)


def _print(found: dict[str, Any], other: str) -> None:
    console, table = stdout_console(), figures_table()
    names = ("image tokens", "group", "side", "time", "ratio", "peak", "ratio", "tower passes", "tokens", "trained")
    for name in (*names, "share of the time"):
        table.add_column(name, justify="left" if name in ("side", "share of the time") else "right")
    for case in found["cases"]:
        for side in (name for name in ("ours", other) if name in case):
            table.add_row(*_row(case, side))
    console.print(table)
    for case in found["cases"]:
        if "logprob_gap" in case:
            where = f"{case['image_tokens']} image tokens, group {case['group']}"
            typer.echo(f"Largest difference of log-probs at {where}: {case['logprob_gap']:.1e}")
        for line in _profile(case["ours"].get("profile")):
            typer.echo(line)
    at = found["environment"]
    typer.echo(f"{at['cpu']}, {at['device']}, {at['threads']} threads, load {at['load']}, torch {at['torch']}")


def _row(case: dict[str, Any], side: str) -> Sequence[str]:
    made = case[side]
    low, high = made["seconds_range"]
    shares = ", ".join(f"{phase} {100 * part['share']:.0f} %" for phase, part in made["phases"].items())
    time_ratio, memory_ratio = "", ""
    if side == "ours" and "time_ratio" in case:
        least, most = case["time_ratio_range"]
        time_ratio = f"{case['time_ratio']:.3f} ({least:.3f}-{most:.3f})"
    if side == "ours" and "memory_ratio" in case:
        memory_ratio = f"{case['memory_ratio']:.3f}"
    return (
        f"{case['image_tokens']:,}",
        str(case["group"]),
        side,
        f"{made['seconds']:.2f} s ({low:.2f}-{high:.2f})",
        time_ratio,
        f"{made['peak_mb']:,.0f} MB" if "peak_mb" in made else "",
        memory_ratio,
        f"{made['tower_passes']:,}",
        f"{made['tokens']:,}",
        f"{made['trained_tokens']:,}",
        shares,
    )


def _profile(made: dict[str, Any] | None) -> list[str]:
    if made is None:
        return []
    lines = [f"Ours outside tensor operations: {100 * made['not_tensor']:.1f} % ({made['operations']:,} operations)"]
    return lines + [f"  {op['share'] * 100:5.1f} %  {op['calls']:6,} x {op['op']}" for op in made["top"]]
