"""A connector's page, made from its manifest: what to create, which settings, which data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from towline.api.connector import ConnectorSpec
from towline.api.manifest import Stream
from towline_connectors import entities


def page(name: str, spec: ConnectorSpec) -> str:
    """Markdown."""
    parts = [
        f"# {spec.title} ({name})",
        spec.description or "",
        _facts(spec),
        _credentials(spec),
        _settings(spec),
        _streams(spec),
        *(_fields(stream) for stream in spec.streams or [] if stream.emit),
        _actions(spec),
        _webhooks(spec),
        _errors(spec),
        _limits(spec),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def cell(text: object) -> str:
    """A text as it may stand in a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(headers: list[str], rows: list[list[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def _facts(spec: ConnectorSpec) -> str:
    protocol = "LDAP" if spec.ldap else "files" if spec.files else "HTTP"
    rows = [["Vendor", spec.vendor or "-"], ["Category", spec.category], ["Stage", spec.stage]]
    rows += [["Version", spec.version], ["Speaks", protocol]]
    if spec.documentation_url:
        rows.append(["The vendor's documentation", spec.documentation_url])
    return table(["", ""], rows)


def _credentials(spec: ConnectorSpec) -> str:
    if not spec.credentials:
        return "## Credentials\n\nNone: the Integration says `credentials: {source: None}`."
    rows = [
        [f"`{each.key}`", each.title or "", each.description or "", "no" if each.optional else "yes"]
        for each in spec.credentials
    ]
    text = "## Credentials\n\nA Secret with these keys:\n\n" + table(["key", "title", "what it is", "needed"], rows)
    rights = list(dict.fromkeys(s.permission for s in spec.streams or [] if s.permission))
    if rights:
        text += "\n\nRights that the account needs at the vendor:\n\n" + "\n".join(f"- {right}" for right in rights)
    if any("${config." in entry for entry in spec.egress or []):
        text += (
            "\n\nThe host is your choice: name it in the Secret's annotation `towline.dev/allowed-hosts`, or no"
            " credential is sent there."
        )
    return text


def _settings(spec: ConnectorSpec) -> str:
    schema = spec.config_schema or {}
    required = set(schema.get("required") or [])
    rows = []
    for name, below in (schema.get("properties") or {}).items():
        default = below.get("default")
        shown = "needed" if name in required and default is None else "" if default in (None, "") else f"`{default}`"
        rows.append([f"`{name}`", shown, below.get("description", "")])
    return "## Settings\n\n" + table(["setting", "default", "meaning"], rows) if rows else ""


def _streams(spec: ConnectorSpec) -> str:
    rows = []
    for stream in spec.streams or []:
        tables = ", ".join(f"`{entities.get(emit.entity).table}`" for emit in stream.emit or [])
        rows.append([f"`{stream.name}`", stream.description or "", tables, _reads(stream)])
    return "## Data\n\n" + table(["stream", "what", "tables", "a run reads"], rows) if rows else ""


def _reads(stream: Stream) -> str:
    sync = stream.sync
    text = "everything" if sync.mode == "Full" else "what changed since the last run"
    if sync.mode == "Incremental" and sync.full_every:
        text += f", everything each {sync.full_every}"
    if sync.first_run:
        text += f"; first the last {sync.first_run}"
    if sync.deletes and sync.deletes.tombstone:
        text += "; deletions are told by the source"
    if sync.deletes and sync.deletes.complete_scan not in (None, "Never"):
        text += "; a complete read finds deletions"
    if stream.optional:
        text += "; left out where it may not be read"
    return text


def _fields(stream: Stream) -> str:
    blocks = []
    for emit in stream.emit or []:
        rows = [[f"`{name}`", _source(value)] for name, value in (emit.fields or {}).items()]
        head = f"### `{stream.name}` → `{entities.get(emit.entity).table}`\n\nKey: `{emit.key}`."
        blocks.append(f"{head}\n\n{table(['column', 'from'], rows)}" if rows else head)
    return "\n\n".join(blocks)


def _source(value: Any) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    if not isinstance(value, dict):
        return f"`{value!r}`"
    if "ref" in value:
        return f"`{value.get('key', '')}`, a {value['ref']}"
    if "map" in value:
        return f"`{value.get('from', '')}`: " + ", ".join(f"{key} → {to}" for key, to in value["map"].items())
    return "`" + ", ".join(f"{key}: {member}" for key, member in value.items()) + "`"


def _actions(spec: ConnectorSpec) -> str:
    rows = []
    for action in spec.actions or []:
        needed = ", ".join(f"`{key}`" for key in (action.input or {}).get("required") or [])
        rows.append([f"`{action.name}`", action.description or "", needed or "-", action.permission or "-"])
    return "## Actions\n\n" + table(["action", "what", "needs", "right at the vendor"], rows) if rows else ""


def _webhooks(spec: ConnectorSpec) -> str:
    rows = []
    for webhook in spec.webhooks or []:
        proof = webhook.verify.kind + (f" in `{webhook.verify.header}`" if webhook.verify.header else "")
        stream = webhook.refetch.stream if webhook.refetch else ""
        rows.append([f"`{webhook.name}`", proof, f"`{stream}`" if stream else "-"])
    return "## Webhooks\n\n" + table(["webhook", "proves itself by", "reads anew"], rows) if rows else ""


def _errors(spec: ConnectorSpec) -> str:
    rules = [rule for rule in (spec.http.errors if spec.http else None) or [] if rule.hint]
    rows = [[", ".join(map(str, rule.when.status or ())) or "any", rule.class_, rule.hint] for rule in rules]
    return "## When it fails\n\n" + table(["status", "means", "what to do"], rows) if rows else ""


def _limits(spec: ConnectorSpec) -> str:
    lines: list[str] = []
    lines += _budgets(spec)
    if spec.limits and spec.limits.max_concurrent_syncs:
        lines.append(f"- {spec.limits.max_concurrent_syncs} syncs at once in the whole cluster.")
    hosts = ", ".join(f"`{entry}`" for entry in spec.egress or [])
    if hosts:
        lines.append(f"- It talks to {hosts} and to no other host.")
    return "## Limits\n\n" + "\n".join(lines) if lines else ""


def _budgets(spec: ConnectorSpec) -> Iterator[str]:
    for budget in (spec.http.budgets if spec.http else None) or []:
        told = [*(budget.rates or []), *([f"{budget.concurrency} at once"] if budget.concurrency else [])]
        if told:
            yield f"- Requests ({budget.name}): {', '.join(told)}."
