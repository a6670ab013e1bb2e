"""Counters that the simulator's process writes and the suite reads, in memory that both share."""

from __future__ import annotations

import mmap
import struct

_CELL = struct.Struct("<Q")


class _Counter:
    def __init__(self, number: int) -> None:
        self._at = number * _CELL.size

    def __get__(self, shared: Shared, _owner: object = None) -> int:
        return int(_CELL.unpack_from(shared.memory, self._at)[0])

    def __set__(self, shared: Shared, value: int) -> None:
        _CELL.pack_into(shared.memory, self._at, value)


class Shared:
    """Make it before the process is forked. One process writes."""

    requests = _Counter(0)
    faults = _Counter(1)  # requests that suffered the fault
    stalled = _Counter(2)  # requests that were left without an answer
    astray = _Counter(3)  # requests that reached the foreign host
    emptied = _Counter(4)  # a bit for each stream whose records were taken out

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
