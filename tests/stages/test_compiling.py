"""Every stage tells in its progress that it waits for the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sppcli.runtime import compiling
from sppcli.runtime.progress import Progress
from tests.runtime.test_compiling import python
from tests.stages.conftest import Run, Work

COMMANDS = (
    ("extract", "--proposals", "none.h5"),
    ("train-svm", "--features", "none.h5"),
    ("train-bbox", "--features", "none.h5"),
    ("detect", "--svm", "none.h5"),
    ("detect", "none.jpg"),
    ("finetune", "--features", "none.h5"),
    ("train-net", "none"),
    ("classify", "none", "--network", "net.safetensors"),
    ("features", "none"),
)


def test_a_stage_tells_it_in_its_progress(tmp_path: Path, work: Work) -> None:
    command = ("-m", "sppcli", "detect", "-v", "--no-bbox", "--force")
    first, second = (python(*command, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2))
    said = [line for line in first.stderr.splitlines() if "compiling" in line]
    assert said == [
        f"detect: compiling {name}, once on this computer"
        for name in ("features.pooling", "features.pooling", "geometry.nms")
    ]
    assert "compil" not in first.stdout + second.stdout + second.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_stage_that_calls_compiled_code_listens(
    arguments: tuple[str, ...], work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening: list[Progress] = []

    @contextmanager
    def recording(progress: Progress) -> Iterator[None]:
        listening.append(progress)
        yield

    monkeypatch.setattr(compiling, "announced", recording)
    assert run(*arguments)[0] == 3
    assert [type(progress).__name__ for progress in listening] == ["_Plain"]
