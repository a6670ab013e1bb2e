"""The bundled connectors as such: each manifest compiles, keeps what it promises, and is documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.connectors.harness import Integration, connector

from towline.api.integration import Integration as IntegrationResource
from towline.cli.examples import example_config
from towline.core.config import with_defaults
from towline_connectors.catalogue import manifests, serve, simulated, simulators
from towline_connectors.catalogue.simulating import parse
from towline_connectors.engine.compile import compile_plan
from towline_connectors.entities import REGISTRY

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = list(manifests())


def test_the_systems_of_the_first_version_are_there() -> None:
    assert {"tenable-io", "servicenow", "active-directory", "openldap", "cisa-kev", "feodo-tracker"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_is_named_as_its_folder_and_compiles(name: str, tmp_path: Path) -> None:
    made = connector(name)
    assert made.metadata["name"] == name
    assert made.metadata["labels"]["towline.dev/bundled"] == "true"
    plan = Integration(name, example_config(connector(name)), {}, tmp_path / "data.db").plan()
    always = {each.name for each in made.spec.streams or [] if each.emit and not each.when}
    assert always <= {stream.name for stream in compile_plan(plan).streams}


@pytest.mark.parametrize("name", NAMES)
def test_config_schemas_are_valid_and_take_the_least_that_they_ask_for(name: str) -> None:
    schema = connector(name).spec.config_schema or {}
    Draft202012Validator.check_schema(schema)
    config = with_defaults(schema, example_config(connector(name)))
    assert list(Draft202012Validator(schema).iter_errors(config)) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_credential_is_used_and_each_that_is_used_is_declared(name: str) -> None:
    text = manifests()[name].read_text(encoding="utf-8")
    declared = {each.key for each in connector(name).spec.credentials or []}
    assert set(re.findall(r"\$\{secret\.([a-z_]+)\}", text)) == declared


@pytest.mark.parametrize("name", NAMES)
def test_streams_that_delete_rows_have_a_guard(name: str) -> None:
    for stream in connector(name).spec.streams or []:
        deletes = stream.sync.deletes
        if deletes and deletes.complete_scan in ("OnFull", "Always"):
            assert stream.sync.max_delete_percent is not None, stream.name


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_what_to_create_at_the_vendor_and_which_data_come(name: str) -> None:
    page = manifests()[name].with_name("README.md").read_text(encoding="utf-8")
    made = connector(name).spec
    for heading in ("## What to create", "## Data", "## Good to know", "## Unverified"):
        assert heading in page
    for key in (each.key for each in made.credentials or []):
        assert f"`{key}`" in page
    for stream in made.streams or []:
        assert f"`{stream.name}`" in page
        for emit in stream.emit or []:
            assert f"`{REGISTRY[emit.entity].table}`" in page


def test_simulators_are_listed_without_importing_them() -> None:
    code = (
        "import sys; from towline_connectors import catalogue; catalogue.manifests(); catalogue.simulated();"
        "print([m for m in sys.modules if m.startswith(('aiohttp', 'httpx', 'towline_connectors.engine'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert sorted(simulators()) == simulated()


def test_a_wrong_option_of_a_simulator_is_refused_with_those_that_exist() -> None:
    options = simulators()["tenable-io"].Options
    assert parse(options, {"assets": "5", "error-export": "true"}) == options(assets=5, error_export=True)
    with pytest.raises(ValueError, match=r"there is no option colour; there are .*assets"):
        parse(options, {"colour": "red"})
    with pytest.raises(ValueError, match='option assets: "many" is no int'):
        parse(options, {"assets": "many"})
    with pytest.raises(ValueError, match="there is no simulator nobody"):
        serve("nobody", "127.0.0.1", 0, {})


@pytest.mark.parametrize("folder", sorted(EXAMPLES.glob("[0-9][0-9]-*")), ids=lambda folder: folder.name)
def test_an_example_fits_its_connector(folder: Path) -> None:
    documents = [
        document for file in sorted(folder.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text("utf-8"))
    ]
    integration = IntegrationResource.model_validate(next(d for d in documents if d["kind"] == "Integration"))
    secrets = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Secret"}
    made = connector(integration.spec.connector_ref.name).spec
    assert list(Draft202012Validator(made.config_schema or {}).iter_errors(integration.spec.config or {})) == []
    assert (folder / "README.md").is_file()
    known = {stream.name for stream in made.streams or []}
    assert {each.name for each in integration.spec.streams or []} <= known
    if any(not each.optional for each in made.credentials or []):
        reference = integration.spec.credentials and integration.spec.credentials.secret_ref
        assert reference
        keys = secrets[reference.name]["stringData"]
        assert {each.key for each in made.credentials if not each.optional} <= set(keys)
