"""Flags win over the environment, the environment over spp.toml, and spp.toml over defaults."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from sppcli.cli import config
from sppcli.cli.main import COMMANDS, main, spp
from tests.conftest import Run, Voc


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("spp.toml").write_text(text, encoding="utf-8")


def settings(run: Run, *arguments: str) -> dict[tuple[str, str], tuple[object, str]]:
    code, out, err = run("config", "--json", *arguments)
    assert code == 0, err
    return {(row["command"], row["option"]): (row["value"], row["source"]) for row in json.loads(out)["settings"]}


def test_nothing_is_set_at_first(run: Run) -> None:
    assert settings(run) == {}
    code, out, _ = run("config")
    assert code == 0
    assert out.startswith("every option has its default value;")


def test_each_source_wins_over_the_next(run: Run, monkeypatch: pytest.MonkeyPatch, voc: Voc) -> None:
    """The number of proposals that a run records is the strongest source's."""

    def recorded(*flags: str) -> int:
        assert run("propose", str(voc.root), "--method", "edge-boxes", "--edges", "gradient", "-j1", *flags)[0] == 0
        return int(json.loads(run("info", "proposals.h5", "--json")[1])["files"][0]["config"]["max_proposals"])

    default = recorded()
    write("[propose]\nmax-proposals = 30\n")
    assert recorded() == 30 != default
    monkeypatch.setenv("SPP_PROPOSE_MAX_PROPOSALS", "20")
    assert recorded() == 20
    assert settings(run) == {("propose", "max-proposals"): ("20", "SPP_PROPOSE_MAX_PROPOSALS")}
    assert "SPP_PROPOSE_MAX_PROPOSALS (over spp.toml)" in run("config")[1]
    assert recorded("--max-proposals", "10") == 10


def test_the_data_folder_is_what_propose_and_check_work_on(run: Run, voc: Voc) -> None:
    assert run("propose")[0] == 2
    write(f'[data]\nfolder = "{voc.root}"\n')
    code, out, _ = run("propose", "--dry-run")
    assert (code, out) == (0, "would search 8 of 8 images and write proposals.h5\n")
    assert run("check", "--quick", "-j", "1")[1].startswith(f"{voc.root}: VOC, 8 images")


def test_one_value_for_all_commands_that_have_the_option(run: Run) -> None:
    write("[all]\nseed = 7\n[extract]\nscales = [480, 688]\nflip = true\n[evaluate]\nvoc2010 = true\n")
    found = settings(run)
    assert {key for key in found if key[1] == "seed"} >= {("propose", "seed"), ("train-svm", "seed")}
    assert found["extract", "scales"] == ("480,688", "spp.toml")
    assert found["extract", "flip"] == (True, "spp.toml")
    assert found["evaluate", "voc2007"] == ("voc2010", "spp.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[extrct]", "there is no command for [extrct]; did you mean extract?"),
        ("scales = 3", "scales stands outside a section; put it below one such as [extract] or [all]"),
        ("[extract]\nscale = 480", "[extract] has no scale; did you mean scales?"),
        ("[extract]\nscales = 'x'", "[extract] scales: 'x' is not a list of whole numbers above zero"),
        ("[extract]\nflip = 1", "[extract] flip: 1 is neither true nor false"),
        ("[propose]\njobs = true", "[propose] jobs: true is not a value of this option"),
        ("[propose]\nseed = 1979-05-27", "[propose] seed: a number, text, true or false"),
        ("[train-svm]\nc = -1", "[train-svm] c: '-1' is not a number above zero"),
        ("[bench.rcnn]\nnett = 2", "[bench.rcnn] has no nett; did you mean net?"),
        ("[data]\nfoldr = 'x'", "[data] has no foldr; did you mean folder?"),
        ("[all]\nsed = 3", "[all] has no sed; did you mean seed?"),
        ("[all]\nforce = true", "[all] has no force; "),
        ("a = ", "not TOML: "),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence(run: Run, text: str, sentence: str) -> None:
    """Whatever command is run: a value that is not used now would surprise later."""
    write(text)
    code, out, err = run("show")
    assert (code, out) == (3, "")
    assert err.startswith(f"spp: error: spp.toml: {sentence}")
    assert err.count("\n") == 1


def test_text_that_is_not_utf8(run: Run) -> None:
    Path("spp.toml").write_bytes(b"\xff\xfe[")
    assert run("show")[0] == 3
    assert "spp.toml: not text in UTF-8" in run("show")[2]


def test_a_broken_file_does_not_stop_help(run: Run) -> None:
    write("[extrct]")
    assert run("extract", "--help")[0] == 0


def test_values_of_the_environment_are_named_where_they_are_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPP_EXTRACT_SCALES", "x")
    code, _, err = run("extract")
    assert code == 2
    assert err.endswith("It came from the environment variable SPP_EXTRACT_SCALES.\n")


def test_misspelt_variables_are_warned_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPP_TRAIN_SVM_CLASES", "a")
    monkeypatch.setenv("SPP_VERSION", "3")
    monkeypatch.setenv("SPP_HOME", "elsewhere")
    code, _, err = run("config")
    assert code == 0
    assert err == ("warning: SPP_TRAIN_SVM_CLASES is no option of spp train-svm; did you mean SPP_TRAIN_SVM_CLASSES?\n")


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("[detect]\nnetwork = 'n.safetensors'", ("--svm", "other.h5"), "other.h5"),
        ("[detect]\nno-bbox = true", ("--bbox", "b.h5"), "svm.h5"),
        ("[detect]\nmodel = ['a']", ("--svm", "other.h5"), "other.h5"),
        ("[detect]\nbbox = 'b.h5'", ("--no-bbox",), "svm.h5"),
    ],
)
def test_a_flag_overrules_what_it_excludes(run: Run, text: str, flags: tuple[str, ...], said: str) -> None:
    write(text)
    code, _, err = run("detect", *flags)
    assert code == 3
    assert f"{said}: there is no such file" in err


def test_a_flag_overrules_edges_of_a_method_not_taken(run: Run, voc: Voc) -> None:
    write("[propose]\nmethod = ['edge-boxes']\nedges = 'gradient'\n")
    assert run("propose", str(voc.root), "--dry-run", "--method", "selective-search")[0] == 0
    assert run("propose", str(voc.root), "--dry-run", "--edge-model", "m.gz")[0] == 3
    write("[propose]\nedges = 'gradient'\n")
    assert "options of --method edge-boxes" in run("propose", str(voc.root), "--dry-run")[2]


def test_every_option_of_every_command_can_stand_in_the_file() -> None:
    """No two options of a command have one name there, and help alone is left out."""
    context = click.Context(spp, info_name="spp")
    for name in COMMANDS:
        command = spp.get_command(context, name)
        assert command is not None
        keys = config.keys_of(command)
        parameters = {item for item in command.params if isinstance(item, click.Option)}
        assert set(keys.values()) == {item for item in parameters if item.name not in ("help", "help_all")}


def test_variables_are_named_after_flags(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the parameters behind them, which nobody knows."""
    monkeypatch.setenv("SPP_DETECT_FORMAT", "coco")
    monkeypatch.setenv("SPP_EVALUATE_VOC2010", "1")
    monkeypatch.setenv("SPP_BENCH_RCNN_NET", "zf5")
    monkeypatch.setenv("SPP_PROPOSE_METHOD", "edge-boxes selective-search")
    found = settings(run)
    assert found.pop(("propose", "method"))[0] == ["edge-boxes", "selective-search"]
    assert found == {
        ("detect", "format"): ("coco", "SPP_DETECT_FORMAT"),
        ("evaluate", "voc2010"): ("voc2010", "SPP_EVALUATE_VOC2010"),
        ("bench rcnn", "net"): ("zf5", "SPP_BENCH_RCNN_NET"),
    }


def test_an_unknown_command_of_config(run: Run) -> None:
    assert run("config", "zzz")[0] == 2
    assert ("extract", "scales") in settings(run, "extract", "--all")
    assert main(["config", "-q"]) == 0
