"""When a Secret that has to be corrected is looked at again."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.core.build import NOW

from towline.core.attention import asks_now, recheck_seconds
from towline.core.times import text


def stalled(reason: str, age: float) -> dict[str, Any]:
    since = text(NOW - timedelta(seconds=age))
    return {"status": {"conditions": [{"type": "Stalled", "reason": reason, "lastTransitionTime": since}]}}


@pytest.mark.parametrize(("age", "expected"), [(0, 1.0), (1, 1.0), (2, 2.0), (7, 7.0), (15, 15.0), (86400, 15.0)])
def test_a_missing_secret_is_looked_for_soon_at_first_and_then_less_often(age: float, expected: float) -> None:
    assert recheck_seconds(stalled("SecretNotFound", age), NOW, ceiling=15, calm=300) == expected


@pytest.mark.parametrize("raw", [{}, {"status": {}}, stalled("InvalidSpec", 1), stalled("ConnectorNotFound", 1)])
def test_what_no_secret_can_cure_is_left_alone(raw: dict[str, Any]) -> None:
    assert recheck_seconds(raw, NOW, ceiling=15, calm=300) == 300


def test_a_request_counts_until_it_is_handled() -> None:
    asked = {"metadata": {"annotations": {"towline.dev/requested-at": "now"}}}
    assert asks_now(asked)
    assert not asks_now({**asked, "status": {"lastHandledRequestedAt": "now"}})
    assert not asks_now({"metadata": {}})
