"""``spp clean``: what may go, and that nothing else does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sppcli.runtime.locks import held
from tests.conftest import Run
from tests.stages.conftest import Work


@pytest.fixture
def littered(work: Work) -> Path:
    """The trained folder, with what killed runs leave behind."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, host = int(done.stdout), "".join(c if c.isalnum() or c in "-_" else "-" for c in socket.gethostname())
    (work.folder / "other.h5.parts").mkdir()
    (work.folder / "other.h5.parts" / "0.part").write_bytes(b"x" * 2000)
    (work.folder / "network.safetensors.checkpoint").write_bytes(b"x" * 3000)
    (work.folder / f".svm.h5.{host}.{dead}.tmp").write_bytes(b"x" * 1000)
    (work.folder / f".svm.h5.{host}.{os.getpid()}.tmp").write_bytes(b"x")
    (work.folder / "notes.h5").write_bytes(b"of somebody else")
    return work.folder


def names(out: str) -> set[str]:
    return {Path(item["path"]).name for item in json.loads(out)["files"]}


def test_what_may_go_is_listed_and_nothing_removed(littered: Path, run: Run) -> None:
    before = {path: path.stat().st_size for path in littered.rglob("*")}
    code, out, _ = run("clean", "--json")
    assert code == 0
    found = names(out)
    assert {"features.h5", "other.h5.parts", "network.safetensors.checkpoint"} <= found
    assert len(found) == 4
    code, out, _ = run("clean")
    assert "in 4 files and folders can go; 'spp clean --yes' removes them" in out
    assert {path: path.stat().st_size for path in littered.rglob("*")} == before


def test_what_is_removed_can_be_made_again(littered: Path, run: Run) -> None:
    kept = {"proposals.h5", "svm.h5", "bbox.h5", "net.safetensors", "shapes", "notes.h5"}
    code, out, _ = run("clean", "--yes", "--keep", "features")
    assert code == 0
    assert "3 files and folders removed" in out
    assert (littered / "features.h5").exists()
    code, out, _ = run("clean", "--yes")
    assert "1 file or folder removed" in out
    assert {path.name for path in littered.iterdir() if not path.name.startswith(".")} == kept
    assert run("clean")[1] == "nothing here can go\n"
    assert run("detect")[0] == 3


def test_what_a_run_works_on_stays(littered: Path, run: Run) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sppcli.runtime.locks import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "other.h5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=littered
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert "other.h5.parts" not in names(run("clean", "--json")[1])
        process.communicate()
    assert "other.h5.parts" in names(run("clean", "--json")[1])
    with held(littered / "elsewhere.h5"):
        assert run("clean")[0] == 0


def test_usage(run: Run, tmp_path: Path) -> None:
    assert run("clean", str(tmp_path / "no"))[0] == 3
    assert run("clean", str(tmp_path), "--keep", "everything")[0] == 2
