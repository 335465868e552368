"""Names that a format of annotations can hold: what its own reader would read back as another name is refused.

Lists of images and classes are lines of text, of which readers drop the blanks around a name; XML and YAML have no way
to write control characters, or one that differs from reader to reader. COCO's JSON holds every name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from sppcli.datasets.annotated import AnnotatedSet
from sppcli.datasets.remarks import counted
from sppcli.errors import BadInput

_BYTE_ORDER_MARK = "\ufeff"
_NO_XML = "\ufffe\uffff"


def check_writable(to: str, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """Refuse names that cannot be read back from format ``to``; ``names``: image id -> file name.

    Raises:
        BadInput: says which name, and what is wrong with it.
    """
    if to == "coco":
        return
    found = [(what, shown, _fault(to, what, name)) for what, name, shown in _names(to, data, names)]
    faulty = [entry for entry in found if entry[2]]
    if faulty:
        what, shown, fault = faulty[0]
        others = counted("; {n} more names cannot either", [repr(name) for _, name, _ in faulty[1:]])
        raise BadInput(
            f"{what} {shown!r} cannot be written as {to}: {fault}; rename it, or convert --to coco"
            f"{others if len(faulty) > 1 else ''}"
        )


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
