"""The tutorial's commands, one after the other, do what it says: on a small folder, with the presets as they are."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from sppcli.cli.main import main
from tests.conftest import build_voc

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SPP_TRAIN_DETECTOR_EPOCHS", "1")  # the preset makes 100 of so few images
    photos = build_voc(tmp_path / "photos", 12)
    # An object that is not there, so that something is missed.
    wrong = photos.annotation(photos.splits["test"][0])
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
    extra = f"<object><name>disc</name><bndbox>{box}</bndbox></object></annotation>"
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("</annotation>", extra), encoding="utf-8")
    (tmp_path / "new").mkdir()
    shutil.copy(photos.image(photos.splits["test"][0]), tmp_path / "new" / "a.jpg")
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        line, _, target = command.partition(" > ")
        program, *arguments = shlex.split(line)
        assert program == "spp"
        capsys.readouterr()
        assert main([*arguments, "-q"]) == 0, (command, capsys.readouterr().err)
        if target:
            Path(target).write_text(capsys.readouterr().out, encoding="utf-8")
    names = {path.name for path in tmp_path.iterdir()}
    assert {"spp.toml", "report.html", "worst.jpg", "detector.spp", "found.csv"} <= names
    assert "features.h5" not in names
    assert Path("found.csv").read_text(encoding="utf-8").startswith("image")
    assert [path.stem for path in Path("found").iterdir()] == ["a"]
