"""``--cluster`` on a real Dask scheduler with two worker processes: what one machine makes, whatever befalls them."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sppcli.cli.main import main
from sppcli.runtime import remote
from tests.conftest import Run, build_voc
from tests.runtime.dask_cluster import Cluster
from tests.stages.conftest import SCALES, write_network
from tests.stages.same_files import same

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sppcli[dask]'")

NETWORK = ("--weights", "net.safetensors", "--precision", "fp32")
STAGES = {
    "proposals.h5": ("propose", "shapes", "--max-proposals", "24"),
    "features.h5": ("extract", *NETWORK, "--scales", SCALES),
    "detections.h5": ("detect", "--split", "all"),
    "image-features.h5": ("features", "shapes", *NETWORK, "--side", "48"),
}
TRAININGS = {
    "svm.h5": ("train-svm", "--recipe", "release", "--retrain-after", "40"),
    "bbox.h5": ("train-bbox",),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its folder holds what one machine makes of all stages in ``here``."""
    folder = tmp_path_factory.mktemp("cluster")
    voc = build_voc(folder / "shapes", 9, per_image=4, seed=1)
    voc.image("000002").write_bytes(b"no image")
    write_network(folder / "net.safetensors")
    there = Cluster(folder)
    try:
        first = there.spp(*STAGES["proposals.h5"], "--shards", "4", "-o", "late.h5", "-v")
        assert first.stderr is not None
        said = first.stderr.readline()
        there.join()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for name, command in STAGES.items():
                if name == "detections.h5":
                    assert main(["train-svm", "-q"]) == 0
                assert main([*command, "-q"]) == 0
        (folder / "here").mkdir()
        for name in STAGES:
            shutil.move(folder / name, folder / "here" / name)
        for name in ("proposals.h5", "features.h5"):
            shutil.copy(folder / "here" / name, folder / name)
        out, err = first.communicate(timeout=120)
        assert first.returncode == 0, err
        (folder / "late.out").write_text(out)
        (folder / "late.err").write_text(said + err)
        yield there
    finally:
        there.end()


@pytest.fixture
def there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.chdir(cluster.folder)
    cluster.plan()
    return cluster


def test_workers_may_join_late(there: Cluster) -> None:
    """The command was there before any of them."""
    assert same(there.folder / "late.h5", there.folder / "here" / "proposals.h5")
    err = (there.folder / "late.err").read_text()
    assert "waiting for the first worker" in err.split("\n")[0]
    assert err.count("warning: skipped:") == 1
    assert "000002.jpg" in err
    assert err.count("VOC, 9 images") == 1
    assert (there.folder / "late.out").read_text() == "late.h5: 8 images, 192 proposals (24 per image), 1 skipped\n"


@pytest.mark.parametrize("name", STAGES)
def test_a_cluster_makes_what_one_machine_makes(name: str, there: Cluster, run: Run) -> None:
    out_name = f"far-{name}"
    code, out, err = run(*STAGES[name], "-o", out_name, "--cluster", str(there.file), "--shards", "3", "--json")
    assert code == 0, err
    assert same(Path(out_name), Path("here") / name)
    summary = json.loads(out)
    local = json.loads(run(*STAGES[name], "-o", str(Path("here") / name), "--json")[1])
    for item in ("images", "windows", "detections", "features", "skipped"):
        assert summary.get(item) == local.get(item) or item == "skipped"
    code, out, err = run(*STAGES[name], "-o", out_name, "--cluster", str(there.file))
    assert code == 0, err
    assert out.rstrip().endswith("(up to date)")


def test_a_killed_worker_loses_nothing_and_a_deadly_image_is_left_out(there: Cluster, run: Run) -> None:
    there.plan("once 000003.jpg", "always 000006.jpg")
    code, out, err = run(*STAGES["proposals.h5"], "-o", "killed.h5", "--cluster", str(there.file), "--shards", "2")
    assert code == 0, err
    assert " goes on where " in err
    assert "skipped: JPEGImages/000006.jpg: 2 processes were killed while they worked on it" in err
    assert out == "killed.h5: 7 images, 168 proposals (24 per image), 2 skipped\n"
    there.plan()
    from sppcli.artefacts.proposals import read_proposals

    found, all_of_them = read_proposals(Path("killed.h5")), read_proposals(Path("here/proposals.h5"))
    for row, image_id in enumerate(found.images.ids):
        wanted = all_of_them.of(all_of_them.images.ids.index(image_id))
        assert found.of(row).tobytes() == wanted.tobytes()
    shutil.rmtree("killed.h5.shards")  # with more memory, as it were: every image is given another chance
    assert run(*STAGES["proposals.h5"], "-o", "killed.h5", "--cluster", str(there.file), "--shards", "2")[0] == 0
    assert same(Path("killed.h5"), Path("here/proposals.h5"))


def test_ctrl_c_ends_the_work_of_the_workers(there: Cluster) -> None:
    from distributed import Client

    there.plan("slow")
    process = there.spp(*STAGES["proposals.h5"], "-o", "stopped.h5", "--shards", "2")
    there.wait(lambda: list(Path("stopped.h5.shards").glob("*.parts/*.h5")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    with Client(scheduler_file=str(there.file), set_as_default=False) as client:
        there.wait(lambda: not any(client.processing().values()), 10)
        there.wait(lambda: not any(client.run(lambda dask_worker: len(dask_worker.state.tasks)).values()), 10)
    assert not Path("stopped.h5").exists()
    assert list(Path("stopped.h5.shards").glob("*.attempts/now-*")) == []
    there.plan()
    process = there.spp(*STAGES["proposals.h5"], "-o", "stopped.h5")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert same(Path("stopped.h5"), Path("here/proposals.h5"))


def test_others_take_what_a_slow_worker_has_not_begun(there: Cluster, run: Run) -> None:
    there.plan("one-slow")
    code, _, err = run(*STAGES["proposals.h5"], "-o", "slow.h5", "--cluster", str(there.file), "--shards", "16")
    assert code == 0, err
    done = [line.split() for line in (there.folder / "plan.done").read_text().splitlines()]
    assert sorted(Path(name).name for _, name in done) == [f"{i:06d}.jpg" for i in range(1, 10)]  # each once
    workers = [worker for worker, _ in done]
    assert 1 <= workers.count(workers[0]) <= 3
    assert same(Path("slow.h5"), Path("here/proposals.h5"))


def test_a_scheduler_that_is_lost_loses_no_finished_shard(there: Cluster) -> None:
    """The command ends and says so; with another scheduler it does the rest."""
    folder = there.folder / "second"
    folder.mkdir()
    command = ("propose", str(there.folder / "shapes"), *STAGES["proposals.h5"][2:], "-o", "lost.h5")
    second = Cluster(folder)
    try:
        second.plan("slow")
        second.join()
        process = second.spp(*command, "--shards", "6")
        second.wait(lambda: list(folder.glob("lost.h5.shards/*.h5")))
        second.lose_scheduler()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 3, err
        last = err.rstrip().split("\n")[-1]
        assert last.startswith(f"spp propose: error: {second.file}: the scheduler was lost or restarted")
        assert "finished shards are kept" in last
        assert "Traceback" not in err
        kept = {path: path.stat().st_mtime_ns for path in folder.glob("lost.h5.shards/*.h5")}
        assert 0 < len(kept) < 6
        second.file.unlink()
        second.plan()
        second.begin()
        second.join()
        process = second.spp(*command)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        assert same(folder / "lost.h5", there.folder / "here" / "proposals.h5")
    finally:
        second.end()


@pytest.mark.parametrize("name", TRAININGS)
def test_a_cluster_trains_what_one_machine_trains(name: str, there: Cluster, run: Run) -> None:
    assert run(*TRAININGS[name], "-o", f"one-{name}")[0] == 0
    command = (*TRAININGS[name], "-o", f"far-{name}", "--json")
    code, out, err = run(*command, "--cluster", str(there.file))
    assert code == 0, err
    assert "2 workers at " in err
    assert same(Path(f"far-{name}"), Path(f"one-{name}"))
    summary = {**json.loads(out), "path": ""}
    assert summary == {**json.loads(run(*TRAININGS[name], "-o", f"one-{name}", "--json")[1]), "path": ""} | {
        "up_to_date": False
    }
    assert not Path(f"far-{name}.shards").exists()
    # What is up to date asks no cluster; with --force it does, for as many shards as there are classes at most.
    assert json.loads(run(*command, "--cluster", "nowhere.json")[1])["up_to_date"]
    code, out, err = run(*command, "--cluster", str(there.file), "--force", "--shards", "8")
    assert code == 0, err
    assert not json.loads(out)["up_to_date"]
    assert same(Path(f"far-{name}"), Path(f"one-{name}"))


def test_classes_of_a_killed_worker_are_trained_by_another(there: Cluster, run: Run) -> None:
    assert run(*TRAININGS["svm.h5"], "-o", "one-svm.h5")[0] == 0
    there.plan("once disc")
    code, out, err = run(*TRAININGS["svm.h5"], "-o", "killed-svm.h5", "--cluster", str(there.file))
    assert code == 0, err
    assert " goes on where " in err
    assert out.startswith("killed-svm.h5: 3 classes from ")
    assert same(Path("killed-svm.h5"), Path("one-svm.h5"))


def test_ctrl_c_ends_trainings_of_the_workers(there: Cluster) -> None:
    from distributed import Client

    there.plan("slow")
    process = there.spp(*TRAININGS["svm.h5"], "-o", "stopped-svm.h5")
    with Client(scheduler_file=str(there.file), set_as_default=False) as client:
        there.wait(lambda: any(client.processing().values()))
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        there.wait(lambda: not any(client.processing().values()), 10)
        there.wait(lambda: not any(client.run(lambda dask_worker: len(dask_worker.state.tasks)).values()), 20)
    assert not Path("stopped-svm.h5").exists()


def test_a_failure_comes_back_as_if_it_were_local(there: Cluster, run: Run) -> None:
    code, _, err = run(*STAGES["proposals.h5"], "-o", "strict.h5", "--cluster", str(there.file), "--strict")
    assert code == 3
    assert "000002.jpg: not an image that can be decoded" in err.rstrip().split("\n")[-1]
    assert err.rstrip().split("\n")[-1].startswith("spp propose: error: ")
    assert not Path("strict.h5").exists()


def test_workers_with_other_versions_or_other_files_are_refused(
    there: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = remote.versions()
    monkeypatch.setattr(remote, "versions", lambda: {**mine, "torch": "9.9"})
    code, _, err = run(*STAGES["proposals.h5"], "-o", "other.h5", "--cluster", str(there.file))
    assert code == 4
    assert f"has torch {mine['torch']}, and 9.9 is used here" in err
    assert "the worker tcp://127.0.0.1:" in err
    monkeypatch.setattr(remote, "versions", lambda: mine)
    monkeypatch.setattr(remote, "_digest", lambda path: "0" * 64)
    code, _, err = run(*STAGES["features.h5"], "-o", "other.h5", "--cluster", str(there.file))
    assert code == 4
    assert "reads other bytes from" in err
    assert not Path("other.h5").exists()


def test_force_makes_all_shards_again(there: Cluster, run: Run) -> None:
    command = (*STAGES["proposals.h5"], "-o", "again.h5", "--cluster", str(there.file), "--shards", "2")
    assert run(*command)[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in Path("again.h5.shards").iterdir()}
    code, out, err = run(*command, "--force")
    assert code == 0, err
    assert "(up to date)" not in out
    after = {path.name: path.stat().st_mtime_ns for path in Path("again.h5.shards").iterdir()}
    assert sorted(before) == sorted(after)
    assert all(after[name] > before[name] for name in before)


def test_spp_run_works_on_the_cluster_where_a_stage_can(
    there: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = there.folder / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    settings = f"""
        [data]
        folder = "{there.folder / "shapes"}"
        [run]
        stages = ["propose", "extract", "check"]
        cluster = "{there.file}"
        shards = 3
        [propose]
        jobs = 1
        max-proposals = 24
        [extract]
        weights = "{there.folder / "net.safetensors"}"
        precision = "fp32"
        scales = [{SCALES}]
        shards = 2
    """
    Path("spp.toml").write_text(settings)
    code, _, err = run("run")
    assert code == 0, err
    assert err.count("2 workers at ") == 2  # check works here
    assert same(Path("proposals.h5"), there.folder / "here" / "proposals.h5")
    assert len(list(Path("proposals.h5.shards").glob("*.h5"))) == 3
    assert len(list(Path("features.h5.shards").glob("*.h5"))) == 2
    Path("proposals.h5").unlink()
    # What is asked for by hand is done by hand.
    assert run("propose", str(there.folder / "shapes"), "--shard", "1/2")[0] == 0
    assert Path("proposals.shard-1-of-2.h5").exists()
    code, _, err = run("run", "--cluster", "nowhere.json")
    assert (code, "nowhere.json: there is no such scheduler file" in err) == (3, True)
    code, _, err = run("run", "--stages", "check", "--cluster", "nowhere.json")
    assert (code, "none of the stages to run (check) goes image by image" in err) == (2, True)
    Path("spp.toml").write_text(settings.replace("[propose]", '[propose]\ncluster = ""'))
    code, _, err = run("run", "--stages", "propose")
    assert code == 0, err
    assert "workers at" not in err


def test_what_it_takes_to_run_again_stays_until_it_is_asked_to_go(there: Cluster, run: Run) -> None:
    """``spp clean`` and the folders of shards."""
    for name in ("proposals.h5", "features.h5"):
        command = (*STAGES[name], "-o", f"kept-{name}", "--cluster", str(there.file), "--shards", "2")
        assert run(*command)[0] == 0
    shutil.move("kept-features.h5", "moved.h5")
    found = {Path(item["path"]).name: item for item in json.loads(run("clean", "--json")[1])["files"]}
    assert found["kept-proposals.h5.shards"]["what"] == "shards of a run that has ended"
    assert "kept-features.h5.shards" not in found
    assert [Path(path).name for path in found["moved.h5"]["also"]] == ["kept-features.h5.shards"]
    assert found["moved.h5"]["bytes"] > sum(path.stat().st_size for path in Path("kept-features.h5.shards").glob("*"))


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--cluster", "nowhere.json"), 3, "nowhere.json: there is no such scheduler file"),
        (("--cluster", "tcp://127.0.0.1:9"), 3, "tcp://127.0.0.1:9: no Dask scheduler answers there"),
        (("--cluster", "x", "--shard", "1/2"), 2, "leave one of them out"),
        (("--shards", "2"), 2, "--shards is an option of --cluster"),
    ],
)
def test_what_is_no_cluster(
    given: tuple[str, ...], code: int, said: str, there: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sppcli.runtime.cluster._CONNECT", "1s")
    found, _, err = run(*STAGES["proposals.h5"], "-o", "none.h5", *given)
    assert (found, said in err) == (code, True), err


def test_without_dask_it_says_what_to_install(there: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = run(*STAGES["proposals.h5"], "-o", "none.h5", "--cluster", str(there.file))
    assert code == 3
    assert "pip install 'sppcli[dask]'" in err
