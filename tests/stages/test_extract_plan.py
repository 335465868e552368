"""``spp extract --dry-run`` says what a run would do, and loads no network for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.stages.conftest import SCALES, Work

SAME = ("--weights", "net.safetensors", "--scales", SCALES)


def would(run: Run, *options: str) -> tuple[int, int]:
    """Images that would be extracted, and kept."""
    code, out, err = run("extract", "--dry-run", "--json", *options)
    assert code == 0, err
    plan = json.loads(out)
    assert plan["extracted"] + plan["kept"] == plan["images"] == 16
    return plan["extracted"], plan["kept"]


@pytest.fixture(autouse=True)
def _weights_of_the_run(work: Work) -> None:
    """The copy names the weights of the folder that it is a copy of; here they are extracted from anew."""
    from sppcli.cli.main import main

    assert main(["extract", "-q", "--force", *SAME, "--precision", "fp32"]) == 0


@pytest.mark.parametrize(
    ("options", "todo"),
    [
        ((), 0),
        (("--precision", "fp32"), 0),
        (("--precision", "bf16"), 16),
        (("--scales", "96"), 16),
        (("--flip",), 16),
        (("--force",), 16),
        (("-o", "new.h5"), 16),
    ],
)
def test_what_is_there_is_kept(run: Run, options: tuple[str, ...], todo: int) -> None:
    assert would(run, *SAME, *options) == (todo, 16 - todo)


def test_other_weights_are_other_maps(run: Run) -> None:
    newer = Path("features.h5").stat().st_mtime + 10
    os.utime("net.safetensors", (newer, newer))
    assert would(run, *SAME) == (16, 0)


def test_weights_and_backbones_that_do_not_exist(run: Run) -> None:
    assert run("extract", "--dry-run", "--weights", "no.safetensors")[0] == 3
    code, _, err = run("extract", "--dry-run", "--backbone", "resnet")
    assert (code, "there is no backbone 'resnet'" in err) == (2, True)
    assert run("extract", "--dry-run", "--proposals", "no.h5")[0] == 3


def test_torch_is_not_imported(run: Run) -> None:
    probe = (
        "import sys; from sppcli.cli.main import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 9 * ('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, "extract", "--dry-run", *SAME], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "would extract 0 of 16 images and write features.h5\n"
