"""Who looks at an object that cannot be reconciled is told so, once it is no passing trouble."""

from __future__ import annotations

import pytest

from towline.controller.queue import Key
from towline.controller.trouble import trouble
from towline.kube.errors import RefusedError, UnavailableError

KEY = Key("Integration", "secops", "prod")
REFUSED = RefusedError("PATCH integrations secops/prod", 422, "Invalid")


@pytest.mark.parametrize(
    "error", [REFUSED, UnavailableError("GET jobs secops/prod-1", 503, "ServiceUnavailable"), IndexError("a secret")]
)
def test_it_is_told_at_the_third_failure_in_a_row_and_then_about_every_hour(error: Exception) -> None:
    told = [number for number in range(1, 151) if trouble(KEY, error, number)]
    assert told == [3, 50, 100, 150]


def test_it_says_what_was_refused() -> None:
    event = trouble(KEY, REFUSED, 3)
    assert event is not None
    assert (event.type, event.reason) == ("Warning", "ReconcileFailed")
    assert event.message.startswith(f"{REFUSED}. Remove what stands in the way")


def test_of_an_error_of_our_own_it_says_the_type_alone() -> None:
    event = trouble(KEY, IndexError("s3cret"), 3)
    assert event is not None
    assert "An error of Towline: IndexError." in event.message
    assert "s3cret" not in event.message
