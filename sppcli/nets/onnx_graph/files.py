"""Writes ONNX files, and runs them by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from sppcli.errors import UsageProblem
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.files import replacing

_LARGEST = (1 << 31) - 1
"""Bytes that one ONNX file can hold."""


def packed_bytes(model: onnx.ModelProto) -> bytes:
    """The file's content.

    Raises:
        UsageProblem: it is more than one file can hold.
    """
    if model.ByteSize() > _LARGEST:
        raise UsageProblem(
            f"the network takes {model.ByteSize():,} bytes, and an ONNX file holds {_LARGEST:,}; truncate its fc "
            "layers with --svd in training, or take a smaller backbone"
        )
    return bytes(model.SerializeToString(deterministic=True))


def save(path: Path, content: bytes) -> None:
    """Write ``content`` whole, or nothing.

    Raises:
        OSError: it could not be written, as on a full disk.
    """
    with replacing(path, needed=len(content)) as temporary:
        temporary.write_bytes(content)


class Session:
    """Runs a model, on the CPU."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cpu_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name."""
        names = [item.name for item in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
