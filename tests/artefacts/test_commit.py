"""A file is whole or not there, whatever stops its writing; the parts of one are kept for the next run."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.parts import Parts
from sppcli.artefacts.store import create, open_artefact
from sppcli.errors import BadArtefact, BadInput, MissingInput
from tests.artefacts.written import fill, header, names_in, stop, write

# --- a file ---


class Interrupted(BaseException):
    """Not an Exception, as KeyboardInterrupt is not."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_nothing_is_left_of_an_interrupted_file(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error, match="stop"):
        stop(tmp_path / "svm.h5", error, header())
    assert names_in(tmp_path) == []


def test_an_interrupted_file_leaves_the_one_before(tmp_path: Path):
    write(tmp_path / "svm.h5")
    before = (tmp_path / "svm.h5").read_bytes()
    with pytest.raises(ValueError, match="stop"):
        stop(tmp_path / "svm.h5", ValueError, header(config={}))
    assert names_in(tmp_path) == ["svm.h5"]
    assert (tmp_path / "svm.h5").read_bytes() == before


def test_a_file_that_lacks_a_data_set_is_not_made(tmp_path: Path):
    with (
        pytest.raises(BadArtefact, match="the data set biases is missing"),
        create(tmp_path / "svm.h5", header()) as writer,
    ):
        fill(writer, "svm", without="biases")
    assert names_in(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path: Path):
    with (
        pytest.raises(MissingInput, match=r"svm.h5: the folder .*gone does not exist"),
        create(tmp_path / "gone" / "svm.h5", header()),
    ):
        pass
    with pytest.raises(MissingInput, match=r"the folder .*gone does not exist"):
        Parts(tmp_path / "gone" / "svm.h5", "key")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from sppcli.artefacts.parts import Parts
from sppcli.artefacts.store import create
from tests.artefacts.written import fill, header

def die():
    os.kill(os.getpid(), signal.SIGKILL)

target = Path(sys.argv[1])
"""


def run_killed(path: Path, code: str) -> None:
    """Run ``code`` in a process of its own; it kills itself as the kernel would, with no chance to tidy up."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(code), str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_process_leaves_no_file(tmp_path: Path):
    """Killed with all data sets written, before the file is closed."""
    path = tmp_path / "svm.h5"
    run_killed(
        path,
        """
        with create(target, header()) as writer:
            fill(writer, "svm")
            writer._file.flush()
            die()
        """,
    )
    assert not path.exists()
    assert all(name.startswith(".") and name.endswith(".tmp") for name in names_in(tmp_path))
    write(path)  # and the next run is not in its way
    with open_artefact(path, "svm"):
        pass


def test_a_killed_process_leaves_the_file_before(tmp_path: Path):
    path = tmp_path / "svm.h5"
    write(path)
    before = path.read_bytes()
    run_killed(
        path,
        """
        os.fsync = lambda descriptor: die()  # the file is complete, and not yet under its name
        with create(target, header(config={})) as writer:
            fill(writer, "svm")
        """,
    )
    assert path.read_bytes() == before


# --- parts ---


def stop_part(parts: Parts, name: str) -> None:
    with parts.create(name) as writer:
        writer.array("map", np.zeros(3))
        raise ValueError("stop")


def make_part(parts: Parts, name: str, value: float) -> None:
    with parts.create(name) as writer:
        writer.array("map", np.full((4, 5), value, dtype=np.float16), compress=True)


def test_parts_are_kept_for_the_next_run(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    assert not parts.has("000000")
    make_part(parts, "000000", 1)
    with pytest.raises(ValueError, match="stop"):
        stop_part(parts, "000001")
    again = Parts(target, "options")
    assert again.has("000000")
    assert not again.has("000001")
    with again.open("000000") as part:
        assert part.array("map").tolist() == [[1.0] * 5] * 4
    assert not list(again.folder.glob(".*"))  # half a part is swept away
    assert not target.exists()
    again.discard()
    assert names_in(tmp_path) == []


def test_parts_of_other_options_are_thrown_away(tmp_path: Path):
    target = tmp_path / "features.h5"
    make_part(Parts(target, "options"), "000000", 1)
    assert not Parts(target, "other options").has("000000")
    assert not Parts(target, "options").has("000000")  # and are not found again


def test_parts_are_thrown_away_when_asked(tmp_path: Path):
    target = tmp_path / "features.h5"
    make_part(Parts(target, "options"), "000000", 1)
    assert not Parts(target, "options", discard=True).has("000000")


def test_parts_without_their_key_are_thrown_away(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    make_part(parts, "000000", 1)
    (parts.folder / "key").unlink()
    assert not Parts(target, "options").has("000000")


@pytest.mark.parametrize("key", [b"", b"options\xff", b"\xb0ptions"])
def test_parts_whose_key_is_damaged_are_made_again(tmp_path: Path, key: bytes):
    parts = Parts(tmp_path / "features.h5", "options")
    make_part(parts, "000000", 1)
    (parts.folder / "key").write_bytes(key)
    assert Parts(tmp_path / "features.h5", "options").names() == []
    assert names_in(parts.folder) == ["key"]


@pytest.mark.parametrize("discard", [False, True])
def test_what_is_in_the_place_of_parts_is_not_removed(tmp_path: Path, discard: bool):
    """A folder, a file or a link of that name that no run has made."""
    folder, target = tmp_path / "features.h5.parts", tmp_path / "features.h5"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "key.txt").write_text("of somebody")
    for put in (
        lambda: folder.symlink_to(precious),
        lambda: folder.write_text("text"),
        lambda: precious.rename(folder),
    ):
        folder.unlink(missing_ok=True)
        put()
        with pytest.raises(BadInput, match=r"features.h5.parts is in the way.*; move it, or name another -o"):
            Parts(target, "options", discard)
    assert (folder / "key.txt").read_text() == "of somebody"


def test_parts_become_the_whole(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    for index in range(3):
        make_part(parts, f"{index:06d}", index)
    with create(target, header("features")) as writer:
        fill(writer, "features")
        for index in range(3):
            with parts.open(f"{index:06d}") as part:
                writer.copy_from(part, "map", f"maps/480/{index:06d}")
    parts.discard()
    assert names_in(tmp_path) == ["features.h5"]
    with open_artefact(target, "features") as artefact:
        for index in range(3):
            found = artefact.array(f"maps/480/{index:06d}")
            assert found.dtype == np.float16
            assert (found == index).all()


def test_a_process_killed_between_and_within_parts(tmp_path: Path):
    target = tmp_path / "features.h5"
    run_killed(
        target,
        """
        import numpy as np
        parts = Parts(target, "options")
        for index in range(4):
            with parts.create(f"{index:06d}") as writer:
                writer.array("map", np.full((4, 5), index, dtype=np.float16), compress=True)
                if index == 2:
                    writer._file.flush()
                    die()
        """,
    )
    parts = Parts(target, "options")
    assert [parts.has(f"{index:06d}") for index in range(4)] == [True, True, False, False]
    for index in range(2):
        with parts.open(f"{index:06d}") as part:
            assert (part.array("map") == index).all()
    assert names_in(parts.folder) == ["000000.h5", "000001.h5", "key"]
    assert not target.exists()
