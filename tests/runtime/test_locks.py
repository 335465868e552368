"""Two runs on one output: the second is told who works, or waits; a lock ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sppcli.errors import Busy
from sppcli.runtime.locks import held, lock_file, one_at_a_time, one_training_at_a_time
from sppcli.runtime.options import RunOptions
from tests.conftest import Run, Voc

HOLDER = """
import sys, time
from pathlib import Path
from sppcli.runtime.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(output: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that has the lock of ``output``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(output), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_works(tmp_path: Path, voc: Voc, run: Run) -> None:
    output = tmp_path / "p.h5"
    with holder(output, 60) as other:
        code, _, err = run("propose", str(voc.root), "-o", str(output), "-q")
        other.kill()
    assert code == 3
    assert f"p.h5: process {other.pid} on " in err
    assert "works on it; wait until it has ended, or give --wait" in err
    assert not output.exists()


def test_the_second_waits(tmp_path: Path, voc: Voc, run: Run) -> None:
    output = tmp_path / "p.h5"
    with holder(output, 1):
        assert run("propose", str(voc.root), "-o", str(output), "-q", "--wait", "--max-proposals", "5")[0] == 0
    assert output.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    output = tmp_path / "p.h5"
    with holder(output, 60) as other:
        with pytest.raises(Busy), held(output):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        with held(output):
            assert lock_file(output).exists()
    assert not lock_file(output).exists()


def test_one_waits_for_many_in_turn(tmp_path: Path) -> None:
    """Each deletes the lock's file at its end; nobody is left with a file that has no name."""
    output = tmp_path / "p.h5"
    counter = tmp_path / "counter"
    counter.write_text("0")
    code = (
        "import sys\nfrom pathlib import Path\nfrom sppcli.runtime.locks import held\n"
        "from sppcli.runtime.options import RunOptions\ncounter = Path(sys.argv[2])\nfor _ in range(20):\n"
        "    with held(Path(sys.argv[1]), RunOptions(wait=True)):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    many = [subprocess.Popen([sys.executable, "-c", code, str(output), str(counter)]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in many] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_a_link_and_what_it_leads_to_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link.h5").symlink_to(tmp_path / "real.h5")
    assert lock_file(tmp_path / "link.h5") == lock_file(tmp_path / "real.h5")


def test_a_dry_run_and_a_stage_without_output_need_no_lock(tmp_path: Path) -> None:
    @one_at_a_time
    def stage(output: Path | None, *, options: RunOptions) -> int:
        return 7

    with holder(tmp_path / "p.h5", 60) as other:
        assert stage(tmp_path / "p.h5", options=RunOptions(dry_run=True)) == 7
        assert stage(None, options=RunOptions()) == 7
        with pytest.raises(Busy):
            stage(tmp_path / "p.h5", options=RunOptions())
        other.kill()


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    from sppcli.runtime.files import replacing

    other = tmp_path / f".p1.h5.{os.uname().nodename}.999999999.tmp"
    other.write_text("of a process that has ended, for p1.h5")
    with replacing(tmp_path / "p[1].h5") as temporary:
        temporary.write_text("x")
    assert other.exists()
    with replacing(tmp_path / "p1.h5") as temporary:
        temporary.write_text("x")
    assert not other.exists()


def test_what_another_computer_writes_is_left_alone(tmp_path: Path) -> None:
    from sppcli.runtime.files import replacing

    theirs = tmp_path / ".p.h5.some-other-host.1.tmp"
    theirs.write_text("x")
    with replacing(tmp_path / "p.h5") as temporary:
        temporary.write_text("x")
    assert theirs.exists()


def wait_for(path: Path, pattern: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path, voc: Voc) -> None:
    command = [sys.executable, "-m", "sppcli", "propose", str(voc.root), "-j", "2", "-q"]
    process = subprocess.Popen(
        [*command, "--mode", "quality"], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path, "proposals.h5.parts/*.h5")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert err.splitlines()[-1].startswith("spp propose: terminated; nothing is left half-written")
    end = time.monotonic() + 30
    while sessions(process.pid):
        assert time.monotonic() < end, sessions(process.pid)
        time.sleep(0.1)
    done = subprocess.run([*command, "--mode", "quality"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "proposals" in path.name) == ["proposals.h5"]


def sessions(leader: int) -> list[int]:
    """Processes of the session of ``leader`` that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_processes_that_train_as_one_share_the_lock_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @one_training_at_a_time
    def stage(output: Path) -> int:
        return 7

    @one_at_a_time
    def alone(output: Path) -> int:
        return 7

    with holder(tmp_path / "n.safetensors", 60) as first:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        assert stage(tmp_path / "n.safetensors") == 7
        # A stage that no processes work on together has its lock in each of them.
        with pytest.raises(Busy):
            alone(tmp_path / "n.safetensors")
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(Busy):
            stage(tmp_path / "n.safetensors")
        first.kill()
