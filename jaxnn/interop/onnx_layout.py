"""An ONNX graph traced from channels-last code, brought to ONNX's own channels-first layout."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sqrt", "Relu", "Sigmoid", "Tanh", "Identity", "Cast"}
_REDUCTIONS = {"ReduceMean", "ReduceSum"}


def channels_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with its constants computed and no transpositions but those that the layout asks for.

    Moves each transposition to channels last behind the elementwise functions that follow, until it meets the next one
    to channels first.
    """
    rewriting = _Rewriting(model.graph)
    for node in model.graph.node:
        rewriting.take(node)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    rewriting.write(found.graph)
    return onnx.shape_inference.infer_shapes(found, strict_mode=True)


class _Rewriting:
    """``first``: of values in channels last, the names of their like in channels first."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {each.name: each for each in graph.initializer}
        self.renamed: dict[str, str] = {}
        self.first: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []

    def take(self, node: onnx.NodeProto) -> None:
        for i, name in enumerate(node.input):
            node.input[i] = self.renamed.get(name, name)
        permutation = _permutation(node)
        if node.input and all(name in self.constants for name in node.input):
            self._fold(node)
        elif permutation == _TO_CHANNELS_FIRST and node.input[0] in self.first:
            self.renamed[node.output[0]] = self.first[node.input[0]]
        elif permutation == _TO_CHANNELS_LAST:
            self.nodes.append(node)
            self.first[node.output[0]] = node.input[0]
        elif node.op_type in _ELEMENTWISE and self._movable(node):
            self._move_before_transpose(node)
        elif node.op_type in _REDUCTIONS and node.input[0] in self.first and self._over_pixels(node):
            self._reduce_first(node)
        elif node.op_type == "Reshape":
            self._reshape(node)
        else:
            self.nodes.append(node)

    def write(self, graph: onnx.GraphProto) -> None:
        """Replaces the nodes and constants of ``graph``, without those that nothing uses."""
        used = {each.name for each in graph.output}
        kept = []
        for node in reversed(self.nodes):
            if used.intersection(node.output).difference(self.constants):
                used.update(node.input)
                kept.append(node)
        for field in (graph.node, graph.initializer, graph.value_info):
            del field[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(each for name, each in self.constants.items() if name in used)

    def _fold(self, node: onnx.NodeProto) -> None:
        feeds = {name: numpy_helper.to_array(self.constants[name]) for name in node.input}
        computed: Any = ReferenceEvaluator(node).run(None, feeds)
        for name, value in zip(node.output, computed, strict=True):
            self.constants[name] = numpy_helper.from_array(value, name)

    def _movable(self, node: onnx.NodeProto) -> bool:
        """Whether there is an input in channels last, and all others are constants that follow it."""
        others = [name for name in node.input if name not in self.first]
        return len(others) < len(node.input) and all(
            name in self.constants and len(self.constants[name].dims) in (0, 4) for name in others
        )

    def _move_before_transpose(self, node: onnx.NodeProto) -> None:
        output = node.output[0]
        moved = onnx.NodeProto()
        moved.CopyFrom(node)
        moved.input[:] = [self.first.get(name) or self._constant_first(name) for name in node.input]
        moved.output[:] = [f"{output}_nchw"]
        self.nodes.append(moved)
        self.take(helper.make_node("Transpose", moved.output, [output], perm=_TO_CHANNELS_LAST))

    def _constant_first(self, name: str) -> str:
        constant = self.constants[name]
        if not constant.dims:
            return name
        self.constants[f"{name}_nchw"] = numpy_helper.from_array(
            numpy_helper.to_array(constant).transpose(_TO_CHANNELS_FIRST), f"{name}_nchw"
        )
        return f"{name}_nchw"

    def _reduce_first(self, node: onnx.NodeProto) -> None:
        output, keeps = node.output[0], _attribute(node, "keepdims", 1)
        axes = numpy_helper.from_array(np.array([2, 3]), f"{output}_axes")
        self.constants[axes.name] = axes
        reduced = f"{output}_nchw" if keeps else output
        self.nodes.append(
            helper.make_node(node.op_type, [self.first[node.input[0]], axes.name], [reduced], keepdims=keeps)
        )
        if keeps:
            self.take(helper.make_node("Transpose", [reduced], [output], perm=_TO_CHANNELS_LAST))

    def _over_pixels(self, node: onnx.NodeProto) -> bool:
        axes = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        return axes is not None and sorted(numpy_helper.to_array(axes).tolist()) == [1, 2]

    def _reshape(self, node: onnx.NodeProto) -> None:
        """Leaves to ONNX the one length of the new shape that jax2onnx computes: the batch."""
        maker = next((each for each in self.nodes if node.input[1] in each.output), None)
        if maker is not None and maker.op_type == "Concat":
            parts = [self.constants.get(name) for name in maker.input]
            if parts.count(None) == 1:
                lengths = [np.array([-1]) if part is None else numpy_helper.to_array(part) for part in parts]
                shape = numpy_helper.from_array(np.concatenate(lengths).astype(np.int64), node.input[1])
                self.constants[shape.name] = shape
        self.nodes.append(node)


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _permutation(node: onnx.NodeProto) -> list[int] | None:
    """That of a transposition."""
    return list(_attribute(node, "perm")) if node.op_type == "Transpose" else None
