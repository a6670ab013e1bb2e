"""`towline connector new`, `lint` and `docs`, as an author types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from tests.cli.conftest import Towline

from towline_connectors.catalogue import manifests
from towline_connectors.kit import scaffold

KINDS = [
    ("bearer", "none"),
    ("header", "page"),
    ("query", "offset"),
    ("basic", "cursor"),
    ("oauth2", "next-url"),
    ("none", "link-header"),
]


def test_new_connectors_pass_lint_and_can_be_tested(towline: Towline) -> None:
    names = []
    for auth, paging in KINDS:
        made = towline("connector", "new", f"acme-{auth}", "--auth", auth, "--paging", paging)
        assert made.returncode == 0, made.stderr
        names.append(f"acme_{auth}")
    checked = towline("connector", "lint", *names)
    assert checked.returncode == 0, checked.stderr
    # One case shows that manifest and simulator fit; what is made is the same for all others.
    proven = towline("connector", "test", *names, "--case", "500 then success", "-o", "json")
    assert proven.returncode == 0, proven.stdout + proven.stderr
    found = {name: [each["verdict"] for each in cases] for name, cases in json.loads(proven.stdout).items()}
    assert found == {name: ["pass", "pass"] for name in names}


def test_an_editor_finds_the_schema_of_a_new_connector(towline: Towline, tmp_path: Path) -> None:
    assert towline("connector", "new", "acme").returncode == 0
    manifest = tmp_path / "acme" / "connector.yaml"
    first = manifest.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=connector.schema.json"
    schema = Draft7Validator(json.loads((manifest.parent / first.rpartition("=")[2]).read_text()))
    made = yaml.safe_load(manifest.read_text())
    assert list(schema.iter_errors(made)) == []
    made["spec"]["streams"][0]["recrods"] = "=items"
    assert ["'recrods' was unexpected" in error.message for error in schema.iter_errors(made)] == [True]


def test_a_connector_in_the_checkout_takes_the_schema_that_is_there(towline: Towline, tmp_path: Path) -> None:
    (tmp_path / "crds" / "schemas").mkdir(parents=True)
    assert towline("connector", "schema", "--file", "crds/schemas/connector.json").returncode == 0
    assert towline("connector", "new", "acme", "--folder", "catalogue").returncode == 0
    made = tmp_path / "catalogue" / "acme"
    assert (
        (made / "connector.yaml")
        .read_text()
        .startswith("# yaml-language-server: $schema=../../crds/schemas/connector.json\n")
    )
    assert not (made / "connector.schema.json").exists()


@pytest.mark.parametrize("kind", ["connector", "integration", "syncjob"])
def test_the_schema_of_each_kind_is_printed_as_it_is_generated(towline: Towline, kind: str) -> None:
    printed = towline("connector", "schema", kind)
    assert printed.stdout == (Path(__file__).parents[2] / "crds" / "schemas" / f"{kind}.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"auth": "magic"}, "auth is one of bearer, header"),
        ({"paging": "scroll"}, "paging is one of none, page"),
        ({"entity": "thing"}, "entity is one of alert"),
        ({"base_url": "ftp://x"}, "the base URL has the form https://HOST"),
    ],
)
def test_a_wrong_choice_is_told_with_those_that_there_are(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scaffold.files(
            scaffold.Choices(**{"name": "acme", "title": "Acme", "base_url": "https://acme.example", **wrong})
        )


def test_a_wrong_choice_makes_nothing(towline: Towline, tmp_path: Path) -> None:
    done = towline("connector", "new", "acme", "--auth", "magic")
    assert done.returncode == 1
    assert "Auth is one of bearer" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_stays_as_it_is(towline: Towline, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    done = towline("connector", "new", "acme")
    assert done.returncode == 1
    assert "acme exists already" in done.stderr


GOOD = """\
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: acme}
spec:
  title: Acme
  vendor: Acme
  description: Reads users.
  documentationURL: https://acme.example
  version: 1.0.0
  category: Other
  capabilities: [Pull]
  credentials: [{key: token, title: Token}]
  egress: [acme.example]
  http:
    baseURL: https://acme.example
    auth: {kind: Bearer, value: "${secret.token}"}
    errors:
    - {when: {status: [401]}, class: Auth, hint: make a new token}
    - {when: {status: [403]}, class: Permission, hint: grant it}
    - {when: {status: [429]}, class: RateLimited}
  health: {request: {path: /me}}
  streams:
  - name: users
    description: Users.
    permission: read users
    request: {path: /users}
    records: "=items"
    sync: {mode: Full}
    emit:
    - entity: user
      key: "=id"
      fields: {name: "=name"}
  actions:
  - name: lock-user
    description: Lock an account.
    permission: write users
    request: {path: "/users/${input.key}/lock"}
"""


# What is replaced, by what, and what is told of it.
MISTAKES = [
    ("baseURL: https://acme", "baseURl: https://acme", ":15: spec.http.baseURl: there is no such field; did you mean"),
    ("mode: Full", "mode: full", ':28: spec.streams[0].sync.mode: "full" is not allowed: write Full'),
    ('key: "=id"', 'key: "=id["', ":31: streams[users].emit[user].key"),
    ('{name: "=name"}', '{colour: "=name"}', ":30: streams[users].emit[user]: fields: user has no field colour"),
    ("${secret.token}", "${secret.tokn}", ":16: http.auth.value: ${secret.tokn}"),
    ("mode: Full", "mode: Incremental", ":28: spec.streams[0].sync.cursor: mode Incremental needs cursor"),
    ("  version: 1.0.0\n", "", ":4: spec.version: it is missing: add it"),
    ("  title: Acme\n", "  title: Acme\n  title: Acme\n", ':6: this is not valid YAML: the key "title" stands twice'),
    ("kind: Connector", "kind: [Connector", ":3: this is not valid YAML"),
    ("  health: {request: {path: /me}}\n", "", ":4: spec: health is missing"),
    ("    permission: read users\n", "", ":23: spec.streams[users]: permission is missing"),
    ("    permission: write users\n", "", ":34: spec.actions[lock-user]: permission is missing"),
    ("    - {when: {status: [429]}, class: RateLimited}\n", "", ":14: spec.http: errors says nothing of 429"),
    ("egress: [acme.example]", "egress: [other.example]", ":15: spec.http.baseURL: its host is not in spec.egress"),
    (", title: Token", "", ":12: spec.credentials[token]: say in title or description"),
    ("${secret.token}", "abcdef123", ":16: spec.http.auth.value: a credential must not stand in a manifest"),
]


def test_each_mistake_is_told_with_its_line_and_a_cure(towline: Towline, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for number, (old, new, _told) in enumerate(MISTAKES):
        assert old in GOOD
        (tmp_path / f"{number}.yaml").write_text(GOOD.replace(old, new, 1))
    done = towline("connector", "lint", "good.yaml", *(f"{n}.yaml" for n in range(len(MISTAKES))), "-o", "json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["good.yaml"] == []
    for number, (_old, _new, told) in enumerate(MISTAKES):
        assert any(told in problem for problem in found[f"{number}.yaml"]), found[f"{number}.yaml"]


def test_the_bundled_connectors_pass_lint(towline: Towline) -> None:
    done = towline("connector", "lint", *manifests())
    assert done.returncode == 0, done.stderr


def test_a_page_tells_what_users_have_to_know(towline: Towline, tmp_path: Path) -> None:
    done = towline("connector", "docs", "servicenow", "--write", "page.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.md").read_text()
    for part in (
        "# ServiceNow (servicenow)",
        "| `password` |",
        "towline.dev/allowed-hosts",
        "## Settings",
        "`incidents`",
        "| `resolve-incident` |",
        "`key`, `close_code`, `close_notes`",
        "| `record-changed` | Token in `X-Towline-Token` |",
    ):
        assert part in text
