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
from sppcli.runtime.shards import Shard
from tests.conftest import Run
from tests.stages.conftest import SCALES, Work


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


@pytest.fixture
def spread(work: Work, run: Run) -> Path:
    """The trained folder with shards as a cluster leaves them, which features.h5 leads to, and one made by hand."""
    for name, command in (
        ("proposals.h5", ("propose", "shapes", "-j", "1", "--max-proposals", "30")),
        ("features.h5", ("extract", "--weights", "net.safetensors", "--scales", SCALES)),
    ):
        folder = work.folder / f"{name}.shards"
        folder.mkdir()
        shards = []
        for shard in Shard.all(2):
            assert run(*command, "--shard", str(shard), "-o", str(folder / name))[0] == 0
            shards.append(str(shard.path(folder / name)))
        assert run("merge", *shards, "-o", name, "--force")[0] == 0
    return work.folder


def test_shards_go_with_the_file_that_leads_to_them_and_never_without_it(spread: Path, run: Run) -> None:
    names_of = {Path(item["path"]).name: item for item in json.loads(run("clean", "--json")[1])["files"]}
    assert set(names_of) == {"features.h5", "proposals.h5.shards"}
    assert names_of["proposals.h5.shards"]["what"] == "shards of a run that has ended"
    inside = sum(path.stat().st_size for path in (spread / "features.h5.shards").iterdir())
    assert names_of["features.h5"]["bytes"] == inside + (spread / "features.h5").stat().st_size
    assert "features.h5 and features.h5.shards" in run("clean")[1]
    assert names(run("clean", "features.h5.shards", "--json")[1]) == set()  # the file above leads there
    assert run("clean", "--yes", "--keep", "features")[0] == 0
    assert not (spread / "proposals.h5.shards").exists()
    assert run("info", "features.h5", "--verify")[0] == 0
    assert run("clean", "--yes")[0] == 0
    assert not (spread / "features.h5").exists()
    assert not (spread / "features.h5.shards").exists()


def test_shards_of_a_run_that_has_not_ended_may_go_if_nobody_works_on_them(spread: Path, run: Run) -> None:
    (spread / "proposals.h5").unlink()
    (spread / "lone.shard-1-of-2.h5.attempts").mkdir()
    found = {Path(item["path"]).name: item["what"] for item in json.loads(run("clean", "--json")[1])["files"]}
    assert found["proposals.h5.shards"] == "shards of a run that has not ended"
    assert found["lone.shard-1-of-2.h5.attempts"].startswith("parts of a run that has not ended")
    assert names(run("clean", "--json", "--keep", "shards,parts")[1]) == {"features.h5"}
    with held(spread / "proposals.h5.shards"), held(spread / "features.h5.shards"):
        assert "proposals.h5.shards" not in names(run("clean", "--json")[1])
    with held(spread / "proposals.h5.shards" / "proposals.shard-1-of-2.h5"):
        assert "proposals.h5.shards" not in names(run("clean", "--json")[1])
    assert run("clean", "--yes", "--keep", "features")[0] == 0
    assert not (spread / "proposals.h5.shards").exists()


def test_shards_made_by_hand_go_with_the_file_that_leads_to_them(spread: Path, run: Run) -> None:
    shards = sorted((spread / "features.h5.shards").glob("*.h5"))
    by_hand = [path.rename(spread / path.name) for path in shards]
    assert run("merge", *map(str, by_hand), "-o", "features.h5", "--force")[0] == 0
    (item,) = [item for item in json.loads(run("clean", "--json")[1])["files"] if item["path"] == "features.h5"]
    assert item["also"] == [path.name for path in by_hand]
    assert "features.h5 and 2 shards" in run("clean")[1]


def test_usage(run: Run, tmp_path: Path) -> None:
    assert run("clean", str(tmp_path / "no"))[0] == 3
    assert run("clean", str(tmp_path), "--keep", "everything")[0] == 2
