"""``spp detect IMAGE...``: the next images are searched while the network has this one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sppcli.detection import new_images, over_images
from sppcli.runtime.processes import run_many
from tests.stages.conftest import Run, Work
from tests.stages.searching import trace_of, traced


def own_process(_: int) -> int:
    return os.getpid()


def test_one_job_runs_here_or_apart() -> None:
    assert {pid for _, pid in run_many(own_process, [1, 2], 1)} == {os.getpid()}
    (apart,) = {pid for _, pid in run_many(own_process, [1, 2], 1, apart=True)}
    assert apart != os.getpid()


def test_the_next_images_are_searched_while_the_network_has_this_one(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [str(Path("shapes/JPEGImages", f"{i:06d}.jpg").absolute()) for i in range(1, 7)]
    assert run("detect", *images, "-j", "1", "-o", "alone.jsonl")[0] == 0
    plain = new_images.ImageReader.read
    seen: list[str] = []

    def waiting(self: new_images.ImageReader, image: Any, size: Any, name: str) -> Any:
        """Goes on when the image after this one is searched; nothing here asks for it."""
        seen.append(name)
        following = images[images.index(name) + 1 : images.index(name) + 2]
        end = time.monotonic() + 120
        while not all(trace_of(Path(path)).exists() for path in following):
            assert time.monotonic() < end, "nothing is searched meanwhile"
            time.sleep(0.01)
        return plain(self, image, size, name)

    monkeypatch.setattr(new_images.ImageReader, "read", waiting)
    monkeypatch.setattr(over_images, "propose_image", traced)
    monkeypatch.setattr(over_images, "cpu_threads", lambda: 2)
    code, _, err = run("detect", *images, "-j", "2", "-o", "together.jsonl")
    assert code == 0, err
    assert seen == images
    assert Path("together.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
