"""The images of a folder: those that are there, then those that come or change, until somebody ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sppcli.datasets.base import is_image_name
from sppcli.errors import MissingInput, UsageProblem
from sppcli.runtime.progress import Progress


def images_of(folder: Path, progress: Progress) -> Iterator[Path]:
    """The images in ``folder``, by name, then each that comes or changes; hidden files are passed over.

    Raises:
        MissingInput: no such folder.
        UsageProblem: the package watchfiles is not installed.
    """
    try:
        from watchfiles import Change, watch
    except ImportError:
        raise UsageProblem("--watch needs the package watchfiles: pip install 'sppcli[watch]'") from None
    if not folder.is_dir():
        raise MissingInput(f"{folder}: there is no such folder to watch; create it first")

    def wanted(path: Path) -> bool:
        return is_image_name(path.name) and not path.name.startswith(".") and path.is_file()

    def arriving() -> Iterator[Path]:
        # Watched from before the first look, so that nothing falls between the two.
        changes = watch(folder, recursive=False, raise_interrupt=False, yield_on_timeout=True, rust_timeout=200)
        next(changes)
        yield from sorted(path for path in folder.iterdir() if wanted(path))
        for change in changes:
            come = {folder / Path(name).name for kind, name in change if kind is not Change.deleted}
            yield from sorted(path for path in come if wanted(path))

    progress.say(f"watching {folder}: each image is done when it comes; Ctrl-C ends it")
    return arriving()
