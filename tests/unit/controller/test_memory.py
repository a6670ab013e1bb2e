"""What lists of many objects took goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Large buffers with a small one behind each, after a larger one that was freed: as pages of a list come and go.
PAGES = """
import sys
from towline.controller.memory import give_back

def resident():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) >> 10  # MiB

if not give_back():
    sys.exit("not glibc")
before = resident()
del (whole := [bytearray(b"x") * (16 << 20)])[0]
pages, kept = [], []
for _ in range(60):
    pages.append(bytearray(b"x") * (1 << 20))
    kept.append(bytes(1000))
full = resident()
pages.clear()
print(full - before, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
def test_memory_of_large_answers_is_given_back_although_small_things_were_kept() -> None:
    ran = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, timeout=60, check=False)
    if "not glibc" in ran.stderr:
        pytest.skip("the C library is not glibc")
    full, after = map(int, ran.stdout.split())
    assert full >= 60
    assert after <= 10
