"""A list of addresses as Feodo Tracker publishes it, with addresses that are reserved for documentation."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from towline_connectors.catalogue import simulating

PATH = "/downloads/ipblocklist.txt"
NETWORKS = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    addresses: int = 120


def application(options: Options) -> web.Application:
    listed = [f"{NETWORKS[n % 3]}.{n // 3 % 254 + 1}" for n in range(min(options.addresses, 762))]

    async def text(_request: web.Request) -> web.Response:
        lines = ["# Addresses of command servers, simulated", "# DstIP", *listed, "# END"]
        return web.Response(text="\r\n".join(lines) + "\r\n", content_type="text/plain")

    app = simulating.make(listed, options, lambda _request: None)
    app.router.add_get(PATH, text)
    return app
