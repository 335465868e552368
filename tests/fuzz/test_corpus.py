"""What was once found stays mended, and a few hundred changed files are read or refused: ``make fuzz``, in short."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fuzz.harness import fault, input_of, kept
from tests.fuzz.targets import Target, targets

CORPUS = Path(__file__).parent / "corpus"
SEED = "test"
INPUTS = 4


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Target]:
    return targets(tmp_path_factory.mktemp("fuzz"))


def test_every_reader_reads_its_seed(readers: Mapping[str, Target]) -> None:
    """What is changed is good as it is; else every change would be refused for the same reason."""
    for target in readers.values():
        target.read(target.file)


def test_what_was_found_is_read_or_refused(readers: Mapping[str, Target]) -> None:
    found = kept(CORPUS)
    assert found.keys() <= readers.keys()
    faults = {
        f"{name}/{path.name}": problem
        for name, paths in found.items()
        for path in paths
        if (problem := fault(readers[name], path.read_bytes()))
    }
    assert faults == {}


def test_changed_files_are_read_or_refused(readers: Mapping[str, Target]) -> None:
    faults = {
        f"{name} {number}": problem
        for name, target in readers.items()
        for number in range(INPUTS if target.every == 1 else 1)
        if (problem := fault(target, input_of(target, f"{SEED} {number}")))
    }
    assert faults == {}


def test_a_fault_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    def read(path: Path) -> object:
        return {"a": 1}[path.read_text()]

    target = Target("broken", tmp_path / "a.txt", read, seed=b"a")
    assert "KeyError: 'b'" in fault(target, b"b")
    assert fault(target, b"a") == ""
