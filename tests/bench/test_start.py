"""The start is measured on programs that say what they should."""

from pathlib import Path

from sppcli.bench import start
from sppcli.bench.measure import Machine
from sppcli.cli.main import COMMANDS


def test_rows_name_the_slowest_command(monkeypatch):
    calls = []

    def said(program: Path, *arguments: str) -> str:
        calls.append((program.stem, *arguments))
        return original(program, *arguments)

    original = start.said
    monkeypatch.setattr(start, "said", said)
    everything, command = start.rows(Machine(1, {"fp32": 1.0}, 1.0), ["info", "fetch"], 1)
    # Once to warm up, once on the clock, all in turn.
    wanted = [("empty",), ("bare", "--help"), ("bare", "hello", "--help"), ("spp", "--help")]
    wanted += [("spp", "info", "--help"), ("spp", "fetch", "--help")]
    assert calls == 2 * wanted
    assert everything.what == "spp --help"
    assert command.what in ("spp info --help, the slowest of 2", "spp fetch --help, the slowest of 2")
    for row in (everything, command):
        assert row.floor > 0
        assert row.seconds > 0
        assert row.peer_seconds > 0


def test_programs_are_what_they_stand_for(tmp_path):
    bare, spp = tmp_path / "bare.py", tmp_path / "spp.py"
    bare.write_text(start._BARE)
    spp.write_text(start._ENTRY)
    assert start.said(bare, "--help").startswith("Usage: bare.py [OPTIONS] COMMAND")
    assert "So often.  [default: 1]" in start.said(bare, "hello", "--help")
    assert "SPP-net (spatial pyramid pooling" in start.said(spp, "--help")
    assert start.said(spp, "info", "--help").startswith("Usage: spp info")
    names = tmp_path / "names.py"
    names.write_text(start._NAMES)
    assert start.said(names).split() == list(COMMANDS)
