"""Ctrl-C and SIGTERM end a command in one line, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rise_vlm

RISE = [sys.executable, "-c", "from rise_vlm.__main__ import main; main()"]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def environment(*folders: Path) -> dict[str, str]:
    """This one, for a process that imports from ``folders`` first, and then what is tested here."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, Path(rise_vlm.__file__).parents[1])))}


def stopped(tmp_path: Path, number: int, *command: str, torch: str) -> tuple[int, str]:
    """Exit code and stderr of a command that gets a signal where it imports ``torch``, a module of these lines."""
    (tmp_path / "torch.py").write_text(f"import os, time\nNUMBER = {int(number)}\n{torch}", encoding="utf-8")
    done = subprocess.run([*RISE, *command], env=environment(tmp_path), capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@SIGNALS
@pytest.mark.parametrize(
    "torch",
    [
        "os.kill(os.getpid(), NUMBER)\ntime.sleep(60)",
        "try:\n    os.kill(os.getpid(), NUMBER)\n    time.sleep(60)\nexcept BaseException:\n    raise ImportError",
    ],
    ids=["plain", "a library that turns all errors into its own"],
)
def test_while_libraries_load(tmp_path: Path, number: int, torch: str) -> None:
    code, err = stopped(tmp_path, number, "bench", "loop", "--alone", torch=torch)
    assert code == 130
    assert err.splitlines()[-1] == "rise: interrupted while the libraries were loading. Run the same command again."
    assert "Traceback" not in err and "Sizes to measure" in err


@SIGNALS
def test_at_work(number: int) -> None:
    work = f"os.kill(os.getpid(), {int(number)}); time.sleep(60)"
    lines = ["import os, time", "from rise_vlm import cli", "def work(**_):", f"    {work}"]
    lines += ["cli.build = lambda wanted: work", "cli.main()"]
    command = [sys.executable, "-c", "\n".join(lines), "run"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 130
    assert done.stderr == "rise: interrupted. What was finished is kept; the same command continues from there.\n"
