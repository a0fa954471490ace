"""Tensor data in memory that both ends map: two files without a name, one for each direction.

The parent creates the files and hands their descriptors down; nobody else can open them, so that
nothing is left behind whoever dies. It alone decides who may write where: it fills the input file
before a request, and offers the other end a region of the output file for its results. A file only
grows while a host lives, so that its pages are mapped once.
"""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from hal.errors import ProtocolError
from hal.host._wire import aligned

__all__ = [
    "SHARE_FROM",
    "Attached",
    "InputFile",
    "OutputFile",
    "Region",
    "RegionPool",
    "SharedFiles",
    "needed",
]

SHARE_FROM = 64 << 10
"""Parts of fewer bytes go through the stream: there, one copy more costs less than a page fault."""
_START = 4096  # the first page holds the nonce
_GRAIN = 4096  # files grow by whole pages

Region = tuple[int, int]
"""Offset and size in bytes."""


class _File:
    """A file without a name, its size and this process's mapping of it."""

    def __init__(self, label: str, access: int) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create(label)
        else:
            with tempfile.TemporaryFile() as file:  # unlinked at once where files can be
                self.fd = os.dup(file.fileno())
        self.size = 0
        self._access = access
        self._map: mmap.mmap | None = None
        self._close = weakref.finalize(self, os.close, self.fd)
        self.grow(_START)

    def grow(self, size: int) -> None:
        """Make the file at least `size` bytes long. Raises OSError when there is no room, now and
        not as a signal when a page is touched."""
        if size <= self.size:
            return
        size = -(-size // _GRAIN) * _GRAIN
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, self.size, size - self.size)
        else:
            os.ftruncate(self.fd, size)
        self.size = size
        self._map = None

    @property
    def map(self) -> mmap.mmap:
        if self._map is None:
            self._map = mmap.mmap(self.fd, self.size, access=self._access)
        return self._map

    def close(self) -> None:
        """Close the descriptor. What still views the mapping keeps it."""
        self._map = None
        self._close()


class InputFile(_File):
    """The parent writes it, the other end reads it; every request starts again at its beginning."""

    def __init__(self) -> None:
        super().__init__("hal-input", mmap.ACCESS_WRITE)

    def write(self, parts: Sequence[memoryview]) -> list[int] | None:
        """Copy parts in and return their offsets; None when the system has no room for them."""
        offsets, end = _offsets(parts, _START)
        try:
            self.grow(end)
            target = self.map
        except OSError:
            return None
        for offset, part in zip(offsets, parts, strict=True):
            _copy(target, offset, part)
        return offsets


class RegionPool:
    """Which regions of a file are free. Sizes are rounded up to whole pages."""

    def __init__(self, start: int = _START) -> None:
        self._free: list[Region] = []
        self.end = start

    def take(self, size: int) -> Region:
        """The lowest free region of `size` bytes; the file's end moves up when none is free."""
        size = max(_GRAIN, -(-size // _GRAIN) * _GRAIN)
        for index, (offset, room) in enumerate(self._free):
            if room >= size:
                if room == size:
                    del self._free[index]
                else:
                    self._free[index] = (offset + size, room - size)
                return offset, size
        if self._free and sum(self._free[-1]) == self.end:
            offset, _ = self._free.pop()
        else:
            offset = self.end
        self.end = offset + size
        return offset, size

    def give(self, region: Region) -> None:
        """Give a region back; neighbours that are free become one."""
        merged: list[Region] = []
        for offset, size in sorted([*self._free, region]):
            if merged and sum(merged[-1]) == offset:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((offset, size))
        self._free = merged


class OutputFile(_File):
    """The other end writes it where it is told, the parent reads it.

    A region belongs to its results until the last view of them is gone.
    """

    def __init__(self) -> None:
        super().__init__("hal-output", mmap.ACCESS_READ)
        self._pool = RegionPool()
        # A finalizer may run at any moment in any thread, so it only leaves the region here.
        self._returned: deque[Region] = deque()

    def offer(self, size: int) -> Region | None:
        """A region of at least `size` bytes that nobody views; None when there is no room."""
        while self._returned:
            self._pool.give(self._returned.popleft())
        region = self._pool.take(size)
        try:
            self.grow(sum(region))
        except OSError:
            self._pool.give(region)
            return None
        return region

    def release(self, region: Region) -> None:
        """Take an offer back that was not used."""
        self._pool.give(region)

    def accept(self, region: Region) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes of a region that was filled; it is free again when the array and every view of
        it are gone."""
        root = np.frombuffer(self.map, np.uint8, region[1], region[0])
        weakref.finalize(root, self._returned.append, region).atexit = False
        return root


class SharedFiles:
    """The parent's two files, and the nonce at their start that proves that they are shared."""

    def __init__(self) -> None:
        self.input = InputFile()
        self.output = OutputFile()
        self.nonce = secrets.token_hex(16)
        for file in (self.input, self.output):
            os.lseek(file.fd, 0, os.SEEK_SET)
            os.write(file.fd, self.nonce.encode())

    @property
    def descriptors(self) -> tuple[int, int]:
        return self.input.fd, self.output.fd

    def close(self) -> None:
        self.input.close()
        self.output.close()


class Attached:
    """The other end's mappings of the two files. Raises OSError when the descriptors are not
    those of the parent, as behind ssh or in a container."""

    def __init__(self, descriptors: Sequence[int], nonce: str) -> None:
        self._fds = tuple(descriptors)
        for fd in self._fds:
            if os.pread(fd, len(nonce), 0) != nonce.encode():
                raise OSError(f"descriptor {fd} is not the parent's")
        for fd in self._fds:
            os.set_inheritable(fd, False)
        self._maps: list[mmap.mmap | None] = [None, None]

    def read(self, offset: int, size: int) -> memoryview:
        """A read-only view of input data, valid until the parent's next request."""
        return memoryview(self._mapped(0, offset + size, mmap.ACCESS_READ))[offset : offset + size]

    def write(self, region: Region, parts: Sequence[memoryview]) -> list[int]:
        """Copy parts into a region of the output file and return their offsets."""
        offsets, end = _offsets(parts, region[0])
        if end > sum(region):
            raise ProtocolError(f"a region of {region[1]} bytes for {end - region[0]}")
        target = self._mapped(1, end, mmap.ACCESS_WRITE)
        for offset, part in zip(offsets, parts, strict=True):
            _copy(target, offset, part)
        return offsets

    def _mapped(self, which: int, size: int, access: int) -> mmap.mmap:
        current = self._maps[which]
        if current is None or len(current) < size:
            whole = os.fstat(self._fds[which]).st_size
            if whole < size:
                raise ProtocolError(f"{size} bytes of a shared file of {whole}")
            current = self._maps[which] = mmap.mmap(self._fds[which], whole, access=access)
        return current


def needed(parts: Sequence[memoryview]) -> int:
    """The size of a region for parts."""
    return sum(aligned(part.nbytes) for part in parts)


def _offsets(parts: Sequence[memoryview], start: int) -> tuple[list[int], int]:
    offsets = []
    for part in parts:
        offsets.append(start)
        start += aligned(part.nbytes)
    return offsets, start


def _copy(target: mmap.mmap, offset: int, part: memoryview) -> None:
    # NumPy copies without the interpreter's lock, so that the watchdog stays awake.
    into = np.frombuffer(target, np.uint8, part.nbytes, offset)
    np.copyto(into, np.frombuffer(part, np.uint8))
