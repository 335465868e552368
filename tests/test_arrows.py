"""The arrows between packages that must never exist, read from the imports themselves (see docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sppcli"

FLOORS = (
    ("errors", "paper", "registry"),
    ("structures", "runtime"),
    ("images", "geometry", "artefacts"),
    ("datasets", "evaluation", "nets"),
    ("features", "caffe", "learn", "proposals", "report"),
    ("detection", "demo", "bench"),
    ("stages",),
    ("cli",),
    ("__main__",),
)
"""The rooms from the ground up. A room imports rooms of lower floors only: no way back up, no circle."""


@dataclass(frozen=True)
class Import:
    """``target`` is a full module name; ``top`` if it is imported with the module, not inside a function."""

    target: str
    top: bool


Graph = Mapping[str, frozenset[Import]]


def imports_of(source: str, module: str, is_package: bool = False) -> frozenset[Import]:
    """Every import in ``source``. ``from a import b`` counts as both ``a`` and ``a.b``."""
    found: set[Import] = set()

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(Import(alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = module.split(".")[: None if is_package and child.level == 1 else -child.level]
                    base = ".".join([*parts, *([base] if base else [])])
                found.add(Import(base, top))
                found.update(Import(f"{base}.{alias.name}", top) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, False)
            else:
                visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(source), True)
    return frozenset(found)


def read_graph() -> dict[str, frozenset[Import]]:
    graph = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        graph[module] = imports_of(path.read_text(encoding="utf-8"), module, is_package)
    return graph


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def ours(*names: str) -> tuple[str, ...]:
    return tuple(f"sppcli.{name}" for name in names)


def violations(graph: Graph) -> Iterator[str]:
    """One line for each arrow that must not exist, with the number it has in the design."""
    for module, imports in graph.items():
        for target in sorted({item.target for item in imports}):
            arrow = f"{module} -> {target}"
            if under(target, *ours("cli")) and not under(module, *ours("cli", "__main__")):
                yield f"1: {arrow}"
            if under(target, "click", "rich") and not under(module, *ours("cli")):
                yield f"1: {arrow}"
            if under(module, *ours("stages")) and target.startswith("sppcli.stages.") and not under(target, module):
                yield f"2: {arrow}"
            if under(target, "h5py", "hdf5plugin") and not under(module, *ours("artefacts")):
                yield f"3: {arrow}"
            if under(target, "sklearn") and not under(module, *ours("learn", "bench", "demo")):
                yield f"3: {arrow}"
            if under(target, "cv2") and not under(module, *ours("images", "proposals", "report")):
                yield f"3: {arrow}"
            if under(target, "dask", "distributed") and module != "sppcli.runtime.cluster":
                yield f"3: {arrow}"
            if under(target, "fsspec") and module != "sppcli.runtime.url_transfer":
                yield f"3: {arrow}"
            if under(target, "tensorboard", "mlflow") and module != "sppcli.runtime.trackers":
                yield f"3: {arrow}"
            if under(target, "matplotlib") and not under(module, *ours("report")):
                yield f"3: {arrow}"
            if under(target, "onnx", "onnxruntime", "onnxscript") and not under(module, *ours("nets.onnx_graph")):
                yield f"3: {arrow}"
            mathematics = under(module, *ours("geometry", "nets", "caffe", "features", "evaluation"))
            if mathematics and under(target, *ours("artefacts", "datasets", "detection", "stages")):
                yield f"4: {arrow}"
            ground = under(module, *ours("runtime"))
            if ground and target.startswith("sppcli.") and not under(target, *ours("errors", "runtime")):
                yield f"4: {arrow}"
            if under(module, *ours("paper", "errors")) and under(target, "sppcli"):
                yield f"6: {arrow}"
        if under(module, *ours("evaluation", "artefacts", "datasets", "geometry")):
            way = way_to(graph, module, "torch", "torchvision")
            if way:
                yield f"5: {' -> '.join(way)}"


def room(module: str) -> str:
    """The folder or file right below the package that ``module`` lies in; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def arrows_up(graph: Graph) -> Iterator[str]:
    """One line for each import that does not lead to a lower floor, or that leaves the plan."""
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    for module, imports in graph.items():
        here = room(module)
        if here and here not in floors:
            yield f"{module} lies on no floor"
            continue
        for target in sorted({item.target for item in imports}):
            there = room(target) if under(target, "sppcli") and any(name == target for name in graph) else ""
            if here and there and there != here and floors[there] >= floors[here]:
                yield f"{module} -> {target}"


def test_no_arrow_leads_up() -> None:
    assert list(arrows_up(read_graph())) == []


def test_an_arrow_that_leads_up_is_found() -> None:
    graph = {
        "sppcli.geometry.boxes": imports_of("from sppcli.nets import lrn\n", "sppcli.geometry.boxes"),
        "sppcli.nets": frozenset[Import](),
        "sppcli.nets.lrn": imports_of("from sppcli.evaluation import topk\n", "sppcli.nets.lrn"),
        "sppcli.evaluation.topk": frozenset[Import](),
        "sppcli.attic": frozenset[Import](),
    }
    assert list(arrows_up(graph)) == [
        "sppcli.geometry.boxes -> sppcli.nets",
        "sppcli.geometry.boxes -> sppcli.nets.lrn",
        "sppcli.nets.lrn -> sppcli.evaluation.topk",
        "sppcli.attic lies on no floor",
    ]


def way_to(graph: Graph, start: str, *targets: str) -> list[str]:
    """The modules through which importing ``start`` imports one of ``targets``; empty if it does not."""
    ways = {start: [start]}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for item in sorted(graph[module], key=lambda item: item.target):
            if under(item.target, *targets) and (item.top or module == start):
                return [*ways[module], item.target]
            if item.top and item.target in graph and item.target not in ways:
                ways[item.target] = [*ways[module], item.target]
                waiting.append(item.target)
    return []


def test_no_forbidden_arrow() -> None:
    graph = read_graph()
    assert len(graph) > 20
    assert list(violations(graph)) == []


@pytest.mark.parametrize(
    ("module", "source", "number"),
    [
        ("sppcli.stages.detect", "def f():\n    from sppcli.cli import console\n", "1"),
        ("sppcli.runtime.progress", "import rich.progress\n", "1"),
        ("sppcli.demo.run", "import click\n", "1"),
        ("sppcli.stages.detect", "from sppcli.stages import extract\n", "2"),
        ("sppcli.stages.detect", "from . import extract\n", "2"),
        ("sppcli.stages.detect", "from .extract import run\n", "2"),
        ("sppcli.stages.info", "import h5py\n", "3"),
        ("sppcli.stages.probe", "from sklearn.svm import LinearSVC\n", "3"),
        ("sppcli.stages.propose", "import cv2\n", "3"),
        ("sppcli.stages.recall", "from matplotlib.figure import Figure\n", "3"),
        ("sppcli.runtime.remote", "def f():\n    from distributed import Client\n", "3"),
        ("sppcli.runtime.urls", "def f():\n    import fsspec\n", "3"),
        ("sppcli.stages.finetune", "def f():\n    import mlflow\n", "3"),
        ("sppcli.report.curves", "from tensorboard.summary import Writer\n", "3"),
        ("sppcli.stages.export", "def f():\n    import onnxruntime\n", "3"),
        ("sppcli.nets.pyramid", "from onnx import helper\n", "3"),
        ("sppcli.geometry.boxes", "from sppcli.artefacts import store\n", "4"),
        ("sppcli.features.conv_maps", "from sppcli.datasets.voc import VocDataset\n", "4"),
        ("sppcli.features.windows", "from sppcli.artefacts.features import Features\n", "4"),
        ("sppcli.caffe.network", "from sppcli.artefacts.store import create\n", "4"),
        ("sppcli.runtime.prefetch", "from sppcli.structures import Boxes\n", "4"),
        ("sppcli.evaluation.voc_ap", "def f():\n    import torch\n", "5"),
        ("sppcli.datasets.voc", "from torchvision import datasets\n", "5"),
        ("sppcli.paper", "from sppcli.structures import Boxes\n", "6"),
        ("sppcli.errors", "import sppcli\n", "6"),
    ],
)
def test_a_planted_arrow_is_found(module: str, source: str, number: str) -> None:
    found = list(violations({module: imports_of(source, module)}))
    assert any(line.startswith(number) for line in found), found


def test_torch_is_found_behind_other_modules() -> None:
    graph = {
        "sppcli.evaluation.topk": imports_of("from sppcli import structures\n", "sppcli.evaluation.topk"),
        "sppcli.structures": imports_of("from sppcli.tensors import x\n", "sppcli.structures"),
        "sppcli.tensors": imports_of("import torch\n", "sppcli.tensors"),
    }
    assert list(violations(graph)) == ["5: sppcli.evaluation.topk -> sppcli.structures -> sppcli.tensors -> torch"]


def test_what_is_allowed_is_not_found() -> None:
    graph = {
        "sppcli.cli.console": imports_of("import rich\nimport click\nfrom sppcli.cli import options\n", "sppcli.cli.c"),
        "sppcli.stages.detect": imports_of(
            "from sppcli.runtime import progress\nimport cv2x\n", "sppcli.stages.detect"
        ),
        "sppcli.report.drawing": imports_of("import cv2\n", "sppcli.report.drawing"),
        "sppcli.evaluation.topk": imports_of("import numpy\n", "sppcli.evaluation.topk"),
    }
    assert list(violations(graph)) == []


def circles(graph: Graph) -> list[str]:
    """Modules that lead back to themselves; a package's own ``__init__``, which gathers its modules, does not count."""
    packages = {name.rpartition(".")[0] for name in graph}
    leads = {
        name: {item.target for item in imports if item.target in graph and item.target not in packages | {name}}
        for name, imports in graph.items()
    }

    def beyond(name: str) -> set[str]:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for target in leads[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    return sorted(name for name in graph if name in beyond(name))


def test_no_module_leads_back_to_itself() -> None:
    assert circles(read_graph()) == []


def test_a_circle_is_found_wherever_the_import_stands() -> None:
    graph = {
        "sppcli.nets.a": imports_of("from sppcli.nets import b\n", "sppcli.nets.a"),
        "sppcli.nets.b": imports_of("def f():\n    from sppcli.nets.a import g\n", "sppcli.nets.b"),
        "sppcli.nets.c": imports_of("from sppcli.nets import a\n", "sppcli.nets.c"),
    }
    assert circles(graph) == ["sppcli.nets.a", "sppcli.nets.b"]
