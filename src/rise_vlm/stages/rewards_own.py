"""A user's own reward, ``module:function`` or ``file.py:function``: where it is found and which form it has.

The form is ``reward(record, completion) -> float``, or TRL's (``rewards_trl``), told by its parameter ``completions``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError, nearest
from rise_vlm.stages.rewarding import GroupReward, Sampled, failed, finite, told
from rise_vlm.stages.rewards_trl import TrlReward

_RECORD = {"record", "row", "example"}
_COMPLETION = {
    "completion", "content", "generated", "generation", "output", "pred", "predict", "predicted", "prediction",
    "reply", "response", "text",
}  # fmt: skip
_NEITHER = {
    "annotation", "answer", "expected", "gold", "groundtruth", "gt", "image", "label", "problem", "prompt", "question",
    "reference", "sol", "solution", "target", "true", "truth",
}  # fmt: skip
"""Words in the names of parameters: for a record, for a completion, and for what is given as neither."""


def load_own(name: str) -> tuple[GroupReward, Path | None]:
    """The reward that ``home:function`` names, and the file of its code.

    Raises UserError where it is not found, cannot be imported, or has parameters that cannot be given.
    """
    home, _, attribute = name.rpartition(":")
    module = _module(name, home)
    function = getattr(module, attribute, None)
    if function is None:
        there = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"grpo.rewards: '{home}' has no function '{attribute}'.{nearest(attribute, there)}")
    source = getattr(module, "__file__", None)
    return _own(name, function), Path(source) if source else None


def _module(name: str, home: str) -> ModuleType:
    """The module of a reward: by its import name, also from the working directory, or the path of a ``.py`` file."""
    try:
        if home.endswith(".py"):
            return _from_file(Path(home))
        here = str(Path.cwd())
        if here not in sys.path:  # a console script does not look where it runs
            sys.path.append(here)
        return importlib.import_module(home)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        missing = "is not found" if error.name in (home, home.split(".")[0]) else f"needs '{error.name}', not found"
        raise UserError(
            f"grpo.rewards: '{name}': the module '{home}' {missing} (looked in {Path.cwd()} too)."
        ) from None
    except (Exception, SystemExit) as error:
        raise UserError(f"grpo.rewards: '{name}': importing '{home}' failed: {told(error)}.", exit_code=1) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"grpo.rewards: there is no file {path}.")
    name = f"rise_vlm_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"grpo.rewards: {path} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before its code runs: a dataclass looks its module up here
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _own(name: str, function: Any) -> GroupReward:
    if not callable(function):
        raise UserError(f"grpo.rewards: '{name}' is not a function.")
    if any(inspect.iscoroutinefunction(one) for one in (function, function.__call__)):
        raise UserError(f"grpo.rewards: '{name}' is asynchronous, which is not supported.")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise UserError(f"grpo.rewards: the parameters of '{name}' cannot be read.") from None
    if "completions" in parameters:
        return TrlReward(name, function, parameters)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters.values() if p.kind in kinds and p.default is p.empty]
    taken = [p for p in parameters.values() if p.kind in kinds]
    anything = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    keyword = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters.values())
    if keyword or len(needed) > 2 or (len(taken) < 2 and not anything):
        raise UserError(
            f"grpo.rewards: '{name}' takes ({', '.join(parameters)}); it must take (record, completion), or, as in "
            "TRL, completions and columns."
        )
    if _misnamed([p.name for p in taken]):
        raise UserError(
            f"grpo.rewards: '{name}' takes ({', '.join(parameters)}), but is given a record first and the text of a "
            "completion second: write (record, completion), in which record.annotation is the true answer."
        )
    return lambda group: _rewarded(name, function, group)


def _misnamed(names: Sequence[str]) -> bool:
    """Whether the first of some parameters is named as no record is, or the second as no completion is.

    By whole words, so that ``(r, c)`` and ``(example, output)`` pass, and ``(predict, ground_truth)`` does not.
    """
    for name, own, other in zip(names, (_RECORD, _COMPLETION), (_COMPLETION, _RECORD), strict=False):
        words = {form for word in name.lower().split("_") for form in (word, word.removesuffix("s"))}
        if words & (other | _NEITHER) and not words & own:
            return True
    return False


def _rewarded(name: str, function: Any, group: Sampled) -> list[float]:
    return [finite(name, group.record, _asked(name, function, group.record, text)) for text in group.completions]


def _asked(name: str, function: Any, record: Record, completion: str) -> Any:
    try:
        return function(record, completion)
    except (Exception, SystemExit) as error:
        raise failed(name, record, error) from error
