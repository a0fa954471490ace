"""HAL's compile options for this backend, as options of the QNN execution provider.

The provider takes any text for most of its options and goes on with a default, so that what it
would ignore is refused here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from hal_onnxruntime.session import provider_options

from hal.backend import Option
from hal.errors import UsageError, did_you_mean
from hal.paths import cache_dir

__all__ = ["EMULATED", "Settings", "settings"]

EMULATED: Mapping[str, Option] = {"soc_model": 60, "htp_arch": 73}
"""What the emulator is unless the user says otherwise: SC8380XP (Snapdragon X Elite), Hexagon
v73, by the numbers of the QNN SDK's QnnTypes.h."""

_ARCHITECTURES = (68, 69, 73, 75, 79, 81)
_PERFORMANCE = (
    "default",
    "burst",
    "balanced",
    "high_performance",
    "high_power_saver",
    "low_balanced",
    "low_power_saver",
    "power_saver",
    "extreme_power_saver",
    "sustained_high_performance",
)
_PRECISIONS = ("fp16", "bf16")
_OWN = ("soc_model", "htp_arch", "precision", "performance", "context_cache", "graph_optimization")
_PREFIX = "ep."
_DEVICES = ("ep.backend_type", "ep.backend_path")


@dataclasses.dataclass(frozen=True)
class Settings:
    """`provider` are the execution provider's options, `session` hal-onnxruntime's; `cache` is the
    folder of compiled contexts, None for none."""

    provider: Mapping[str, str]
    session: Mapping[str, Option]
    cache: Path | None


def settings(options: Mapping[str, Option], *, emulated: bool) -> Settings:
    """What the options of `compile` mean. Raises UsageError for an unknown option or value."""
    for name in options:
        if name not in _OWN and not name.startswith(_PREFIX):
            raise UsageError(
                f"qnn has no option {name!r}.{did_you_mean(name, _OWN)}",
                next_step=f"use one of {', '.join(_OWN)}, or {_PREFIX}KEY for the provider's own",
            )
        if name in _DEVICES:
            raise UsageError(f"{name[len(_PREFIX) :]} is the device's, and no option")
    chip = {name: options[name] for name in EMULATED if name in options}
    if emulated and not chip:
        chip = dict(EMULATED)
    provider = {"backend_type": "htp"}
    if "soc_model" in chip:
        provider["soc_model"] = str(_number("soc_model", chip["soc_model"]))
    if "htp_arch" in chip:
        provider["htp_arch"] = str(_number("htp_arch", chip["htp_arch"], _ARCHITECTURES))
    provider.update(_precision(_choice(options, "precision", _PRECISIONS), "soc_model" in chip))
    if "performance" in options:
        provider["htp_performance_mode"] = _choice(options, "performance", _PERFORMANCE)
    provider.update(provider_options(options))
    session: dict[str, Option] = {"intra_op_threads": 1}  # the CPU has nothing to compute
    if "graph_optimization" in options:
        session["graph_optimization"] = options["graph_optimization"]
    return Settings(provider, session, _folder(options.get("context_cache", False)))


def _precision(precision: str, soc_known: bool) -> dict[str, str]:
    """In half precision the provider computes float32 models unless told otherwise; it takes
    neither switch without the SoC."""
    if precision == "fp16":
        return {"enable_htp_fp16_precision": "1"} if soc_known else {}
    if not soc_known:
        raise UsageError(
            "precision=bf16 needs soc_model too", next_step="give the chip, e.g. soc_model=88"
        )
    return {"htp_bf16_enable": "1", "enable_htp_fp16_precision": "0"}


def _folder(value: Option) -> Path | None:
    if isinstance(value, bool):
        return cache_dir() / "qnn" if value else None
    if not isinstance(value, str) or not value:
        raise UsageError(f"option context_cache takes true, false or a folder, got {value!r}")
    if value.lower() in ("true", "false"):
        return _folder(value.lower() == "true")
    return Path(value).expanduser().absolute()


def _number(name: str, value: Option, known: tuple[int, ...] = ()) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"option {name} takes a number, got {value!r}")
    if known and value not in known:
        raise UsageError(f"option {name} takes {', '.join(map(str, known))}, got {value}")
    return value


def _choice(options: Mapping[str, Option], name: str, known: tuple[str, ...]) -> str:
    value = str(options.get(name, known[0]))
    if value not in known:
        raise UsageError(
            f"option {name} takes {', '.join(known)}, got {value!r}.{did_you_mean(value, known)}"
        )
    return value
