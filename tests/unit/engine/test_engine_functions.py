"""The functions about units, time and shapes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from towline_connectors.engine.expressions import compile_expression
from towline_connectors.engine.values import Mismatch


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("scale(v, `10`)", 7.5, 75.0),
        ("scale(v, `10`)", "12", 100.0),
        ("scale(v, `5`, `10`)", 1, 2.0),
        ("scale(v, `10`)", None, None),
        ("bytes(v)", "1.5 GiB", 1610612736),
        ("bytes(v)", "2 MB", 2000000),
        ("bytes(v)", "4K", 4096),
        ("bytes(v)", 17, 17),
        ("seconds(v)", "PT1H30M", 5400),
        ("seconds(v)", "1d12h", 129600),
        ("seconds(v)", "90", 90),
        ("date(v, '%Y-%m-%d')", "2026-02-03T23:30:00-02:00", "2026-02-04"),
        ("epoch_ms(v)", "2026-01-01T00:00:00.250Z", 1767225600250),
        ("add(v, `2`)", 40, 42),
        ("add(v, `0.5`)", 1, 1.5),
        ("add(v, `1`)", None, None),
        ("list(v)", "a", ["a"]),
        ("list(v)", ["a"], ["a"]),
        ("list(v)", None, None),
        ("when(v, 'yes', 'no')", False, "no"),
        ("when(v, 'yes', 'no')", 0, "yes"),
        ("entries(v)[*].value", {"a": 1, "b": 2}, [1, 2]),
        ("unique(v)", ["a", None, "b", "a", {"x": 1}, {"x": 1}], ["a", "b", {"x": 1}]),
        ("parse_json(v).a[0]", '{"a": [7]}', 7),
        ("parse_json(v)", {"a": 1}, {"a": 1}),
    ],
)
def test_functions_give_what_they_say(text: str, value: Any, wanted: Any) -> None:
    assert compile_expression(text)({"v": value}) == wanted


def test_days_that_are_left_and_times_turn_into_each_other() -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    assert compile_expression("days_until(v)")({"v": later}) == 30
    assert compile_expression("days_until(in_days(v))")({"v": "-3"}) == -3


@pytest.mark.parametrize(("text", "value"), [("bytes(v)", "lots"), ("seconds(v)", "soon"), ("parse_json(v)", "{")])
def test_what_does_not_fit_is_told(text: str, value: Any) -> None:
    with pytest.raises(Mismatch, match="is not"):
        compile_expression(text)({"v": value})
