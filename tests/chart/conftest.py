"""The chart, rendered by the real Helm and applied to a real API server."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hack.chart import CHART, CHECKOUT
from hack.demo.helm import helm_program
from tests.cluster.kubectl import apply, kubectl


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run helm; its exit code, output and errors."""
    program = helm_program()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False, timeout=120)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """The chart's manifests as YAML, with these arguments of `helm template`."""

    def run(*arguments: str, namespace: str = "towline-system") -> str:
        result = helm("template", "towline", str(CHART), "--namespace", namespace, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture(scope="session")
def definitions(control_plane: Path) -> None:
    """The CustomResourceDefinitions, served."""
    for path in sorted((CHECKOUT / "crds").glob("*.yaml")):
        apply(control_plane, path.read_text())
    for plural in ("connectors", "integrations", "syncjobs"):
        kubectl(control_plane, "wait", "--for=condition=Established", f"crd/{plural}.towline.dev", "--timeout=60s")


@pytest.fixture
def namespace(control_plane: Path) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"chart-{uuid.uuid4().hex[:8]}"
    kubectl(control_plane, "create", "namespace", name)
    yield name
    kubectl(control_plane, "delete", "namespace", name, "--wait=false")
