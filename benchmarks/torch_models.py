"""The models that the torch benchmarks run: real architectures with seeded random weights.

The nine "light" models come with the onnx package, their weights a constant each, which no engine
can get wrong or slow; they are seeded anew here. The other architectures are exported from
transformers (see requirements-models.txt), small configurations of each, without a download.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from hal.paths import cache_dir

__all__ = ["ARCHITECTURES", "LIGHT", "BenchmarkModel", "load"]

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
_SEED = 7


@dataclasses.dataclass(frozen=True)
class BenchmarkModel:
    """A model's file and the inputs to run it with, by name."""

    name: str
    path: Path
    inputs: dict[str, np.ndarray[Any, np.dtype[Any]]]


def load(name: str, batch: int = 1) -> BenchmarkModel:
    """A light model or an architecture, made on first use and kept in HAL's cache folder. Raises
    KeyError for an unknown name, ImportError without transformers."""
    folder = cache_dir() / "benchmark-models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    if not path.exists():
        part = path.with_suffix(".part")
        if name in LIGHT:
            _light(name, part)
        else:
            _exported(name, part)
        part.replace(path)
    return BenchmarkModel(name, path, _inputs(path, batch))


def _light(name: str, path: Path) -> None:
    source = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    model = onnx.load(source)
    graph = model.graph
    rng = np.random.default_rng(_SEED)
    given = {t.name: t for t in graph.initializer}
    scales = _scales(graph)
    made: dict[str, onnx.TensorProto] = {}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in given:
            kept.append(node)
            continue
        shape = numpy_helper.to_array(given[node.input[0]]).tolist()
        made[node.output[0]] = _weight(rng, node.output[0], shape, scales)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.name.endswith("__SHAPE"):
            made[tensor.name] = _weight(rng, tensor.name, list(tensor.dims), scales)
    read = {i for node in kept for i in node.input}
    tensors = {**given, **made}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(t for n, t in tensors.items() if n in read)
    inputs = [i for i in graph.input if i.name not in tensors]
    del graph.input[:]
    graph.input.extend(inputs)
    onnx.save(model, path)


def _scales(graph: onnx.GraphProto) -> set[str]:
    """Names of what multiplies: it is drawn around one, or a deep net would fade or overflow."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "BatchNormalization":
            found |= {node.input[1], node.input[4]}
        elif node.op_type == "Mul":
            found |= set(node.input)
        elif node.op_type in ("Unsqueeze", "Reshape") and node.output[0] in found:
            found.add(node.input[0])
    return found


def _weight(
    rng: np.random.Generator, name: str, shape: list[int], scales: set[str]
) -> onnx.TensorProto:
    if name in scales:
        array = rng.uniform(0.8, 1.2, shape)
    elif len(shape) > 1:
        array = rng.standard_normal(shape) * np.sqrt(2 / max(np.prod(shape[1:]), 1))
    else:
        array = rng.standard_normal(shape) * 0.05
    return numpy_helper.from_array(array.astype(np.float32), name)


def _inputs(path: Path, batch: int) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Random values; a first dimension that is free or one is the batch, other free ones are 64."""
    rng = np.random.default_rng(_SEED)
    found = {}
    for info in onnx.load(path, load_external_data=False).graph.input:
        dims = info.type.tensor_type.shape.dim
        shape = [d.dim_value or (batch if i == 0 else 64) for i, d in enumerate(dims)]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        if dtype.kind == "f":
            found[info.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in info.name:
            found[info.name] = np.ones(shape, dtype)
        else:
            found[info.name] = rng.integers(0, 100, shape).astype(dtype)
    return found


Made = tuple[Any, dict[str, Any], dict[str, Any]]
"""A module, the keyword arguments to export it with, and the dynamic dimensions of these."""


def _text(model: str, config: dict[str, Any], **more: Any) -> Callable[[], Made]:
    def make() -> Made:
        import torch
        import transformers

        own = getattr(transformers, f"{model.removesuffix('Model')}Config")(**config)
        own._attn_implementation = "sdpa"
        if hasattr(own, "use_cache"):
            own.use_cache = False
        module = getattr(transformers, model)(own)
        ids = torch.arange(2 * 64).reshape(2, 64) % 100
        dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=128)}
        return module, {"input_ids": ids, **more}, {"input_ids": dynamic, **dict.fromkeys(more)}

    return make


def _image(model: str, config: dict[str, Any], size: int = 224) -> Callable[[], Made]:
    def make() -> Made:
        import torch
        import transformers

        own = getattr(transformers, f"{model.removesuffix('Model')}Config")(**config)
        module = getattr(transformers, model)(own)
        pixels = torch.randn(2, 3, size, size)
        return (
            module,
            {"pixel_values": pixels},
            {"pixel_values": {0: torch.export.Dim("batch")}},
        )

    return make


_SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 1000}

ARCHITECTURES: dict[str, Callable[[], Made]] = {
    "bert": _text("BertModel", {**_SMALL, "intermediate_size": 1024}),
    "distilbert": _text("DistilBertModel", {"dim": 256, "n_layers": 4, "n_heads": 4,
                        "hidden_dim": 1024, "vocab_size": 1000}),
    "gpt2": _text("GPT2Model", {"n_embd": 256, "n_layer": 4, "n_head": 4, "vocab_size": 1000}),
    "llama": _text("LlamaModel", {**_SMALL, "intermediate_size": 688, "num_key_value_heads": 2}),
    "vit": _image("ViTModel", {"hidden_size": 192, "num_hidden_layers": 6,
                  "num_attention_heads": 3, "intermediate_size": 768}),
    "resnet": _image("ResNetModel", {"depths": [2, 2, 2, 2], "layer_type": "basic",
                     "hidden_sizes": [64, 128, 256, 512], "embedding_size": 64}),
    "mobilenet_v2": _image("MobileNetV2Model", {}),
    "convnext": _image("ConvNextModel", {"depths": [2, 2, 4, 2],
                       "hidden_sizes": [48, 96, 192, 384]}),
    "segformer": _image("SegformerModel", {}, 128),
}  # fmt: skip
"""How each architecture is made."""


def _exported(name: str, path: Path) -> None:
    import torch

    torch.manual_seed(_SEED)
    module, inputs, dynamic = ARCHITECTURES[name]()
    module.eval()
    module.config.return_dict = False
    with _silenced(), torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=dynamic,
            opset_version=20,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"{name}: torch.onnx.export gave nothing")
    program.save(str(path), external_data=False)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """The exporter talks on standard output, by warnings and by logging."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
