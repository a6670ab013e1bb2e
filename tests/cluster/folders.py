"""Where things stand: what may be kept between checkouts in the cache, what a cluster owns in the state folder."""

import os
from pathlib import Path

from tests.cluster.report import ClusterError

CHECKOUT = Path(__file__).resolve().parents[2]
HACK = CHECKOUT / "hack"

# A Unix socket's path may have 107 bytes, and the deepest one below a cluster's folder takes about 40 of them.
_LONGEST_FOLDER = 64


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
    """The folder of the cluster `name`; ClusterError when its path is too long for the sockets in it."""
    folder = clusters_folder() / name
    if len(str(folder).encode()) > _LONGEST_FOLDER:
        raise ClusterError(
            f"The cluster's folder {folder} has a path of more than {_LONGEST_FOLDER} bytes, too long for Unix "
            "sockets. Set TOWLINE_STATE to a shorter folder, for instance /var/tmp/towline."
        )
    return folder


def _user_folder(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default
