"""Objects by URL brought to this machine, and outputs sent back: the one module that knows fsspec.

An object is fetched whole, once for each of its versions, and is an ordinary file then (`urls`). An output is made here
as any other, and sent when it is whole: under its URL it is whole or not there.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sppcli.errors import MissingInput, UsageProblem
from sppcli.runtime import url_cache
from sppcli.runtime.counts import count_of
from sppcli.runtime.files import commit, inside, temporary_name, temporary_owner
from sppcli.runtime.locks import held
from sppcli.runtime.options import RunOptions
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.runtime.url_errors import explained, no_room, same_name
from sppcli.runtime.urls import cache_root, is_by_url, local_of, scheme_of, url_of

_ATOMIC = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes of stores where an object that is being written is not there until it is whole."""
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "generation", "version_id", "Digest")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "modified", "updated", "created")
_NO_DATA = (".h5", ".hdf5", ".safetensors", ".spp", ".pth", ".pt")
"""Endings of files that no data set consists of."""
_AT_ONCE = 64
_MB = 1_000_000

Shows = Callable[[str], AbstractContextManager[Progress]]
"""Makes what is told of the progress of a piece of work with the given label."""


@dataclass
class _Session:
    """One command: what it has asked after is not asked after again."""

    shows: Shows = lambda label: nullcontext(NoProgress())
    current: set[Path] = field(default_factory=set)
    systems: dict[str, Any] = field(default_factory=dict)


_SESSION: ContextVar[_Session | None] = ContextVar("url session", default=None)


@contextmanager
def session(shows: Shows) -> Iterator[None]:
    """Inside, transfers are shown by ``shows``, and each object is asked after once; inside another, this is nothing
    new.
    """
    if _SESSION.get():
        yield
        return
    token = _SESSION.set(_Session(shows))
    try:
        yield
    finally:
        _SESSION.reset(token)


def at_hand(path: Path | str, only: Sequence[str] = ()) -> None:
    """If ``path`` stands for a URL, make it a copy of what is there now: an object, or all of a data set's files in a
    folder.

    ``only``: names of the files that are wanted of a folder, which need not be there, in place of a data set's.

    Raises:
        MissingInput: there is no such object, the server does not answer, or a package is missing.
        BadInput: no access.
        NoRoom: the disk of the cache is full.
    """
    path = Path(path)
    if not is_by_url(path) or path in (here := _here()).current:
        return
    url = url_of(path)
    with _locked(path):
        info = _info(url)
        if info is None:
            raise MissingInput(f"{url}: there is no such object; check its name, or make it first")
        if info["type"] != "directory":
            _fetch(url, path, info)
        elif only:
            for name in only:
                if found := _info(f"{url}/{name}"):
                    _fetch(f"{url}/{name}", path / name, found)
        else:
            _mirror(url, path)
    here.current.add(path)


def matching(path: Path) -> list[Path]:
    """The files that stand for the objects that a URL with ``*`` in it matches, in order of name.

    Raises:
        MissingInput: there is none, and as `at_hand`.
    """
    url = url_of(path)
    with explained(url):
        system, name = _system(url)
        found = [local_of(_url_there(system, one, url)) for one in sorted(system.glob(name))]
    if not found:
        raise MissingInput(f"{url}: no object has such a name; check it, or make them first")
    return found


def _url_there(system: Any, name: str, beside: str) -> str:
    """The URL of what the system calls ``name``, written as ``beside`` is."""
    url = str(system.unstrip_protocol(name))
    start = f"{scheme_of(url)}:///"
    return url.replace(start, start[:-1], 1) if url.startswith(start) and not beside.startswith(start) else url


def prepare(path: Path, trial: bool, force: bool = False) -> None:
    """Get ready to make an output: what is under its URL now is fetched, so that it can be found up to date.

    What an earlier command made here and could not send stays. ``trial``: try whether the URL can be written to, where
    nothing is under it yet, and with ``force`` in any case.

    Raises:
        UsageProblem: the URL is a folder.
        MissingInput, BadInput, NoRoom: as `at_hand`, or it cannot be written to.
    """
    url = url_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        info = _info(url)
        if info and info["type"] == "directory":
            raise UsageProblem(f"{url} is a folder; name a file")
        copy = url_cache.known(path)
        if info is None:
            url_cache.forget([path])
        elif not (copy and path.exists() and copy.version == _version(info) != ""):
            _fetch(url, path, info)
        if trial and (info is None or force):
            _try_to_write(url)


def send(path: Path) -> None:
    """Put the output ``path`` under its URL, if it is there and another than what was fetched from it.

    Raises:
        MissingInput, BadInput: it could not be sent; it is kept, and the next run of the command sends it.
    """
    if not path.is_file():
        return
    with _locked(path):
        copy = url_cache.known(path)
        if copy and copy.is_of(path):
            return
        url, size = url_of(path), path.stat().st_size
        with explained(url, "what was made is kept here, and sent when the command is run again"):
            system, name = _system(url)
            with _shown(f"send {url}", size) as told:
                if scheme_of(url) in _ATOMIC:
                    system.put_file(str(path), name, callback=told)
                else:
                    _put_and_rename(system, path, name, told)
            info = _info(url)
        if info is None or info.get("size") not in (None, size):
            raise MissingInput(f"{url}: what was sent did not all arrive; run the command again, which sends it")
        url_cache.remember([(path, path, _version(info))])
    _here().current.add(path)


def _put_and_rename(system: Any, path: Path, name: str, told: Any) -> None:
    parent = name.rpartition("/")[0]
    temporary = f"{parent}/{temporary_name(path).name}"
    system.makedirs(parent, exist_ok=True)
    for left in system.ls(parent, detail=False):
        beside = Path(left)
        if beside.name.startswith(f".{path.name}.") and temporary_owner(beside) is not None:
            system.rm_file(left)
    try:
        system.put_file(str(path), temporary, callback=told)
        system.mv(temporary, name)
    except BaseException:
        with suppress(Exception):
            system.rm_file(temporary)
        raise


def _try_to_write(url: str) -> None:
    with explained(url, "nothing has been made yet"):
        system, name = _system(url)
        parent, _, own = name.rpartition("/")
        trial = f"{parent}/.{own}.trial"
        if scheme_of(url) not in _ATOMIC:
            system.makedirs(parent, exist_ok=True)
        system.pipe_file(trial, b"spp")
        with suppress(Exception):
            system.rm_file(trial)


def _fetch(url: str, path: Path, info: Mapping[str, Any]) -> None:
    """Make ``path`` a copy of the object, if it is none."""
    version, size = _version(info), info.get("size")
    copy = url_cache.known(path)
    if copy and version and copy.version == version and copy.is_of(path):
        return
    _check_room(url, size or 0)
    with _incoming(url) as folder:
        temporary = folder / "0"
        with explained(url):
            system, name = _system(url)
            with _shown(f"fetch {url}", size) as told:
                system.get_file(name, str(temporary), callback=told)
        if size is not None and temporary.stat().st_size != size:
            raise MissingInput(f"{url}: {temporary.stat().st_size:,} of its {size:,} bytes came; run it again")
        _place(temporary, path, url)
    url_cache.remember([(path, path, version)])


def _mirror(url: str, path: Path) -> None:
    """Make the folder ``path`` hold what a data set under ``url`` consists of; what is there already stays."""
    if scheme_of(url) in ("http", "https"):
        raise UsageProblem(f"{url}: a web server does not say what is in a folder; name a file, or use object storage")
    with explained(url):
        system, name = _system(url)
        start = f"{name.rstrip('/')}/"
        listed = system.find(name, detail=True)
    infos = {one.removeprefix(start): info for one, info in listed.items()}
    copies = url_cache.known_below(path)
    gone = [path / name for name in copies if name not in infos]
    for file in gone:
        file.unlink(missing_ok=True)
    url_cache.forget(gone)
    wanted = [name for name in sorted(infos) if _is_data(name)]
    new = [name for name in wanted if not _is_copy(copies.get(name), path / name, infos[name])]
    if not wanted:
        raise MissingInput(f"{url}: there is no file of a data set in this folder; check its name")
    path.mkdir(parents=True, exist_ok=True)
    if new:
        _fetch_many(url, path, {name: infos[name] for name in new}, system, start)


def _fetch_many(url: str, path: Path, infos: Mapping[str, Mapping[str, Any]], system: Any, start: str) -> None:
    total = sum(info.get("size") or 0 for info in infos.values())
    _check_room(url, total)
    names = list(infos)
    label = f"fetch {url} ({count_of(len(names), 'file')})"
    with _incoming(url) as folder, _shown(label, total) as told:
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            targets = [inside(path, name) for name in some]
            arrived = [folder / str(row) for row in range(len(some))]
            with explained(url):
                system.get([start + name for name in some], [str(file) for file in arrived])
            for name, file in zip(some, arrived, strict=True):
                size = infos[name].get("size")
                if not file.is_file() or size not in (None, file.stat().st_size):
                    raise MissingInput(f"{url}/{name} has changed while it was fetched; run it again")
                told.relative_update(file.stat().st_size)
            # Before they have their names: no file is ever there that the next run does not know to be fetched.
            versions = [_version(infos[name]) for name in some]
            url_cache.remember(zip(targets, arrived, versions, strict=True))
            for name, file, target in zip(some, arrived, targets, strict=True):
                _place(file, target, f"{url}/{name}", sync=False)


def _is_data(name: str) -> bool:
    """Whether an object may be of a data set: none that is hidden, marks a folder or is an artefact or a network."""
    pure = PurePosixPath(name)
    return bool(name) and name[-1] != "/" and pure.suffix not in _NO_DATA and not any(p[0] == "." for p in pure.parts)


def _is_copy(copy: url_cache.Copy | None, file: Path, info: Mapping[str, Any]) -> bool:
    return copy is not None and copy.version == _version(info) != "" and copy.is_of(file)


def _version(info: Mapping[str, Any]) -> str:
    """What changes with the content of an object, as far as the server says so; "" if it does not."""
    for names in (_VERSIONS, _TIMES):
        for name in names:
            if info.get(name):
                return f"{name} {info[name]} {info.get('size')}"
    return ""


def _info(url: str) -> dict[str, Any] | None:
    """What the server says of an object or a folder; None if there is none."""
    with explained(url):
        system, name = _system(url)
        try:
            return dict(system.info(name))
        except FileNotFoundError as error:
            # fsspec says this too of a web server that does not answer, or refuses.
            cause = error.__cause__
            if cause is not None and (isinstance(cause, OSError) or getattr(cause, "status", 404) != 404):
                raise cause from None
            return None


def _system(url: str) -> tuple[Any, str]:
    """fsspec's file system of ``url``, and its name there."""
    from fsspec.core import url_to_fs

    here = _here()
    key = "/".join(url.split("/", 3)[:3])
    if key not in here.systems:
        here.systems[key] = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)[0]
    system = here.systems[key]
    return system, system._strip_protocol(url)


def _here() -> _Session:
    found = _SESSION.get()
    if found is None:
        # From Python, without a command: nothing is shown, and everything is asked after each time.
        return _Session()
    return found


def _check_room(url: str, size: int) -> None:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(root).free:
        raise no_room(url, size)


def _place(temporary: Path, path: Path, url: str, sync: bool = True) -> None:
    """Give what came its name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        commit(temporary, path) if sync else temporary.replace(path)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise same_name(url) from None


@contextmanager
def _incoming(url: str) -> Iterator[Path]:
    """A folder for what is being fetched; those of ended processes are removed."""
    folder = temporary_name(cache_root() / "incoming")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room(url, 0) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time brings or sends ``path``; another waits for it."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(path.relative_to(cache_root())).encode()).hexdigest()
    with held(folder / name, RunOptions(wait=True)):
        yield


@contextmanager
def _shown(label: str, size: int | None) -> Iterator[Any]:
    """fsspec's callback that shows how many MB have come or gone; of less than one nothing."""
    from fsspec.callbacks import Callback

    class Told(Callback):  # type: ignore[misc]  # fsspec has no types
        done = 0

        def relative_update(self, inc: int = 1) -> None:
            self.done += inc
            progress.advance(self.done // _MB - (self.done - inc) // _MB)

        def absolute_update(self, value: int) -> None:
            self.relative_update(value - self.done)

    with _here().shows(label) if size is None or size >= _MB else nullcontext(NoProgress()) as progress:
        progress.start((size or 0) // _MB, "MB")
        yield Told()
