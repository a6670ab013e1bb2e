"""A rolling update of two operators, as the Deployment does it: there are two at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hack.chart import CHART
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, install
from tests.node.installation import INSTALLED_WITH, Towline
from tests.node.previous import Release
from tests.node.test_release import INSIDE, availability, operators, put, settled, two_operators

pytestmark = pytest.mark.node


@pytest.fixture
def pair(towline: Towline) -> Iterator[Release]:
    """This release with its two operators, instead of the one that the other tests use; theirs comes back."""
    release = Release(CHART, towline.image, INSIDE)
    put(towline.target, release)
    settled(towline.target)
    yield release
    install(towline.target, towline.image, INSTALLED_WITH)


def test_two_operators_are_available_throughout_an_upgrade(towline: Towline, pair: Release) -> None:
    target = towline.target
    two_operators(target, pair)
    before = set(operators(target))
    with availability(target) as seen:
        put(target, replace(pair, values=(*pair.values, "podAnnotations.changed=yes")))
        settled(target)
    after = set(operators(target))
    assert not before & after, "the upgrade replaced no pod"
    assert len(after) == 2
    assert seen
    assert min(seen) >= 2, f"operators available during the upgrade: {seen}"
    (lease,) = target.objects("-n", SYSTEM_NAMESPACE, "lease", RELEASE)
    assert any(lease["spec"]["holderIdentity"].startswith(pod) for pod in after), "a pod of before leads"
