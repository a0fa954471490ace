"""The commands of hal-core, as data."""

from __future__ import annotations

from hal.cli import Command

__all__ = ["COMMANDS"]

COMMANDS = {
    "bench": Command("hal.cli.bench:bench_model", "Time devices side by side on a model."),
    "cache": Command("hal.cli.cache:app", "Show what HAL keeps on disk, and clear it."),
    "devices": Command("hal.cli.devices:devices", "List devices, and why a backend has none."),
    "doctor": Command("hal.cli.doctor:doctor", "Find what is wrong here, and say how to mend it."),
    "env": Command(
        "hal.cli.env:app", "Build and remove environments for SDKs that need their own."
    ),
    "ops": Command("hal.cli.ops:ops", "Show the contract: operators, versions, types, profiles."),
    "plugin": Command("hal.cli.plugin:app", "Start a backend plugin of your own."),
    "remote": Command("hal.cli.remote:app", "Add the devices of other machines, through ssh."),
    "plugins": Command("hal.cli.plugins:plugins", "List the installed plugins and their states."),
    "route": Command("hal.cli.route:route_model", "Find the device that runs a model best."),
    "routes": Command("hal.cli.routes:app", "List the decisions that are kept, and clear them."),
    "run": Command("hal.cli.run:run_model", "Run a model once, from .npz to .npz."),
}
