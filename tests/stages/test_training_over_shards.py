"""Trainings on a features.h5 that leads to its shards: what they make of one file, bit for bit, whatever the order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sppcli.artefacts import linking
from sppcli.artefacts.store import open_artefact
from sppcli.cli.main import main
from sppcli.runtime.shards import Shard
from tests.conftest import Run, build_voc
from tests.stages.conftest import write_network
from tests.stages.same_files import same

EXTRACT = ("extract", "--weights", "net.safetensors", "--precision", "fp32", "--scales", "48,96", "--flip", "-q")
COUNT = 5
TRAININGS = {
    "rounds": ("train-svm", "--mining-rounds", "2"),
    "release": ("train-svm", "--recipe", "release", "--retrain-after", "40"),
    "mirrored": ("train-svm", "--flip", "--jitter", "2"),
    "boxes": ("train-bbox",),
    "mirrored boxes": ("train-bbox", "--flip", "--recipe", "release"),
    "fc6": ("train-svm", "--layer", "fc6", "--precision", "fp32"),
    "tuned": ("finetune", "--iterations", "12", "--check", "6", "--batch", "16"),
}


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features.h5, made in one run, and its shards; no shard is empty."""
    folder = tmp_path_factory.mktemp("sharded")
    build_voc(folder / "shapes", 16, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["propose", "shapes", "-q", "-j", "1", "--max-proposals", "60"]) == 0
        assert main([*EXTRACT]) == 0
        for shard in Shard.all(COUNT):
            assert main([*EXTRACT, "--shard", str(shard)]) == 0
    return folder


@pytest.mark.parametrize("order", [(3, 1, 5, 2, 4), (5, 4, 3, 2, 1)])
@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_read_shards_as_one_file(
    name: str, order: tuple[int, ...], sharded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sharded)
    # Fewer are open at once than there are.
    monkeypatch.setattr(linking, "MOST_OPEN", 2)
    merged = f"merged-{''.join(map(str, order))}.h5"
    if not Path(merged).exists():
        shards = [str(Shard(number, COUNT).path(Path("features.h5"))) for number in order]
        assert run("merge", *shards, "-o", merged)[0] == 0
    made = []
    for features in ("features.h5", merged):
        made.append(Path(f"{name} {features}"))
        code, _, err = run(*TRAININGS[name], "--features", features, "-o", str(made[-1]), "-q")
        assert code == 0, err
    if name == "tuned":
        assert made[0].read_bytes() == made[1].read_bytes()
    else:
        assert same(*made)


def test_no_more_than_a_few_shards_are_open_at_once(sharded: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "many"
    shutil.copytree(sharded, folder, ignore=shutil.ignore_patterns("shapes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shards = [str(shard.path(Path("features.h5"))) for shard in Shard.all(COUNT)]
        assert run("merge", *shards, "-o", "merged.h5")[0] == 0
        patch.setattr(linking, "MOST_OPEN", 2)
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))
        with open_artefact(Path("merged.h5")) as merged:
            merged.check_shards()
            for item in merged.names():
                if item.startswith("maps/"):
                    merged.array(item)
                assert len(list(descriptors.iterdir())) <= before + 1 + 2
        assert len(list(descriptors.iterdir())) == before
