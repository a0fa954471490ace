"""A PyTorch device made of Python alone, `paper`: what an out-of-tree device of a vendor is to us.

It is registered on the PrivateUse1 key, as torch_npu and its kin are. Its tensors have no memory of
their own that torch could touch: the bytes of a storage lie in a CPU storage kept beside it, and a
fallback runs every operator there. So code that takes the CPU or "cuda" for granted fails on it.

`load` is what the entry-point group `torch.backends` names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_map

NAME = "paper"
_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_library: list[torch.library.Library] = []


class PaperTensor(torch.Tensor):
    """A tensor of the device. A subclass, because torch makes no plain tensor of such a device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **options: Any) -> str:  # torch's own recurses on a 0-d subclass
        return f"{NAME}:{_host(self)!r}"


class _Sized(torch.Tensor):
    """Only a tensor that says how it dispatches may be made with a storage of a given size."""

    @classmethod
    def __torch_dispatch__(
        cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{operator} on what is only a storage")


def _host(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's values as a CPU tensor over the same bytes."""
    storage = tensor.untyped_storage()._bytes
    plain = torch.empty(0, dtype=tensor.dtype)
    plain.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    if tensor.is_conj():
        plain = plain.conj()
    return torch._neg_view(plain) if tensor.is_neg() else plain


def _storage(plain: torch.Tensor) -> torch.UntypedStorage:
    """A storage of the device over the bytes of a CPU tensor's."""
    size = plain.untyped_storage().nbytes()
    storage = torch.Tensor._make_wrapper_subclass(
        _Sized, [size], dtype=torch.uint8, device=f"{NAME}:0", storage_size=size
    ).untyped_storage()
    storage._bytes = plain.untyped_storage()
    return storage


def _place(ours: torch.Tensor, storage: torch.UntypedStorage, plain: torch.Tensor) -> None:
    # The CPU's kernel of set_ touches no memory, so it serves any device.
    torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
        _CPU, ours, storage, plain.storage_offset(), plain.size(), plain.stride()
    )


def _follow(ours: torch.Tensor, plain: torch.Tensor) -> None:
    """Give the device's tensor the layout that an operator has given to its CPU tensor."""
    storage = ours.untyped_storage()
    grown = storage.nbytes() != plain.untyped_storage().nbytes()
    if grown or ours.shape != plain.shape or ours.stride() != plain.stride():
        _place(ours, _storage(plain) if grown else storage, plain)


def _device(
    plain: torch.Tensor, owners: dict[int, torch.Tensor], same: dict[int, torch.Tensor]
) -> torch.Tensor:
    """The device's tensor of a CPU result; it shares the storage of an argument if that does."""
    if id(plain) in same:
        return same[id(plain)]
    owner = owners.get(plain.untyped_storage()._cdata)
    storage = _storage(plain) if owner is None else owner.untyped_storage()
    inference = torch.is_inference_mode_enabled() if owner is None else owner.is_inference()
    with torch.inference_mode(inference):  # a view of a tensor is as that tensor is
        made = torch._C._acc.create_empty_tensor([0], plain.dtype)
        _place(made, storage, plain)
    made.__class__ = PaperTensor
    if plain.is_conj():
        torch._C._set_conj(made, True)
    if plain.is_neg():
        torch._C._set_neg(made, True)
    return made


def _is_ours(item: Any) -> bool:
    return isinstance(item, torch.Tensor) and item.device.type == NAME


def _with_tensors(operator: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with a tensor for each number where one is declared: a 0-d tensor that stands
    for a Python number arrives here as that number."""
    dtypes = [a.dtype for a in args if isinstance(a, torch.Tensor)]
    found = list(args)
    for index, (declared, given) in enumerate(zip(operator._schema.arguments, args, strict=False)):
        if str(declared.type) == "Tensor" and isinstance(given, (bool, int, float, complex)):
            plain = torch.tensor(given)
            whole = isinstance(given, int) and not isinstance(given, bool)
            fits = whole and dtypes and not dtypes[0].is_floating_point and dtypes[0] != torch.bool
            found[index] = plain.to(dtypes[0]) if fits else plain
    return tuple(found)


def _fallback(operator: Any, *args: Any, **kwargs: Any) -> Any:
    owners: dict[int, torch.Tensor] = {}
    same: dict[int, torch.Tensor] = {}
    to_cpu = False

    def lower(item: Any) -> Any:
        nonlocal to_cpu
        if _is_ours(item):
            plain = _host(item)
            owners[plain.untyped_storage()._cdata] = item
            same[id(plain)] = item
            keep.append(plain)
            return plain
        if isinstance(item, torch.device):
            if item.type == "cpu":
                to_cpu = True
            return torch.device("cpu")
        return item

    keep: list[torch.Tensor] = []
    with torch.utils._mode_utils.no_dispatch():
        args, kwargs = tree_map(lower, args), tree_map(lower, kwargs)
        args = _with_tensors(operator, args)
        found = operator(*args, **kwargs)
        if to_cpu:
            return found
        for plain in keep:  # an `out=` argument may have been given another shape
            _follow(same[id(plain)], plain)
        return tree_map(
            lambda x: _device(x, owners, same) if isinstance(x, torch.Tensor) else x, found
        )


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> Any:
    with torch.utils._mode_utils.no_dispatch():
        plain = _host(target) if _is_ours(target) else target
        plain.copy_(_host(source) if _is_ours(source) else source)
    return target


def _convolution(*args: Any) -> Any:
    return _fallback(torch.ops.aten.convolution.default, *args)


def load() -> None:
    """Register the device."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    aten = torch.library.Library("aten", "IMPL")
    for name in ("_copy_from", "_copy_from_and_resize"):
        aten.impl(name, _copy_from, "PrivateUse1")
        for key in ("Conjugate", "Negative"):  # else torch resolves the bit by a copy, for ever
            aten.impl(name, torch.library.fallthrough_kernel, key)
    aten.impl("convolution_overrideable", _convolution, "PrivateUse1")
    _library.append(aten)
    library = torch.library.Library("_", "IMPL")
    library.fallback(_fallback, "PrivateUse1")
    _library.append(library)
