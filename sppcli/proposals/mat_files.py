"""MATLAB's .mat files, read by a process of their own.

scipy overruns its memory on damaged files, which ends the process that reads them. So the file goes to a child that may
neither take much memory nor much time, and that answers with plain arrays, which are checked here like a file.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.errors import BadInput

_MEMORY = 4 << 30
"""Bytes that the child may take beyond 16 times those of the file."""

_SECONDS = 60
"""Seconds that the child may take beyond one for each megabyte."""


@dataclass(frozen=True)
class MatWindows:
    """``names``: of the images; ``corners``: (N, 4) float64 of each, as they stand in the file."""

    names: tuple[str, ...]
    corners: tuple[npt.NDArray[np.float64], ...]


def read_mat(path: Path, data: bytes) -> MatWindows:
    """The cells ``images`` and ``boxes`` of the file ``path``, whose bytes are ``data``.

    Raises:
        BadInput: it is no MATLAB file, a damaged one, or one with other content.
    """
    megabytes = len(data) >> 20
    limits = [str(_MEMORY + 16 * len(data)), str(_SECONDS + megabytes)]
    try:
        done = subprocess.run(
            # -I: no module of the current folder or the environment but those of this process.
            [sys.executable, "-I", "-c", _CHILD, "\n".join(sys.path), *limits],
            input=data,
            capture_output=True,
            timeout=_SECONDS + megabytes,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"{path}: not a readable MATLAB file (reading it has no end)") from None
    if done.returncode:
        raise BadInput(f"{path}: not a readable MATLAB file (it is damaged, or needs more memory than there is)")
    return _checked(path, done.stdout)


_CHILD = """
import sys
sys.path[:] = sys.argv[1].split("\\n")
from sppcli.proposals.mat_files import child
child(*map(int, sys.argv[2:]))
"""


def _checked(path: Path, answer: bytes) -> MatWindows:
    """What the child says, whose memory the file may have overwritten."""
    try:
        head, _, body = answer.partition(b"\n")
        told = json.loads(head)
        if "problem" in told:
            raise BadInput(f"{path}{told['problem']}")
        names, counts = [str(name) for name in told["names"]], [int(count) for count in told["counts"]]
        values = np.frombuffer(body, dtype="<f8").reshape(-1, 4)
        if len(names) != len(counts) or sum(counts) != len(values) or min(counts, default=0) < 0:
            raise ValueError("an answer of another length")
    except (ValueError, KeyError, TypeError, OverflowError):
        raise BadInput(f"{path}: not a readable MATLAB file (it is damaged)") from None
    ends = np.cumsum([0, *counts])
    return MatWindows(tuple(names), tuple(values[start:end] for start, end in pairwise(ends)))


def child(memory: int, seconds: int) -> None:
    """Read a .mat from standard input and write a line of JSON and the corners, or ``problem``, to standard output."""
    import resource

    data = sys.stdin.buffer.read()
    import scipy.io

    for what, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=["boxes", "images"])
    except Exception as error:
        # scipy raises whatever a damaged file leads it to.
        told: dict[str, Any] = {"problem": f": not a readable MATLAB file ({' '.join(str(error).split())[:200]})"}
        corners: list[npt.NDArray[np.float64]] = []
    else:
        told, corners = _taken(content)
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + b"".join(values.tobytes() for values in corners))


def _taken(content: dict[str, Any]) -> tuple[dict[str, Any], list[npt.NDArray[np.float64]]]:
    for name in ("boxes", "images"):
        if name not in content:
            problem = f": has no variable {name!r}; Selective Search's files hold 'boxes' and 'images'"
            return {"problem": problem}, []
        if content[name].dtype != object:
            problem = f": {name!r} is not a cell array; Selective Search's files hold two, 'boxes' and 'images'"
            return {"problem": problem}, []
    images, boxes = content["images"].ravel(), content["boxes"].ravel()
    if len(images) != len(boxes):
        return {"problem": f": {len(images)} images but boxes of {len(boxes)}"}, []
    names: list[str] = []
    found: list[npt.NDArray[np.float64]] = []
    for number, (name, corners) in enumerate(zip(images, boxes, strict=True), start=1):
        text = np.asarray(name)
        if text.dtype.kind != "U" or text.size != 1:
            return {"problem": f": images{{{number}}} is not a text"}, []
        names.append(str(text.ravel()[0]))
        values = np.asarray(corners)
        if values.size == 0:
            values = np.zeros((0, 4))
        if values.ndim != 2 or values.shape[1] != 4 or values.dtype.kind not in "iuf":
            where = f"boxes{{{number}}} (image {names[-1]!r})"
            return {"problem": f": {where} is not an array of four columns, y0 x0 y1 x1"}, []
        found.append(np.ascontiguousarray(values, dtype="<f8"))
    return {"names": names, "counts": [len(values) for values in found]}, found
