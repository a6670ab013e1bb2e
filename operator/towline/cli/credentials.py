"""Credentials of a run without a cluster: from a Secret manifest, or from the environment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.cli.errors import CliError
from towline.cli.manifests import Document
from towline.contract import ExitCode

ENVIRONMENT_PREFIX = "TOWLINE_CREDENTIAL_"


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret manifest; its values never show in a repr."""

    name: str
    source: str
    annotations: Mapping[str, str]
    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """`values` by the connector's keys; `environment` names the keys that came from there."""

    values: Mapping[str, str] = field(repr=False)
    environment: tuple[str, ...] = ()


def find(documents: Iterable[Document], kind: str, name: str, namespace: str) -> Document | None:
    """The Secret or ConfigMap; where a manifest leaves its namespace out, it is the Integration's."""
    for document in documents:
        if document.kind == kind and document.name == name and document.namespace in ("", namespace):
            return document
    return None


def secret(document: Document) -> Secret:
    """A Secret manifest, `data` decoded and `stringData` over it, as the API server does."""
    values: dict[str, str] = {}
    for key, encoded in (document.data.get("data") or {}).items():
        try:
            values[str(key)] = base64.b64decode(str(encoded), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise CliError(
                f'{document.source}: data.{key} of Secret "{document.name}" is not base64 of a text.',
                "Put plain values into stringData, or encode them: printf %s VALUE | base64",
                exit_code=ExitCode.CONFIG,
            ) from None
    for key, value in (document.data.get("stringData") or {}).items():
        if not isinstance(value, str):
            raise CliError(
                f'{document.source}: stringData.{key} of Secret "{document.name}" is not a text.',
                "Put it in quotes.",
                exit_code=ExitCode.CONFIG,
            )
        values[str(key)] = value
    annotations = {str(k): str(v) for k, v in (document.metadata.get("annotations") or {}).items()}
    return Secret(document.name, document.source, annotations, values)


def gather(
    integration: Integration, connector: Connector, given: Secret | None, environment: Mapping[str, str]
) -> Credentials:
    """The value of each of the connector's credentials. The environment goes before the Secret, so that one
    value can be tried without editing a file. Empty where nothing was given: the caller tells what is missing."""
    keys = (integration.spec.credentials.keys if integration.spec.credentials else None) or {}
    values: dict[str, str] = {}
    from_environment = []
    for credential in connector.spec.credentials or []:
        variable = variable_of(credential.key)
        in_secret = keys.get(credential.key, credential.key)
        if environment.get(variable):
            values[credential.key] = environment[variable].rstrip("\r\n")
            from_environment.append(credential.key)
        elif given and in_secret in given.values:
            # As in the pod: `echo secret | base64` leaves a line end that no vendor expects.
            values[credential.key] = given.values[in_secret].rstrip("\r\n")
    return Credentials(values, tuple(from_environment))


def variable_of(key: str) -> str:
    """`access_key` is read from TOWLINE_CREDENTIAL_ACCESS_KEY."""
    return ENVIRONMENT_PREFIX + key.upper()
