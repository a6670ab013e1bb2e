"""`${…}` in a manifest's strings, and the type that holds secrets.

Known: config.NAME, secret.NAME, stream.NAME (name, permission), window.NAME (start, full, now), job.id, part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from towline_connectors.engine.errors import ConfigInvalid, KeyMissing
from towline_connectors.engine.expressions import ExpressionError, compile_expression
from towline_connectors.engine.values import Mismatch

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"^(config|secret|stream|window|job)\.([A-Za-z_][A-Za-z0-9_]*)$|^part$")


class Secret:
    """A secret value. It prints as asterisks; `reveal` is called where the request is made."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("secrets are not serialised")


class Secrets(Mapping[str, Secret]):
    """The credentials of a run by key. `hint` tells in an error where the missing key has to be put."""

    def __init__(self, values: Mapping[str, str], hint: str = "the Secret") -> None:
        self._values = {key: Secret(value) for key, value in values.items()}
        self.hint = hint

    def __getitem__(self, key: str) -> Secret:
        found = self._values.get(key)
        if found is None or not found.reveal():
            raise KeyMissing(f'Key "{key}" is missing or empty in {self.hint}; add it.')
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"

    def reveal_all(self) -> list[str]:
        """The plain values, for redaction."""
        return [secret.reveal() for secret in self._values.values()]


def references(template: str) -> list[str]:
    """What a string refers to. Raises ExpressionError when a reference is none that exists."""
    found = _REFERENCE.findall(template)
    for name in found:
        if not _NAME.match(name):
            raise ExpressionError(
                f"${{{name}}} is not known; there are ${{config.…}}, ${{secret.…}}, ${{stream.name}},"
                " ${window.start}, ${job.id} and ${part}"
            )
    return found


Scope = dict[str, Any]


def fill(template: str, scope: Scope, escape: Callable[[str], str] | None = None) -> str:
    """The string with its references replaced; `escape` is applied to each value, not to the text around it."""

    def replace(match: re.Match[str]) -> str:
        value = _resolve(match.group(1), scope)
        return escape(value) if escape else value

    return _REFERENCE.sub(replace, template)


def path_part(value: str) -> str:
    """A value as one segment of a URL's path: it can neither leave its place nor begin a query."""
    quoted = quote(value, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def _resolve(name: str, scope: Scope) -> str:
    if name == "part":
        found = scope.get("part")
    else:
        root, _, key = name.partition(".")
        holder = scope.get(root)
        found = holder[key] if root == "secret" and holder is not None else (holder or {}).get(key)
        if root == "config" and found is None:
            raise ConfigInvalid(f"spec.config.{key} is not set, and the connector needs it; set it.")
    if isinstance(found, Secret):
        return found.reveal()
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)


def evaluate(value: Any, scope: Scope) -> Any:
    """A manifest's value with expressions evaluated and references filled in, at any depth.

    Members of objects that come out null are left out."""
    if isinstance(value, str):
        if value.startswith("="):
            try:
                return compile_expression(value)({k: v for k, v in scope.items() if k != "secret"})
            except Mismatch as error:
                raise ConfigInvalid(f"`{value}` cannot be computed: {error}; check spec.config.") from None
        return fill(value, scope)
    if isinstance(value, dict):
        found = {key: evaluate(member, scope) for key, member in value.items()}
        return {key: member for key, member in found.items() if member is not None}
    if isinstance(value, list):
        return [evaluate(member, scope) for member in value]
    return value
