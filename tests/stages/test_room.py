"""Disks without room: said before the work, or in one sentence with the name that the user gave."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from safetensors import SafetensorError

from sppcli.artefacts.store import open_artefact
from sppcli.nets import weight_files
from sppcli.runtime import files
from tests.stages.conftest import SCALES, Run, Work


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``free(n)``: the disk has n bytes free."""
    return lambda count: monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, count))


COMMANDS = {
    "extract": ("extract", "--weights", "net.safetensors", "--scales", SCALES, "-o", "new.h5"),
    "extract --method rcnn": ("extract", "--method", "rcnn", "--weights", "net.safetensors", "-o", "new.h5"),
    "features": ("features", "shapes", "--weights", "net.safetensors", "--side", "48", "-o", "new.h5"),
    "convert": ("convert", "shapes", "new", "--to", "coco"),
    "finetune": ("finetune", "--iterations", "2", "-o", "new.safetensors"),
    "train-detector": ("train-detector", "--weights", "net.safetensors", "--fc", "16", "-o", "new.safetensors"),
    "train-net": ("train-net", "crops", "--net", "tiny", "--sizes", "24", "--epochs", "1", "-o", "new.safetensors"),
}


@pytest.mark.parametrize("stage", COMMANDS)
def test_what_cannot_fit_is_not_begun(work: Work, run: Run, free: Callable[[int], None], stage: str) -> None:
    for name in ("a/1", "a/2", "b/1", "b/2"):
        Path("crops", name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (0, 0, 60 * int(name[2]))).save(f"crops/{name}.png")
    free(1000)
    code, _, err = run(*COMMANDS[stage])
    assert code == 3
    assert "new" in err
    assert "bytes are needed and 1,000 are free; free some space or name another place" in " ".join(err.split())
    assert not any(Path(name).exists() for name in ("new", "new.h5", "new.safetensors", "new.csv"))


def test_what_may_not_fit_is_said(work: Work, run: Run, free: Callable[[int], None]) -> None:
    plain = 0
    for count in (10**12, 4 * 10**5):
        free(count)
        code, _, err = run(*COMMANDS["extract"], "--force")
        assert code == 0, err
        plain += "bytes are needed while it is made" in " ".join(err.split())
    assert plain == 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("train-bbox", "-o", "new.h5", "-q"), "new.h5"),
        (("detect", "--format", "coco", "-o", "new.json", "-q"), "new.json"),
        (("detect", "--format", "voc", "-o", "new", "-q"), "new/comp4_det_test_triangle.txt"),
        (("show", "proposals.h5", "-o", "new.png", "-q"), "new.png"),
        (("evaluate", "--proposals", "--plot", "new.png", "-q"), "new.png"),
        (("finetune", "--iterations", "2", "-o", "new.safetensors", "-q"), "new.safetensors"),
    ],
)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file_as_it_was_given(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], name: str, code: int
) -> None:
    """What was there stays, and nothing is left beside it."""

    def full(temporary: Path, path: Path) -> None:
        raise OSError(code, os.strerror(code), str(temporary))

    monkeypatch.setattr(files, "commit", full)
    before = {path.name for path in Path().iterdir()}
    status, _, err = run(*arguments)
    text = " ".join(err.split())
    assert status == 3, err
    assert f"error: {name}: the disk" in text
    assert "bytes are needed); free some space or name another place" in text
    assert ".tmp" not in text
    assert "Traceback" not in text
    assert {path.name for path in Path().iterdir()} - before <= {"new", "new.csv"}
    assert not any(Path("new").glob("*"))


def full_at(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be longer than ``limit``, and nothing is free beside it: of the 4 KiB or so there are."""
    write = os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if offset + len(data) > limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 0))


@pytest.mark.parametrize("limit", [0, 1024, 4096])
@pytest.mark.parametrize("stage", ["train-svm", "train-bbox", "detect", "propose"])
def test_a_full_disk_says_how_much_is_needed(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, stage: str, limit: int
) -> None:
    """From the first write that fails on: at least what the table that failed has."""
    whole = Path({"train-svm": "svm.h5", "train-bbox": "bbox.h5"}.get(stage, "whole.h5"))
    more = ("shapes", "-j", "1") if stage == "propose" else ()
    if not whole.exists():
        assert run(stage, *more, "-o", str(whole), "-q")[0] == 0
    size = whole.stat().st_size
    with monkeypatch.context() as patch:
        full_at(limit, patch)
        code, _, err = run(stage, *more, "-o", "new.h5", "-q")
    text = " ".join(err.split())
    assert code == 3, err
    assert "error: new.h5: the disk is full" in text
    found = re.search(r"\(([\d,]+) bytes are free, at least ([\d,]+) bytes are needed\); free some space", text)
    assert found, text
    room, needed = (int(number.replace(",", "")) for number in found.groups())
    assert room <= limit < needed
    if stage == "train-svm":
        with open_artefact(whole) as made:
            assert made.array("weights").nbytes <= needed <= size


def test_a_network_says_how_much_it_needs(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: Path, **named: object) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 0))
        raise SafetensorError(f"I/O error: {os.strerror(errno.ENOSPC)} (os error {errno.ENOSPC})")

    monkeypatch.setattr(weight_files, "save_file", full)
    code, _, err = run("finetune", "--iterations", "2", "-o", "new.safetensors", "-q")
    assert code == 3
    found = re.search(r"(\d+) bytes are free, at least ([\d,]+) bytes are needed", " ".join(err.split()))
    assert found, err
    assert found[1] == "0"
    assert int(found[2].replace(",", "")) > 10_000


def test_a_full_disk_has_no_room_for_notes(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the name of who holds the lock, which is left out; not for the parts' key, which is told."""

    def full(self: Path, *arguments: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        patch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 0))
        assert run("train-svm", "--force", "-q")[0] == 0
        code, _, err = run("propose", "shapes", "-j", "1", "-o", "new.h5", "-q")
    assert code == 3
    assert "error: new.h5: the disk is full (0 bytes are free, at least 64 bytes are needed); free some" in err


@pytest.mark.parametrize("link", [(), ("--link",)])
def test_a_folder_for_which_there_is_no_room(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, link: tuple[str, ...]
) -> None:
    """What the system names is the image that was to be copied, or nothing."""

    def full(source: object, target: object = None, *more: object) -> None:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not link:
            error.filename, error.filename2 = str(source), str(target)
        raise error

    monkeypatch.setattr(Path, "symlink_to", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    code, _, err = run("convert", "shapes", "new", "--to", "yolo", *link, "-q")
    assert code == 3
    assert "error: new: the disk is full" in " ".join(err.split())
    assert ".jpg" not in err
    assert not list(Path().glob("*new*"))


def test_voc_results_are_replaced_together(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the second file leaves all of an earlier run's as they were."""
    assert run("detect", "--format", "voc", "-o", "new", "-q")[0] == 0
    before = {path: path.read_bytes() for path in Path("new").iterdir()}
    assert len(before) == 3
    write, count = Path.write_text, []

    def full(self: Path, *arguments: object, **named: object) -> int:
        count.append(self)
        if len(count) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        code, _, err = run("detect", "--format", "voc", "-o", "new", "--min-score", "0.5", "-q")
    assert code == 3
    assert "error: new/comp4_det_test_square.txt: the disk is full" in " ".join(err.split())
    assert {path: path.read_bytes() for path in Path("new").iterdir()} == before


def test_no_memory(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sppcli.detection import box_training

    def none(*arguments: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(box_training, "_no_regressors", none)
    code, _, err = run("train-bbox", "--force", "-q")
    assert code == 3
    assert "error: out of memory; use fewer processes" in err
    assert "Traceback" not in err
