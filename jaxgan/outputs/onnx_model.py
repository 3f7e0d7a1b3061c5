"""An ONNX model of a list of layers."""

import json

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

OPSET = 17
TO_ONNX, FROM_ONNX = [0, 3, 1, 2], [0, 2, 3, 1]
"""Permutations from images `[n, h, w, c]` to `[n, c, h, w]`, and back."""


def make_model(layers: list[dict], arrays: dict[str, np.ndarray], about: dict) -> ModelProto:
    """Returns the model of the layers of `jaxgan.outputs.layers.list_layers`.

    arrays: by the names in the layers. about: what `jaxgan.outputs.exports.describe` returned.
    """
    graph = Graph()
    for layer in layers:
        arguments = {name: value for name, value in layer.items() if name != "op"}
        names = {k: arrays[v] for k, v in arguments.items() if isinstance(v, str)}
        getattr(graph, layer["op"])(**arguments | names)
    graph.to_images_last()
    inputs = [
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["n", about["latent_size"]])
    ]
    if about["num_classes"] is not None:
        inputs.append(helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]))
    graph.nodes.append(helper.make_node("Identity", [graph.x], ["samples"]))
    shape = ["n", *about["shape"]]
    output = helper.make_tensor_value_info("samples", TensorProto.FLOAT, shape)
    made = helper.make_graph(graph.nodes, "generator", inputs, [output], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"about": json.dumps({**about, "layers": None})})
    checker.check_model(model, full_check=True)
    return model


class Graph:
    """The nodes of a model so far; `x` is the name of the last output.

    Each op of a list of layers is a method. Images are `[n, c, h, w]`, as ONNX needs them.
    """

    def __init__(self):
        self.nodes, self.constants, self.x, self.images = [], [], "latents", False

    def add(self, op: str, *inputs: str | np.ndarray, **attributes) -> None:
        """Adds a node, whose first input is `x`; arrays become constants."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.x, *names], [output], **attributes))
        self.x = output

    def constant(self, array: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def append_class(self, table):
        """Appends embeddings of the labels."""
        rows = f"rows{len(self.nodes)}"
        self.nodes.append(helper.make_node("Gather", [self.constant(table), "labels"], [rows]))
        self.add("Concat", rows, axis=1)

    def dense(self, kernel, bias):
        """Adds a product with a matrix, and a bias."""
        self.add("Gemm", kernel, *([] if bias is None else [bias]))

    def batch_norm(self, scale, offset, mean, var, epsilon):
        """Adds batch norm with stored statistics."""
        self.add("BatchNormalization", scale, offset, mean, var, epsilon=epsilon)

    def relu(self):
        """Adds a ReLU."""
        self.add("Relu")

    def tanh(self):
        """Adds a hyperbolic tangent."""
        self.add("Tanh")

    def reshape(self, shape):
        """Adds a change of shape; images become `[n, c, h, w]`."""
        self.add("Reshape", np.array([-1, *shape], np.int64))
        if len(shape) == 3:
            self.add("Transpose", perm=TO_ONNX)
            self.images = True

    def conv_transpose(self, kernel, bias):
        """Adds a transposed convolution with stride 2."""
        weights = [kernel.transpose(3, 2, 0, 1), *([] if bias is None else [bias])]
        self.add("ConvTranspose", *weights, strides=[2, 2], pads=[1, 1, 1, 1])

    def scale(self, deviation, mean):
        """Adds the change to the units of the data."""
        self.to_images_last()
        self.add("Mul", deviation)
        self.add("Add", mean)

    def to_images_last(self) -> None:
        """Adds the permutation to images `[n, h, w, c]`, where `x` are images `[n, c, h, w]`."""
        if self.images:
            self.add("Transpose", perm=FROM_ONNX)
            self.images = False
