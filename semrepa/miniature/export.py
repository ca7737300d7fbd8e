"""Networks of the mini face pack as ONNX files that insightface loads."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from semrepa.teachers.pack import KIND_KEY


def save_onnx(module: nn.Module, example: Tensor, path: Path, free: dict[int, str]) -> Path:
    """Write a network as ONNX (opset 17), marked as mini weights, with weights stored in half precision.

    The classic exporter is used: it needs no further package and folds batch normalisation into convolutions.

    Args:
        module: the network; one input, one or several outputs.
        example: an input.
        path: file to write.
        free: axes of the input whose size stays free, with names.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            dynamic_axes={"image": free},
        )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = KIND_KEY, "mini"
    halve(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def halve(model: onnx.ModelProto) -> None:
    """Store float32 weights in half precision; a cast in the graph restores them, so it computes as before.

    Args:
        model: changed in place.
    """
    graph, casts = model.graph, []
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            name = weight.name
            half = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(
                helper.make_node("Cast", [weight.name], [name], name=f"{name}.restore", to=TensorProto.FLOAT)
            )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
