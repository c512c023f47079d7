from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from PIL import Image

import rise_vlm
import rise_vlm.commands
from rise_vlm import cli
from rise_vlm.data import Card, DatasetWriter
from rise_vlm.errors import UserError


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(rise_vlm.__file__).parents[1])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Put a function in the place of ``rise demo``."""

    def install(body: Callable[[], None]) -> None:
        module = types.ModuleType("rise_vlm.commands.demo")
        module.main = body  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "rise_vlm.commands.demo", module)

    return install


def test_every_command_of_the_table_has_its_module() -> None:
    for name in cli.COMMANDS:
        module = importlib.import_module(f"rise_vlm.commands.{name}")
        assert hasattr(module, "main") or isinstance(module.app, typer.Typer)


def test_every_command_that_ends_by_itself_prints_json() -> None:
    def without(group: Any, path: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from without(command, f"{path}{name} ")
            elif not any("--json" in option.opts for option in command.params):
                yield f"{path}{name}"

    found = [line for name in cli.COMMANDS for line in without(typer.main.get_command(cli.build(name)), "")
             if line.split()[0] == name]  # fmt: skip
    assert sorted(found) == ["review", "serve"]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert "any command but `rise review` and\n`rise serve`" in readme


def test_every_module_with_a_command_is_in_the_table() -> None:
    for found in pkgutil.iter_modules(rise_vlm.commands.__path__):
        module = importlib.import_module(f"rise_vlm.commands.{found.name}")
        if hasattr(module, "main") or isinstance(getattr(module, "app", None), typer.Typer):
            assert found.name in cli.COMMANDS


def test_help_lists_every_command_and_loads_neither_torch_nor_a_command() -> None:
    done = python(
        "import sys; from rise_vlm import cli; code = cli.run(['--help']); "
        "heavy = ('torch', 'transformers', 'numpy', 'rise_vlm.commands'); "
        "loaded = [name for name in sys.modules if name in heavy]; "
        "print('loaded', loaded); sys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_the_help_of_each_command_comes_without_torch(name: str) -> None:
    done = python(
        f"import sys; from rise_vlm import cli; code = cli.run(['{name}', '--help']); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
    assert f"rise {name}" in done.stdout and done.stdout.strip().endswith("False")


def below(command: Any, *words: str) -> Iterator[tuple[list[str], Any]]:
    """A command and those in its group, each with the words that call it."""
    yield list(words), command
    for name, one in getattr(command, "commands", {}).items():
        yield from below(one, *words, name)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_no_word_of_a_help_text_is_lost_to_markdown(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    root = typer.main.get_command(cli.build(name))
    for words, command in below(root.commands[name], name):  # type: ignore[attr-defined]
        assert cli.run([*words, "--help"]) == 0
        shown = capsys.readouterr().out
        texts = [command.help or "", *(getattr(each, "help", None) or "" for each in command.params)]
        assert not [word for text in texts for word in text.split() if word.strip("`") not in shown]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["annotate", "nosuch", "DATA", "--task", "DATA"], 2, "model nosuch: no such folder"),
        (["evaluate", "nosuch", "DATA"], 2, "model nosuch: no such folder"),
        (["harvest", "nosuch", "DATA"], 2, "model nosuch: no such folder"),
        (["harvest", "tiny", "nosuch"], 2, "There is no folder nosuch"),
        (["run", "ans_sft", "data=DATA", "model=nosuch"], 2, "model nosuch: no such folder"),
        (["run", "ans_sft", "data=nosuch"], 2, "There is no folder nosuch"),
        (["report", "nosuch"], 2, "nosuch"),
    ],
)
def test_a_wrong_path_is_told_without_torch(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    card = Card(name="x", task="classification", classes=["a", "b"])
    with DatasetWriter(tmp_path / "data", card) as writer:
        for split in ("train", "test"):
            writer.add(split, id=split, image=Image.new("RGB", (30, 30), split == "test"), annotation="a")
    given = [argument.replace("DATA", str(tmp_path / "data")) for argument in arguments]
    done = python(f"import sys; from rise_vlm import cli; print(cli.run({given!r}), 'torch' in sys.modules)")
    assert done.stdout.splitlines()[-1] == f"{code} False", done.stderr
    assert says in done.stdout + done.stderr


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"rise-vlm {rise_vlm.__version__}\n"


def test_no_command_shows_the_help_and_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert "demo" in "".join(capsys.readouterr())


def test_a_mistyped_command_is_wrong_use_and_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["anotate"]) == 2
    assert "annotate" in capsys.readouterr().err


def test_an_unknown_option_is_wrong_use(
    command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda: None)
    assert cli.run(["demo", "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize("code", [1, 2])
def test_a_users_mistake_is_one_line_with_its_exit_code(
    command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str], code: int
) -> None:
    def mistake() -> None:
        raise UserError("recipe.yaml: unknown key 'lr'.", exit_code=code)

    command(mistake)
    assert cli.run(["demo"]) == code
    captured = capsys.readouterr()
    assert captured.err == "rise: recipe.yaml: unknown key 'lr'.\n" and captured.out == ""


def test_an_interrupt_exits_with_130_and_says_that_nothing_is_lost(
    command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    command(interrupt)
    assert cli.run(["demo"]) == 130
    err = capsys.readouterr().err
    assert "interrupted" in err and "continues" in err and "Traceback" not in err


def test_a_command_may_choose_its_exit_code(command: Callable[[Callable[[], None]], None]) -> None:
    def leave() -> None:
        raise typer.Exit(1)

    command(leave)
    assert cli.run(["demo"]) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_more_is_one_line_that_names_the_file(
    command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def full() -> None:
        raise OSError(number, os.strerror(number), "runs/demo/results.json")

    command(full)
    assert cli.run(["demo"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "runs/demo/results.json" in err and os.strerror(number) in err


def test_a_bug_keeps_its_traceback_and_says_where_to_report_it(
    command: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def bug() -> None:
        raise ZeroDivisionError("of our own making")

    command(bug)
    assert cli.run(["demo"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "of our own making" in err and "report it" in err
