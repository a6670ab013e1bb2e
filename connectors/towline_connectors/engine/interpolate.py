"""`${…}` in a manifest's strings, and the type that holds secrets.

A reference is `${NAMESPACE.NAME}`, or `${secret.KEY.MEMBER}` where the Secret's value is a JSON document, and may
end in converters: `${secret.password | base64}`. What a session holds (`${session.NAME}`) is known only when the
request is sent: until then a marker stands for it, see `mark` and `unmark`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from towline_connectors.engine.errors import ConfigInvalid, KeyMissing
from towline_connectors.engine.expressions import ExpressionError, compile_expression
from towline_connectors.engine.values import Mismatch

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"^(?P<root>[a-z]+)(?:\.(?P<key>[A-Za-z_][A-Za-z0-9_]*))?(?:\.(?P<member>[A-Za-z_][A-Za-z0-9_]*))?$")
_BARE = ("part", "id", "body", "timestamp")
NAMESPACES = ("config", "secret", "stream", "window", "job", "partition", "session", "part", "id")
"""What any request may refer to."""

Scope = dict[str, Any]

_CONVERTERS: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "sha256": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "md5": lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    "lower": str.lower,
    "upper": str.upper,
    "url": lambda text: quote(text, safe=""),
}


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
    """The credentials of a run by key. `hint` tells in an error where the missing key has to be put.

    `reread` tells them as they are now, where they may change during the run: a mounted Secret does."""

    def __init__(
        self, values: Mapping[str, str], hint: str = "the Secret", reread: Callable[[], Mapping[str, str]] | None = None
    ) -> None:
        self._values = {key: Secret(value) for key, value in values.items()}
        self.hint = hint
        self._reread = reread
        self._unproven = False
        self.edition = 0
        """Grows when other values have taken the place of those before."""

    def refresh(self, used: int) -> bool:
        """After credentials of edition `used` were rejected: whether there are others to try.

        Those that were read anew are tried once; until `proved` they are not read another time, so that no account
        is locked."""
        if used != self.edition:
            return True
        if self._reread is None or self._unproven:
            return False
        fresh = self._reread()
        if fresh == {key: secret.reveal() for key, secret in self._values.items()}:
            return False
        self._values = {key: Secret(value) for key, value in fresh.items()}
        self.edition += 1
        self._unproven = True
        return True

    def proved(self) -> None:
        """The system has taken the present ones."""
        self._unproven = False

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

    def present(self) -> list[str]:
        """The keys that have a value."""
        return sorted(key for key, secret in self._values.items() if secret.reveal())


def references(template: str, known: tuple[str, ...] = NAMESPACES) -> list[str]:
    """What a string refers to, without converters. Raises ExpressionError when a reference is none that exists.

    `known` are the namespaces that may be named at this place."""
    found: list[str] = []
    for inner in _REFERENCE.findall(template):
        name, *converters = (part.strip() for part in inner.split("|"))
        match = _NAME.match(name)
        if not match or not _has_form(match) or match["root"] not in known:
            raise ExpressionError(f"${{{inner}}} is not known here; there are {_listed(known)}")
        for converter in converters:
            if converter not in _CONVERTERS:
                raise ExpressionError(
                    f"${{{inner}}}: there is no converter {converter or 'without a name'}; there are"
                    f" {', '.join(_CONVERTERS)}"
                )
        found.append(name)
    rest = _REFERENCE.sub("", template)
    if "${" in rest:
        begun = rest[rest.index("${") :][:20]
        raise ExpressionError(f"`{begun}` begins a reference and does not end it; close it with }}")
    return found


def _has_form(match: re.Match[str]) -> bool:
    if match["root"] in _BARE:
        return match["key"] is None
    return match["key"] is not None and (match["member"] is None or match["root"] == "secret")


def _listed(known: tuple[str, ...]) -> str:
    shown = [f"${{{name}}}" if name in _BARE else f"${{{name}.…}}" for name in known]
    return ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def fill(template: str, scope: Scope, escape: Callable[[str], str] | None = None) -> str:
    """The string with its references replaced; `escape` is applied to each value, not to the text around it."""

    def replace(match: re.Match[str]) -> str:
        name, *converters = (part.strip() for part in match.group(1).split("|"))
        value = _resolve(name, scope)
        for converter in converters:
            value = _CONVERTERS[converter](value)
        return escape(value) if escape else value

    return _REFERENCE.sub(replace, template)


def maybe(template: str | None, scope: Scope) -> str:
    """As `fill`; empty when the template is left out or names a setting or a key that is not there."""
    if not template:
        return ""
    try:
        return fill(template, scope)
    except (ConfigInvalid, KeyMissing):
        return ""


def path_part(value: str) -> str:
    """A value as one segment of a URL's path: it can neither leave its place nor begin a query."""
    quoted = quote(value, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def _resolve(name: str, scope: Scope) -> str:
    root, _, key = name.partition(".")
    if root in _BARE:
        found = scope.get(root)
    elif root == "session" and "session" not in scope:
        return mark(key)
    else:
        found = _member(root, key, scope)
    if isinstance(found, Secret):
        return found.reveal()
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)


def _member(root: str, key: str, scope: Scope) -> Any:
    holder = scope.get(root)
    if root == "secret":
        if holder is None:
            return ""
        key, _, member = key.partition(".")
        return _json_member(holder[key], key, member) if member else holder[key]
    found = (holder or {}).get(key)
    if root == "config" and found is None:
        raise ConfigInvalid(f"spec.config.{key} is not set, and the connector needs it; set it.")
    return found


def _json_member(secret: Secret, key: str, member: str) -> str:
    """Raises KeyMissing; the words never hold the value."""
    try:
        found = orjson.loads(secret.reveal())
    except orjson.JSONDecodeError:
        raise KeyMissing(f'Key "{key}" of the Secret has to hold a JSON document; store the file as it is.') from None
    value = found.get(member) if isinstance(found, dict) else None
    if not isinstance(value, str | int) or value == "":
        raise KeyMissing(f'The JSON document in key "{key}" of the Secret has no {member}; store the whole file.')
    return str(value)


_BEGIN, _END = "\ue000session.", "\ue001"  # private use: no vendor's text holds them
_MARK = re.compile(f"{_BEGIN}([A-Za-z_][A-Za-z0-9_]*){_END}")
_QUOTED = re.compile(f"{quote(_BEGIN)}([A-Za-z_][A-Za-z0-9_]*){quote(_END)}")


def mark(key: str) -> str:
    """What stands for `${session.KEY}` until the request is sent."""
    return f"{_BEGIN}{key}{_END}"


def marked(text: str) -> bool:
    return _BEGIN in text or quote(_BEGIN) in text


def unmark(text: str, session: Mapping[str, str], escape: Callable[[str], str] | None = None) -> str:
    """The text with the session's values; percent-encoded where the marker is, else through `escape`."""
    text = _QUOTED.sub(lambda match: quote(session.get(match[1], ""), safe=""), text)
    return _MARK.sub(lambda match: (escape or str)(session.get(match[1], "")), text)


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
