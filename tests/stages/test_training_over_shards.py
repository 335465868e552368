"""Trainings on a features.h5 that leads to its shards, and trainings whose classes are in shards: what they make of one
file, and of all classes at once, bit for bit."""

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
    # Some classes find their first negative after the first image.
    "few negatives": ("train-svm", "--recipe", "release", "--negative-iou", "0.02", "--hard-score", "-1.5"),
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


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "tuned"])
def test_classes_in_shards_become_what_they_become_together(
    name: str, count: int, sharded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sharded)
    whole, merged = Path(f"whole {name}.h5"), f"merged {name} {count}.h5"
    assert run(*TRAININGS[name], "-o", str(whole), "-q")[0] == 0
    files = [str(shard.path(whole)) for shard in Shard.all(count)]
    for shard in Shard.all(count):
        code, out, err = run(*TRAININGS[name], "-o", str(whole), "--shard", str(shard), "-q")
        assert code == 0, err
        assert out.startswith(f"{shard.path(whole)}: ")
    assert run(*TRAININGS[name], "-o", str(whole), "--shard", f"1/{count}")[1].count("(up to date)") == 1
    code, out, err = run("merge", *reversed(files), "-o", merged)
    assert code == 0, err
    assert out.startswith(f"{merged}: 3 classes of {count} shards, ")
    assert same(Path(merged), whole)
    # It is the training's own file: nothing is left to do.
    assert "(up to date)" in run(*TRAININGS[name], "-o", merged)[1]


@pytest.mark.parametrize("training", ["train-svm", "train-bbox"])
def test_shards_of_classes_that_cannot_be_used(
    training: str, sharded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sharded)
    name = f"{training}.h5"
    first, second = (str(shard.path(Path(name))) for shard in Shard.all(2))

    def refused(code: int, said: str, *arguments: str) -> None:
        found, _, err = run(*arguments)
        assert (found, said in " ".join(err.split())) == (code, True), err

    refused(2, "there are 4 shards of 3 classes; make no more of them", training, "--shard", "1/4", "-o", name)
    assert run(training, "--shard", "1/2", "-o", name)[0] == 0
    refused(4, "and 1 of them are missing (2/2)", "merge", first)
    assert run(training, "--shard", "2/2", "--recipe", "paper", "-o", name)[0] == 0
    refused(4, "is no shard of the same run", "merge", first, second)
    models = ("--svm", first) if training == "train-svm" else ("--bbox", first)
    if training == "train-bbox":
        assert run("train-svm", "-q")[0] == 0
    refused(4, f"{first} is shard 1/2 of the classes; merge it with the others first", "detect", *models)
    assert run("info", first, "--verify")[0] == 0
