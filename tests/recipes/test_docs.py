"""docs/recipes.md lists every key with its default, and the commands it shows are accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rise_vlm.cli import build
from rise_vlm.policy.lora import LoraSettings
from rise_vlm.recipes import SHIPPED, Recipe, load_recipe
from rise_vlm.recipes.loader import leaves
from rise_vlm.recipes.schema import RECONSTRUCTION
from rise_vlm.recipes.sweep import cells
from rise_vlm.recipes.sweep_file import SWEEPS, load_sweep
from rise_vlm.stages.rewards import SHIPPED as REWARDS

PAGE_FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (PAGE_FOLDER / "recipes.md").read_text(encoding="utf-8")
EXPERIMENTS = (PAGE_FOLDER / "experiments.md").read_text(encoding="utf-8")


def defaults() -> dict[str, Any]:
    whole = Recipe(name="x").model_dump(mode="json")
    whole["policy"]["lora"] = LoraSettings().model_dump(mode="json")
    found: dict[str, Any] = {}
    for key in leaves(Recipe):
        value: Any = whole
        for part in key.split("."):
            value = value[part]
        if ".train" not in key and (not isinstance(value, dict) or not value):
            found[key] = value
    return found


def test_every_key_is_listed_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", PAGE.split("## All keys")[1], re.MULTILINE))
    expected = defaults()
    assert set(rows) - {"policy.lora"} == set(expected)
    for key, default in expected.items():
        if key != "name":
            assert yaml.safe_load(rows[key].strip("`")) == default, key


def test_every_training_setting_is_named() -> None:
    last = PAGE.rsplit("Each training stage", 1)[1]
    fields = {key.rsplit(".", 1)[1] for key in leaves(Recipe) if key.startswith("sft.train.")}
    assert all(f"`{name}`" in last for name in fields - {"seed", "precision"})


def test_every_shipped_recipe_is_listed_with_its_stages() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9_]+)` \| ([a-z_, ]+) \|", PAGE, re.MULTILINE))
    assert set(SHIPPED) <= set(rows)
    for name in SHIPPED:
        if rows[name] != "the same":
            assert tuple(rows[name].split(", ")) == load_recipe(name).stages


def test_every_shipped_reward_is_listed() -> None:
    listed = PAGE.split("## Your own reward")[1].split("## Your own recipe")[0]
    rows = [line.split("|")[1] for line in listed.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {RECONSTRUCTION, *REWARDS}


@pytest.mark.parametrize("line", re.findall(r"^rise run .*", PAGE, re.MULTILINE))
def test_the_commands_shown_are_accepted(line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    assert load_recipe(words[0], [word for word in words[1:] if "=" in word]).stages


def test_the_recipe_shown_loads(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    path = tmp_path / "my-sft.yaml"
    path.write_text(text.group(1), encoding="utf-8")
    assert load_recipe(path).sft.epochs == 5


def test_the_sweep_shown_loads_and_the_shipped_ones_are_listed(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", EXPERIMENTS, re.DOTALL)
    assert text is not None
    path = tmp_path / "mine.yaml"
    path.write_text(text.group(1), encoding="utf-8")
    assert len(cells(load_sweep(path), tmp_path)) == 3 * 2 * 3 * 3
    assert set(re.findall(r"^\| `(\w+)` \|", EXPERIMENTS, re.MULTILINE)) == set(SWEEPS)


@pytest.mark.parametrize("line", re.findall(r"^rise (?:compare|sweep|harvest|explain) .*", EXPERIMENTS, re.MULTILINE))
def test_the_commands_of_the_experimenter_are_parsed(line: str) -> None:
    words = shlex.split(line)[1:]
    command = typer.main.get_command(build(words[0]))
    context = command.make_context("rise", list(words))
    _, inner, rest = command.resolve_command(context, words)
    parsed = inner.make_context(words[0], list(rest), parent=context)
    assert any(value for name, value in parsed.params.items() if name != "help"), line


@pytest.mark.parametrize("cell", re.findall(r"^\| [^|]* \| (`.*=.*`) \|$", PAGE.split("## Your own reward")[0], re.M))
def test_the_ablations_shown_are_accepted(cell: str) -> None:
    for line in re.findall(r"`([^`]+)`", cell):
        assert load_recipe("rise", shlex.split(line)).stages


def test_each_choice_of_the_method_names_the_arms_that_measure_it() -> None:
    table = (PAGE_FOLDER / "method.md").read_text(encoding="utf-8").split("## Each choice")[1].split("\n## ")[0]
    arms = [arm for sweep in ("ablations", "ablations_rft") for arm in load_sweep(sweep).arms.items()]
    assert set(re.findall(r"`(rise_\w+)`", table)) == {name for name, how in arms if how.recipe == "rise"}


def test_the_differences_that_the_method_shows_are_those_of_the_results() -> None:
    table = (PAGE_FOLDER / "method.md").read_text(encoding="utf-8").split("## Each choice")[1].split("\n## ")[0]
    shown = {arm: tuple(figures.split(", ")) for arm, figures in re.findall(r"`(rise_\w+)` \(([^)]*)\)", table)}
    results = (PAGE_FOLDER / "results.md").read_text(encoding="utf-8")
    measured = {}
    for sweep in ("ablations", "ablations_rft"):
        rows = results.split(f"<!-- rise sweep {sweep} -->")[1].split(f"<!-- end of rise sweep {sweep} -->")[0]
        for arm, *leads in re.findall(r"^\| (rise[ \w]+) \| [^|]* \| ([^|]*) \| [^|]* \| ([^|]*) \|", rows, re.M):
            if leads[0].strip():
                measured[arm.replace(" ", "_")] = tuple(cell.strip("* ").split(" ")[0] for cell in leads)
    assert measured and shown == measured


def test_the_summary_of_the_results_is_that_of_their_tables() -> None:
    results = (PAGE_FOLDER / "results.md").read_text(encoding="utf-8")
    head, *sections = re.split(r"^### ", results, flags=re.M)
    header, _, *rows = [line for line in head.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header.strip("|").split("|")][1:-1]
    assert len(rows) == 5
    for row in rows:
        where, *cells, floor = [cell.strip() for cell in row.strip("|").split("|")]
        world, records, _ = where.split(", ")
        tables = [one for one in sections if re.match(rf"{world}, (?:all )?{records} training records", one)]
        name, found = re.fullmatch(r"(\*.*\*) (.*)", floor).groups()
        shown = dict(zip(columns, cells, strict=True)) | {name: found}
        for arm, figures in shown.items():
            line = next(line for line in tables[0].splitlines() if line.startswith(f"| {arm} |"))
            told = [cell.strip().split(" ")[0] for cell in line.strip("|").split("|")]
            assert figures == f"{told[1]}, {told[3]}", (where, arm)


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    summary = (PAGE_FOLDER / "results.md").read_text(encoding="utf-8").split("\n## ")[0]
    full = {row.split(",")[0]: row for row in re.findall(r"^\| (`\w+`, (?:300|1500|100), .*) \|$", summary, re.M)}
    readme = (PAGE_FOLDER.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`): [^|]* records \| (.*) \|$", readme, re.M)
    assert len(rows) == 4
    for world, told in rows:
        figures = [re.findall(r"\d\.\d+", cell) for cell in full[world].split("|")[1:]]
        rise, no_loop, answers, _, visual, _, floor = [
            ", ".join(f"{float(one) + 1e-9:.2f}" for one in two) for two in figures
        ]
        assert told.split(" | ") == [rise, no_loop, answers, visual, floor], world
