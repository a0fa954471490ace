"""Measures what the profiles list: `python -m hal.contract.measure core|vision|transformer`.

Prints, per operator, what needs it. `core` reads what PyTorch's ONNX exporter calls when it
translates the ATen operators tagged core. `vision` and `transformer` export small, randomly
initialised models of each architecture and read their graphs. Nothing is fetched. Needs torch,
onnxscript, transformers and onnx; a profile's `source` names the versions it was made with.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["core_operators", "exported_operators", "main"]

OPSETS = (18, 23)
"""What the exporter writes by default, and the newest that it translates to."""

_BASE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TEXT = {**_BASE, "vocab_size": 100, "max_position_embeddings": 64}
_GROUPED = {**_TEXT, "num_key_value_heads": 2}
_PATCHES = {**_BASE, "image_size": 64, "patch_size": 16}
_SMALL_CNN = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
_STAGES = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
_ENCODER_DECODER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}

# Architecture: model class of transformers, config class, config, kinds of input.
_ARCHITECTURES: dict[str, dict[str, tuple[str, str, dict[str, Any], str]]] = {
    "transformer": {
        "BERT": ("BertForSequenceClassification", "BertConfig", _TEXT, "text"),
        "RoBERTa": ("RobertaForMaskedLM", "RobertaConfig", _TEXT, "text"),
        "DeBERTa-v2": (
            "DebertaV2ForSequenceClassification",
            "DebertaV2Config",
            {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
            "text",
        ),
        "CLIP text": (
            "CLIPTextModel",
            "CLIPTextConfig",
            {**_TEXT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
            "text",
        ),
        "GPT-2": (
            "GPT2LMHeadModel",
            "GPT2Config",
            {"vocab_size": 100, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
            "text",
        ),
        "Llama": ("LlamaForCausalLM", "LlamaConfig", _GROUPED, "text"),
        "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED, "text"),
        "Gemma": ("GemmaForCausalLM", "GemmaConfig", {**_GROUPED, "head_dim": 8}, "text"),
        "Phi": ("PhiForCausalLM", "PhiConfig", _TEXT, "text"),
        "BART": (
            "BartForConditionalGeneration",
            "BartConfig",
            {**_ENCODER_DECODER, "vocab_size": 100, "max_position_embeddings": 64},
            "text text-decoder",
        ),
        "Whisper": (
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            {
                **_ENCODER_DECODER,
                "vocab_size": 100,
                "num_mel_bins": 16,
                "max_source_positions": 20,
                "max_target_positions": 20,
                "pad_token_id": 0,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "decoder_start_token_id": 1,
            },
            "mel text-decoder",
        ),
        "Wav2Vec2": (
            "Wav2Vec2ForCTC",
            "Wav2Vec2Config",
            {
                **_BASE,
                "vocab_size": 50,
                "conv_dim": (16, 16),
                "conv_kernel": (3, 3),
                "conv_stride": (2, 2),
                "num_feat_extract_layers": 2,
                "num_conv_pos_embeddings": 8,
                "num_conv_pos_embedding_groups": 2,
            },
            "wave",
        ),
    },
    "vision": {
        "ResNet": ("ResNetForImageClassification", "ResNetConfig", _SMALL_CNN, "image"),
        "MobileNetV1": (
            "MobileNetV1ForImageClassification",
            "MobileNetV1Config",
            {"image_size": 64, "depth_multiplier": 0.25},
            "image",
        ),
        "MobileNetV2": (
            "MobileNetV2ForImageClassification",
            "MobileNetV2Config",
            {"image_size": 64, "depth_multiplier": 0.35},
            "image",
        ),
        "EfficientNet": (
            "EfficientNetForImageClassification",
            "EfficientNetConfig",
            {"image_size": 64, "depth_coefficient": 0.25},
            "image",
        ),
        "RegNet": (
            "RegNetForImageClassification",
            "RegNetConfig",
            {**_SMALL_CNN, "groups_width": 8},
            "image",
        ),
        "ConvNeXt": ("ConvNextForImageClassification", "ConvNextConfig", _STAGES, "image"),
        "PoolFormer": ("PoolFormerForImageClassification", "PoolFormerConfig", _STAGES, "image"),
        "ViT": ("ViTForImageClassification", "ViTConfig", _PATCHES, "image"),
        "DeiT": ("DeiTForImageClassification", "DeiTConfig", _PATCHES, "image"),
        "MobileViT": (
            "MobileViTForImageClassification",
            "MobileViTConfig",
            {"image_size": 64, "hidden_sizes": [16, 16, 16]},
            "image",
        ),
        "SegFormer": (
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            {**_STAGES, "num_attention_heads": [1, 2, 2, 2], "decoder_hidden_size": 16},
            "image",
        ),
        "DPT": (
            "DPTForDepthEstimation",
            "DPTConfig",
            {
                **_PATCHES,
                "num_hidden_layers": 4,
                "backbone_out_indices": [0, 1, 2, 3],
                "neck_hidden_sizes": [8, 8, 16, 16],
                "fusion_hidden_size": 16,
            },
            "image",
        ),
        "YOLOS": (
            "YolosForObjectDetection",
            "YolosConfig",
            {**_PATCHES, "image_size": [64, 64], "num_detection_tokens": 5},
            "image",
        ),
        "Swin2SR": (
            "Swin2SRForImageSuperResolution",
            "Swin2SRConfig",
            {
                "image_size": 64,
                "embed_dim": 12,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "window_size": 8,
            },
            "image",
        ),
    },
}


def exported_operators(profile: str) -> dict[str, set[str]]:
    """Operator to the architectures whose export holds it, at each of OPSETS, with fixed shapes and
    with a dynamic batch (and sequence). An export that fails is named on standard error."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    found: dict[str, set[str]] = {}
    for name, (model_class, config_class, config, kinds) in _ARCHITECTURES[profile].items():
        settings = getattr(transformers, config_class)(**config)
        settings.use_cache = False
        model = getattr(transformers, model_class)(settings).eval()
        inputs = _inputs(torch, kinds)
        for opset in OPSETS:
            for dynamic in (False, True):
                shapes = _dynamic_shapes(torch, inputs) if dynamic else None
                try:
                    program = torch.onnx.export(
                        model,
                        (),
                        kwargs=inputs,
                        dynamo=True,
                        opset_version=opset,
                        dynamic_shapes=shapes,
                        verbose=False,
                    )
                except Exception as error:  # noqa: BLE001 (the exporter fails in many ways)
                    shape = "dynamic" if dynamic else "fixed"
                    reason = type(error).__name__
                    sys.stderr.write(f"{name}, opset {opset}, {shape} shapes: {reason}\n")
                    continue
                for operator in _operators_in(program.model_proto.graph):
                    found.setdefault(operator, set()).add(name)
    return found


def core_operators() -> dict[str, set[str]]:
    """Operator to the core ATen operators whose translation calls it."""
    torch = importlib.import_module("torch")
    registration = importlib.import_module("torch.onnx._internal.exporter._registration")
    found: dict[str, set[str]] = {}
    for opset in OPSETS:
        registry = registration.ONNXRegistry.from_torchlib(opset_version=opset)
        for overload in _core_overloads(torch):
            for meta in registry.get_decomps(overload):
                function = meta.onnx_function
                function = inspect.unwrap(getattr(function, "func", function))
                function = getattr(function, "function", function)
                for operator in _called(function):
                    found.setdefault(operator, set()).add(str(overload))
    return found


def main(profile: str = "") -> int:
    """Print one line an operator: its name, how many need it, and the first few of them."""
    if profile == "core":
        found = core_operators()
    elif profile in _ARCHITECTURES:
        found = exported_operators(profile)
    else:
        sys.stderr.write(f"one of core, {', '.join(_ARCHITECTURES)} is needed\n")
        return 2
    for operator, users in sorted(found.items()):
        sys.stdout.write(f"{operator}\t{len(users)}\t{', '.join(sorted(users)[:5])}\n")
    return 0


def _inputs(torch: types.ModuleType, kinds: str) -> dict[str, Any]:
    ids = torch.arange(16).reshape(2, 8) + 3
    known = {
        "text": {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        "text-decoder": {"decoder_input_ids": ids},
        "image": {"pixel_values": torch.randn(2, 3, 64, 64)},
        "mel": {"input_features": torch.randn(2, 16, 40)},
        "wave": {"input_values": torch.randn(2, 200)},
    }
    return {name: value for kind in kinds.split() for name, value in known[kind].items()}


def _dynamic_shapes(torch: types.ModuleType, inputs: dict[str, Any]) -> dict[str, dict[int, Any]]:
    auto = torch.export.Dim.AUTO
    return {n: {0: auto, 1: auto} if v.dim() == 2 else {0: auto} for n, v in inputs.items()}


def _operators_in(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for attribute in node.attribute:
            for subgraph in (
                *attribute.graphs,
                *([attribute.g] if attribute.HasField("g") else ()),
            ):
                yield from _operators_in(subgraph)


def _core_overloads(torch: types.ModuleType) -> list[Any]:
    packets = (getattr(torch.ops.aten, name) for name in dir(torch.ops.aten))
    overloads = (
        getattr(packet, overload)
        for packet in packets
        if hasattr(packet, "overloads")
        for overload in packet.overloads()
    )
    return [overload for overload in overloads if torch.Tag.core in overload.tags]


def _called(function: Any) -> Counter[str]:
    """The ONNX operators that a translation or its module's helpers call as `op.Name(...)`."""
    functions = _functions_of(function.__module__)
    onnx_operators = _onnx_operators()
    called: Counter[str] = Counter()
    pending, seen = [function.__name__], set[str]()
    while pending:
        name = pending.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            if not isinstance(node, ast.Call):
                continue
            target = node.func
            if isinstance(target, ast.Name):
                pending.append(target.id)
            elif (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id.startswith("op")
                and target.attr in onnx_operators
            ):
                called[target.attr] += 1
    return called


@functools.cache
def _functions_of(module: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@functools.cache
def _onnx_operators() -> frozenset[str]:
    from hal.contract import DEFAULT_DOMAIN, contract

    return frozenset(op.name for op in contract().operators if op.domain == DEFAULT_DOMAIN)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
