"""Files that lie in Go modules, such as definitions of foreign kinds: fetched by the Go toolchain, sums pinned."""

import json
import os
import subprocess
from pathlib import Path

from tests.cluster.report import ClusterError
from tests.cluster.toolchain import find_go


def module_folder(module: str, version: str, sum_: str) -> Path:
    """The folder of a module in Go's cache; ClusterError when it cannot be had or is another than `sum_` says."""
    environment = {**os.environ, "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [str(find_go()), "mod", "download", "-json", f"{module}@{version}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    found = json.loads(ended.stdout or "{}")
    if found.get("Sum") != sum_:
        reason = found.get("Error") or (f"its sum is {found['Sum']}" if "Sum" in found else ended.stderr[-500:])
        raise ClusterError(f"The Go module {module} {version} could not be fetched: {reason}")
    return Path(found["Dir"])
