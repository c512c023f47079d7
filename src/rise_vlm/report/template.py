"""What all pages share: how a template is filled, and how a file is written. Left out: what a page says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rise_vlm.atomic import write_text
from rise_vlm.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"


def fill(
    template: str, filters: dict[str, Callable[..., Any]], styles: Sequence[str] = ("page.css",), **names: Any
) -> str:
    """The HTML of ``template``; all text in it is escaped, and what no encoding can hold is spelled out.

    ``style`` is the text of ``styles``. A name that the template uses and nobody gives is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= filters
    style = Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in styles))
    html = environment.get_template(template).render(style=style, **names)
    return html.encode("utf-8", "backslashreplace").decode()


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises UserError, exit code 1, where it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.", exit_code=1) from error
