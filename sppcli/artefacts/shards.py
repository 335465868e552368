"""What the file of a shard says besides what the file of a whole run says: which shard it is, and whom it left out.

`merging` makes of it the header that one machine would have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sppcli.artefacts.store import Header, digest_of
from sppcli.errors import BadArtefact
from sppcli.runtime.shards import Shard

SHARD, LISTING = "shard", "listing"
"""Keys of a shard's header: in ``config`` which shard it is, in ``inputs`` the digest of the ids and paths of all
images, and in ``summary`` a `ShardNote`."""


@dataclass(frozen=True)
class LeftOut:
    """An image of the shard that has no rows in its file; ``digest`` as in the list of images that was read."""

    id: str
    path: str
    digest: str
    reason: str


@dataclass(frozen=True)
class ShardNote:
    """``left_out``: images that could not be used; ``before``: how many of those that the file lists as skipped were
    skipped by an earlier stage."""

    left_out: tuple[LeftOut, ...] = ()
    before: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "left_out": [[item.id, item.path, item.digest, item.reason] for item in self.left_out],
            "before": self.before,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ShardNote:
        left_out = tuple(LeftOut(*item) for item in value["left_out"])
        return cls(left_out, int(value["before"]))


def for_shard(header: Header, shard: Shard | None, ids: Sequence[str], paths: Sequence[str]) -> Header:
    """``header`` of the file of ``shard``, of a run over the images ``ids`` at ``paths``; as it is without a shard."""
    if shard is None:
        return header
    config = {**header.config, SHARD: shard.to_json()}
    inputs = {**header.inputs, LISTING: listing(ids, paths)}
    return noted(replace(header, config=config, inputs=inputs), ShardNote())


def for_classes(header: Header, shard: Shard | None) -> Header:
    """``header`` of a file with models of the classes in ``shard``; as it is without a shard."""
    if shard is None:
        return header
    return noted(replace(header, config={**header.config, SHARD: shard.to_json()}), ShardNote())


def listing(ids: Sequence[str], paths: Sequence[str]) -> str:
    """Digest of the ids and paths of all images of a run, by which its shards know each other."""
    return digest_of([list(row) for row in zip(ids, paths, strict=True)])


def noted(header: Header, note: ShardNote) -> Header:
    """``header`` of a shard's file with what was left out; as it is if it is no shard's."""
    if SHARD not in header.config:
        return header
    return replace(header, summary={**header.summary, SHARD: note.to_json()})


def shard_of(header: Header) -> Shard | None:
    """Which shard the file is; None for a whole one.

    Raises:
        BadArtefact: one that there is not.
    """
    value = header.config.get(SHARD)
    if not value:
        return None
    number, of = int(value["number"]), int(value["of"])
    if number > of:
        raise BadArtefact(f"a file says that it is shard {number} of {of}, which there is not; make it again")
    return Shard(number, of)


def note_of(header: Header) -> ShardNote:
    """What the file of a shard says of itself."""
    return ShardNote.from_json(header.summary[SHARD])
