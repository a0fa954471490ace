"""Backends that live elsewhere: in a Python environment of their own.

`hal env` makes and removes environments. The plugins' registry serves the backends of those that
are registered here through host processes.
"""

from __future__ import annotations

from hal.elsewhere._places import Record, environments_dir, host_command, is_current, read_record

__all__ = ["Record", "environments_dir", "host_command", "is_current", "read_record"]
