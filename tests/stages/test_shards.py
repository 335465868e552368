"""Shards, and what `spp merge` makes of them: array by array what one machine makes of all images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (its filters)
import numpy as np
import pytest

from sppcli.artefacts.features import open_features
from sppcli.artefacts.shards import SHARD, LeftOut, note_of, noted
from sppcli.artefacts.store import create, open_artefact
from sppcli.errors import BadArtefact
from sppcli.runtime.shards import Shard, rows_of, whole_of
from tests.conftest import Run, Voc, build_voc
from tests.stages.conftest import SCALES, write_network
from tests.stages.same_files import content, same

NETWORK = ("--weights", "net.safetensors", "--precision", "fp32")
STAGES = {
    "proposals.h5": ("propose", "shapes", "-j", "1", "--max-proposals", "24"),
    "features.h5": ("extract", *NETWORK, "--scales", SCALES),
    "rcnn.h5": ("extract", *NETWORK, "--method", "rcnn", "-o", "rcnn.h5"),
    "detections.h5": ("detect", "--split", "all"),
    "image-features.h5": ("features", "shapes", *NETWORK, "--side", "48"),
}
COUNT = 3


def shard_files(name: str, count: int = COUNT) -> list[str]:
    return [str(shard.path(Path(name))) for shard in Shard.all(count)]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of every stage, made in one run, and all its shards. One image is damaged from the start,
    one has the content of another, and one was damaged after it was searched."""
    from sppcli.cli.main import main

    folder = tmp_path_factory.mktemp("sharded")
    voc = build_voc(folder / "shapes", 9, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    voc.image("000002").write_bytes(b"no image")
    shutil.copyfile(voc.image("000003"), voc.image("000009"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, command in STAGES.items():
            if name == "detections.h5":
                assert main(["train-svm", "-q"]) == 0
                assert main(["train-bbox", "-q"]) == 0
            for shard in Shard.all(COUNT):
                assert main([*command, "--shard", str(shard), "-q"]) == 0
            assert main([*command, "-q"]) == 0
            if name == "proposals.h5":
                voc.image("000006").write_bytes(b"changed since")
    return folder


@pytest.fixture
def there(sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private copy of `sharded` without the data set, which is the current folder."""
    folder = tmp_path / "there"
    shutil.copytree(sharded, folder, ignore=shutil.ignore_patterns("shapes"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("how", [(), ("--copy",)], ids=["linked", "copied"])
def test_merged_is_what_one_machine_makes(name: str, how: tuple[str, ...], there: Path, run: Run) -> None:
    code, out, err = run("merge", *reversed(shard_files(name)), "-o", "merged.h5", *how, "--json")
    assert code == 0, err
    summary = json.loads(out)
    skipped = {"proposals.h5": 1, "features.h5": 1, "rcnn.h5": 1, "detections.h5": 0}.get(name, 2)
    assert (summary["shards"], summary["skipped"], summary["up_to_date"]) == (COUNT, skipped, False)
    assert same(Path("merged.h5"), Path(name))
    assert summary["linked"] == (name in ("features.h5", "rcnn.h5") and not how)
    code, out, err = run("merge", *shard_files(name), "-o", "merged.h5", *how)
    assert code == 0, err
    assert "(up to date)" in out


def test_a_merged_file_that_leads_to_its_shards_is_made_again_as_a_copy(there: Path, run: Run) -> None:
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    small = Path("merged.h5").stat().st_size
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5", "--copy")[0] == 0
    assert Path("merged.h5").stat().st_size > 3 * small
    whole = Path("merged.h5").read_bytes()
    code, out, err = run("merge", *shard_files("features.h5"), "-o", "merged.h5", "--dry-run")
    assert (code, out.split("\n")[0]) == (0, "would make merged.h5"), err
    assert Path("merged.h5").read_bytes() == whole
    for name in shard_files("features.h5"):
        Path(name).unlink()
    assert same(Path("merged.h5"), Path("features.h5"))


def test_the_name_that_the_shards_were_made_for_is_the_default(there: Path, run: Run) -> None:
    Path("features.h5").unlink()
    code, out, err = run("merge", *shard_files("features.h5"))
    assert code == 0, err
    assert out.startswith("features.h5: 7 images of 3 shards, ")
    assert "conv feature maps in the shards, 1 skipped" in out


def test_later_stages_read_merged_files_as_any_other(sharded: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "later"
    shutil.copytree(sharded, folder, ignore=shutil.ignore_patterns("shapes", "features.h5", "proposals.h5", "svm.h5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("proposals.h5", "features.h5", "detections.h5", "image-features.h5"):
            assert run("merge", *shard_files(name), "--force")[0] == 0
        assert run("train-svm")[0] == 0
        assert same(Path("svm.h5"), sharded / "svm.h5")
        code, out, err = run("detect", "--split", "all")
        assert code == 0, err
        assert "(up to date)" in out
        code, out, err = run("extract", *NETWORK, "--scales", SCALES)
        assert code == 0, err
        assert "(up to date)" in out
        assert run("evaluate")[0] == 0
        assert run("info", "features.h5", "--verify")[0] == 0


def test_other_programs_follow_the_links(there: Path, run: Run) -> None:
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    with h5py.File("merged.h5", "r") as merged, h5py.File("features.h5", "r") as whole:
        assert np.array_equal(merged["maps/96/000004"][()], whole["maps/96/000004"][()])


def test_merged_files_move_with_their_shards(there: Path, run: Run) -> None:
    Path("kept").mkdir()
    for name in shard_files("features.h5"):
        shutil.move(name, Path("kept") / name)
    assert run("merge", *(f"kept/{name}" for name in shard_files("features.h5")), "-o", "merged.h5")[0] == 0
    Path("elsewhere").mkdir()
    shutil.move("merged.h5", "elsewhere/merged.h5")
    shutil.move("kept", "elsewhere/kept")
    assert same(Path("elsewhere/merged.h5"), Path("features.h5"))


def test_a_shard_outside_the_folder_is_led_to_by_no_file(there: Path, run: Run) -> None:
    Path("below").mkdir()
    code, _, err = run("merge", *shard_files("features.h5"), "-o", "below/merged.h5")
    assert code == 2
    assert "give --copy" in err
    assert run("merge", *shard_files("features.h5"), "-o", "below/merged.h5", "--copy")[0] == 0


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda path: path.unlink(), 3, "shard-2-of-3.h5: there is no such file, and merged.h5 leads to"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), 3, "shard-2-of-3.h5: not a readable HDF5 file of spp"),
        (
            lambda path: shutil.copyfile("features.shard-1-of-3.h5", path),
            4,
            "shard-2-of-3.h5 has been made again since",
        ),
    ],
    ids=["gone", "cut", "another"],
)
def test_a_shard_that_is_not_what_was_merged_is_refused(
    spoil: Callable[[Path], object], code: int, said: str, there: Path, run: Run
) -> None:
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    spoil(Path("features.shard-2-of-3.h5"))
    found, _, err = run("info", "merged.h5", "--verify")
    assert (found, said in err) == (code, True), err


def test_a_flipped_bit_in_a_shard_is_noticed_as_its_map_is_read(there: Path, run: Run) -> None:
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    path = Path("features.shard-1-of-3.h5")
    with h5py.File(path, "r") as file:
        chunk = file["maps/160/000000"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 16
    path.write_bytes(data)
    with open_artefact(path.with_name("merged.h5")) as merged:
        names = [name for name in merged.names() if name.startswith("maps/160/")]
        with pytest.raises(BadArtefact, match=r"shard-1-of-3\.h5: maps/160/000000 is damaged"):
            [merged.array(name) for name in names]


def test_no_link_leads_to_a_file_that_is_no_shard(there: Path, run: Run) -> None:
    from sppcli.runtime.checksums import seal

    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    with h5py.File("merged.h5", "r+") as file:
        del file["maps/96/000000"]
        file["maps/96/000000"] = h5py.ExternalLink("proposals.h5", "/boxes")
    seal(Path("merged.h5"))
    with open_features(Path("merged.h5")) as features, pytest.raises(BadArtefact, match="leads to another file"):
        features.maps(0)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("1", "3"), 4, "is one of 3 shards, and 1 of them are missing (2/3); make them with spp extract --shard 2/3"),
        (("1", "2", "3", "again"), 4, "features.shard-3-of-3.h5 and again.h5 are both shard 3/3"),
        (("1", "2", "of 2"), 4, "features.shard-1-of-2.h5 is no shard of the same run"),
        (
            ("1", "2", "scales"),
            4,
            "other.shard-3-of-3.h5 is no shard of the same run as features.shard-1-of-3.h5: scales",
        ),
        (("1", "2", "kind"), 4, "proposals.shard-3-of-3.h5 is no shard of the same run"),
        (("1", "2", "whole"), 4, "features.h5 is whole, and no shard"),
        (("1", "2", "absent"), 3, "absent.h5: there is no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_shards_of_no_whole_are_refused(
    given: tuple[str, ...], code: int, said: str, sharded: Path, tmp_path: Path, run: Run
) -> None:
    files = {str(number): f"features.shard-{number}-of-3.h5" for number in (1, 2, 3)} | {
        "again": "again.h5",
        "of 2": "features.shard-1-of-2.h5",
        "scales": "other.shard-3-of-3.h5",
        "kind": "proposals.shard-3-of-3.h5",
        "whole": "features.h5",
        "absent": "absent.h5",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sharded)
        if "scales" in given and not Path("other.shard-3-of-3.h5").exists():
            assert run("extract", *NETWORK, "--scales", "96", "-o", "other.h5", "--shard", "3/3")[0] == 0
        if "of 2" in given and not Path("features.shard-1-of-2.h5").exists():
            assert run("extract", *NETWORK, "--scales", SCALES, "--shard", "1/2")[0] == 0
        if "again" in given:
            shutil.copyfile("features.shard-3-of-3.h5", "again.h5")
        found, _, err = run("merge", *(files[name] for name in given), "-o", str(tmp_path / "merged.h5"))
        assert (found, said in err) == (code, True), err
        assert not (tmp_path / "merged.h5").exists()


def test_what_leads_to_shards_that_are_gone_is_made_again(there: Path, sharded: Path, run: Run) -> None:
    assert run("merge", *shard_files("features.h5"), "--force")[0] == 0
    Path("features.shard-2-of-3.h5").unlink()
    code, out, err = run("extract", *NETWORK, "--scales", SCALES)
    assert code == 0, err
    assert "(up to date)" not in out
    made, wanted = content(Path("features.h5"))[1], content(sharded / "features.h5")[1]
    assert sorted(made) == sorted(wanted)
    assert all(np.array_equal(np.asarray(made[name]), np.asarray(wanted[name])) for name in made)


def test_shards_that_do_not_hold_the_images_of_their_run_are_refused(there: Path, run: Run) -> None:
    assert run("merge", *shard_files("features.h5"), "-o", "merged.h5")[0] == 0
    path = Path("features.shard-2-of-3.h5")
    with open_artefact(path) as shard:
        header, note = shard.header, note_of(shard.header)
    gone = replace(note, left_out=(*note.left_out, LeftOut("zz", "zz.jpg", "", "its bad day")))
    with open_artefact(path) as shard, create(Path("again.h5"), noted(header, gone)) as writer:
        for name in shard.names():
            writer.copy_from(shard, name, name)
    Path("again.h5").replace(path)
    code, _, err = run("merge", *shard_files("features.h5"), "-o", "merged.h5")
    assert code == 4
    assert "do not hold the images of their run" in err


@pytest.mark.parametrize("name", STAGES)
def test_a_finished_shard_is_up_to_date(name: str, sharded: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sharded)
    path = Shard(2, COUNT).path(Path(name))
    before = path.read_bytes()
    code, out, err = run(*STAGES[name], "--shard", f"2/{COUNT}")
    assert code == 0, err
    assert out.startswith(f"{path}: ")
    assert out.rstrip().endswith("(up to date)")
    assert path.read_bytes() == before


def test_a_shard_of_no_image_is_a_file_too(voc: Voc, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.safetensors")
    count = 4
    for image_id in voc.ids[3:]:
        voc.image(image_id).unlink()
        voc.annotation(image_id).unlink()
    (voc.root / "ImageSets/Main/trainval.txt").write_text("".join(f"{name}\n" for name in voc.ids[:3]))
    assert any(not rows_of(shard, voc.ids[:3]) for shard in Shard.all(count))
    for name in ("proposals.h5", "features.h5", "image-features.h5"):
        command = tuple("voc" if part == "shapes" else part for part in STAGES[name])
        for shard in Shard.all(count):
            code, _, err = run(*command, "--shard", str(shard))
            assert code == 0, err
        assert run(*command)[0] == 0
        assert run("merge", *shard_files(name, count), "-o", "merged.h5", "--overwrite")[0] == 0
        assert same(Path("merged.h5"), Path(name))


def test_results_in_other_formats_have_no_shards(there: Path, run: Run) -> None:
    code, _, err = run("detect", "--format", "jsonl", "--shard", "1/2")
    assert code == 2
    assert "--shard and --cluster are of a split's detections.h5" in err


def test_a_shard_of_detections_is_no_score(sharded: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sharded)
    code, _, err = run("evaluate", "--detections", "detections.shard-1-of-3.h5")
    assert code == 4
    assert "is shard 1/3 of its detections; merge it with the others first" in err


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "1/2/3", "-1/3", "a/b", ""])
def test_what_is_no_shard(text: str, run: Run) -> None:
    code, _, err = run("extract", "--shard", text)
    assert code == 2
    assert "is not a shard such as 3/8" in err


def test_shards_divide_every_list_of_names() -> None:
    names = [f"{i:06d}" for i in range(1000)]
    for of in (1, 2, 7, 64):
        rows = [rows_of(shard, names) for shard in Shard.all(of)]
        assert sorted(row for part in rows for row in part) == list(range(len(names)))
        assert max(map(len, rows)) < 2.5 * len(names) / of + 10


def test_a_shard_is_the_same_everywhere() -> None:
    """In any order, beside any others, and whatever PYTHONHASHSEED: as this literal."""
    code = (
        "from sppcli.runtime.shards import Shard\n"
        "names = ['000001', '000002', '2007/000003', 'ünïcode', '']\n"
        "print([next(shard.number for shard in Shard.all(8) if shard.holds(name)) for name in names])"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "[1, 3, 7, 3, 5]\n"


def test_the_name_of_a_shard_leads_back_to_the_whole() -> None:
    for name in ("features.h5", "runs.d/my.features.h5", "plain"):
        assert whole_of(Shard(3, 12).path(Path(name))) == Path(name)
        assert whole_of(Path(name)) == Path(name)


def test_the_header_says_which_shard_it_is(sharded: Path) -> None:
    with open_artefact(sharded / "proposals.shard-2-of-3.h5") as artefact:
        assert artefact.header.config[SHARD] == {"number": 2, "of": 3}


KILLER = """
import os, signal, sys
from sppcli import images
from sppcli.cli.main import main
import sppcli.proposals.propose, sppcli.stages.extract, sppcli.stages.features
decode = images.decode
def deadly(data, name):
    if name.endswith("000004.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, name)
for module in (sppcli.proposals.propose, sppcli.stages.extract, sppcli.stages.features):
    module.decode = deadly
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["proposals.h5", "features.h5", "image-features.h5"])
def test_an_image_that_kills_its_process_twice_is_left_out(name: str, sharded: Path, tmp_path: Path) -> None:
    """And no other, whichever were worked on beside it; a run that ends in order blames none."""
    command = [*STAGES[name], "--shard", "1/1", "-o", str(tmp_path / name)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def spp(deadly: bool) -> subprocess.CompletedProcess[str]:
        program = KILLER if deadly else "import sys; from sppcli.cli.main import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", program, *command],
            cwd=sharded,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert [spp(True).returncode for _ in range(2)] == [-9, -9]
    done = spp(True)
    assert done.returncode == 0, done.stderr
    assert "000004.jpg: 2 processes were killed while they worked on it" in done.stderr
    with open_artefact(tmp_path / f"{name.removesuffix('.h5')}.shard-1-of-1.h5") as made:
        skipped = made.strings("skipped_names")
        assert "JPEGImages/000004.jpg" in skipped
        assert len(made.strings("image_ids")) == 9 - len(skipped)
    assert list(tmp_path.glob("*.attempts")) == []
