"""docs/formats.md says what the code does: its table is made from FORMATS, which the round trips prove."""

from __future__ import annotations

from pathlib import Path

from rise_vlm.data.formats import FEATURES, FORMATS

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def table() -> str:
    """The table of formats, as it must stand in docs/formats.md."""
    head = ["format", "reads", "tasks read", "tasks written", "kept", "lost, counted and said", "beware"]
    rows = [head, ["---"] * len(head)]
    for name, form in FORMATS.items():
        writes = bool(form.writes)
        rows.append(
            [
                f"`{name}`",
                form.reads,
                ", ".join(form.tasks),
                ", ".join(form.writes) or "none",
                ", ".join(what for key, what in FEATURES.items() if key in form.keeps) or ("nothing" if writes else ""),
                ", ".join(what for key, what in FEATURES.items() if key not in form.keeps) if writes else "",
                form.beware,
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def test_the_table_of_formats_is_up_to_date() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), table()


def test_every_option_of_import_is_told() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for option in {option for form in FORMATS.values() for option in form.options}:
        assert f"--{option}" in page
