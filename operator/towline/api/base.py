"""What all API models share: naming, strictness, durations, and where CEL rules and list types are declared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from towline.api import forms

GROUP = "towline.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Rule:
    """One CEL validation rule of a schema node (`x-kubernetes-validations`).

    `field_path` is relative to the node, for example `.cron`. Give `message` or `message_expression`.
    `reason` is the API server's word before the message: "Required value" or "Forbidden" instead of "Invalid value".
    """

    rule: str
    message: str | None = None
    message_expression: str | None = None
    field_path: str | None = None
    reason: Literal["FieldValueRequired", "FieldValueForbidden"] | None = None


OPAQUE = "x-towline-opaque"
"""Marks a field (`json_schema_extra`) whose inside the CustomResourceDefinition leaves out, since it has to stay small.
It is a free object there, and whole in the editors' schema, the reference, the offline check and the operator's own."""


class Model(BaseModel):
    """Base of every API type: snake_case in Python, camelCase on the wire, unknown fields refused."""

    # Built when first used: a sync reads one kind of the three, and its pod is to start fast.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    def wire(self) -> dict[str, Any]:
        """The object as it goes over the wire: aliases, no nulls, no fields that were left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def listmap(key: str, **constraints: Any) -> Any:
    """A list that Kubernetes merges by `key` (`x-kubernetes-list-type: map`)."""
    extra: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return Field(default=None, json_schema_extra=extra, **constraints)


def listset(**constraints: Any) -> Any:
    """A list whose items are unique (`x-kubernetes-list-type: set`)."""
    return Field(default=None, json_schema_extra={"x-kubernetes-list-type": "set"}, **constraints)


DURATION_PATTERN = forms.DURATION
Duration = Annotated[str, Field(max_length=16, pattern=DURATION_PATTERN)]
Name253 = Annotated[str, Field(min_length=1, max_length=253)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=forms.OBJECT_NAME)]
"""As Kubernetes lets objects be called. Anything else would lead elsewhere in the API's paths."""
Name63 = Annotated[str, Field(min_length=1, max_length=63)]
EXPRESSION = "expression"
"""Metadata of an annotation: the text is an expression, whether it begins with = or not."""
Expression = Annotated[str, Field(min_length=1, max_length=1024), EXPRESSION]
StreamName = Annotated[str, Field(min_length=1, max_length=63, pattern=forms.STREAM_NAME)]


def _time(value: str) -> str:
    if not re.fullmatch(forms.TIME, value):
        raise ValueError(forms.FORMS[forms.TIME].refuse(value))
    return value


Time = Annotated[str, AfterValidator(_time), Field(json_schema_extra={"format": "date-time"})]


def _quantity(value: str | int) -> str | int:
    if isinstance(value, str) and not re.fullmatch(forms.QUANTITY, value):
        raise ValueError(forms.FORMS[forms.QUANTITY].refuse(value))
    return value


Quantity = Annotated[
    str | int,
    AfterValidator(_quantity),
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "pattern": forms.QUANTITY,
        }
    ),
]
IntOrString = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
FreeForm = Annotated[Any, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
FreeObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def cel_seconds(duration: str) -> str:
    """CEL for the seconds of the duration that the CEL path `duration` names; CEL's own durations know no days."""
    unit = " : ".join(f"p.endsWith('{unit}') ? {seconds}" for unit, seconds in _UNITS.items() if seconds > 1)
    return f"{duration}.findAll('[0-9]+[smhd]').map(p, int(p.substring(0, size(p) - 1)) * ({unit} : 1)).sum()"


def seconds(duration: str) -> int:
    """Seconds of a duration such as `1d12h`. Raises ValueError with the cure when it is not one."""
    if not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(forms.FORMS[DURATION_PATTERN].refuse(duration))
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+)([smhd])", duration))
