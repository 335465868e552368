"""docs/python.md names functions that exist, and its example runs as it stands."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(sppcli(?:\.[a-z_0-9]+)+\.[A-Za-z_]\w*)", TEXT)))


def test_there_are_names() -> None:
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_documented_functions_exist_and_are_documented(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except AttributeError:
        found = importlib.import_module(name)
    assert found.__doc__


def test_the_example_runs_and_needs_no_terminal() -> None:
    example = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    check = (
        "\nimport sys\nassert features.shape == (1, 12800)\nassert not {'click', 'h5py', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", example[1] + check], check=True)
