"""The wheel of the checkout, installed where the checkout is not: as `pip install` and `uv tool install` do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of a fresh environment that has the wheel and nothing else of the project."""
    folder = tmp_path_factory.mktemp("packaging")

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr

    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    run(*pip, "--python", folder / "venv" / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return folder / "venv" / "bin"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Dependencies come from the tests' own environment, the project does not: a path does not bring its .pth files."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TOWLINE_", "KUBE"))}
    return {**inherited, "PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONUTF8": "1", "HOME": str(tmp_path)}


def say(command: Path, *arguments: str, cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_brings_the_command_and_every_connector(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    where = "import towline, towline_connectors; print(towline.__path__[0])"
    place = say(installed / "python", "-c", where, cwd=tmp_path, environment=environment)
    assert str(installed.parent) in place, "the checkout's own code would prove nothing"
    assert "no cluster configured" in say(installed / "towline", cwd=tmp_path, environment=environment)
    found = json.loads(say(installed / "towline", "catalog", "-o", "json", cwd=tmp_path, environment=environment))
    manifests = [*ROOT.glob("connectors/towline_connectors/catalogue/*/*/connector.yaml")]
    assert len(found) == len(manifests)
    example = say(installed / "towline", "explain", "servicenow", "--example", cwd=tmp_path, environment=environment)
    (tmp_path / "example.yaml").write_text(example)
    say(installed / "towline", "validate", "-f", "example.yaml", cwd=tmp_path, environment=environment)
    assert "servicenow" in say(installed / "towline", "simulate", cwd=tmp_path, environment=environment)


def test_kubectl_finds_the_plugin_and_its_completion(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    assert os.access(installed / "kubectl-towline", os.X_OK)
    text = say(installed / "kubectl-towline", "version", cwd=tmp_path, environment=environment)
    assert text.startswith("towline ")
    script = tmp_path / "kubectl_complete-towline"
    script.write_text(say(installed / "towline", "completion", "kubectl", cwd=tmp_path, environment=environment))
    script.chmod(0o755)
    path = {**environment, "PATH": f"{installed}{os.pathsep}{environment['PATH']}"}
    assert "suspend" in say(script, "sus", cwd=tmp_path, environment=path).split()


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_each_shell_gets_its_completion(
    installed: Path, environment: dict[str, str], tmp_path: Path, shell: str, word: str
) -> None:
    text = say(installed / "towline", "completion", shell, cwd=tmp_path, environment=environment)
    assert word in text
    assert "_TOWLINE_COMPLETE" in text
