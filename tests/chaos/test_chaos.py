"""A short part of `make chaos`: each run takes another seed, which the name of a failing test shows."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from tests.api.conftest import api, kubectl  # noqa: F401  fixtures: an API server that serves Towline's kinds
from tests.chaos.stage import Stage
from tests.chaos.trials import TRIALS

pytestmark = pytest.mark.api
SEED = int(os.environ.get("TOWLINE_CHAOS_SEED", int(time.time())))


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("promise", "size"), [(1, 2), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (16, 1)])
def test_a_promise_holds_under_its_fault(control_plane: Path, tmp_path: Path, promise: int, size: int) -> None:
    with Stage(control_plane, tmp_path, SEED) as stage:
        outcome = TRIALS[promise](stage, random.Random(SEED), size)
    assert outcome.injected > 0, "the fault never happened"
    assert outcome.violations == [], f"TOWLINE_CHAOS_SEED={SEED} repeats it"
