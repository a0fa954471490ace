"""Products of matrices: MatMul, Gemm, Einsum, Det."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._moving import CARRIERS, Run

__all__ = ["integer_matmul", "table"]

table = KernelTable()

Tensor = torch.Tensor

INTEGERS = {"tensor(int32)", "tensor(int64)", "tensor(uint32)", "tensor(uint64)"}


@table.specialized("MatMul", 1, 9, 13)
def matmul(node: NodeInfo) -> Run:
    return integer_matmul if node.input_types[0] in INTEGERS else torch.matmul


def integer_matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of integer matrices modulo 2^n, on devices without integer products too."""
    dtype = a.dtype
    carrier = CARRIERS.get(dtype)
    if carrier is not None:  # modulo 2^n the sign makes no difference
        a, b = a.view(carrier), b.view(carrier)
    found = torch.matmul(a, b) if a.is_cpu else _limbs(a, b)
    return found if carrier is None else found.view(dtype)


def _limbs(a: Tensor, b: Tensor) -> Tensor:
    """An integer product by float64 ones of 16-bit parts: each is exact up to 2^21 summands, as
    (2^16)^2 * 2^21 = 2^53."""
    parts = a.dtype.itemsize * 8 // 16
    ones = [((a >> 16 * i) & 0xFFFF).double() for i in range(parts)]
    others = [((b >> 16 * i) & 0xFFFF).double() for i in range(parts)]
    found: Tensor | None = None
    for i, one in enumerate(ones):
        for j, other in enumerate(others[: parts - i]):  # higher parts are 0 modulo 2^n
            product = torch.matmul(one, other).long() << 16 * (i + j)
            found = product if found is None else found + product
    if found is None:
        raise ValueError(f"no product of {a.dtype}")
    return found.to(a.dtype)


@table.specialized(
    "Gemm", 6, 7, 9, 11, 13, attributes=("alpha", "beta", "transA", "transB", "broadcast")
)
def gemm(node: NodeInfo) -> Run:
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    turn_a, turn_b = bool(node.attributes["transA"]), bool(node.attributes["transB"])
    if node.input_types[0] in INTEGERS:
        return _integer_gemm(alpha, beta, turn_a, turn_b)
    if turn_b and not turn_a and alpha == 1 and beta == 1 and _is_row(node):
        return lambda a, b, c=None: functional.linear(a, b, c)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a = a.t() if turn_a else a
        b = b.t() if turn_b else b
        if c is None or beta == 0:
            found = torch.mm(a, b)
            return found if alpha == 1 else found * alpha
        return torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return run


def _is_row(node: NodeInfo) -> bool:
    """Whether C is absent or a constant of one dimension that spans the columns."""
    if len(node.input_types) < 3 or not node.input_types[2]:
        return True
    c = node.constants[2]
    return c is not None and c.ndim == 1 and c.shape[0] > 1


def _integer_gemm(alpha: float, beta: float, turn_a: bool, turn_b: bool) -> Run:
    whole = float(alpha).is_integer() and float(beta).is_integer()

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        dtype = a.dtype
        found = integer_matmul(a.t() if turn_a else a, b.t() if turn_b else b)
        if not whole:  # as ONNX's reference: the sum in double, its fraction cut off
            total = found.double() * alpha
            return (total if c is None else total + c.double() * beta).to(dtype)
        carrier = CARRIERS.get(dtype, dtype)
        total = found.view(carrier) * int(alpha)
        if c is not None:
            total = total + c.view(carrier) * int(beta)
        return total.view(dtype)

    return run


@table.specialized("Einsum", 12, 28, attributes=("equation",))
def einsum(node: NodeInfo) -> Run:
    equation = node.attributes["equation"].replace(" ", "")
    dtype = dtype_of(node.input_types[0])
    if dtype.is_floating_point:
        return lambda *xs: torch.einsum(equation, *xs)
    carrier = CARRIERS.get(dtype, dtype)
    labels = _labels(equation, len(node.input_types))

    def run(*xs: Tensor) -> Tensor:
        own = [x.view(carrier) for x in xs]
        if own[0].is_cpu:
            return torch.einsum(equation, *own).to(carrier).view(dtype)  # sums come as int64
        return _sum_of_products(own, *labels).view(dtype)

    return run


def _labels(equation: str, operands: int) -> tuple[Sequence[str], str]:
    """(the labels of each operand, those of the output); "." stands for what "..." spans."""
    left, arrow, right = equation.replace("...", ".").partition("->")
    given = left.split(",")
    if len(given) != operands:
        raise UnsupportedError(f"{equation!r} names {len(given)} operands of {operands}")
    if not arrow:
        once = sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
        right = ("." if "." in left else "") + "".join(once)
    return given, right


def _sum_of_products(xs: Sequence[Tensor], given: Sequence[str], output: str) -> Tensor:
    """An einsum by elementwise products, for devices without integer matrix products. The whole
    product is in memory at once."""
    spans = max(
        (x.ndim - len(g) + 1 for x, g in zip(xs, given, strict=True) if "." in g), default=0
    )
    spanned = [f"{i}" for i in range(spans)]

    def spelled(labels: str, rank: int) -> list[str]:
        own = spanned[len(spanned) - (rank - len(labels) + 1) :] if "." in labels else []
        return [c for label in labels for c in (own if label == "." else [label])]

    result = spelled(output, len(output) - 1 + spans if "." in output else len(output))
    names = [spelled(g, x.ndim) for x, g in zip(xs, given, strict=True)]
    order = [*result, *sorted({c for n in names for c in n} - set(result))]
    product: Tensor | None = None
    for x, own in zip(xs, names, strict=True):
        for label in sorted(set(own)):
            while own.count(label) > 1:  # the same label twice is the diagonal
                i = own.index(label)
                j = own.index(label, i + 1)
                x = x.diagonal(dim1=i, dim2=j)
                own = [c for k, c in enumerate(own) if k not in (i, j)] + [label]
        kept = sorted(range(len(own)), key=lambda k: order.index(own[k]))
        x = x.permute(kept)
        for position, label in enumerate(order):
            if label not in own:
                x = x.unsqueeze(position)
        product = x if product is None else product * x
    if product is None:
        raise ValueError("einsum of no operand")
    gone = tuple(range(len(result), len(order)))
    return product.sum(gone, dtype=product.dtype) if gone else product


@table.specialized("Det", 11, 22)
def det(node: NodeInfo) -> Run:
    dtype = dtype_of(node.input_types[0])
    if dtype.itemsize < 4:
        return lambda x: torch.linalg.det(x.float()).to(dtype)
    determinant: Run = torch.linalg.det
    return determinant
