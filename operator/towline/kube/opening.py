"""A limit for how long the API server may take to begin the answer to a watch."""

from __future__ import annotations

import asyncio

import aiohttp

SECONDS = 20.0
"""A server that is busy lets a request wait for a quarter of its --request-timeout, 15 s, and then refuses it. What has
not begun by then was taken and forgotten, by a server that hung or a load balancer in between."""


async def begins_in_time(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware of aiohttp's sessions: raises TimeoutError. Without it a watch that was never answered is found out
    by its silence alone, and with an idle cluster's bookmarks every minute that takes more than a minute."""
    if "watch" not in request.url.query:
        return await handler(request)
    async with asyncio.timeout(SECONDS):
        return await handler(request)
