"""XML that others wrote, without what XML can do beyond text: entities of its own, which a few lines can blow up."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from sppcli.errors import BadInput
from sppcli.runtime.inputs import read_regular

_LARGEST = 1 << 30


def read_xml(path: Path) -> bytes:
    """The bytes of an XML file, for `parse_xml`.

    Raises:
        OSError: it cannot be read, or is larger than 1 GiB.
    """
    return read_regular(path, _LARGEST)


def parse_xml(data: bytes, path: Path, what: str) -> ET.Element:
    """The root element of ``data``, the bytes of the file ``path``.

    Raises:
        BadInput: not XML, or XML that declares entities; the text says that it is not ``what``.
    """
    # Without zero bytes UTF-16 reads like ASCII.
    if b"<!ENTITY" in data.replace(b"\0", b""):
        raise BadInput(f"{path} is not {what}: it declares entities (<!ENTITY); write out what they stand for")
    try:
        return ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadInput(f"{path} is not {what}: {error}") from error
