"""An ONNX graph under construction: nodes in the order of computation, and the numbers they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
"""Version of the operators: the one that torch writes by itself, which onnxruntime has read since version 1.14."""

TYPES = {
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}

Value = str | npt.NDArray[Any]
"""The name of what a node gives, or numbers."""


class Graph:
    """Call it to add a node: ``total = graph("Add", a, b)``. Arrays among the inputs become constants."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._names = 0

    def __call__(self, kind: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node with one output, and return that."""
        name = self._name(kind.lower())
        self._nodes.append(helper.make_node(kind, [self.value(item) for item in inputs], [name], name, **attributes))
        return name

    def value(self, item: Value) -> str:
        """The name of ``item``; a few equal numbers are stored once."""
        if isinstance(item, str):
            return item
        # A scalar has no dimensions to be made contiguous.
        numbers = np.ascontiguousarray(item).reshape(item.shape)
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes() if numbers.size < 100 else b"")
        if key not in self._known or numbers.size >= 100:
            self._known[key] = self._name("constant")
            self._tensors[self._known[key]] = numpy_helper.from_array(numbers, self._known[key])
        return self._known[key]

    def cast(self, item: Value, kind: str) -> str:
        """``item`` as numbers of the type ``kind``, one of `TYPES`."""
        return self("Cast", item, to=TYPES[kind])

    def total(self, kind: str, first: Value, *others: Value) -> str:
        """``first`` with each of ``others`` by the operator ``kind``, from the left."""
        value = self.value(first)
        for item in others:
            value = self(kind, value, item)
        return value

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """An input of the model; a dimension with a name may have any length."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[kind], shape))
        return name

    def output(self, name: str, value: str, kind: str, shape: Sequence[int | str]) -> None:
        """Make ``value`` an output of the model."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name))
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[kind], shape))

    def inline(self, model: onnx.ModelProto, value: str) -> list[str]:
        """Add the nodes of ``model``, which has one input, and return its outputs.

        Added again, the same model shares its weights with itself.
        """
        graph = model.graph
        renamed = {graph.input[0].name: value, "": ""}
        for tensor in graph.initializer:
            kept = f"weights.{tensor.name}"
            renamed[tensor.name] = kept
            if kept not in self._tensors:
                copy = TensorProto()
                copy.CopyFrom(tensor)
                copy.name = kept
                self._tensors[kept] = copy
        for node in graph.node:
            own = onnx.NodeProto()
            own.CopyFrom(node)
            renamed |= {name: self._name(name) for name in node.output if name}
            own.name = self._name(node.name or node.op_type.lower())
            own.input[:] = [renamed[name] for name in node.input]
            own.output[:] = [renamed[name] for name in node.output]
            self._nodes.append(own)
        return [renamed[item.name] for item in graph.output]

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, checked against ONNX's rules. ``metadata``: what the file says of itself."""
        graph = helper.make_graph(self._nodes, "spp", self._inputs, self._outputs, list(self._tensors.values()))
        made = helper.make_model(
            graph, producer_name="spp", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        helper.set_model_props(made, dict(metadata))
        onnx.checker.check_model(made)
        return made

    def _name(self, what: str) -> str:
        self._names += 1
        return f"{what}.{self._names}"


IR_VERSION = 8
"""Version of the file's form that goes with `OPSET`."""


def f32(*values: float) -> npt.NDArray[np.float32]:
    """A scalar of one number, a vector of several."""
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def f64(*values: float) -> npt.NDArray[np.float64]:
    """As `f32`."""
    return np.array(values[0] if len(values) == 1 else values, np.float64)


def i64(*values: int) -> npt.NDArray[np.int64]:
    """A vector, even of one number."""
    return np.array(values, np.int64)
