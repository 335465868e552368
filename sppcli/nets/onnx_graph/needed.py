"""Whether what ONNX needs is installed, asked before anything else is done."""

from __future__ import annotations

from importlib.util import find_spec

from sppcli.errors import UsageProblem

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""What writes ONNX files and runs them; onnxscript is torch's own need."""


def check_installed() -> None:
    """Raises UsageProblem: a package is not installed; says which, and how to get it."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageProblem(f"ONNX files need the package {missing[0]}: pip install 'sppcli[onnx]'")
