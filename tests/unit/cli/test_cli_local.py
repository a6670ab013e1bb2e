"""From manifests to the plan of a run without a cluster."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from towline.cli.errors import CliError
from towline.cli.local import Choices, Prepared, choose, of_connector, prepare
from towline.cli.manifests import Document, parse
from towline.contract import ExitCode

PLAIN = base64.b64encode(b"plain").decode()


def secret(hosts: str | None = None, **values: str) -> dict[str, Any]:
    annotations = {"annotations": {"towline.dev/allowed-hosts": hosts}} if hosts else {}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api", **annotations}, "stringData": values}


def integration(connector: str = "tenable-io", name: str = "prod", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Integration",
        "metadata": {"name": name},
        "spec": {"connectorRef": {"name": connector}, "credentials": {"secretRef": {"name": "api"}}, **spec},
    }


def prepared(*objects: dict[str, Any], choices: Choices = Choices(), **environment: str) -> Prepared:  # noqa: B008
    documents = parse(yaml.safe_dump_all(objects).encode(), "all.yaml")
    (document,) = choose(documents, None)
    return prepare(document, documents, choices, environment)


def refused(*objects: dict[str, Any], choices: Choices = Choices(), **environment: str) -> CliError:  # noqa: B008
    with pytest.raises(CliError) as caught:
        prepared(*objects, choices=choices, **environment)
    return caught.value


KEYS = {"access_key": "a", "secret_key": "s"}


def test_a_plan_is_made_from_an_integration_and_its_secret() -> None:
    run = prepared(integration(), secret(**KEYS))
    assert run.plan.integration == "default/prod"
    assert run.plan.connector == "tenable-io"
    assert {"assets", "deleted-assets", "vulnerabilities"} <= {stream.name for stream in run.plan.streams}
    assert run.plan.config["base_url"] == "https://cloud.tenable.com"
    assert run.plan.allowed_hosts == ["cloud.tenable.com"]
    assert dict(run.secrets) == KEYS
    assert run.plan.mode == "Incremental"


def test_data_is_base64_and_stringdata_wins_over_it() -> None:
    both = {**secret(secret_key="s"), "data": {"access_key": PLAIN, "secret_key": PLAIN}}
    assert dict(prepared(integration(), both).secrets) == {"access_key": "plain", "secret_key": "s"}


def test_renamed_keys_of_the_secret_are_followed() -> None:
    renamed = {"secretRef": {"name": "api"}, "keys": {"access_key": "ACCESS"}}
    run = prepared(integration(credentials=renamed), secret(ACCESS="a", secret_key="s"))
    assert dict(run.secrets) == KEYS


def test_the_environment_alone_is_enough_and_says_where_it_sends_credentials() -> None:
    run = prepared(
        integration(config={"base_url": "http://127.0.0.1:8080"}),
        TOWLINE_CREDENTIAL_ACCESS_KEY="a",
        TOWLINE_CREDENTIAL_SECRET_KEY="s",
    )
    assert dict(run.secrets) == KEYS
    assert any("TOWLINE_CREDENTIAL_ACCESS_KEY" in note and "127.0.0.1" in note for note in run.notes)


def test_the_environment_goes_before_the_secret_and_fills_what_it_lacks() -> None:
    run = prepared(integration(), secret(access_key="old"), TOWLINE_CREDENTIAL_ACCESS_KEY="a",
                   TOWLINE_CREDENTIAL_SECRET_KEY="s")  # fmt: skip
    assert dict(run.secrets) == KEYS
    run = prepared(integration(), secret(access_key="a"), TOWLINE_CREDENTIAL_SECRET_KEY="s")
    assert dict(run.secrets) == KEYS


def test_credentials_of_a_secret_go_to_no_host_that_it_does_not_allow() -> None:
    elsewhere = integration(config={"base_url": "https://evil.example.com"})
    error = refused(elsewhere, secret(**KEYS))
    assert error.exit_code == ExitCode.CONFIG
    assert 'Secret "api" does not allow' in str(error)
    assert "towline.dev/allowed-hosts" in error.cure[0]
    # One value of the Secret is enough for its consent to be needed.
    refused(elsewhere, secret(access_key="a"), TOWLINE_CREDENTIAL_SECRET_KEY="s")
    assert prepared(elsewhere, secret(hosts="evil.example.com", **KEYS)).plan.allowed_hosts[-1] == "evil.example.com"


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([integration()], ['Secret "api" does not exist', "TOWLINE_CREDENTIAL_ACCESS_KEY"]),
        ([integration(), secret(access_key="a")], ['lacks the key secret_key', "TOWLINE_CREDENTIAL_SECRET_KEY"]),
        ([integration("tenable")], ['no connector "tenable"', "tenable-io"]),
        ([integration(config={"base": "x"}), secret(**KEYS)], ["config.base is not a setting"]),
        ([integration(streams=[{"name": "asset"}]), secret(**KEYS)], ["did you mean assets?"]),
        ([integration(schedule={"interval": "1h", "cron": "@daily"})], ["set exactly one of cron and interval"]),
        ([secret(**KEYS)], ["There is no Integration among the manifests", "towline explain"]),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_the_cure(objects: list[dict[str, Any]], words: list[str]) -> None:
    with pytest.raises(CliError) as caught:
        prepared(*objects)
    text = "\n".join([str(caught.value), *caught.value.cure])
    for word in words:
        assert word in text


def test_a_broken_secret_is_named_without_its_value() -> None:
    broken = {**secret(), "data": {"access_key": "not base64 hunter2"}}
    error = refused(integration(), broken)
    assert "data.access_key" in str(error)
    assert "hunter2" not in "\n".join([str(error), *error.cure])


def test_a_secret_of_something_else_is_left_alone() -> None:
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keystore"}, "data": {"store.jks": "/u3+7Q=="}}
    assert dict(prepared(integration(), other, secret(**KEYS)).secrets) == KEYS


def test_settings_of_the_command_line_take_the_type_of_the_schema() -> None:
    choices = Choices(settings=("base_url=https://fedcloud.tenable.com", 'severities=["high"]'))
    config = prepared(integration(), secret("fedcloud.tenable.com", **KEYS), choices=choices).plan.config
    assert (config["base_url"], config["severities"]) == ("https://fedcloud.tenable.com", ["high"])
    choices = Choices(settings=("severities=high,critical",))
    assert prepared(integration(), secret(**KEYS), choices=choices).plan.config["severities"] == ["high", "critical"]
    error = refused(integration(), secret(**KEYS), choices=Choices(settings=("severities",)))
    assert error.exit_code == ExitCode.USAGE


def test_streams_of_the_command_line_keep_what_the_integration_says_of_them() -> None:
    spec = {"streams": [{"name": "assets", "lookback": "2h", "guard": {"maxDeletePercent": 5}}]}
    run = prepared(
        integration(**spec), secret(**KEYS), choices=Choices(streams=("assets", "vulnerabilities"), full=True)
    )
    assets, vulnerabilities = run.plan.streams
    assert (assets.lookback, assets.max_delete_percent, assets.full) == ("2h", 5, True)
    assert (vulnerabilities.lookback, vulnerabilities.full) == (None, True)
    assert run.plan.mode == "Full"


def test_the_destination_of_the_cluster_is_not_used_here() -> None:
    run = prepared(integration(destinationSecretRef={"name": "warehouse"}), secret(**KEYS))
    assert any("warehouse" in note and "--to" in note for note in run.notes)


def test_a_private_authority_and_a_proxy_are_taken_from_the_manifests() -> None:
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": "PEM"}}
    proxy = {**secret(proxy_url="http://proxy:3128"), "metadata": {"name": "proxy"}}
    spec = {
        "caBundleRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"},
        "proxySecretRef": {"name": "proxy"},
    }
    run = prepared(integration(**spec), secret(**KEYS), authority, proxy)
    assert (run.ca_bundle, run.proxy) == ("PEM", "http://proxy:3128")


def test_a_public_feed_runs_by_name_alone() -> None:
    run = prepare(of_connector("cisa-kev"), [], Choices(), {})
    assert run.plan.integration == "default/cisa-kev"
    assert dict(run.secrets) == {}


def test_a_connector_called_by_name_tells_what_it_needs() -> None:
    with pytest.raises(CliError) as caught:
        prepare(of_connector("tenable-io"), [], Choices(), {})
    text = "\n".join([str(caught.value), *caught.value.cure])
    assert "TOWLINE_CREDENTIAL_ACCESS_KEY and TOWLINE_CREDENTIAL_SECRET_KEY" in text
    assert "towline explain tenable-io --example" in text


def test_an_integration_of_another_project_is_left_alone() -> None:
    foreign = {"apiVersion": "camel.apache.org/v1", "kind": "Integration", "metadata": {"name": "route"}, "spec": {}}
    assert prepared(foreign, integration(), secret(**KEYS)).plan.integration == "default/prod"


def test_a_name_that_the_cluster_would_refuse_is_refused_here() -> None:
    assert "the name must be at most 40 characters" in refused(integration(name="a" * 41), secret(**KEYS)).cure[0]
    assert "must not contain dots" in refused(integration(name="a.b"), secret(**KEYS)).cure[0]


def test_one_of_several_integrations_is_picked_by_name() -> None:
    documents = [Document("x", integration(name="a")), Document("x", integration(name="b"))]
    assert [document.name for document in choose(documents, None)] == ["a", "b"]
    assert [document.name for document in choose(documents, "b")] == ["b"]
    with pytest.raises(CliError, match='no Integration "c" among the manifests: a, b'):
        choose(documents, "c")


def test_secrets_never_show_in_a_repr() -> None:
    run = prepared(integration(), secret(access_key="hunter2", secret_key="hunter2"))
    assert "hunter2" not in repr(run)
