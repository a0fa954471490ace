"""Of operands that are one number, or one row, by the standard."""

from __future__ import annotations

from collections.abc import Iterator

from hal_conformance.mutants.equivalent.rule import Equivalence

__all__ = ["RULES"]

_ONE = {
    "BlackmanWindow": ("size",),
    "CumProd": ("axis",),
    "CumSum": ("axis",),
    "HammingWindow": ("size",),
    "HannWindow": ("size",),
    "If": ("cond",),
    "MelWeightMatrix": (
        "num_mel_bins",
        "dft_length",
        "sample_rate",
        "lower_edge_hertz",
        "upper_edge_hertz",
    ),
    "OneHot": ("depth",),
    "QLinearConv": ("x_scale", "x_zero_point", "y_scale", "y_zero_point"),
    "Range": ("start", "limit", "delta"),
    "STFT": ("frame_step",),
    "SequenceAt": ("position",),
    "TopK": ("K",),
}
"""Operands that are one number by the standard."""
_ROW = {
    "AffineGrid": ("size",),
    "BatchNormalization": ("scale", "B", "input_mean", "input_var"),
    "CenterCropPad": ("shape",),
    "Col2Im": ("image_shape", "block_shape"),
    "Compress": ("condition",),
    "ConstantOfShape": ("input",),
    "Expand": ("shape",),
    "GroupNormalization": ("scale", "bias"),
    "ImageDecoder": ("encoded_stream",),
    "InstanceNormalization": ("scale", "B"),
    "OneHot": ("values",),
    "Pad": ("pads",),
    "QLinearConv": ("w_scale", "w_zero_point"),
    "Reshape": ("shape",),
    "ReverseSequence": ("sequence_lens",),
    "RoiAlign": ("batch_indices",),
    "Slice": ("starts", "ends"),
    "Tile": ("repeats",),
    "Unsqueeze": ("axes",),
}
"""Operands that have one dimension by the standard."""


def _of_operands() -> Iterator[Equivalence]:
    for operator, names in _ONE.items():
        yield Equivalence(
            f"{', '.join(names)}: one number by the standard, of which nothing is first or last",
            (operator,),
            tuple(
                f"{fault}"
                for name in names
                for fault in (
                    f"off by one/{name}: end of the * axis",
                    f"first of several/{name}: its first slice for all",
                    f"wrong layout/{name} read by columns",
                )
            ),
        )
    for operator, names in _ROW.items():
        yield Equivalence(
            f"{', '.join(names)}: one dimension by the standard, so no rows and columns",
            (operator,),
            tuple(
                f"{fault}"
                for name in names
                for fault in (
                    f"off by one/{name}: end of the first axis",
                    f"wrong layout/{name} read by columns",
                )
            ),
        )


RULES: tuple[Equivalence, ...] = tuple(_of_operands())
