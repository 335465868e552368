"""Safetensors files whose every byte is checked before it is used.

A file of spp carries in its metadata one XXH3 checksum for each tensor, and one over the header: its length, its text
and all that stands there. Libraries that do not know of them read the tensors as usual. Files of others have none, and
are read as they are. As with `checksums`, accidents are noticed, not malice.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from sppcli.errors import BadArtefact

CHECKSUMS = "spp_checksums"
"""In the metadata: JSON, the checksum (hexadecimal) of each tensor's bytes by name."""
HEADER_CHECKSUM = "spp_header_checksum"
"""In the metadata: the checksum of the header, taken with zeros in its own place."""

_ZEROS = "0" * 16
_OURS = "spp_"


@dataclass(frozen=True)
class Metadata:
    """A file's metadata, and whether it carries checksums; if it does, they have been found right."""

    values: dict[str, str]
    checked: bool


def with_checksums(metadata: Mapping[str, str], sums: Mapping[str, str]) -> dict[str, str]:
    """Add the checksums ``sums`` of the tensors, and room for that of the header, to ``metadata``; see `finish`."""
    return {**metadata, CHECKSUMS: json.dumps(dict(sums), sort_keys=True), HEADER_CHECKSUM: _ZEROS}


def checksum(data: Any) -> str:
    """Return the checksum of any buffer, in hexadecimal."""
    return xxhash.xxh3_64_hexdigest(data)


def finish(path: Path) -> None:
    """Put the header's keys in order, so that equal content makes equal files, and its checksum into its place.

    Raises:
        OSError: the file cannot be read or written.
    """
    with path.open("r+b") as file:
        length = file.read(8)
        count = int.from_bytes(length, "little")
        written = file.read(count)
        header = json.loads(written)
        # The library writes the metadata in no fixed order.
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(count)
        if len(text) != count:
            text = written
        file.seek(8)
        file.write(text.replace(_place(_ZEROS), _place(checksum(length + text)), 1))


def read_metadata(path: Path, tensors: bool = True) -> Metadata:
    """Read the metadata of a safetensors file and compare its checksums where it has some; {} for any other file.

    Args:
        tensors: whether to compare the tensors' checksums too; the header's is compared in any case.

    Raises:
        BadArtefact: the file or a tensor is not what was written, or a file of spp has no checksums. The text says what
            is wrong; the caller adds how to make the file again.
        OSError: the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadArtefact(f"{path}: not a regular file")
        if found.st_size < 10:
            return Metadata({}, False)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            return _checked(path, view, tensors)
    finally:
        os.close(descriptor)


def _checked(path: Path, view: memoryview, tensors: bool) -> Metadata:
    start = 8 + int.from_bytes(view[:8], "little")
    if start > len(view):
        return Metadata({}, False)
    text = bytes(view[8:start])
    try:
        header = json.loads(text)
        metadata = dict(header.pop("__metadata__", None) or {})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Metadata({}, False)
    sums, whole = metadata.pop(CHECKSUMS, None), metadata.pop(HEADER_CHECKSUM, None)
    if sums is None and whole is None:
        if any(name.startswith(_OURS) for name in metadata):
            raise BadArtefact(f"{path}: has no checksums: it was changed, or made by an older version of spp")
        return Metadata(metadata, False)
    if (
        sums is None
        or not isinstance(whole, str)
        or checksum(bytes(view[:8]) + text.replace(_place(whole), _place(_ZEROS), 1)) != whole
    ):
        raise BadArtefact(f"{path}: its header is damaged (not what was written)")
    if tensors:
        expected = json.loads(sums)
        for name, entry in header.items():
            low, high = entry["data_offsets"]
            with view[start + low : start + high] as part:
                if checksum(part) != expected.get(name):
                    raise BadArtefact(f"{path}: {name} is damaged (its bytes are not what was written)")
    return Metadata(metadata, True)


def _place(value: str) -> bytes:
    return f'"{HEADER_CHECKSUM}":"{value}"'.encode()
