"""Connector: how to talk to one product. Data without code; administrators own it.

The same model is the manifest that the engine runs: see `manifest` for the parts below `spec`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import FreeObject, Model, Quantity, Rule, listmap, listset
from towline.api.conditions import Condition
from towline.api.directory import Directory
from towline.api.http import Health, Http
from towline.api.manifest import Stream
from towline.api.outward import Action, TwoWay, Webhook
from towline.api.paging import Files

Category = Literal[
    "Backup", "Cloud", "CMDB", "ConfigManagement", "DLP", "EDR", "Email", "IAM", "Infrastructure", "MDM",
    "Network", "SIEM", "ThreatIntel", "Ticketing", "Vulnerability", "Other",
]  # fmt: skip
Stage = Literal["Alpha", "Beta", "Stable", "Deprecated"]
Capability = Literal["Pull", "Push", "Webhook"]


class Image(Model):
    """An image of one's own; only for Python code outside Towline's image."""

    rules: ClassVar = (Rule("has(self.tag) || has(self.digest)", "give a tag or, better, a digest"),)

    repository: str = Field(min_length=1, max_length=255, description="For example ghcr.io/acme/towline-connectors.")
    tag: str | None = Field(
        default=None, min_length=1, max_length=128, description="Tag of the image; a digest is better, it cannot move."
    )
    digest: str | None = Field(
        default=None, max_length=80, pattern=forms.DIGEST, description="sha256: and 64 hexadecimal digits."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the node pulls it."
    )


class CredentialKey(Model):
    """One value that the Integration's Secret has to hold."""

    key: str = Field(
        max_length=63,
        pattern=forms.CREDENTIAL_KEY,
        description="Name of the value: ${secret.KEY} in the manifest, and the key in the Secret.",
    )
    title: str | None = Field(default=None, max_length=80, description="What the vendor calls it.")
    description: str | None = Field(
        default=None, max_length=500, description="Where to get it and which rights it needs."
    )
    optional: bool | None = Field(default=None, description="The Secret may lack this key.")


class Limits(Model):
    max_concurrent_syncs: int | None = Field(
        default=None, ge=1, le=1000, description="Syncs of this connector that may run at once, in the whole cluster."
    )


class Resources(Model):
    requests: dict[str, Quantity] | None = Field(
        default=None, max_length=8, description="What the pod is given for sure, for example cpu: 100m, memory: 256Mi."
    )
    limits: dict[str, Quantity] | None = Field(default=None, max_length=8, description="What the pod may not exceed.")


class Defaults(Model):
    active_deadline_seconds: int | None = Field(
        default=None, ge=60, le=604800, description="How long one attempt may take."
    )
    resources: Resources | None = Field(default=None, description="CPU and memory of the pod.")


class LabelSelectorRequirement(Model):
    key: str = Field(max_length=317, description="Label that it speaks of.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How values are meant.")
    values: list[Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=64, description="Values, with In and NotIn."
    )


class LabelSelector(Model):
    match_labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=16, description="Labels that a namespace must have."
    )
    match_expressions: list[LabelSelectorRequirement] | None = Field(
        default=None, max_length=16, description="Conditions on labels; all must hold."
    )


class AllowedNamespaces(Model):
    rules: ClassVar = (
        Rule(
            "(self.from == 'Selector') == has(self.selector)",
            "from: Selector needs a selector, and only it",
            field_path=".selector",
        ),
    )

    from_: Literal["All", "Selector"] = Field(
        default="All", alias="from", description="All namespaces, or those that selector selects."
    )
    selector: LabelSelector | None = Field(
        default=None, description="Labels of the namespaces that may use this connector."
    )


class ConnectorSpec(Model):
    rules: ClassVar = (
        Rule(
            "('Webhook' in self.capabilities) == (has(self.webhooks) && size(self.webhooks) > 0)",
            "capability Webhook needs at least one entry in webhooks, and webhooks need the capability",
            field_path=".webhooks",
        ),
        Rule(
            "!('Pull' in self.capabilities) || (has(self.streams) && size(self.streams) > 0)",
            "capability Pull needs at least one stream",
            field_path=".streams",
            reason="FieldValueRequired",
        ),
        Rule(
            "!('Push' in self.capabilities) || (has(self.actions) && size(self.actions) > 0)",
            "capability Push needs at least one action",
            field_path=".actions",
            reason="FieldValueRequired",
        ),
        Rule(
            "(has(self.http) ? 1 : 0) + (has(self.ldap) ? 1 : 0) + (has(self.files) ? 1 : 0)"
            " + (has(self.entrypoint) ? 1 : 0) == 1",
            "describe the API in http, the directory in ldap or the reports in files, or name Python code in"
            " entrypoint: exactly one",
        ),
        Rule(
            "!has(self.image) || has(self.entrypoint)",
            "an image of its own is only used with entrypoint",
            field_path=".image",
        ),
        Rule(
            "!has(self.http) || !has(self.streams) || self.streams.all(s, has(s.request) || has(s.export))",
            "with http every stream needs request or export",
            field_path=".streams",
        ),
        Rule(
            "!has(self.ldap) || !has(self.streams) || self.streams.all(s, has(s.search))",
            "with ldap every stream needs search",
            field_path=".streams",
        ),
        Rule(
            "!has(self.files) || !has(self.streams) || self.streams.all(s, has(s.file))",
            "with files every stream needs file",
            field_path=".streams",
        ),
    )

    title: str = Field(min_length=1, max_length=80, description="Name of the product, as people know it.")
    vendor: str | None = Field(default=None, min_length=1, max_length=80, description="Who makes it.")
    version: str = Field(
        max_length=40,
        pattern=forms.SEMANTIC_VERSION,
        description="Version of this manifest.",
    )
    description: str | None = Field(default=None, max_length=1000, description="What this connector reads and does.")
    category: Category = Field(description="Kind of product.")
    stage: Stage = Field(default="Alpha", description="How far this connector is tried.")
    documentation_url: str | None = Field(
        default=None,
        alias="documentationURL",
        max_length=512,
        pattern=forms.HTTPS_URL,
        description="The vendor's page about this API.",
    )
    capabilities: list[Capability] = Field(
        min_length=1,
        max_length=3,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Pull reads streams, Push runs actions, Webhook takes deliveries.",
    )
    image: Image | None = Field(default=None, description="Only for Python code outside Towline's own image.")
    entrypoint: str | None = Field(
        default=None,
        max_length=128,
        pattern=forms.PYTHON_NAME,
        description="Python module, where the manifest language does not suffice.",
    )
    credentials: list[CredentialKey] | None = listmap(
        "key", max_length=32, description="Values that the Integration's Secret has to hold."
    )
    config_schema: FreeObject | None = Field(default=None, description="JSON schema of Integration.spec.config.")
    egress: list[Annotated[str, Field(min_length=1, max_length=253)]] | None = listset(
        max_length=32,
        description="Hosts that this connector talks to. An entry that contains ${config.…} is the user's"
        " choice: the Integration's Secret has to allow it in the annotation towline.dev/allowed-hosts.",
    )
    http: Http | None = Field(default=None, description="How to speak with an HTTP API.")
    ldap: Directory | None = Field(default=None, description="How to speak with an LDAP directory.")
    files: Files | None = Field(default=None, description="Where reports are read that stand in files.")
    health: Health | None = Field(
        default=None,
        description="The cheapest call that proves the credentials. A directory needs none: the bind proves them.",
    )
    streams: list[Stream] | None = listmap(
        "name", max_length=50, description="What can be read, in the order in which it is read."
    )
    actions: list[Action] | None = listmap("name", max_length=50, description="What can be pushed.")
    two_way: list[TwoWay] | None = listmap(
        "entity", max_length=16, description="Entities that are kept alike on both sides."
    )
    webhooks: list[Webhook] | None = listmap(
        "name", max_length=16, description="Deliveries of the vendor that are understood."
    )
    limits: Limits | None = Field(default=None, description="How much at once.")
    defaults: Defaults | None = Field(default=None, description="For Integrations that do not say otherwise.")
    allowed_namespaces: AllowedNamespaces | None = Field(
        default=None, description="Who may use this connector. Left out, all namespaces."
    )


class ConnectorStatus(Model):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status speaks of; -1 before the first look."
    )
    users: int | None = Field(default=None, description="Integrations that use this connector.")
    conditions: list[Condition] | None = listmap(
        "type", max_length=16, description="Ready tells whether the manifest can be run."
    )


class Connector(Model):
    """Connector says how to talk to one product. It is data, without code; administrators own it."""

    api_version: Literal["towline.dev/v1alpha1"] = "towline.dev/v1alpha1"
    kind: Literal["Connector"] = "Connector"
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: ConnectorSpec
    status: ConnectorStatus | None = None
