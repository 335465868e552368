"""proposals.h5: what a shard reads of it, and that it is no more."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.proposals import none_of_them, of_shard, read_proposals, source_json, write_proposals
from sppcli.artefacts.store import Header
from sppcli.errors import BadArtefact
from sppcli.runtime.checksums import seal
from sppcli.runtime.shards import Shard

COUNTS = [300] * 20 + [0, 0, 700]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """23 images; the proposals of one take more bytes than a block that is checked at once."""
    rng = np.random.default_rng(0)
    corners = [rng.random((count, 2)) * 50 for count in COUNTS]
    found = [
        (np.concatenate([low, low + 1], axis=1).astype(np.float32), np.arange(len(low), dtype=np.float32))
        for low in corners
    ]
    ids = tuple(f"{row:03d}" for row in range(len(COUNTS)))
    images = ImageTable(ids, tuple(f"{name}.jpg" for name in ids), ids, np.full((len(ids), 2), 60))
    path = tmp_path / "proposals.h5"
    header = Header("proposals", {"method": "none"}, {"images": ""}, source_json("folder", ["/x"], "/x"))
    write_proposals(path, header, images, found)
    return path


def test_shards_read_together_what_the_file_holds(file: Path) -> None:
    whole = read_proposals(file)
    seen = []
    for shard in Shard.all(5):
        part = read_proposals(file, of_shard(shard))
        assert (part.images.ids, part.fingerprint) == (whole.images.ids, whole.fingerprint)
        mine = shard.rows(part.images.ids)
        assert len(part.boxes) == sum(COUNTS[row] for row in mine)
        for row in mine:
            assert np.array_equal(part.of(row), whole.of(row))
            assert np.array_equal(part.scores_of(row), whole.scores_of(row))
        for row in set(range(len(COUNTS))) - set(mine):
            with pytest.raises(LookupError, match="were not read"):
                part.of(row)
        seen += mine
    assert sorted(seen) == list(range(len(COUNTS)))
    assert len(read_proposals(file, none_of_them).boxes) == 0


def test_damage_to_proposals_of_others_is_not_a_shards(file: Path) -> None:
    """So the others' bytes are not read."""
    with h5py.File(file, "r") as plain:
        at = plain["boxes"].id.get_offset() + 16 * int(plain["offsets"][7]) + 16 * COUNTS[7] // 2
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    for shard in Shard.all(23):
        if 7 in (rows := shard.rows([f"{row:03d}" for row in range(len(COUNTS))])):
            with pytest.raises(BadArtefact, match=r"boxes is damaged .* are not what was written"):
                read_proposals(file, of_shard(shard))
        elif not {6, 8} & set(rows):  # whose first or last may lie in the same block
            read_proposals(file, of_shard(shard))


def test_values_that_cannot_be_are_named_by_their_row_in_the_file(file: Path) -> None:
    with h5py.File(file, "r+") as plain:
        row = int(plain["offsets"][22]) + 5
        plain["boxes"][row] = (0, 0, 1, 99)
    seal(file)
    (shard,) = [shard for shard in Shard.all(23) if shard.holds("022")]
    with pytest.raises(BadArtefact, match=f"boxes has a box in row {row} outside its image"):
        read_proposals(file, of_shard(shard))
