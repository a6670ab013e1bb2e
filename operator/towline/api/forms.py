"""The forms that a text may have, each with the sentence that a person reads when it has another.

The patterns are RE2 and Python alike: the API server checks them in CEL, pydantic checks them here.
"""

from __future__ import annotations

from dataclasses import dataclass

DURATION = r"^([0-9]{1,4}(s|m|h|d))+$"
STREAM_NAME = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
CREDENTIAL_KEY = r"^[a-z][a-z0-9_]*$"
SEMANTIC_VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"
HTTPS_URL = r"^https://"
BASE_URL = r"^(https?://|[$][{]config[.])"
LDAP_URL = r"^(ldaps?://|[$][{]config[.])"
DIGEST = r"^sha256:[0-9a-f]{64}$"
PYTHON_NAME = r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$"
RATE = r"^[0-9]+/([0-9]{1,4}(s|m|h|d))+$"
FROM_HEADER = r"^header:[A-Za-z0-9_-]{1,100}$"
WAIT = r"^(header:[A-Za-z0-9_-]{1,100}(:ms)?|body:.+|([0-9]{1,4}(s|m|h|d))+)$"
QUANTITY = r"^[0-9.]+([numkMGTPE]i?|[eE][0-9]+)?$"

TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"


@dataclass(frozen=True)
class Form:
    """What a text should be (`noun`) and how to write it (`cure`)."""

    noun: str
    cure: str

    @property
    def sentence(self) -> str:
        return f"not {self.noun}: {self.cure}"

    def refuse(self, value: object) -> str:
        return f'"{value}" is {self.sentence}'


FORMS: dict[str, Form] = {
    DURATION: Form("a duration", "write for example 30m, 6h or 7d"),
    STREAM_NAME: Form(
        "a name", "use lower-case letters, digits, dashes and underscores; begin and end with a letter or digit"
    ),
    OBJECT_NAME: Form(
        "the name of an object", "use lower-case letters, digits, dashes and dots; begin and end with a letter or digit"
    ),
    CREDENTIAL_KEY: Form("a key", "use lower-case letters, digits and underscores, and begin with a letter"),
    SEMANTIC_VERSION: Form("a version", "give three numbers, for example 1.0.0 or 1.0.0-beta.1"),
    HTTPS_URL: Form("an https URL", "begin with https://"),
    BASE_URL: Form("a base URL", "begin with https:// or http://, or take it from the settings with ${config.NAME}"),
    LDAP_URL: Form(
        "a directory URL", "begin with ldaps:// or ldap://, or take it from the settings with ${config.NAME}"
    ),
    DIGEST: Form("a digest", "write sha256: and 64 hexadecimal digits"),
    PYTHON_NAME: Form("a Python module", "write its dotted name, for example acme.connector"),
    RATE: Form("a rate", "write a number of requests and a time, for example 100/1m"),
    FROM_HEADER: Form("a header", "write header: and its name, for example header:X-RateLimit-Reset"),
    WAIT: Form(
        "a source of a waiting time",
        "write header:NAME (header:NAME:ms for milliseconds), body:EXPRESSION or a duration such as 30s",
    ),
    TIME: Form("a time", "write for example 2026-11-21T08:00:00Z"),
    QUANTITY: Form("a quantity", "write for example 500m, 2 or 256Mi"),
}
"""The form behind each pattern. A pattern without one is shown to people as it stands."""
