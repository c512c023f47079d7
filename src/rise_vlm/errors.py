"""The errors a user can cause. The command line prints them as one line, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's, told in one message that names the file, row or key and what to do.

    ``exit_code`` is 2 for wrong use (the default) and 1 where the work itself failed.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(UserError):
    """The user stopped the work with Ctrl-C; running the command again continues it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=130)


class DataError(UserError):
    """Bad data: a file, a row or an image that cannot be used."""


def nearest(word: str, options: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the option closest to ``word``, or an empty string when none is close."""
    match = difflib.get_close_matches(word, [str(option) for option in options], n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
