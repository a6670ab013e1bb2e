"""Full lists of what is watched: the first fills the cache, the later ones make up for what a watch has missed."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

from towline.controller.cache import slim
from towline.controller.context import Context
from towline.controller.feed import SELECTOR
from towline.kube.errors import ApiError, ExpiredError
from towline.kube.resources import JOBS, PODS, WATCHED, Resource

log = logging.getLogger(__name__)


class Listing:
    """Compares the cache with full lists."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._namespaces = context.settings.namespaces
        self._listed: set[str] = set()

    @property
    def missing(self) -> list[str]:
        """The kinds that were not listed yet."""
        return [resource.plural for resource in WATCHED if resource.kind not in self._listed]

    async def first(self) -> None:
        """List everything. Raises ApiError."""
        with _uncollected():
            for resource in WATCHED:
                await self.list(resource)

    async def repeat(self, seconds: float) -> None:
        """List everything about every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311  jitter
            for resource in WATCHED:
                try:
                    await self.list(resource)
                except ApiError as error:
                    log.warning("The full list of %s failed: %s", resource.plural, error)
            self._context.cache.forget_old()
            self._context.facts.forget_old()

    async def list(self, resource: Resource) -> None:
        """Compare the cache with a full list. Raises ApiError."""
        first = resource.kind not in self._listed
        selector = SELECTOR if resource in (JOBS, PODS) else ""
        for namespace in (self._namespaces if resource.namespaced else ()) or ("",):
            missed = await self._compare(resource, namespace, selector)
            if missed and not first:
                self._context.metrics.watch_missed.labels(resource.plural).inc(missed)
        self._listed.add(resource.kind)

    async def _compare(self, resource: Resource, namespace: str, selector: str) -> int:
        """How many objects the cache had missed. A page at a time: ten thousand objects at once would take memory
        that the process never gives back."""
        kind = resource.kind
        missed = 0
        while True:
            present, version = set(), ""
            try:
                pages = self._context.client.pages(resource, namespace, selector)
                async for page, version in pages:  # noqa: B007  the last one counts
                    for item in page:
                        obj = slim(kind, item)
                        present.add(obj["metadata"]["uid"])
                        missed += self._context.take_in(kind, obj)
            except ExpiredError:
                continue
            break
        for ghost in self._context.cache.missing_from(kind, present, version):
            if not namespace or ghost["metadata"].get("namespace") == namespace:
                missed += self._context.take_out(kind, ghost)
        return missed


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is kept from now on for as long as the process lives is no garbage: with ten thousand Integrations each
    search through it would stop everything for a tenth of a second, and do so several times while they are listed."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
