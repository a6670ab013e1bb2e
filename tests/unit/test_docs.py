"""The documentation's own promises: its links lead somewhere, and its tables name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from towline.api.conditions import Reason

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_checkout_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_troubleshooting_speaks_of_reasons_that_exist() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = re.findall(r"^\| ((?:`[A-Za-z]+`(?:, )?)+)", text, flags=re.MULTILINE)
    reasons = {reason for row in named for reason in re.findall(r"`([A-Za-z]+)`", row)}
    assert len(reasons) > 15
    assert reasons <= {str(reason) for reason in Reason}
