"""URLs, and the files of this machine that stand for them.

``s3://bucket/out/svm.h5`` is the file ``s3/bucket/out/svm.h5`` in a folder of the user's cache. Stages know these files
alone: `url_transfer` brings them here and sends them back. What is recorded or shown has the URL in place of the file's
own name, so that it means the same on every machine.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from sppcli.runtime.files import path_fault, user_cache

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_FOLDER = "sppcli/urls/"
_NOWHERE = "+"
"""Stands for the host of a URL that has none."""
_QUERY = re.compile(r"/@[0-9a-f]{16}(?=/)")
_WITH_QUERIES = ("http", "https")

_given: dict[Path, str] = {}
"""URLs with a query (``?download=1``), which their files do not tell: it may be a password, and is kept nowhere."""


def cache_root() -> Path:
    """The folder that all these files are in."""
    return Path(os.path.realpath(user_cache())) / _FOLDER


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def url_fault(url: str) -> str:
    """Why no file can stand for ``url``; "" if one can."""
    scheme, host, name, _ = _parts(url)
    if "::" in url:
        return "it is a chain of URLs"
    if "@" in host and scheme in _WITH_QUERIES:
        return "a password does not belong in it; put it into ~/.netrc"
    if scheme == "file" and host not in ("", "localhost"):
        return "it names a file of another machine"
    if not host and not name:
        return "it names nothing"
    return path_fault("/".join(part for part in (host, name) if part))


def local_of(url: str) -> Path:
    """The file of this machine that stands for ``url``, be it there or not; of ``file:///a`` that is ``/a``.

    The URL must have no `url_fault`.
    """
    scheme, host, name, query = _parts(url)
    if scheme == "file":
        return Path("/" + name)
    place = cache_root() / scheme / (host or _NOWHERE) / name
    if query:
        digest = hashlib.sha256(query.encode()).hexdigest()[:16]
        place = place.parent / f"@{digest}" / place.name
        _given[place] = url
    return place


def _parts(url: str) -> tuple[str, str, str, str]:
    """Scheme, host or bucket, name without slashes around it, and query."""
    found = _URL.fullmatch(url)
    assert found is not None
    scheme, rest = found[1].lower(), found[2]
    rest, _, query = rest.partition("?") if scheme in _WITH_QUERIES else (rest, "", "")
    host, _, name = rest.partition("/")
    return scheme, host, name if scheme == "file" else name.removesuffix("/"), query


def is_by_url(path: Path | str) -> bool:
    """Whether ``path`` is one of these files."""
    return str(path).startswith(f"{cache_root()}/")


def url_of(path: Path) -> str:
    """The URL that a file (see `is_by_url`) stands for, with its query if this process was given it."""
    return _given.get(path) or with_urls(str(path))


def with_urls(text: str) -> str:
    """``text``, for people, with URLs in place of the files that stand for them."""
    if _FOLDER not in text:
        return text
    named = re.compile(rf"{re.escape(str(cache_root()))}/([a-z][a-z0-9+.-]*)(?:/(?:\+(?=/|$))?|$)")
    return _QUERY.sub("", named.sub(r"\1://", text))


def to_record(value: Any) -> Any:
    """A copy of ``value``, of JSON, with the URL in place of each file that stands for one."""
    if isinstance(value, str):
        return with_urls(value) if is_by_url(value) else value
    if isinstance(value, dict):
        return {key: to_record(item) for key, item in value.items()}
    return [to_record(item) for item in value] if isinstance(value, list | tuple) else value


def from_record(value: Any) -> Any:
    """``value`` of JSON with the file of this machine in place of each URL; tables and lists are changed themselves."""
    if isinstance(value, str):
        return str(local_of(value)) if is_url(value) and not url_fault(value) else value
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        value[key] = from_record(item)
    return value
