"""Downloads public data sets and weights, resumes broken downloads, checks and unpacks them."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sppcli.errors import BadInput, MissingInput
from sppcli.nets.registry import BACKBONES
from sppcli.runtime.files import naming
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress

VOC_YEARS = ("2007", "2008", "2009", "2010", "2011", "2012")
DATASETS = tuple(f"voc{year}" for year in VOC_YEARS)
WEIGHTS = tuple(name for name, entry in BACKBONES.items() if entry.downloads)

_CHUNK = 1 << 20
_SECONDS = 60  # without a byte, before a connection is given up


@dataclass(frozen=True)
class FetchSummary:
    """``path``: the folder of the data set, or the file of the weights; ``downloaded``: bytes, 0 if all was there."""

    name: str
    path: Path
    downloaded: int


@dataclass(frozen=True)
class _Archive:
    url: str
    file: str
    md5: str
    folder: str


def run(name: str, folder: Path, *, options: RunOptions = USUAL) -> FetchSummary:
    """Fetch ``name``, one of `DATASETS` into ``folder`` or one of `WEIGHTS` into torch's cache.

    What is there already is taken as it is, and a download that was cut off is resumed. Archives stay beside what was
    unpacked from them. URLs and checksums are torchvision's.

    Raises:
        MissingInput: no such folder, or no connection; the text says what to fetch by hand and where to put it.
        BadInput: what came is not what it should be.
    """
    progress = options.progress
    if name in WEIGHTS:
        from sppcli.nets.weights import fetch_imagenet

        path, size = fetch_imagenet(name)
        return FetchSummary(name, path, size)
    if not folder.is_dir():
        raise MissingInput(f"{folder}: there is no such folder to download to; create it or choose another -o")
    downloaded = 0
    place = folder
    for archive in _archives(name):
        place = folder / archive.folder
        done = place / f".{archive.file}.unpacked"
        if done.exists():
            continue
        path = folder / archive.file
        downloaded += _download(archive, path, name, progress)
        _unpack(path, folder)
        done.touch()
    return FetchSummary(name, place, downloaded)


def _archives(name: str) -> list[_Archive]:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    year = name.removeprefix("voc")
    entries = [DATASET_YEAR_DICT[key] for key in (year, f"{year}-test") if key in DATASET_YEAR_DICT]
    # The name of the file in the URL: the one given is wrong for 2008.
    return [
        _Archive(entry["url"], Path(urlsplit(entry["url"]).path).name, entry["md5"], entry["base_dir"])
        for entry in entries
    ]


def _download(archive: _Archive, path: Path, name: str, progress: Progress) -> int:
    """Make sure that ``path`` holds ``archive``; returns the bytes that came over the network."""
    if path.exists():
        if _md5(path) == archive.md5:
            return 0
        raise BadInput(f"{path} is not the archive it should be (its checksum differs); delete it and run this again")
    part = path.with_name(f"{path.name}.part")
    try:
        came = _receive(archive.url, part, progress)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise MissingInput(
            f"{archive.url} could not be downloaded ({reason}); run spp fetch {name} again to go on, or fetch this "
            f"file elsewhere, put it into {path.parent} and run it then"
        ) from None
    if _md5(part) != archive.md5:
        part.unlink()
        raise BadInput(f"what came from {archive.url} has another checksum than it should; run spp fetch {name} again")
    part.replace(path)
    return came


def _receive(url: str, part: Path, progress: Progress) -> int:
    """Download to ``part``, going on after the bytes that it holds; returns how many came."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return 0  # it is all there
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        length = response.length or 0
        progress.start(-(-length // _CHUNK), "MB")
        came = 0
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                came += len(chunk)
                progress.advance()
    if came < length:
        raise OSError(f"the connection ended after {came:,} of {length:,} bytes")
    return came


def _unpack(path: Path, folder: Path) -> None:
    import tarfile

    try:
        with naming(folder, folder), tarfile.open(path) as archive:
            # Nothing that an archive names lands outside the folder: neither members nor what links lead to.
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise BadInput(f"{path} cannot be unpacked ({error}); delete it and run this again") from None


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
