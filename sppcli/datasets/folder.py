"""Plain images without annotations: a folder of them, or files named one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sppcli.datasets.base import IMAGE_EXTENSIONS, Dataset, find_images, is_image_name, is_text
from sppcli.datasets.remarks import counted
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import Annotations, ImageItem

_ANNOTATIONS = {
    ".xml": ", none of them with the root element <annotation> of VOC or <annotations> of CVAT",
    ".json": ", in no format that is known",
    ".jsonl": ", in no format that is known",
    ".csv": ", whose first line names no image, class and box",
    ".txt": " under their names: YOLO's labels need class names in data.yaml or classes.txt",
    ".tfrecord": ", a format that is not read",
    ".parquet": ", a format that is not read",
    ".mat": ", a format that is not read",
}


class PlainImages(Dataset):
    """Images alone. Kind "folder" for one folder (searched through), "files" for anything else.

    An id is the path below ``root`` with "/" between folders and without the extension; files whose ids would
    be the same keep their extension. ``root`` is the folder given, or the common parent of all sources.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        """Find the images of ``sources``: absolute paths of existing files and folders.

        Raises:
            MissingInput: a folder without any image.
            BadInput: a file whose extension is not an image's.
        """
        one_folder = len(sources) == 1 and sources[0].is_dir()
        root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in sources]))
        warnings: list[str] = []
        found: dict[tuple[str, str], Path] = {}
        for source in sources:
            if source.is_dir():
                paths, unreadable = find_images(source)
                warnings += unreadable
                if not paths:
                    raise MissingInput(_no_image(source, unreadable))
            elif is_image_name(source.name):
                paths = [source]
            else:
                raise BadInput(
                    f"{source} is not an image by its name: give files ending in {_extensions()}, or a folder"
                )
            for path in paths:
                found.setdefault((os.path.realpath(path.parent), path.name), path)
        paths = []
        for path in found.values():
            if is_text(path):
                paths.append(path)
            else:
                warnings.append(f"{os.fsencode(path)!r} was left out: its name is not UTF-8, rename it")
        if one_folder:
            warnings += unread_annotations(sources[0])
        super().__init__("folder" if one_folder else "files", sources, root, named(paths, root), warnings)

    @property
    def has_annotations(self) -> bool:
        return False

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    def split_names(self) -> tuple[str, ...]:
        return ()

    def _split(self, name: str) -> tuple[str, ...]:
        raise AssertionError(f"plain images have no split {name}")

    def annotations(self, image_id: str) -> Annotations:
        raise MissingInput(
            f"{self.root} holds images without annotations, so there is no ground truth for {image_id!r}: "
            "give a VOC data set, or one in another format that docs/formats.md lists"
        )


def unread_annotations(folder: Path) -> list[str]:
    """One sentence on files in ``folder`` that look like annotations of its images and that no format recognised."""
    images = set()
    files: dict[str, list[Path]] = {}
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if is_image_name(name):
                images.add(path.stem)
            elif path.suffix.lower() in _ANNOTATIONS and not name.startswith("."):
                files.setdefault(path.suffix.lower(), []).append(path)
    # Texts are notes as often as labels: those that are called like an image count.
    files[".txt"] = [path for path in files.get(".txt", []) if path.stem in images]
    said = []
    for ending, paths in files.items():
        if paths:
            kind = ending[1:].upper() if ending != ".txt" else "text"
            shown = [path.relative_to(folder).as_posix() for path in paths]
            lie = "file lies" if len(paths) == 1 else "files lie"
            why = _ANNOTATIONS[ending]
            said.append(counted(f"no annotations were read, and {{n}} {kind} {lie} beside the images{why}", shown))
    return said


def named(paths: Iterable[Path], root: Path) -> list[ImageItem]:
    """Give each path its id: without extension where that is unique."""
    full = {path: path.relative_to(root).as_posix() for path in paths}
    ids = {path: path.relative_to(root).with_suffix("").as_posix() for path in full}
    while clashes := {name for name, count in Counter(ids.values()).items() if count > 1}:
        for path, name in ids.items():
            if name in clashes:
                ids[path] = full[path]
    return [ImageItem(name, path) for path, name in ids.items()]


def _no_image(folder: Path, unreadable: Sequence[str]) -> str:
    text = f"{folder} holds no image: files ending in {_extensions()} are looked for, in folders below it too"
    if unreadable:
        return f"{text} ({unreadable[0]})"
    if (folder / "Annotations").is_dir() and not (folder / "JPEGImages").is_dir():
        return f"{text}, and the images of a VOC data set in its folder JPEGImages, which is missing"
    return text


def _extensions() -> str:
    return " ".join(extension[1:] for extension in IMAGE_EXTENSIONS)
