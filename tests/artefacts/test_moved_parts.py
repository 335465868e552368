"""Parts moved into the file that they become: nothing is there twice, and no kill at any instant loses one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts import parts as parts_module
from sppcli.artefacts.moved_parts import read_moved
from sppcli.artefacts.parts import Moving, Parts, parts_folder, unfinished_parts
from sppcli.artefacts.store import create, open_artefact
from tests.artefacts.written import fill, header, names_in

NAMES = ("first", "second", "third")


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_MOVED_AT_ONCE", 1)


def make_parts(target: Path, side: int = 8) -> Parts:
    """Each of two maps that do not compress, and of an empty array, as an image without proposals has one."""
    parts = Parts(target, "options")
    for row, name in enumerate(NAMES):
        rng = np.random.default_rng(row)
        with parts.create(name) as writer:
            for scale in (480, 576):
                values = rng.integers(0, 2**15, (side, side + row, 4)).astype(np.uint16).view(np.float16)
                writer.array(f"maps/{scale}/000000", values, compress=True)
            writer.array("boxes", np.zeros((0, 4), np.float32), compress=True)
    return parts


def finish(parts: Parts, target: Path) -> None:
    """The first part twice: the same image may be in a data set under two names."""
    rows = (*NAMES, NAMES[0])
    with create(target, header("features"), parts.whole) as writer:
        fill(writer, "features")
        moving = Moving(parts, writer)
        for row, name in enumerate(rows):
            targets = {f"maps/{scale}/000000": f"maps/{scale}/{row:06d}" for scale in (480, 576)}
            moving.take(name, {**targets, "boxes": f"boxes/{row:06d}"}, last=name not in rows[row + 1 :])
    parts.discard()


def whole_file(target: Path) -> bytes:
    """What the file is when parts are only copied."""
    parts = make_parts(target)
    with create(target, header("features")) as writer:
        fill(writer, "features")
        for row, name in enumerate((*NAMES, NAMES[0])):
            with parts.open(name) as part:
                for scale in (480, 576):
                    writer.copy_from(part, f"maps/{scale}/000000", f"maps/{scale}/{row:06d}")
                writer.copy_from(part, "boxes", f"boxes/{row:06d}")
    parts.discard()
    return target.read_bytes()


def test_the_file_is_the_same_as_of_copied_parts(tmp_path: Path) -> None:
    expected = whole_file(tmp_path / "copied.h5")
    target = tmp_path / "features.h5"
    finish(make_parts(target), target)
    assert target.read_bytes() == expected
    assert names_in(tmp_path) == ["copied.h5", "features.h5"]


def test_nothing_is_there_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "features.h5"
    parts = make_parts(target, side=200)
    one = max(parts.path(name).stat().st_size for name in NAMES)
    used = []
    fsync = os.fsync

    def measured(descriptor: int) -> None:
        used.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", measured)
    finish(parts, target)
    # The first part is copied twice here, and goes last.
    assert max(used) < target.stat().st_size + 1.1 * one
    assert target.stat().st_size > 3.9 * one


KILLED = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from sppcli.artefacts import parts as module
from sppcli.artefacts.parts import Parts
from tests.artefacts.test_moved_parts import NAMES, finish, make_parts, whole_file

folder = Path(sys.argv[1])
module._MOVED_AT_ONCE = 1
expected = whole_file(folder / "copied.h5")
base = folder / "base"
base.mkdir()
parts = make_parts(base / "features.h5")
bytes_of = {name: parts.path(name).read_bytes() for name in NAMES}


def killed(work, after):
    \"\"\"Whether ``work`` is killed before its step ``after``: it opens, writes, syncs, renames, cuts or removes.\"\"\"
    child = os.fork()
    if child == 0:
        left = after

        def step(event="", arguments=()):
            nonlocal left
            if event in ("", "open", "os.rename", "os.remove", "os.truncate"):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        def counted(call):
            def run(*arguments):
                step()
                return call(*arguments)

            return run

        sys.addaudithook(step)
        os.pwrite, os.fsync = counted(os.pwrite), counted(os.fsync)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    return True


trials = twice = 0
for first in itertools.count(0, int(sys.argv[2])):
    trial = folder / "trial"
    target = trial / "features.h5"
    shutil.copytree(base, trial)
    if not killed(lambda: finish(Parts(target, "options"), target), first):
        break
    trials += 1
    if target.exists():
        assert target.read_bytes() == expected
    else:
        # And killed again while it goes on, at another step each time.
        twice += killed(lambda: finish(Parts(target, "options"), target), first % 23)
        if not target.exists():
            again = Parts(target, "options")
            for name in NAMES:
                assert again.has(name), (first, name)
                assert again.path(name).read_bytes() == bytes_of[name], (first, name)
            assert not again.whole.exists()
            assert len(list(again.folder.iterdir())) == len(NAMES) + 1
            finish(again, target)
        assert target.read_bytes() == expected
    shutil.rmtree(trial)
print(trials, twice)
"""


# Every fifth step is tried here, all of them with SPP_TEST_EVERY=1.
def test_killed_at_steps_of_all_kinds_and_once_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), os.environ.get("SPP_TEST_EVERY", "5")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trials, twice = map(int, done.stdout.split())
    assert trials > 20
    assert twice > 15


def stopped(target: Path) -> None:
    """A run that has moved its parts, and is stopped before the file is finished."""
    parts = make_parts(target)

    def stop() -> None:
        with create(target, header("features"), parts.whole) as writer:
            fill(writer, "features")
            moving = Moving(parts, writer)
            for name in NAMES:
                targets = {f"maps/{scale}/000000": f"maps/{scale}/{name}" for scale in (480, 576)}
                moving.take(name, targets, last=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert len(names_in(parts.folder)) == len(NAMES) + 2
    assert not any(path.suffix == ".h5" for path in parts.folder.iterdir())


def test_what_was_moved_still_counts(tmp_path: Path) -> None:
    stopped(tmp_path / "features.h5")
    assert unfinished_parts(tmp_path / "features.h5") == 3
    assert Parts(tmp_path / "features.h5", "options").names() == sorted(NAMES)


def test_a_part_of_which_something_is_damaged_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "features.h5"
    stopped(target)
    folder = parts_folder(target)
    second, third = folder / "second.moved", folder / "third.moved"
    second.write_bytes(second.read_bytes()[:-9])
    moved = read_moved(third)
    assert moved
    data = bytearray((folder / "whole").read_bytes())
    data[moved.start + 3] ^= 1
    (folder / "whole").write_bytes(data)
    parts = Parts(target, "options")
    assert [parts.has(name) for name in NAMES] == [True, False, False]


def test_other_options_throw_away_what_was_moved_too(tmp_path: Path) -> None:
    stopped(tmp_path / "features.h5")
    assert names_in(Parts(tmp_path / "features.h5", "others").folder) == ["key"]
    stopped(tmp_path / "more.h5")
    assert names_in(Parts(tmp_path / "more.h5", "options", discard=True).folder) == ["key"]


def test_parts_lie_where_the_file_will(tmp_path: Path) -> None:
    """Beside what a symbolic link leads to: on its disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    link = tmp_path / "features.h5"
    link.symlink_to(disk / "maps.h5")
    finish(make_parts(link), link)
    assert link.is_symlink()
    assert names_in(disk) == ["maps.h5"]
    with open_artefact(link, "features") as found:
        assert found.array("maps/480/000002").shape == (8, 10, 4)
