"""Steps of a program on the CPU that become fewer or faster ones, before code is made of it."""

from __future__ import annotations

import torch

from hal.kernels.rewriting import Block, Constants
from hal_torch.fusion.convolution import fuse_convolutions
from hal_torch.fusion.gelu import fuse_gelu
from hal_torch.fusion.guard import fuse_guards
from hal_torch.fusion.linear import fuse_products
from hal_torch.fusion.shuffle import fuse_shuffles

__all__ = ["fuse"]


def fuse(block: Block, constants: Constants, *, traced: bool, images: bool) -> None:
    """Rewrite a block and the blocks inside it, in place. `traced`: TorchInductor gets the program,
    and fuses the rest itself. `images`: convolutions may take their channels last."""
    if not traced:
        fuse_guards(block, constants)
        fuse_gelu(block, constants)
        fuse_shuffles(block, constants)
    if torch._C._has_mkldnn:
        fuse_products(block, constants, traced=traced)
        if images:
            fuse_convolutions(block, constants, traced=traced)
    for step in block.steps:
        # oneDNN's own calls have no gradient.
        for inner in step.blocks if step.op_type != "Gradient" else ():
            fuse(inner, constants, traced=traced, images=images)
