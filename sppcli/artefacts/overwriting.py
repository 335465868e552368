"""What an output may replace: nothing, or what the same stage made; before any work is done."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from sppcli.artefacts.networks import NETWORK_KEY
from sppcli.artefacts.packs import PACK_KEY
from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import open_artefact
from sppcli.errors import BadArtefact, UsageProblem
from sppcli.runtime.files import ensure_folder
from sppcli.runtime.tensor_files import HEADER_CHECKSUM, read_metadata
from sppcli.structures import ImageItem

_ANNOTATIONS = (".xml", ".json", ".txt", ".csv", ".yaml", ".yml", ".names", ".data", ".mat")
_LOOKED_AT = 1 << 20

NETWORK, PICTURE, CURVES, COCO, JSONL = "network", "picture", "learning curves", "COCO's results", "JSON lines"
PAGE, MANUAL = "a report", "a manual page"
PACK, TABLE, VIDEO = "a packed detector", "a table of detections", "a video"
ONNX = "an ONNX file"
"""Kinds of outputs besides those of `schema`."""


class DataSet(Protocol):
    """What is read of a data set here."""

    @property
    def images(self) -> Sequence[ImageItem]: ...

    @property
    def root(self) -> Path: ...


def claim(
    path: Path,
    kind: str,
    *,
    inputs: Iterable[Path] = (),
    data: DataSet | None = None,
    images: Iterable[Path] = (),
    overwrite: bool = False,
) -> None:
    """Refuse to write ``path`` where something would be lost by it.

    Args:
        kind: what is to be written: a kind of `schema`, or one of those above.
        inputs: what the stage reads.
        data: the data set: its images, and the folder where its annotations lie.
        images: those that are read, where they are no data set.
        overwrite: replace a file that spp did not make, or one of another kind.

    Raises:
        UsageProblem: ``path`` is an input, an image or an annotation of the data set, a folder, a device or a pipe; or,
            without ``overwrite``, a file that is not of this kind.
        MissingInput: its folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.exists():
        ensure_folder(target)
    ensure_folder(path)
    try:
        found = target.stat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise UsageProblem(f"{path} is a folder; name a file")
    if not stat.S_ISREG(found.st_mode):
        raise UsageProblem(f"{path} is a device or a pipe; name a file")
    pictures = (*images, *(item.path for item in data.images)) if data else images
    for name, files in (("one of the files that are read", inputs), ("an image of the data set", pictures)):
        if any(_same(found, item) for item in files):
            raise UsageProblem(f"{path} is {name}; name another file")
    made = _kind(target, kind)
    if made == kind:
        return
    if made is None and data and target.suffix.lower() in _ANNOTATIONS and target.is_relative_to(data.root.resolve()):
        raise UsageProblem(f"{path} lies in the data set {data.root} and may be part of it; name another file")
    if not overwrite:
        what = f"holds {made}, not {kind}" if made else "is there already and was not made by spp"
        raise UsageProblem(f"{path} {what}; name another file, or replace it with --overwrite")


def _same(found: os.stat_result, other: Path) -> bool:
    try:
        return os.path.samestat(found, other.stat())
    except OSError:
        return False


def _kind(path: Path, wanted: str) -> str | None:
    """What the file at ``path`` is, None if spp did not make it; an empty or a damaged one is what is ``wanted``."""
    if not path.stat().st_size:
        return wanted
    try:
        with open_artefact(path, lazily=True) as artefact:
            return artefact.schema.kind
    except BadArtefact:
        pass
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    # Root attributes come first in the file: one that is cut or damaged still says what it is.
    if b"schema_version" in start and b"fingerprint" in start and b"tool_version" in start:
        return wanted if wanted in SCHEMAS else "an artefact of spp"
    if PACK_KEY.encode() in start and HEADER_CHECKSUM.encode() in start:
        return PACK
    if NETWORK_KEY.encode() in start and HEADER_CHECKSUM.encode() in start:
        return NETWORK
    try:
        if NETWORK_KEY in read_metadata(path, tensors=False).values:
            return NETWORK
    except BadArtefact:
        return NETWORK
    signs = _SIGNS.get(wanted)
    return wanted if signs and signs(start) else None


def _is_jsonl(start: bytes) -> bool:
    return _has_keys(start.split(b"\n", 1)[0], {"image", "path", "class", "score", "box"})


def _is_coco(start: bytes) -> bool:
    first = start.removeprefix(b"[").split(b"}", 1)[0] + b"}"
    keys = {"image_id", "category_id", "bbox", "score", "file_name", "category"}
    return start.strip() == b"[]" or (start.startswith(b"[{") and _has_keys(first, keys))


def _has_keys(text: bytes, keys: set[str]) -> bool:
    try:
        record = json.loads(text)
    except ValueError:
        return False
    return isinstance(record, dict) and keys <= set(record)


# What tells a file that spp wrote from others of its format: pictures name the program that made them.
_SIGNS: dict[str, Callable[[bytes], bool]] = {
    PICTURE: lambda start: (
        (start.startswith(b"\x89PNG") and b"Software\0spp" in start)
        or (start.startswith(b"\xff\xd8") and b"spp show" in start[:1024])
    ),
    CURVES: lambda start: start.startswith((b"epoch,size,rate,loss", b"epoch,rate,class_loss", b"epoch\n")),
    COCO: _is_coco,
    PAGE: lambda start: b'<meta name="generator" content="spp report' in start[:4096],
    MANUAL: lambda start: start.startswith(b'.\\" Written by spp man'),
    JSONL: _is_jsonl,
    # The version of the file's form comes first, then the producer's name.
    ONNX: lambda start: start[:1] == b"\x08" and start[2:].startswith(b"\x12\x03spp"),
    TABLE: lambda start: start.startswith(b"image,path,class,score,probability,x0,y0,x1,y1\n"),
}
