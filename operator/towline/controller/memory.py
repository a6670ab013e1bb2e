"""How the process gives memory back to the system."""

from __future__ import annotations

import ctypes

# Names and numbers of glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE = 128 * 1024  # bytes; glibc's own first value
_ARENAS = 2


def give_back() -> bool:
    """Let what is large and freed go back to the system at once; whether the C library can do that.

    By itself glibc raises its thresholds to the largest buffer that was ever freed. After the first lists of ten
    thousand objects each page of a list would come from the heap, and one small object behind it would keep its place
    for ever. Call it before there are threads.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    wanted = {_M_TRIM_THRESHOLD: _LARGE, _M_MMAP_THRESHOLD: _LARGE, _M_ARENA_MAX: _ARENAS}
    taken = [mallopt(name, value) for name, value in wanted.items()]
    return all(taken)
