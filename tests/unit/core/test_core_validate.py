"""Each bad input has its reason and a sentence that names the thing and the cure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.build import SETTINGS, around, checked, connector, integration, secret, view

from towline.core import config, hosts
from towline.core.facts import RunSettings
from towline.core.validate import Problem, validate


def problem(subject: Any = None, **changes: Any) -> Problem:
    found = checked(subject or integration(), **changes)
    assert isinstance(found, Problem), found
    return found


def test_a_valid_integration_gives_a_view_with_defaults_filled_in() -> None:
    found = view()
    assert found.config == {"region": "eu", "size": 100}
    assert [stream.name for stream in found.streams] == ["hosts", "alerts"]
    assert found.allowed_hosts == ("api.acme.example",)
    assert found.credential_items == (("client_id", "client_id"), ("client_secret", "client_secret"))


def test_a_connector_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    found = problem(integration(connectorRef={"name": "acmee"}), connector=None)
    assert found.reason == "ConnectorNotFound"
    assert 'Did you mean "acme"?' in found.message


def test_a_connector_with_a_bad_manifest_is_not_used() -> None:
    found = problem(connector_problem="spec.streams[0] is wrong")
    assert found.reason == "ConnectorInvalid"
    assert "spec.streams[0] is wrong" in found.message


def test_a_namespace_needs_the_labels_that_the_connector_asks_for() -> None:
    closed = connector(allowedNamespaces={"from": "Selector", "selector": {"matchLabels": {"team": "sec"}}})
    found = problem(connector=closed)
    assert found.reason == "NamespaceNotAllowed"
    assert "team=sec" in found.message
    assert view(connector=closed, namespace_labels={"team": "sec"})


@pytest.mark.parametrize(
    ("operator", "values", "labels", "allowed"),
    [
        ("In", ["a", "b"], {"t": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"t": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", None, {"t": "x"}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"t": ""}, False),
    ],
)
def test_selector_expressions_mean_what_kubernetes_means(
    operator: str, values: list[str] | None, labels: dict[str, str], allowed: bool
) -> None:
    expression: dict[str, Any] = {"key": "t", "operator": operator}
    if values:
        expression["values"] = values
    selector = {"matchExpressions": [expression]}
    found = checked(
        integration(),
        connector=connector(allowedNamespaces={"from": "Selector", "selector": selector}),
        namespace_labels=labels,
    )
    assert isinstance(found, Problem) is not allowed


def test_an_unknown_stream_is_named_with_its_place() -> None:
    found = problem(integration(streams=[{"name": "hosts"}, {"name": "alertz"}]))
    assert found.reason == "InvalidSpec"
    assert "spec.streams[1].name" in found.message
    assert "did you mean alerts?" in found.message


@pytest.mark.parametrize(
    ("given_config", "words"),
    [
        ({}, "spec.config.region is missing: Where the account lives; one of eu, us"),
        ({"region": "eu", "sise": 3}, "spec.config.sise is not a setting of this connector: did you mean size?"),
        ({"region": "asia"}, "spec.config.region must be one of eu, us"),
        ({"region": "eu", "size": "many"}, "spec.config.size must be of type integer, but is of type string"),
        ({"region": "eu", "size": 0}, "spec.config.size must be at least 1"),
    ],
)
def test_a_config_that_does_not_fit_is_explained(given_config: dict[str, Any], words: str) -> None:
    found = problem(integration(config=given_config))
    assert found.reason == "InvalidSpec"
    assert words in found.message


def test_values_of_a_config_are_never_repeated() -> None:
    found = problem(integration(config={"region": "hunter2-secret", "size": "hunter2-secret"}))
    assert "hunter2" not in found.message


def test_a_schema_can_never_make_the_operator_fetch_anything() -> None:
    remote = {"type": "object", "properties": {"a": {"$ref": "http://169.254.169.254/latest"}}}
    assert "only references within it" in config.schema_problem(remote)
    assert config.check(remote, {"a": 1}) == [
        "the configSchema of the connector cannot be followed: tell the connector's administrator"
    ]


def test_a_missing_secret_is_answered_with_the_command_that_makes_it() -> None:
    found = problem(secrets={"acme-api": None})
    assert found.reason == "SecretNotFound"
    assert (
        "kubectl -n secops create secret generic acme-api --from-literal=client_id=… --from-literal=client_secret=…"
        in found.message
    )


def test_a_missing_key_is_named_as_it_is_called_in_the_secret() -> None:
    mapped = integration(credentials={"secretRef": {"name": "acme-api"}, "keys": {"client_id": "ID"}})
    found = problem(mapped)
    assert found.reason == "KeyMissing"
    assert "lacks the key ID" in found.message
    assert view(mapped, secrets={"acme-api": secret({"ID", "client_secret"})}).credential_items[0] == (
        "ID",
        "client_id",
    )


def test_credentials_that_are_needed_but_not_given_are_told() -> None:
    found = problem(integration(credentials=None))
    assert found.reason == "InvalidSpec"
    assert "client_id and client_secret" in found.message


def test_an_unknown_time_zone_has_its_own_reason() -> None:
    found = problem(integration(schedule={"cron": "0 6 * * *", "timeZone": "Europe/Pariss"}))
    assert found.reason == "UnknownTimeZone"
    assert found.message.startswith("spec.schedule.timeZone")


def test_a_host_that_the_user_chose_needs_the_secrets_consent() -> None:
    free = connector(egress=["api.acme.example", "${config.host}"])
    chosen = integration(config={"region": "eu", "host": "https://acme.corp.example:8443/api"})
    found = problem(chosen, connector=free)
    assert found.reason == "HostNotAllowed"
    assert "annotate --overwrite secret acme-api 'towline.dev/allowed-hosts=acme.corp.example:8443'" in found.message
    consenting = {"acme-api": secret(allowed="*.corp.example:8443, other.example")}
    assert view(chosen, connector=free, secrets=consenting).allowed_hosts == ("api.acme.example", "acme.corp.example")


def test_a_chosen_host_that_the_manifest_fixes_needs_no_consent() -> None:
    free = connector(egress=["api.acme.example", "${config.host}"])
    assert view(integration(config={"region": "eu", "host": "https://api.acme.example"}), connector=free)


def test_a_host_that_smuggles_a_user_is_no_host() -> None:
    free = connector(egress=["${config.host}"])
    smuggled = integration(config={"region": "eu", "host": "https://good.example@evil.example"})
    assert problem(smuggled, connector=free).reason == "InvalidSpec"


def test_destination_proxy_and_authority_have_to_exist() -> None:
    to_postgres = integration(destinationSecretRef={"name": "warehouse"})
    assert problem(to_postgres).reason == "SecretNotFound"
    assert problem(to_postgres, secrets={"acme-api": secret(), "warehouse": secret({"uri"})}).reason == "KeyMissing"
    assert view(to_postgres, secrets={"acme-api": secret(), "warehouse": secret({"url"})}).destination_secret
    assert problem(integration(proxySecretRef={"name": "proxy"})).message.startswith("spec.proxySecretRef")
    private = integration(caBundleRef={"kind": "ConfigMap", "name": "corp", "key": "ca.crt"})
    assert "create configmap corp" in problem(private).message
    assert view(private, config_maps={"corp": secret({"ca.crt"})})


def test_the_default_destination_may_be_a_secret_of_the_installation() -> None:
    settings = RunSettings(destination_secret="warehouse")
    found = validate(integration(), "secops", "i-1", around(), settings)
    assert isinstance(found, Problem)
    assert "the default destination" in found.message


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("api.example.com", "api.example.com", None),
        ("API.Example.com.", "api.example.com", None),
        ("api.example.com:8443", "api.example.com", 8443),
        ("https://api.example.com/path?x=1", "api.example.com", 443),
        ("ldaps://dc1.corp.example", "dc1.corp.example", 636),
        ("10.1.2.3:389", "10.1.2.3", 389),
        ("[2001:db8::1]:636", "2001:db8::1", 636),
        ("2001:db8::1", "2001:db8::1", None),
        ("*.example.com", "*.example.com", None),
    ],
)
def test_hosts_are_read_from_names_addresses_and_urls(text: str, name: str, port: int | None) -> None:
    assert hosts.parse(text) == hosts.Host(name, port)


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "host/path", "user@host", "https://", "host:port", "exa mple.com", "host?x", "*", "a..b"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(hosts.HostError):
        hosts.parse(text)


def test_a_wildcard_allows_what_is_below_it_and_nothing_else() -> None:
    wildcard = hosts.parse("*.corp.example")
    assert wildcard.covers(hosts.parse("a.corp.example"))
    assert wildcard.covers(hosts.parse("a.b.corp.example"))
    assert not wildcard.covers(hosts.parse("corp.example"))
    assert not wildcard.covers(hosts.parse("evilcorp.example"))


@given(st.text(max_size=60))
def test_parsing_hosts_never_fails_otherwise(text: str) -> None:
    try:
        found = hosts.parse(text)
    except hosts.HostError:
        return
    assert found.name == found.name.lower()
    assert "@" not in found.name
    assert "/" not in found.name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["region", "size", "host", "x"]), JSON, max_size=4))
def test_checking_a_config_never_fails(anything: dict[str, Any]) -> None:
    schema = connector().spec.config_schema
    assert schema is not None
    for sentence in config.check(schema, config.with_defaults(schema, anything)):
        assert sentence


def test_an_integration_without_anything_to_check_is_fine() -> None:
    bare = connector(credentials=None, configSchema=None)
    found = validate(integration(credentials=None, config=None), "secops", "i-1", around(connector=bare), SETTINGS)
    assert not isinstance(found, Problem)
