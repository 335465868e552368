"""The recipes of ``spp cluster``: read by the shell or by Python, with what was asked for in them."""

from __future__ import annotations

import ast
import subprocess

import pytest

from tests.conftest import Run


@pytest.mark.parametrize(
    "arguments",
    [("local", "--workers", "6"), ("ssh", "--host", "a", "--host", "b", "--file", "shared/s.json"), ("ssh",)],
)
def test_the_shell_reads_it(arguments: tuple[str, ...], run: Run) -> None:
    code, out, err = run("cluster", *arguments)
    assert code == 0, err
    done = subprocess.run(["bash", "-n"], input=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--nthreads 1" in out
    assert ("--nworkers 6" in out) == ("6" in arguments)
    assert ("in a b;" in out) == ("a" in arguments)
    assert out.count("shared/s.json") == (3 if "a" in arguments else 0)


def test_python_reads_the_one_for_slurm(run: Run) -> None:
    code, out, err = run("cluster", "slurm", "--workers", "64", "--memory", "6GB")
    assert code == 0, err
    calls = [node for node in ast.walk(ast.parse(out)) if isinstance(node, ast.Call)]
    named = {keyword.arg: ast.literal_eval(keyword.value) for call in calls for keyword in call.keywords}
    assert (named["memory"], named["cores"], named["processes"]) == ("6GB", 1, 1)
    assert "cluster.scale(64)" in out


def test_hosts_are_for_ssh(run: Run) -> None:
    code, _, err = run("cluster", "local", "--host", "a")
    assert code == 2
    assert "local needs none" in err
