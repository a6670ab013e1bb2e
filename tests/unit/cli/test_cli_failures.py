"""What a person reads where the cluster, the kubeconfig or the reader of the output is not as hoped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from towline.cli import cluster
from towline.cli.cluster_errors import explained
from towline.cli.errors import FORBIDDEN, CliError

TOWLINE = Path(sys.executable).with_name("towline")


def refused(**options: str | None) -> CliError:
    chosen: dict[str, str | None] = {"kubeconfig": None, "context": None, "namespace": None, **options}
    with pytest.raises(CliError) as caught:
        cluster.connect(**chosen)
    return caught.value


def written(folder: Path, text: str) -> str:
    file = folder / "kubeconfig"
    file.write_text(text)
    return str(file)


def test_a_reader_that_has_read_enough_makes_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([TOWLINE, "explain", "servicenow"], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_an_encoding_without_our_marks_is_no_failure() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    ended = subprocess.run([TOWLINE, "explain", "servicenow"], capture_output=True, timeout=60, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "users              → user" in ended.stdout.decode("utf-8")


def test_a_kubeconfig_that_is_not_there_or_is_none_is_told_by_its_name(tmp_path: Path) -> None:
    assert str(refused(kubeconfig="/nowhere/config")) == "There is no file /nowhere/config."
    for text in ("junk: [", "- 1\n- 2\n", "contexts: 7\n"):
        error = refused(kubeconfig=written(tmp_path, text))
        assert "is no kubeconfig that can be used" in str(error)
        assert "Traceback" not in str(error)


def test_a_context_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    entry = {"cluster": "c", "user": "u"}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "prod-eu",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "prod-eu", "context": entry}, {"name": "lab", "context": entry}],
    }  # fmt: skip
    file = written(tmp_path, json.dumps(config))
    near, far = refused(kubeconfig=file, context="prod-us"), refused(kubeconfig=file, context="qqq")
    assert str(near) == f'There is no context "prod-us" in {file}.'
    assert near.cure == ("Did you mean prod-eu?",)
    assert far.cure == ("There are: prod-eu, lab",)


def test_a_missing_right_is_one_sentence_and_a_command_that_asks_for_it() -> None:
    text = ('integrations.towline.dev "prod" is forbidden: User "anna" cannot patch resource "integrations" in API'
            ' group "towline.dev" in the namespace "secops"')  # fmt: skip
    error = explained(403, json.dumps({"message": text}), "lab")
    assert isinstance(error, CliError)
    assert str(error) == 'You may not patch integrations.towline.dev in namespace "secops".'
    assert "kubectl auth can-i patch integrations.towline.dev -n secops" in error.cure[-1]
    everywhere = 'pods is forbidden: User "anna" cannot list resource "pods" in API group "" at the cluster scope'
    error = explained(403, json.dumps({"message": everywhere}), "lab")
    assert isinstance(error, CliError)
    assert (str(error), error.exit_code) == ("You may not list pods in the whole cluster.", FORBIDDEN)
    assert error.cure[0] == "In a namespace of yours it may be allowed: -n NAMESPACE"
    policy = explained(403, json.dumps({"message": "denied by policy x"}), "lab")
    assert "denied by policy x" in str(policy)
