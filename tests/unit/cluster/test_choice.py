"""Which cluster a machine gets."""

from pathlib import Path

import pytest
from tests.cluster.choice import Machine, choose, engine_answers, named_kubeconfig
from tests.cluster.report import ClusterError

LAPTOP = Machine(linux=False, root=False, container_engine="docker")
SERVER = Machine(linux=True, root=True, container_engine=None)
USER = Machine(linux=True, root=False, container_engine=None)
BARE_MAC = Machine(linux=False, root=False, container_engine=None)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (LAPTOP, "kind"),
        (Machine(linux=True, root=True, container_engine="podman"), "kind"),
        (SERVER, "node"),
        (USER, "control-plane"),
    ],
)
def test_the_best_that_the_machine_allows_is_chosen(machine: Machine, expected: str) -> None:
    assert choose("auto", None, machine) == expected


def test_a_named_cluster_wins_over_everything_the_machine_has() -> None:
    assert choose("auto", Path("/some/kubeconfig"), LAPTOP) == "existing"


def test_an_explicit_provider_wins_over_a_named_cluster() -> None:
    assert choose("node", Path("/some/kubeconfig"), SERVER) == "node"


@pytest.mark.parametrize(
    ("wanted", "machine", "cure"),
    [
        ("kind", SERVER, "no daemon of either answers"),
        ("node", USER, "Run as root"),
        ("node", LAPTOP, "--provider kind"),
        ("control-plane", LAPTOP, "--provider kind"),
        ("existing", SERVER, "TOWLINE_KUBECONFIG"),
        ("auto", BARE_MAC, "start Docker"),
    ],
)
def test_what_cannot_work_is_refused_with_the_cure(wanted: str, machine: Machine, cure: str) -> None:
    with pytest.raises(ClusterError, match=cure):
        choose(wanted, None, machine)


def test_a_control_plane_is_not_offered_to_who_needs_pods() -> None:
    with pytest.raises(ClusterError, match="can run pods"):
        choose("auto", None, USER, need_pods=True)


def test_the_current_context_is_never_taken(tmp_path: Path) -> None:
    assert named_kubeconfig(None, {"KUBECONFIG": str(tmp_path / "production")}) is None


def test_the_option_wins_over_the_environment(tmp_path: Path) -> None:
    option, variable = tmp_path / "a", tmp_path / "b"
    option.touch()
    variable.touch()
    assert named_kubeconfig(str(option), {"TOWLINE_KUBECONFIG": str(variable)}) == option


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="nowhere"):
        named_kubeconfig(None, {"TOWLINE_KUBECONFIG": str(tmp_path / "nowhere")})


def test_a_client_whose_daemon_does_not_answer_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert not engine_answers("docker")
    client.write_text("#!/bin/sh\nexit 0\n")
    assert engine_answers("docker")
