"""A sealed file gives out what was written, or refuses; a written file keeps the first failure."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import BadArtefact
from sppcli.runtime import checksums
from sppcli.runtime.checksums import CheckedFile, WrittenFile, seal

BLOCK = checksums.BLOCKS[0]


def sealed(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    seal(path)
    return path


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 64), st.lists(st.tuples(st.integers(0, 210), st.integers(0, 210))))
def test_content_reads_back_wherever_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int, reads: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "BLOCKS", (block, block))
        path = sealed(tmp_path_factory.mktemp("sealed") / "file", content)
    with CheckedFile(path) as file:
        assert file.size == len(content)
        for start, count in reads:
            file.seek(start)
            assert file.read(count) == content[start : start + count]
        file.verify()


@settings(deadline=None)
@given(st.binary(max_size=150), st.integers(1, 64), st.data())
def test_every_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "BLOCKS", (block, block))
        path = sealed(tmp_path_factory.mktemp("sealed") / "file", content)
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    with pytest.raises((BadArtefact, OSError)), CheckedFile(path) as file:  # opening or reading refuses
        file.verify()


@pytest.mark.parametrize("cut", [1, 8, 40, 70])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    path = sealed(tmp_path / "file", bytes(100))
    os.truncate(path, path.stat().st_size - cut)
    with pytest.raises(BadArtefact, match="it does not end as a file of spp does"):
        CheckedFile(path)


def test_bytes_of_a_damaged_block_are_not_given_out(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3 * BLOCK)
    path = sealed(tmp_path / "file", content)
    with path.open("r+b") as file:
        file.seek(BLOCK + 5)
        file.write(bytes([content[BLOCK + 5] ^ 1]))
    with CheckedFile(path) as checked:
        assert checked.read(BLOCK) == content[:BLOCK]
        with pytest.raises(OSError, match="are not what was written"):
            checked.read(1)
        assert checked.failed == f"bytes {BLOCK:,} to {2 * BLOCK:,}"


def test_the_part_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * BLOCK))
    seal(path, {"boxes": [(10, BLOCK)], "scores": [(BLOCK + 10, 40), (2 * BLOCK + 7, 1)]})
    with path.open("r+b") as file:
        file.seek(2 * BLOCK + 1)
        file.write(b"x")
    with CheckedFile(path) as checked:
        with pytest.raises(OSError, match="are not what was written"):
            checked.verify()
        assert checked.failed == f"bytes {2 * BLOCK:,} to {3 * BLOCK:,} (scores)"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadArtefact, match="not a regular file"):
        CheckedFile(tmp_path / "pipe")


def test_the_library_of_hdf5_reads_and_writes_through_them(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((300, 70))
    path = tmp_path / "file.h5"
    with WrittenFile(path) as target:
        with h5py.File(target, "w") as file:
            file.create_dataset("plain", data=values)
            file.create_dataset("chunks", data=values, chunks=(50, 70), compression="gzip")
        target.check()
    seal(path)
    with CheckedFile(path) as checked, h5py.File(checked, "r") as file:
        np.testing.assert_array_equal(file["plain"][()], values)
        np.testing.assert_array_equal(file["chunks"][120:180], values[120:180])
    with h5py.File(path, "r") as file:  # what follows HDF5's own end is in nobody's way
        np.testing.assert_array_equal(file["plain"][()], values)


@pytest.mark.parametrize("room", [0, 100, 2048, 5000, 100_000])
def test_a_full_disk_reaches_no_library_and_is_told_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    real = os.pwrite

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if offset + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data, offset)

    monkeypatch.setattr(checksums.os, "pwrite", full)
    path = tmp_path / "file.h5"
    target = WrittenFile(path)
    with target, h5py.File(target, "w") as file:
        file.create_dataset("values", data=np.arange(100_000))
    with pytest.raises(OSError, match="No space left") as caught:
        target.check()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))


def test_a_refused_file_closes_only_its_own_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no seal")
    with pytest.raises(BadArtefact):
        CheckedFile(tmp_path / "file")
    with (tmp_path / "other").open("w") as other:  # it gets the number that the refused file had
        gc.collect()
        other.write("x")


@pytest.mark.parametrize("kind", ["CheckedFile", "WrittenFile"])
def test_a_file_that_cannot_be_opened_is_put_away_without_a_word(kind: str, tmp_path: Path) -> None:
    """Python from 3.13 on, and before that in development mode, prints what goes wrong when it closes such a file."""
    code = f"""
from contextlib import suppress
from pathlib import Path
from sppcli.runtime.checksums import {kind}
with suppress(FileNotFoundError):
    {kind}(Path({str(tmp_path / "gone" / "a.h5")!r}))
print("refused")
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("refused\n", "")
