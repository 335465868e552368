"""``spp run``: from a folder of images that ``spp init`` has looked at to an evaluated detector. See test_init.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sppcli.cli.commands import extract as extract_command
from sppcli.cli.main import main
from sppcli.cli.presets import PRESETS
from sppcli.runtime.rates import Measured, PeakMemory, Rates
from tests.conftest import Run, build_voc
from tests.stages.conftest import write_network

STAGES = ["propose", "extract", "train-svm", "train-bbox", "calibrate", "detect", "evaluate", "report"]
EACH_TIME = ("evaluate", "report")
SVM_OPTIONS = """
[train-svm]
pyramid = [3, 2, 1]
[train-bbox]
pyramid = [3, 2, 1]
[calibrate]
folds = 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where ``spp init shapes`` and ``spp run`` have been run."""
    folder = tmp_path_factory.mktemp("made")
    build_voc(folder / "shapes", 16, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("SPP_EXTRACT_SCALES", "96,160")
        patch.setenv("SPP_EXTRACT_PRECISION", "fp32")
        patch.setenv("SPP_PROPOSE_METHOD", "edge-boxes")
        patch.setenv("SPP_PROPOSE_EDGES", "gradient")
        assert main(["init", "shapes", "--preset", "paper", "--weights", "net.safetensors", "-q", "-j", "1"]) == 0
        text = Path("spp.toml").read_text().replace('recipe = "paper"', "seed = 0")
        Path("spp.toml").write_text(text + SVM_OPTIONS)
        assert main(["run", "-q"]) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made`, which is the current folder; its artefacts lead to the images of `made`."""
    copy = tmp_path / "work"
    shutil.copytree(made, copy)
    text = (copy / "spp.toml").read_text().replace('folder = "shapes"', f'folder = "{made / "shapes"}"')
    (copy / "spp.toml").write_text(text)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy / "cache"))
    monkeypatch.setenv("SPP_EXTRACT_SCALES", "96,160")
    monkeypatch.setenv("SPP_EXTRACT_PRECISION", "fp32")
    monkeypatch.setenv("SPP_PROPOSE_METHOD", "edge-boxes")
    monkeypatch.setenv("SPP_PROPOSE_EDGES", "gradient")
    return copy


def states(out: str) -> dict[str, str]:
    """Stage -> ``up to date``, or the time it took, in the last table of ``spp run``."""
    lines = out[out.index("stage ") :].splitlines()[1:]
    return {line.split()[0]: line for line in lines if line.split() and line.split()[0] in STAGES}


def test_a_run_makes_every_file_and_evaluates(folder: Path) -> None:
    for name in ("proposals.h5", "features.h5", "svm.h5", "bbox.h5", "calibration.h5", "detections.h5", "report.html"):
        assert (folder / name).is_file()


def test_a_second_run_does_nothing_but_evaluate(folder: Path, run: Run) -> None:
    code, out, err = run("run")
    assert code == 0, err
    assert "mAP" in out
    rows = states(out)
    assert [name for name, line in rows.items() if "up to date" in line] == STAGES[:-2]
    assert "next\n  report.html " in out
    assert "2/8 extract" not in err  # nothing was done there


def test_what_changed_is_done_again_and_nothing_else(folder: Path, run: Run) -> None:
    text = (folder / "spp.toml").read_text().replace("[train-svm]", "[train-svm]\nc = 0.02")
    (folder / "spp.toml").write_text(text)
    code, out, err = run("run", "-v")
    assert code == 0, err
    assert [name for name, line in states(out).items() if "up to date" in line] == ["propose", "extract", "train-bbox"]
    assert "3/8 train-svm: " in err


def test_a_flag_names_other_stages(folder: Path, run: Run) -> None:
    code, out, _ = run("run", "--stages", "detect,evaluate")
    assert (code, list(states(out))) == (0, ["detect", "evaluate"])
    assert run("run", "--stages", "detct")[0] == 2
    assert run("run", "--stages", "run")[0] == 2


def test_dry_run_says_what_is_to_do_and_how_long(folder: Path, run: Run) -> None:
    def plan() -> dict[str, dict[str, object]]:
        code, out, err = run("run", "--dry-run", "--json")
        assert code == 0, err
        return {row["stage"]: row for row in json.loads(out)["stages"]}

    there = plan()
    assert {name: row["state"] for name, row in there.items()} == dict.fromkeys(STAGES, "up to date") | dict.fromkeys(
        EACH_TIME, "each time"
    )
    assert all(row["measured_here"] for row in there.values())
    (folder / "spp.toml").write_text((folder / "spp.toml").read_text() + "\n[detect]\nmax-per-image = 1\n")
    assert [name for name, row in plan().items() if row["state"] == "to do"] == ["detect"]
    (folder / "features.h5").unlink()
    rows = plan()
    assert [name for name, row in rows.items() if row["state"] == "to do"] == STAGES[1:6]
    assert rows["extract"]["seconds"] > 0  # type: ignore[operator]
    assert rows["extract"]["disk"] > 1000  # type: ignore[operator]
    code, out, _ = run("run", "--dry-run")
    assert code == 0
    assert "in all" in out
    assert "from earlier runs on this machine" in out
    assert not (folder / "features.h5").exists()


def test_forecasts_are_compared_with_what_it_took(folder: Path, run: Run) -> None:
    (folder / "svm.h5").unlink()
    assert run("run", "--stages", "propose,extract,train-svm")[0] == 0
    code, out, _ = run("run", "--dry-run")
    assert code == 0
    assert "1 earlier forecast was off by " in out


def test_first_forecasts_say_that_they_are_guesses(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    assert "may be off by a factor of three" in run("run", "--dry-run")[1]


def test_the_exit_code_is_that_of_the_stage_that_failed(folder: Path, run: Run) -> None:
    (folder / "net.safetensors").write_bytes(b"x")
    (folder / "features.h5").unlink()
    code, _, err = run("run")
    assert code == 3
    assert err.splitlines()[-1].startswith("spp extract: error: net.safetensors: ")


def test_interrupted_in_a_stage(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(extract_command.command, "callback", interrupt)
    code, _, err = run("run")
    assert code == 130
    assert "spp run: interrupted; nothing is left half-written, run it again to go on" in err


def test_evaluate_alone_detects_with_the_options_of_the_file(folder: Path, run: Run) -> None:
    (folder / "detections.h5").unlink()
    (folder / "spp.toml").write_text((folder / "spp.toml").read_text() + "\n[detect]\nmax-per-image = 1\n")
    assert run("evaluate")[0] == 0
    described = json.loads(run("info", "detections.h5", "--json")[1])["files"][0]
    assert described["config"]["settings"]["max_per_image"] == 1


def test_without_a_file_or_a_data_set(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("run")
    assert (code, "'spp init DATA' writes one" in err) == (3, True)
    assert run("run", "--json")[0] == 2
    code, _, err = run("run", "--dry-run", "--stages", "evaluate")
    assert (code, "name propose in --stages" in err) == (3, True)


@pytest.fixture
def rates(tmp_path: Path) -> Callable[[], Rates]:
    return lambda: Rates(tmp_path / "cache" / "rates.json", "this")


def test_rates_are_kept_for_each_machine_and_kind(rates: Callable[[], Rates]) -> None:
    one = rates()
    assert one.forecast("extract", "a", 10) is None
    one.add(Measured("this", "extract", "a", 100, 50.0, 2**30, 1000))
    one.add(Measured("that", "extract", "a", 100, 1.0, 1, 1))
    one.add(Measured("this", "extract", "b", 100, 5.0, 1, 1, forecast=10.0))
    again = rates()
    found = again.forecast("extract", "a", 200)
    assert found is not None
    assert (found.seconds, found.memory, found.disk) == (3 + 2 * 47, 2**30, 2000)
    assert again.forecast("extract", "c", 100) is not None
    assert again.forecast("extract", "a", 2001) is None  # a small run says nothing of one so large
    assert again.error() == (1.0, 1)


def test_a_damaged_file_of_rates_costs_forecasts_only(rates: Callable[[], Rates]) -> None:
    one = rates()
    one.path.parent.mkdir()
    one.path.write_text('[{"machine": 1}]')
    assert rates().forecast("extract", "a", 1) is None
    one.path.unlink()
    one.path.mkdir()
    one.add(Measured("this", "extract", "a", 100, 50.0, 1, 1))  # cannot be written
    assert rates().all == []


@pytest.mark.parametrize(
    ("output", "left", "is_kept"),
    [
        ("features.h5", None, True),
        ("features.h5", "elsewhere/features.h5.parts", False),
        ("svm.h5", None, True),
        ("svm.h5", "svm.h5.checkpoint", False),
    ],
)
def test_what_goes_on_from_a_killed_run_says_nothing_of_time(
    folder: Path, run: Run, output: str, left: str | None, is_kept: bool
) -> None:
    """Parts lie beside the file itself, where its name is a symbolic link; trainings leave a checkpoint."""
    stage = {"features.h5": "extract", "svm.h5": "train-svm"}[output]
    (folder / output).unlink()
    if output == "features.h5":
        (folder / "elsewhere").mkdir()
        (folder / output).symlink_to(folder / "elsewhere" / output)
    if left:
        (folder / left).mkdir()
    rates = Rates(folder / "cache" / "sppcli" / "rates.json")
    before = len(rates.measured(stage))
    assert before
    code, _, err = run("run")
    assert code == 0, err
    assert len(Rates(rates.path).measured(stage)) == before + is_kept


def test_peak_memory_is_measured() -> None:
    peak = PeakMemory()
    block = bytearray(64 * 2**20)
    assert peak.bytes() > len(block)


def test_stages_of_a_run_are_commands() -> None:
    from sppcli.cli.main import spp

    context = click.Context(spp, info_name="spp")
    for preset in PRESETS.values():
        assert all(spp.get_command(context, name) for name in preset.stages)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("train-svm", "svm.h5"),
        ("train-bbox", "bbox.h5"),
        ("calibrate", "calibration.h5"),
        ("detect", "detections.h5"),
        ("train-detector", None),
    ],
)
def test_every_stage_says_what_it_would_do(folder: Path, run: Run, command: str, output: str | None) -> None:
    """It makes nothing, and what is up to date is said as in a run."""
    before = {path: path.stat().st_mtime for path in folder.rglob("*")}
    if output:
        assert "up to date" in run(command, "--dry-run")[1]
    code, out, err = run(command, "--dry-run", "--force", *(() if output else ("--weights", "net.safetensors")))
    assert code == 0, err
    assert out == f"would make {output or 'detector.safetensors'}\n"
    assert " of memory" in err
    assert ("from earlier runs on this machine" in err) == (output is not None)
    assert {path: path.stat().st_mtime for path in folder.rglob("*")} == before
    if output:
        assert json.loads(run(command, "--dry-run", "--force", "--json")[1])["would_make"] == output


def test_every_command_that_makes_an_artefact_has_a_dry_run() -> None:
    from sppcli.cli.main import COMMANDS, spp

    context = click.Context(spp, info_name="spp")
    for name in COMMANDS:
        command = spp.get_command(context, name)
        assert command is not None
        flags = {flag for item in command.params for flag in item.opts}
        assert "--wait" not in flags or "--dry-run" in flags, name


def test_a_dry_run_of_new_images_is_refused(folder: Path, run: Run) -> None:
    assert run("detect", "--dry-run", "photo.jpg")[0] == 2
    assert run("detect", "--dry-run", "--format", "jsonl")[0] == 2
