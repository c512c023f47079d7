"""The command ``rise``: one table, command name -> module in ``commands/``.

Only the module of the command that was asked for is imported, so ``rise --help`` never loads torch.
A command module offers ``main`` (a function with Typer annotations) or ``app`` (a ``typer.Typer``, for a group).
Left out: what the commands do, and shell completion.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from rise_vlm import __version__, ranks, signals
from rise_vlm.console import say
from rise_vlm.errors import Interrupted, UserError

COMMANDS: dict[str, str] = {
    "demo": "See RISE work: four ways to train on the same records, judged side by side, in minutes.",
    "run": "Run a recipe on a dataset: every stage, the evaluation and the report.",
    "data": "Make, import, export and check datasets.",
    "annotate": "Annotate images with a trained model: an answer and its rationale for each.",
    "review": "Accept, correct or reject annotations on a local page, and write a dataset of them.",
    "serve": "Answer Label Studio and other programs with a trained model, over HTTP.",
    "evaluate": "Score a model on a split of a dataset.",
    "compare": "Compare runs that answered the same records: differences, intervals, power, cost.",
    "sweep": "Run arms x datasets x sizes x seeds, and fill a page with the tables.",
    "harvest": "Keep a model's best rationales for a dataset's records.",
    "explain": "Let a teacher write rationales for a dataset, and keep the verified ones.",
    "report": "Write the HTML page of a run.",
    "bench": "Measure a training step of ours beside TRL's and the official code's.",
    "doctor": "Check this installation and this machine.",
}
"""Command name -> the line shown for it by ``rise --help``, in the order shown there."""

CONTINUED = ("demo", "run", "annotate", "evaluate", "sweep", "harvest", "explain")
"""Those that keep what they have finished and go on from there; what the others write is whole or not there at all."""

TOGETHER = ("run",)
"""Those that several processes may share."""

# What a full disk, a read-only folder or a missing permission raises; never a bug of ours.
_STORAGE_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rise-vlm {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and stop.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Teach a vision-language model to annotate images and to say why, from the annotations alone."""


def _placeholder() -> Callable[[], None]:
    def listed() -> None: ...

    return listed


def build(wanted: str | None) -> typer.Typer:
    """The Typer application with the command ``wanted`` loaded and all others listed by name only."""
    # Markdown, because rich's own markup would swallow a help text like "[key=value ...]".
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    app.callback()(_root)
    for name, line in COMMANDS.items():
        if name != wanted:
            app.command(name, help=line)(_placeholder())
            continue
        module = importlib.import_module(f"rise_vlm.commands.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.main)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    if ranks.size() > 1 and wanted not in TOGETHER:
        say(f"rise: several processes can share 'rise run', not 'rise {wanted}'. Start it without a launcher.")
        return 2
    try:
        build(wanted)(args=list(arguments), prog_name="rise")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return _interrupted(wanted) if code == 130 else code
    except KeyboardInterrupt:
        return _interrupted(wanted)
    except UserError as error:
        if ranks.is_main() or not isinstance(error, ranks.Echo | ranks.Lost | Interrupted):
            say(f"rise: {error}", everywhere=True)
        return error.exit_code
    except Exception as error:
        return _failed(error)
    finally:
        ranks.stop()
    return 0


def _interrupted(command: str | None) -> int:
    if command in CONTINUED:
        say("rise: interrupted. What was finished is kept; the same command continues from there.")
    else:
        say("rise: interrupted. The same command starts over.")
    return 130


def _failed(error: Exception) -> int:
    """Tell the errors of the machine in one line; anything else is a bug and keeps its traceback."""
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
        where = f" {error.filename}" if error.filename else ""
        told = f"rise: cannot write or read{where}: {error.strerror}. Free some space or choose another folder."
        say(told, everywhere=True)
        return 1
    if _out_of_memory(error):
        trains = "torch" in sys.modules
        hint = (
            "Lower train.token_budget or max_pixels, or use LoRA." if trains else "What was read is too large for it."
        )
        say(f"rise: memory ran out. {hint}", everywhere=True)
        return 1
    traceback.print_exception(error)
    say("rise: this is a bug in rise-vlm. Please report it in the project's issues, with the lines above, the command")
    say("and the output of `rise doctor --json`.")
    return 1


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or "torch" not in sys.modules:  # torch is not imported for every command
        return isinstance(error, MemoryError)
    from rise_vlm.policy.room import out_of_memory

    return out_of_memory(error)


def main() -> None:
    """Entry point of the command ``rise``, behind ``__main__``."""
    signals.take()
    # Set before any library is imported: no telemetry, no chatter between our own lines.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(run(sys.argv[1:]))
