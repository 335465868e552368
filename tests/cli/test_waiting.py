"""How torch's threads wait: decided before torch is there, and the user's word counts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = """
import os, sys
from sppcli.cli.main import main
assert main(["--version"]) == 0 and "torch" not in sys.modules
print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_wait_briefly_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    found = subprocess.run([sys.executable, "-c", ASK], env=kept | given, capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == expected
