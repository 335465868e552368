"""What goes wrong with an object by URL, as one sentence with its URL and what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from sppcli.errors import BadInput, MissingInput, NoRoom, SppError, UsageProblem
from sppcli.runtime.urls import cache_root, scheme_of

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
_PACKAGES |= dict.fromkeys(("az", "abfs", "abfss"), "adlfs") | dict.fromkeys(("sftp", "ssh"), "paramiko")


@contextmanager
def explained(url: str, kept: str = "") -> Iterator[None]:
    """Whatever goes wrong at the other end, in a sentence that names ``url`` and what to do; ``kept``: of an output."""
    scheme, more = scheme_of(url), f" ({kept})" if kept else ""
    package = _PACKAGES.get(scheme, "")
    try:
        yield
    except SppError:
        raise
    except ImportError as error:
        with_spp = "sppcli[urls]" if package in ("", "aiohttp") else package
        raise MissingInput(f"{url}: {scheme}:// needs another package: pip install '{with_spp}' ({error})") from None
    except FileNotFoundError:
        raise MissingInput(f"{url}: there is no such object, folder or bucket{more}; check the name") from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise same_name(url) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and not kept:
            raise no_room(url, 0) from None
        raise _refused(url, error, package, more) from error
    except (AssertionError, AttributeError, KeyError, NameError, TypeError):
        raise  # a bug, and nobody's to mend at the other end
    except Exception as error:
        # Each package has exceptions of its own.
        raise _refused(url, error, package, more) from error


def same_name(url: str) -> BadInput:
    """Object storage allows what no file system does."""
    return BadInput(f"{url}: a file and a folder there have the same name; rename one")


def _refused(url: str, error: Exception, package: str, more: str) -> SppError:
    said = " ".join(str(error).split()) or type(error).__name__
    name = type(error).__name__
    if isinstance(error, ValueError) and "Protocol not known" in said:
        return UsageProblem(f"{url}: there is no {scheme_of(url)}://; take one of s3, gs, az, https, or a local path")
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if status == 404:
        return MissingInput(f"{url}: there is no such object{more}; check its name")
    if isinstance(error, PermissionError) or "Credential" in name or "Auth" in name or status in (401, 403):
        how = f" as {package} reads them" if package else ""
        return BadInput(f"{url}: access is refused{more} ({said}); check the permissions, and give credentials{how}")
    return MissingInput(f"{url}: cannot be reached{more} ({said}); check the address and the network, and run it again")


def no_room(url: str, size: int) -> NoRoom:
    free = shutil.disk_usage(cache_root()).free
    needed = f"its {size:,} bytes do" if size else "it does"
    return NoRoom(
        f"{url}: {needed} not fit into the cache on this machine, where {free:,} are free; free some with "
        "spp clean --urls, or set XDG_CACHE_HOME to a folder on another disk"
    )
