"""Help must come at once: it imports nothing that computes or draws."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sppcli.cli.main import COMMANDS

HEAVY = {
    "PIL",
    "cv2",
    "dask",
    "distributed",
    "fsspec",
    "h5py",
    "hdf5plugin",
    "matplotlib",
    "mlflow",
    "numba",
    "numpy",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "tensorboard",
    "torch",
    "torchvision",
}
PROBE = """
import sys
from sppcli.cli.main import main
code = main(sys.argv[1:])
print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS), ["bench", "rcnn"]], ids=lambda names: " ".join(["spp", *names])
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text, _, imported = done.stdout.rpartition("IMPORTED")
    assert text.startswith("Usage: spp")
    assert "click" in imported.split()
    assert HEAVY & set(imported.split()) == set()


def test_the_list_of_commands_imports_none_of_them() -> None:
    probe = PROBE.replace('name.split(".")[0]', "name")
    done = subprocess.run([sys.executable, "-c", probe, "--help"], capture_output=True, text=True, check=True)
    imported = done.stdout.rpartition("IMPORTED")[2].split()
    assert {name for name in imported if name.startswith("sppcli.")} == {
        "sppcli.cli",
        "sppcli.cli.help_pages",
        "sppcli.cli.main",
        "sppcli.cli.termination",
        "sppcli.errors",
    }
