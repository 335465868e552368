"""Trainings by two processes of torchrun: what one process makes, whichever of them is killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sppcli.artefacts.networks import recorded_training
from tests.conftest import Run
from tests.stages.conftest import Work
from tests.stages.test_train_net import draw_folder

SMALL = ("--weights", "net.safetensors", "--precision", "fp32", "--channels", "32", "--fc", "64", "--scale", "96")
TRAININGS = {
    "finetune": ("finetune", "--iterations", "120", "--batch", "16", "--check", "40", "--rate", "0.01"),
    "train-detector": ("train-detector", *SMALL, "--split", "val", "--images-per-step", "3", "--epochs", "6"),
    "train-net": ("train-net", "stripes", "--net", "tiny", "--fc", "32", "--pyramid", "2,1", "--sizes", "26,32",
                  "--epochs", "4", "--batch", "8"),
}  # fmt: skip


class Together:
    """Two processes of the command line that torchrun has started."""

    def __init__(self, arguments: tuple[str, ...], restarts: int = 0) -> None:
        how = ("--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *how, "-m", "sppcli", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=300)
        return self._process.returncode, out, err

    def kill(self, rank: int, when: Path) -> None:
        """Kill one of them as soon as there is a file."""
        end = time.monotonic() + 240
        while not when.exists():
            assert self._process.poll() is None, self.end()
            assert time.monotonic() < end
            time.sleep(0.005)
        (found,) = (child for child in self._children() if f"\0RANK={rank}\0" in environment(child))
        os.kill(found, signal.SIGKILL)

    def _children(self) -> Iterator[int]:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    yield int(folder.name)


def environment(process: int) -> str:
    with suppress(OSError):
        return "\0" + Path(f"/proc/{process}/environ").read_text()
    return ""


@pytest.fixture(scope="module")
def folder(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    for name in ("proposals.h5", "features.h5", "net.safetensors"):
        shutil.copy(trained.folder / name, folder / name)
    stripes = draw_folder(folder / "stripes", {"train": 12, "val": 5})
    shutil.copy(stripes / "train" / "down" / "000.png", stripes / "train" / "down" / "extra.png")
    return folder


@pytest.fixture(scope="module")
def tuned(folder: Path) -> Path:
    """What two processes make that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, out, err = Together((*TRAININGS["finetune"], "-o", "two.safetensors")).end()
    assert code == 0, err
    # The first process speaks, the other is silent.
    assert out.count("two.safetensors: ") == 1
    assert sum(line.startswith("finetune: 120 mini-batches in ") for line in err.splitlines()) == 1
    return folder / "two.safetensors"


def close(one: Path, other: Path) -> None:
    """Two networks are the same but for rounding, and so are the losses on the way."""
    mine, theirs = load_file(one), load_file(other)
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=2e-3)
    for a, b in zip(losses(one), losses(other), strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def losses(path: Path) -> list[list[float]]:
    """Those of each epoch or validation of a training."""
    training = recorded_training(path)
    rows = training.get("history") or training["summary"].get("epochs") or training["summary"]["checks"]
    return [[value for name, value in row.items() if name.endswith("loss")] for row in rows]


@pytest.mark.parametrize("name", TRAININGS)
def test_they_write_to_no_url(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would fetch and send it by itself."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run(*TRAININGS[name], "-o", "memory://here/net.safetensors")
    assert (code, "torchrun starts work on one output together: give -o a path" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(
    name: str, folder: Path, tuned: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun starts both again, they go on, with --force too, and end with the weights of one process. What they had
    kept when one was killed, one process alone goes on with."""
    monkeypatch.chdir(folder)
    one, again, alone = (folder / f"{name}-{what}.safetensors" for what in ("one", "again", "alone"))
    arguments = (*TRAININGS[name], "-o", one.name)
    assert run(*arguments)[0] == 0
    shutil.copy(one, again)
    arguments = (*TRAININGS[name], "--checkpoint", "0", "-o")
    processes = Together((*arguments, again.name, "--force"), restarts=1)
    kept = Path(f"{again}.checkpoint")
    processes.kill(1 if name == "train-net" else 0, kept)
    shutil.copy(kept, f"{alone}.checkpoint")
    code, out, err = processes.end()
    assert code == 0, err
    assert out.count(f"{again.name}: ") == 1
    assert "has lost another one; run it again to go on from the last checkpoint" in err
    assert "of them found already done" in err
    assert not kept.exists()
    close(one, again)
    if name == "finetune":
        # Bit for bit: without a kill two processes take the same steps.
        mine, theirs = load_file(tuned), load_file(again)
        assert all(torch.equal(mine[tensor], theirs[tensor]) for tensor in mine)

    with safe_open(f"{alone}.checkpoint", "pt") as file:
        position = json.loads(file.metadata()["spp_checkpoint"])["position"]
    assert position["step"] > 0 or position["epoch"] > 0
    code, _, err = run(*arguments, alone.name)
    assert code == 0, err
    assert "of them found already done" in err
    close(one, alone)
