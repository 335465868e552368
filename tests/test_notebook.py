"""The teaching notebook runs from its first cell to its last, and holds no outputs of an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs" / "teaching.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_every_cell_runs(capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    names: dict[str, object] = {}
    for number, cell in enumerate(CELLS):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    plt.close("all")
    found = capsys.readouterr().out.splitlines()[-1]
    assert float(found.split(": ")[1]) > 0.5, found


def test_it_is_stored_without_outputs() -> None:
    assert len(CELLS) > 5
    assert [cell for cell in CELLS if cell["outputs"] or cell["execution_count"] is not None] == []
