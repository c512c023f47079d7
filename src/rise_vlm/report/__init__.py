"""One self-contained HTML page per run: what was run, results, curves, pictures, cost. Imports no torch."""

from rise_vlm.report.page import write_report

__all__ = ["write_report"]
