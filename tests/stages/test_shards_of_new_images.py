"""Many new images are divided among machines as the images of a split are."""

from __future__ import annotations

import shutil
from pathlib import Path

from sppcli.runtime.shards import Shard
from tests.conftest import Run
from tests.stages.conftest import SCALES, Work
from tests.stages.same_files import same


def test_many_new_images_are_divided_as_a_split_is(work: Work, run: Run) -> None:
    """Not by ``spp detect IMAGES``, which has nothing to go on from; it says what to do."""
    code, _, err = run("detect", "photo.jpg", "-o", "new.h5", "--cluster", "scheduler.json")
    assert code == 2
    assert "divide spp propose FOLDER, spp extract and spp detect --split all in the same way" in err
    shutil.copytree(work.folder / "shapes" / "JPEGImages", "photos")
    found = ("--proposals", "p.h5", "--features", "f.h5")
    stages = {
        "p.h5": ("propose", "photos", "-j", "1", "--max-proposals", "24"),
        "f.h5": ("extract", *found[:2], "--weights", "net.safetensors", "--scales", SCALES),
        "d.h5": ("detect", *found, "--split", "all"),
    }
    for name, command in stages.items():
        for shard in Shard.all(2):
            assert run(*command, "-o", name, "--shard", str(shard))[0] == 0
        assert run("merge", *(str(shard.path(Path(name))) for shard in Shard.all(2)))[0] == 0
    assert run("detect", *found, "--split", "all", "-o", "whole.h5")[0] == 0
    assert same(Path("d.h5"), Path("whole.h5"))
