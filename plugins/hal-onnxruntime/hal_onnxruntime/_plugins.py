"""Providers that come as plugin libraries: each belongs to a HAL plugin of its own."""

from __future__ import annotations

from typing import Any

import onnxruntime

from hal.errors import UnavailableError
from hal_onnxruntime._errors import words
from hal_onnxruntime._providers import NO_DEVICE

__all__ = ["own_providers", "plugin_devices"]

_LIBRARY = "library_path"
_registered: set[str] = set()


def plugin_devices(provider: str, library: str) -> list[Any]:
    """Register a plugin library as `provider`, once a process, and give onnxruntime's devices
    (OrtEpDevice) of it; none where its hardware is missing.

    Raises UnavailableError with the loader's words when the library does not load.
    """
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise UnavailableError(
            f"onnxruntime {onnxruntime.__version__} takes no plugin libraries",
            next_step="pip install --upgrade onnxruntime",
        )
    if provider not in _registered | _from_libraries():
        try:
            onnxruntime.register_execution_provider_library(provider, library)
        except Exception as error:  # pybind raises classes of its own
            raise UnavailableError(f"{provider} does not load: {words(error)}") from error
        _registered.add(provider)
    return [known for known in onnxruntime.get_ep_devices() if known.ep_name == provider]


def own_providers() -> tuple[str, ...]:
    """The providers that are devices of `ort`: those of this onnxruntime itself, best first.

    onnxruntime lists a provider as available once anyone in the process has registered its library.
    """
    foreign = _registered | _from_libraries()
    return tuple(
        provider
        for provider in onnxruntime.get_available_providers()
        if provider not in NO_DEVICE and provider not in foreign
    )


def _from_libraries() -> set[str]:
    known = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else ()
    return {device.ep_name for device in known if device.ep_metadata.get(_LIBRARY)}
