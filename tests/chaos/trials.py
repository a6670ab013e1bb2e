"""All trials by the number of their promise (docs/failure-modes.md)."""

from __future__ import annotations

from tests.chaos import crowds, nodes, promises, runs, status, upgrade
from tests.chaos.outcome import Trial

TRIALS: dict[int, Trial] = {
    1: promises.kills,
    2: promises.downtime,
    3: runs.crashes,
    4: promises.ambiguous,
    5: promises.outages,
    6: promises.gaps,
    7: promises.stale,
    8: promises.takeover,
    9: nodes.node_loss,
    10: runs.rotations,
    13: promises.restarts,
    14: status.truths,
    15: crowds.scale,
    16: promises.deletions,
    17: crowds.poison,
    18: upgrade.upgrades,
}
