"""A Connector, a Secret and an Integration of a made-up vendor, and what tests of the operator ask of it."""

from __future__ import annotations

from typing import Any

from tests.api.operator_process import NOWHERE, Cluster, OperatorProcess

SELDOM = "schedule: {interval: 1000d}"
"""Comes due during no test; within six hours, some test would see a tick once in a while."""
SECRET_VALUE = "hunter2-very-secret-value"

CONNECTOR = """
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: %s}
spec:
  title: Acme
  version: 1.0.0
  category: EDR
  capabilities: [Pull]
  credentials: [{key: token}]
  configSchema:
    type: object
    additionalProperties: false
    properties:
      region: {type: string, enum: [eu, us], default: eu}
      host: {type: string}
  egress: [api.acme.example, "${config.host}"]
  http: {baseURL: "https://api.acme.example", auth: {kind: Bearer, value: "${secret.token}"}}
  streams:
  - name: hosts
    request: {path: /hosts}
    sync: {mode: Full}
    emit: [{entity: asset, key: id, fields: {hostname: "=name"}}]
%s
"""


def secret(name: str = "acme-api", key: str = "token", hosts: str = "") -> str:
    annotations = f', annotations: {{"towline.dev/allowed-hosts": "{hosts}"}}' if hosts else ""
    head = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}{annotations}}}"
    return f"{head}\nstringData: {{{key}: {SECRET_VALUE}}}\n"


def integration(connector: str, name: str = "acme", more: str = SELDOM) -> str:
    if "job:" not in more:
        more += f"\n  job: {NOWHERE}"
    return f"""
apiVersion: towline.dev/v1alpha1
kind: Integration
metadata: {{name: {name}}}
spec:
  connectorRef: {{name: {connector}}}
  credentials: {{secretRef: {{name: acme-api}}}}
  {more}
"""


def ready(cluster: Cluster, connector: str, more: str = SELDOM) -> dict[str, Any]:
    """An Integration whose first SyncJob has started."""
    cluster.apply(secret())
    cluster.apply(integration(connector, more=more))
    sync = cluster.wait_sync("acme")
    cluster.wait_pod(f"{sync['metadata']['name']}-1")
    return sync


def request(cluster: Cluster, token: str, **more: str) -> None:
    annotations = {"towline.dev/requested-at": token, **{f"towline.dev/{key}": value for key, value in more.items()}}
    cluster.patch("integrations", "acme", {"metadata": {"annotations": annotations}})


def metric(operator: OperatorProcess, *words: str) -> list[str]:
    lines = operator.get("/metrics").splitlines()
    return [line for line in lines if all(word in line for word in words)]


def value(operator: OperatorProcess, name: str) -> float:
    return float(metric(operator, f"{name} ")[-1].split()[-1])
