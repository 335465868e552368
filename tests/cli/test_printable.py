"""Names in files of others reach a terminal with their control characters as escapes, wherever they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sppcli.cli import console
from sppcli.cli.main import main
from sppcli.cli.printable import printable, printable_json
from tests.conftest import Run
from tests.datasets.annotated_sets import image_file, write_coco_file

NASTY = "\x1b]0;PWNED\x07\x1b[31m\x9b2J\u202egnp\x7f"
CLI = Path(console.__file__).parent
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def test_printable() -> None:
    assert printable("Müller, 中\t1\n") == "Müller, 中\t1\n"
    assert printable("\x1b[0m\x9b\u202e\r") == "\\x1b[0m\\x9b\\u202e\\x0d"
    assert printable("a\udcff") == "a\\udcff"
    assert json.loads(printable_json(json.dumps(NASTY, ensure_ascii=False))) == NASTY


def test_nothing_is_printed_past_the_console() -> None:
    """One place shows what names may hold; the other is where errors end."""
    printing = {
        path.relative_to(CLI).as_posix()
        for path in CLI.rglob("*.py")
        if re.search(r"click\.s?echo|\bprint\(|sys\.std(out|err)\.write", path.read_text(encoding="utf-8"))
    }
    assert printing <= {"console.py", "main.py"}


@pytest.fixture
def nasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A COCO set whose class and image have such names, one of its files no image."""
    monkeypatch.chdir(tmp_path)
    name = f"{NASTY}.png"
    image_file(Path("set/val") / "a.png").rename(Path("set/val") / name)
    (Path("set/val") / f"bad{name}").write_text("no image")
    rows = [{"id": i, "file_name": n, "width": 64, "height": 48} for i, n in enumerate((name, f"bad{name}"), 1)]
    thing = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12]}
    write_coco_file(Path("set/annotations/instances_val.json"), rows, [thing, {**thing, "image_id": 2}], {1: NASTY})
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "set"),
        ("check", "set", "--json"),
        ("convert", "set", "out", "--to", "voc"),
        ("convert", "set", "out", "--to", "coco"),
        ("propose", "set", "-j", "1", "--method", "edge-boxes", "--edges", "gradient"),
        ("propose", "set", "--strict", "-j", "1", "--method", "edge-boxes", "--edges", "gradient"),
        ("show", "set", "-o", "pictures/"),
        ("propose", NASTY),
        ("convert", "set", "out", "--to", NASTY),
        (NASTY,),
    ],
    ids=lambda arguments: " ".join(arguments[:2]).replace(NASTY, "NASTY"),
)
def test_no_control_character_is_printed(nasty: Path, run: Run, arguments: tuple[str, ...]) -> None:
    _, out, err = run(*arguments)
    assert "PWNED" in out + err or arguments[0] == "show" or arguments[:2] == ("convert", "set")
    assert _RAW.findall(out + err) == []


def test_a_table_on_a_terminal_has_none(
    nasty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["check", "set"]) in (0, 3)
    captured = capsys.readouterr()
    assert "PWNED" in captured.out + captured.err
    assert "\x1b]0;" not in captured.out + captured.err
    assert "\x07" not in captured.out + captured.err
