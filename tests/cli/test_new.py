"""`towline new` and `towline completion`."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from tests.cli.conftest import Towline


def test_what_it_prints_is_valid_and_has_what_was_asked_for(towline: Towline) -> None:
    ended = towline("new", "servicenow", "snow", "--set", "host=acme.service-now.com", "-n", "secops",
                    "--cron", "0 6 * * *", "--time-zone", "Europe/Paris", "--stream", "incidents")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    secret, integration = yaml.safe_load_all(ended.stdout)
    assert secret["metadata"] == {
        "name": "snow",
        "namespace": "secops",
        "annotations": {"towline.dev/allowed-hosts": "acme.service-now.com"},
    }
    assert set(secret["stringData"]) == {"username", "password"}
    assert integration["spec"]["config"] == {"host": "acme.service-now.com"}
    assert integration["spec"]["schedule"] == {"cron": "0 6 * * *", "timeZone": "Europe/Paris"}
    assert integration["spec"]["streams"] == [{"name": "incidents"}]
    assert towline("validate", "-f", "-", stdin=ended.stdout).returncode == 0


def test_a_secret_that_is_there_is_named_and_not_printed(towline: Towline) -> None:
    ended = towline("new", "servicenow", "--set", "host=acme.service-now.com", "--existing-secret", "vault-snow")
    (integration,) = yaml.safe_load_all(ended.stdout)
    assert integration["spec"]["credentials"] == {"secretRef": {"name": "vault-snow"}}
    assert "towline.dev/allowed-hosts: acme.service-now.com" in ended.stderr


def test_a_connector_without_credentials_needs_no_secret(towline: Towline) -> None:
    (integration,) = yaml.safe_load_all(towline("new", "cisa-kev", "kev", "--interval", "1d").stdout)
    assert (integration["kind"], integration["spec"]["schedule"]) == ("Integration", {"interval": "1d"})


def test_a_wrong_answer_is_told_and_asked_for_again(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("towline")), "new", "servicenow", "snow"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    os.write(ours, b"not a host\nacme.service-now.com\n")
    out, talk = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, talk
    assert b"Error: host" in talk
    assert list(yaml.safe_load_all(out))[1]["spec"]["config"] == {"host": "acme.service-now.com"}


def test_a_missing_setting_is_named_with_the_option_that_gives_it(towline: Towline) -> None:
    ended = towline("new", "servicenow", "snow")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "The setting host is missing" in ended.stderr
    assert "--set host=" in ended.stderr


def test_nothing_is_printed_that_would_be_refused(towline: Towline) -> None:
    for arguments, sentence in (
        (["--set", "host=not a host"], "host"),
        (["--set", "host=a.example", "--interval", "1 hour"], "is not a duration"),
        (["--set", "host=a.example", "--cron", "every day"], "cron"),
        (["--set", "host=a.example", "--stream", "incident"], "did you mean incidents?"),
        (["--set", "hots=a.example"], "has no setting hots"),
    ):
        ended = towline("new", "servicenow", "snow", *arguments)
        assert ended.returncode == 1, arguments
        assert ended.stdout == ""
        assert sentence in ended.stderr, ended.stderr


def test_a_file_is_written_for_its_owner_only_and_never_over_another(towline: Towline, tmp_path: Path) -> None:
    command = ["new", "cisa-kev", "--write", "kev.yaml"]
    assert towline(*command).returncode == 0
    assert (tmp_path / "kev.yaml").stat().st_mode & 0o077 == 0
    ended = towline(*command)
    assert ended.returncode == 1
    assert "kev.yaml is there already" in ended.stderr


def test_bash_completes_verbs(towline: Towline, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(towline("completion", "bash").stdout)
    program = "source completion.bash; COMP_WORDS=(towline sus); COMP_CWORD=1; _towline_completion towline"
    ended = subprocess.run(["bash", "-c", f'{program}; echo "${{COMPREPLY[@]}}"'], cwd=tmp_path,
                           capture_output=True, text=True, check=True, env=towline_environment(towline))  # fmt: skip
    assert ended.stdout.split() == ["suspend"]


def test_kubectl_asks_its_script(towline: Towline, tmp_path: Path) -> None:
    script = tmp_path / "kubectl_complete-towline"
    script.write_text(towline("completion", "kubectl").stdout)
    ended = subprocess.run(["sh", str(script), "sync", "--f"], capture_output=True, text=True, check=True,
                           env=towline_environment(towline))  # fmt: skip
    assert ended.stdout.split() == ["--full", ":4"]


def towline_environment(towline: Towline) -> dict[str, str]:
    folder = str(Path(towline("version").args[0]).parent)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
