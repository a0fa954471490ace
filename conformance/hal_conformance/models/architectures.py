"""The architectures of the zoo, small configurations of transformers' own classes (the
LSTM is torch.nn's) with random weights, and their export to ONNX. See requirements-models.txt.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["ARCHITECTURES", "PAST", "SEED", "Made", "export"]

SEED = 7

Made = tuple[Any, dict[str, Any], dict[str, Any]]
"""A module, the keyword arguments to export it with, and the dynamic dimensions of these."""

PAST = 24
"""Length of the KV cache that Llama is given."""


def _module(model: str, config: dict[str, Any]) -> Any:
    import transformers

    kind = getattr(transformers, model)
    own = kind.config_class(**config)
    if hasattr(own, "use_cache"):
        own.use_cache = False
    return kind(own)


def _dimensions(*names: str) -> dict[int, Any]:
    import torch

    return {i: torch.export.Dim(name, max=256) for i, name in enumerate(names)}


def _ids(*shape: int) -> Any:
    import torch

    return torch.randint(3, 100, shape)


def _text(model: str, config: dict[str, Any]) -> Callable[[], Made]:
    def make() -> Made:
        import torch

        inputs = {"input_ids": _ids(2, 32), "attention_mask": torch.ones(2, 32, dtype=torch.int64)}
        return _module(model, config), inputs, dict.fromkeys(inputs, _dimensions(*_TEXT))

    return make


def _translator(model: str, config: dict[str, Any]) -> Callable[[], Made]:
    """Encoder and decoder; the texts of both are as long."""

    def make() -> Made:
        inputs = {"input_ids": _ids(2, 32), "decoder_input_ids": _ids(2, 32)}
        return _module(model, config), inputs, dict.fromkeys(inputs, _dimensions(*_TEXT))

    return make


def _llama() -> Made:
    import torch
    from transformers import DynamicCache

    layers, heads = 4, 2

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = {**_SMALL, "intermediate_size": 688, "num_key_value_heads": heads}
            self.model = _module("LlamaForCausalLM", {**config, "num_hidden_layers": layers})

        def forward(self, input_ids: Any, attention_mask: Any, past: list[tuple[Any, Any]]) -> Any:
            cache = DynamicCache(past)
            logits = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                past_key_values=cache,
                use_cache=True,
            )[0]
            return logits, [(layer.keys, layer.values) for layer in cache.layers]

    batch, sequence = _dimensions(*_TEXT).values()
    past = torch.export.Dim("past", max=256)
    total = torch.export.Dim("total", max=512)
    inputs = {
        "input_ids": _ids(2, 32),
        "attention_mask": torch.ones(2, 32 + PAST, dtype=torch.int64),
        "past": [
            (torch.randn(2, heads, PAST, 64), torch.randn(2, heads, PAST, 64))
            for _ in range(layers)
        ],
    }
    dynamic = {
        "input_ids": {0: batch, 1: sequence},
        "attention_mask": {0: batch, 1: total},
        "past": [({0: batch, 2: past}, {0: batch, 2: past})] * layers,
    }
    return Step(), inputs, dynamic


def _image(
    model: str, config: dict[str, Any], size: int = 224, *, even: bool = False
) -> Callable[[], Made]:
    """`even`: convolutions keep the size of what they are given, which the model's own weights
    before training let fade to nothing."""

    def make() -> Made:
        import torch

        module = _module(model, config)
        for layer in module.modules() if even else ():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
        pixels = {"pixel_values": torch.randn(2, 3, size, size)}
        return module, pixels, {"pixel_values": _dimensions("batch")}

    return make


def _whisper() -> Made:
    import torch

    module = _module("WhisperModel", {"d_model": 128, "encoder_layers": 2, "decoder_layers": 2,
                     "encoder_attention_heads": 4, "decoder_attention_heads": 4,
                     "encoder_ffn_dim": 512, "decoder_ffn_dim": 512, "vocab_size": 1000,
                     "max_source_positions": 100, "pad_token_id": 0, "bos_token_id": 1,
                     "eos_token_id": 2, "decoder_start_token_id": 1})  # fmt: skip
    inputs = {"input_features": torch.randn(2, 80, 200), "decoder_input_ids": _ids(2, 32)}
    dynamic = {"input_features": _dimensions("batch"), "decoder_input_ids": _dimensions(*_TEXT)}
    return module, inputs, dynamic


def _wav2vec2() -> Made:
    import torch

    module = _module("Wav2Vec2Model", {**_SMALL, "num_hidden_layers": 2, "intermediate_size": 512,
                     "conv_dim": [128] * 5, "conv_kernel": [10, 3, 3, 3, 2],
                     "conv_stride": [5, 2, 2, 2, 2], "num_feat_extract_layers": 5,
                     "num_conv_pos_embeddings": 16})  # fmt: skip
    batch = torch.export.Dim("batch", max=256)
    samples = torch.export.Dim("samples", min=640, max=100_000)
    inputs = {"input_values": torch.randn(2, 6400)}
    return module, inputs, {"input_values": {0: batch, 1: samples}}


def _lstm() -> Made:
    import torch

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(1000, 128)
            self.lstm = torch.nn.LSTM(128, 192, num_layers=2, bidirectional=True, batch_first=True)
            self.head = torch.nn.Linear(384, 50)

        def forward(self, input_ids: Any) -> Any:
            return self.head(self.lstm(self.embedding(input_ids))[0])

    return Tagger(), {"input_ids": _ids(2, 32)}, {"input_ids": _dimensions(*_TEXT)}


_TEXT = ("batch", "sequence")
_SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 1000}

ARCHITECTURES: dict[str, Callable[[], Made]] = {
    "bert": _text("BertModel", {**_SMALL, "intermediate_size": 1024}),
    "distilbert": _text("DistilBertModel", {"dim": 256, "n_layers": 4, "n_heads": 4,
                        "hidden_dim": 1024, "vocab_size": 1000}),
    "gpt2": _text("GPT2LMHeadModel", {"n_embd": 256, "n_layer": 4, "n_head": 4,
                  "vocab_size": 1000, "bos_token_id": 0, "eos_token_id": 0}),
    "llama": _llama,
    "t5": _translator("T5ForConditionalGeneration", {"d_model": 256, "d_kv": 64, "d_ff": 512,
                      "num_layers": 3, "num_heads": 4, "vocab_size": 1000}),
    "vit": _image("ViTModel", {"hidden_size": 192, "num_hidden_layers": 6,
                  "num_attention_heads": 3, "intermediate_size": 768}),
    "resnet": _image("ResNetModel", {"depths": [2, 2, 2, 2], "layer_type": "basic",
                     "hidden_sizes": [64, 128, 256, 512], "embedding_size": 64}),
    "mobilenet_v2": _image("MobileNetV2Model", {}, even=True),
    "convnext": _image("ConvNextModel", {"depths": [2, 2, 4, 2],
                       "hidden_sizes": [48, 96, 192, 384]}),
    "segformer": _image("SegformerForSemanticSegmentation", {}, 128),
    "whisper": _whisper,
    "wav2vec2": _wav2vec2,
    "lstm": _lstm,
}  # fmt: skip
"""How each architecture is made."""

_TORCHSCRIPT = frozenset({"lstm"})
"""Exported by tracing: the newer exporter unrolls a recurrent layer over its time steps."""


def export(name: str, path: Path) -> None:
    """Write an architecture with seeded weights as an ONNX file. Raises ImportError without
    transformers and onnxscript, RuntimeError if the exporter fails."""
    import torch

    make = ARCHITECTURES[name]
    torch.manual_seed(SEED)
    with _silenced(), torch.no_grad():
        module, inputs, dynamic = make()
        module.eval()
        names = _names(inputs)
        if name in _TORCHSCRIPT:
            axes = {k: {i: d.__name__ for i, d in v.items()} for k, v in dynamic.items()}
            torch.onnx.export(
                module, tuple(inputs.values()), str(path), input_names=names, dynamic_axes=axes,
                opset_version=17, dynamo=False,
            )  # fmt: skip
            return
        program = torch.onnx.export(
            module,
            kwargs=inputs,
            input_names=names,
            dynamo=True,
            dynamic_shapes=dynamic,
            opset_version=20,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"{name}: torch.onnx.export gave nothing")
    program.save(str(path), external_data=False)


def _names(inputs: dict[str, Any]) -> list[str]:
    """A cache is a pair of inputs a layer."""
    found = []
    for name, value in inputs.items():
        if isinstance(value, list):
            found += [f"{name}.{i}.{part}" for i in range(len(value)) for part in ("key", "value")]
        else:
            found.append(name)
    return found


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
