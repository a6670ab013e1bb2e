"""Where things stand: what may be kept between checkouts in the cache, what a cluster owns in the state folder."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HACK = CHECKOUT / "hack"


def cache_folder() -> Path:
    """`TOWLINE_CACHE`, else `towline` in the user's cache folder: binaries and base images, safe to delete."""
    if own := os.environ.get("TOWLINE_CACHE"):
        return Path(own).expanduser().resolve()
    return _user_folder("XDG_CACHE_HOME", ".cache") / "towline"


def state_folder() -> Path:
    """`TOWLINE_STATE`, else `towline` in the user's state folder: one sub-folder for each cluster."""
    if own := os.environ.get("TOWLINE_STATE"):
        return Path(own).expanduser().resolve()
    return _user_folder("XDG_STATE_HOME", ".local/state") / "towline"


def clusters_folder() -> Path:
    """The folder that holds one folder for each cluster."""
    return state_folder() / "clusters"


def cluster_folder(name: str) -> Path:
    """The folder of the cluster `name`."""
    return clusters_folder() / name


def _user_folder(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default
