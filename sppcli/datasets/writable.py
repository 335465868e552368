"""Names that a format of annotations can hold: what its own reader would read back as another name is refused.

So is what cannot be a file's name where the format makes one of it: of images and splits, in VOC of classes too.

Lists of images and classes are lines of text, of which readers drop the blanks around a name; XML and YAML have no way
to write control characters, or one that differs from reader to reader. COCO's JSON holds every name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from sppcli.datasets.annotated import AnnotatedSet
from sppcli.datasets.remarks import counted
from sppcli.datasets.voc_write import can_list_classes
from sppcli.errors import BadInput
from sppcli.runtime.files import path_fault

_FILES: Mapping[str, Mapping[str, str]] = {
    "voc": {"the image": "{}", "the split": "{}.txt"},
    "yolo": {"the image": "{}", "the split": "{}.txt"},
    "coco": {"the image": "{}", "the split": "image_info_{}.json"},
    "csv": {"the image": "{}"},
}
"""What of a format's names becomes a file, and its name. VOC's classes may, too."""

_SHOWN = 60
_BYTE_ORDER_MARK = "\ufeff"
_NO_XML = "\ufffe\uffff"


def check_writable(to: str, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """Refuse names that cannot be read back from format ``to``; ``names``: image id -> file name.

    Raises:
        BadInput: says which name, and what is wrong with it.
    """
    found = [(what, name, fault) for what, name, fault in _faults(to, data, names) if fault]
    found += [] if found else _same_files(to, data)
    if found:
        what, shown, fault = found[0]
        others = counted("; {n} more names cannot either", [_shown(name) for _, name, _ in found[1:]])
        elsewhere = "" if any(fault for *_, fault in _faults("coco", data, names)) else ", or convert --to coco"
        raise BadInput(
            f"{what} {_shown(shown)} cannot be written as {to}: {fault}; rename it{elsewhere}"
            f"{others if len(found) > 1 else ''}"
        )


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _faults(to: str, data: AnnotatedSet, names: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What each name is, the name, and what is wrong with it, or ""."""
    files = dict(_FILES[to])
    if to == "voc" and can_list_classes(data):
        longest = max(data.lists(), key=lambda split: len(split.encode("utf-8", "replace")))
        files["the class"] = f"{{}}_{longest}.txt"
    for what, name, shown in _names(to, data, names):
        fault = _fault(to, what, name) if to != "coco" else ""
        if not fault and what in files:
            fault = path_fault(shown)
            if not fault and what != "the image" and "/" in name:
                fault = "it is part of a file's name, and has a slash in it"
            fault = fault or path_fault(files[what].replace("{}", shown))
        yield what, shown, fault


def _same_files(to: str, data: AnnotatedSet) -> list[tuple[str, str, str]]:
    """Splits and classes whose lists would be one file."""
    taken: dict[str, tuple[str, str]] = {}
    found = []
    files = [(split, "the split", split) for split in data.lists()]
    if to == "voc" and can_list_classes(data):
        files += [(f"{name}_{split}", "the class", name) for split in data.lists() for name in data.classes]
    for file, what, name in files if to != "csv" else ():
        other = taken.setdefault(file, (what, name))
        if other != (what, name):
            found.append((what, name, f"its list and that of {other[0]} {_shown(other[1])} would be one file"))
    return found


def _names(to: str, data: AnnotatedSet, names: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What it is, as the format writes it, as it is."""
    for image in data.images:
        yield "the image", image.id if to == "voc" else names[image.id], names[image.id]
    for what, given in (("the class", data.classes), ("the split", tuple(data.splits))):
        yield from ((what, name, name) for name in given)


def _fault(to: str, what: str, name: str) -> str:
    if any(unicodedata.category(mark) == "Cc" or mark in _NO_XML for mark in name):
        return "its name has a control character in it"
    # YOLO's list of images leads each name in with ./images/, and its YAML puts names in quotes.
    if to != "yolo" and name != name.strip():
        return "its name begins or ends with a blank"
    if to == "voc" and what == "the image" and name.startswith(_BYTE_ORDER_MARK):
        return "its name begins with a byte order mark"
    return ""
