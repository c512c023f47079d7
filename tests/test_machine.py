"""What the machine is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from rise_vlm import machine


def test_the_processor_is_read_where_linux_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\n\nvendor_id\t: other\n")
    monkeypatch.setattr(machine, "Path", lambda _: told)
    assert machine.processor("vendor_id") == "AuthenticAMD"
    assert machine.processor("model name") == "EPYC"
    assert machine.processor("flags") == ""
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "nothing")
    assert machine.processor("vendor_id") == ""
    assert machine.environment()["cpu"], "elsewhere what Python knows"
