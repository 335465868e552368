"""What an ONNX file of `spp export` says of itself, read without onnx."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from sppcli.errors import BadArtefact
from sppcli.runtime.inputs import open_regular
from sppcli.runtime.wire import Damaged, fields

ONNX_SUFFIX = ".onnx"
_PRODUCER, _METADATA = 2, 14
"""Fields of ONNX's ModelProto; metadata are pairs of key (1) and value (2)."""
_LISTS = ("classes", "scales", "pyramid")


def onnx_description(path: Path) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """What made the file at ``path``, "", facts for people, and settings; empty where another program wrote it.

    Raises:
        BadArtefact: it cannot be read, or is no ONNX file.
    """
    try:
        with open_regular(path) as file:
            found = _short(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        if not any(number == _PRODUCER for number, _ in found):
            raise Damaged("it names no producer")
        pairs = [dict(fields(memoryview(value))) for number, value in found if number == _METADATA]
        texts = [tuple(bytes(pair.get(n, b"")).decode() for n in (1, 2)) for pair in pairs]
        facts: dict[str, Any] = {name: json.loads(value) if name in _LISTS else value for name, value in texts}
        config: dict[str, Any] = {
            name: json.loads(facts.pop(name)) for name in ("normalisation", "proposals") if name in facts
        }
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"{path}: no ONNX file, or a damaged one ({error}); make it again with spp export") from None
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read ({error.strerror}); give another file") from None
    return str(facts.pop("made_by", "")), "", facts, config


def _short(view: memoryview) -> list[tuple[int, bytes]]:
    wanted = (_PRODUCER, _METADATA)
    return [(n, bytes(value)) for n, value in fields(view) if n in wanted and isinstance(value, memoryview)]
