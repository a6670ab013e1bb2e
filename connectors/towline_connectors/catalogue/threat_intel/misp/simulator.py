"""MISP as its REST API behaves: searches by POST with page and limit, epoch seconds as text, deletions on request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH

SMALL = {"events": 60, "attributes": 1100, "sightings": 20}
DAY = 86400
TLP = ("tlp:clear", "tlp:green", "tlp:amber", "tlp:red")
ACTORS = ("Example Bear", "Example Panda", "Example Spider")
TECHNIQUES = ("Spearphishing Attachment - T1566.001", "Web Protocols - T1071.001", "Ingress Tool Transfer - T1105")
REFUSED = "Authentication failed. The key is unknown or has expired."
DENIED = "You do not have permission to use this functionality."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    events: int = 200
    attributes: int = 5000
    sightings: int = 50
    auth_key: str = "simulator"
    deleted: int = 0  # the first n attributes are deleted softly, as MISP does it
    read_only: bool = False  # the key's role may not search sightings


class World:
    """Events and attributes. Tests change them here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.changed: dict[int, int] = {}  # attribute -> when it was edited
        self.removed: set[int] = set(range(options.deleted))
        self.gone: set[int] = set()  # events that were deleted
        self.searches: list[tuple[str, dict[str, Any]]] = []

    def touch(self, number: int) -> None:
        self.changed[number] = int(time.time())

    def delete(self, number: int) -> None:
        self.removed.add(number)
        self.touch(number)

    def stamp(self, number: int) -> int:
        return self.changed.get(number, EPOCH - DAY * 30 + number)

    def event_of(self, number: int) -> int:
        return number % max(1, self.options.events)

    def uuid(self, kind: str, number: int) -> str:
        return str(UUID(bytes=digest(self.options.seed, kind, number)[:16], version=4))

    def head(self, number: int) -> dict[str, Any]:
        return {
            "id": str(number + 1),
            "org_id": "1",
            "orgc_id": "2",
            "info": f"Campaign {number} of {ACTORS[number % 3]}",
            "uuid": self.uuid("event", number),
            "distribution": "1",
        }

    def event(self, number: int) -> dict[str, Any]:
        published = number % 9 != 0
        organisation = {"name": "CERT Example", "uuid": self.uuid("organisation", 2), "local": False}
        return self.head(number) | {
            "date": "2025-12-01",
            "threat_level_id": str(1 + number % 4),
            "published": published,
            "attribute_count": str(self.options.attributes // max(1, self.options.events)),
            "analysis": str(number % 3),
            "timestamp": str(EPOCH - DAY * 20 + number),
            "publish_timestamp": str(EPOCH - DAY * 19 + number) if published else "0",
            "sharing_group_id": "0",
            "extends_uuid": "",
            "Org": {"id": "1", **organisation},
            "Orgc": {"id": "2", **organisation},
            "Tag": [_tag(TLP[number % 4]), *_galaxy_tags(number)],
            "Galaxy": [
                {
                    "name": "Threat Actor",
                    "type": "threat-actor",
                    "GalaxyCluster": [{"value": ACTORS[number % 3], "type": "threat-actor"}],
                }
            ],
        }

    def attribute(self, number: int) -> dict[str, Any]:
        noise = digest(self.options.seed, "attribute", number)
        kind, category, value = _value(number, noise)
        event = self.event_of(number)
        return {
            "id": str(number + 1),
            "event_id": str(event + 1),
            "object_id": "0",
            "object_relation": None,
            "category": category,
            "type": kind,
            "to_ids": kind != "comment",
            "uuid": self.uuid("attribute", number),
            "timestamp": str(self.stamp(number)),
            "distribution": "5",
            "sharing_group_id": "0",
            "comment": "seen again" if number in self.changed else "",
            "deleted": number in self.removed,
            "disable_correlation": False,
            "first_seen": "2025-11-30T10:00:00.000000+00:00" if number % 2 else None,
            "last_seen": None,
            "value": value,
            "Event": self.head(event),
            "Tag": [_tag(TLP[event % 4]), *_galaxy_tags(event)],
        }

    def sighting(self, number: int) -> dict[str, Any]:
        attribute = number * 3 % max(1, self.options.attributes)
        return {
            "id": str(number + 1),
            "attribute_id": str(attribute + 1),
            "event_id": str(self.event_of(attribute) + 1),
            "org_id": "1",
            "date_sighting": str(EPOCH - DAY * 2 + number),
            "uuid": self.uuid("sighting", number),
            "source": "proxy",
            "type": str(number % 3),
            "Organisation": {"id": "1", "uuid": self.uuid("organisation", 1), "name": "Example"},
            "Attribute": {"id": str(attribute + 1), "uuid": self.uuid("attribute", attribute)},
        }


def _tag(name: str) -> dict[str, Any]:
    return {"id": "1", "name": name, "colour": "#ffffff", "exportable": True, "is_galaxy": "galaxy" in name, "local": 0}


def _galaxy_tags(event: int) -> list[dict[str, Any]]:
    actor, technique = ACTORS[event % 3], TECHNIQUES[event % 3]
    return [
        _tag(f'misp-galaxy:threat-actor="{actor}"'),
        _tag(f'misp-galaxy:mitre-attack-pattern="{technique}"'),
    ]


def _value(number: int, noise: bytes) -> tuple[str, str, str]:
    """(type, category, value) of an attribute."""
    address = f"198.51.{noise[0] % 100}.{noise[1] or 1}"
    name = f"host-{number}.example.net"
    return (
        ("ip-dst", "Network activity", address),
        ("domain", "Network activity", name),
        ("sha256", "Payload delivery", noise.hex()),
        ("url", "Network activity", f"http://{name}/gate.php?id={number}"),
        ("ip-dst|port", "Network activity", f"{address}|{8000 + number % 1000}"),
        ("filename|md5", "Payload installation", f"invoice-{number}.exe|{noise[:16].hex()}"),
        ("domain|ip", "Network activity", f"{name}|{address}"),
        ("email-src", "Payload delivery", f"sender{number}@example.net"),
        ("vulnerability", "External analysis", f"CVE-2025-{10000 + number}"),
        ("comment", "Internal reference", f"Observation number {number}"),
    )[number % 10]


def application(options: Options) -> web.Application:
    """The simulator; it takes the bare key in the header Authorization."""
    world = World(options)

    def refuse(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == options.auth_key:
            return None
        return _refusal(request, REFUSED)

    async def version(_request: web.Request) -> web.Response:
        return web.json_response({"version": "2.5.20", "perm_sync": False, "perm_sighting": False})

    async def events(request: web.Request) -> web.Response:
        given = await _search(request, world, "events")
        since = int(given.get("timestamp") or 0)
        found = [
            event
            for number in range(options.events)
            if number not in world.gone and int((event := world.event(number))["timestamp"]) >= since
            if not given.get("published") or event["published"]
        ]
        return web.json_response({"response": [{"Event": event} for event in _page(found, given)]})

    async def attributes(request: web.Request) -> web.Response:
        given = await _search(request, world, "attributes")
        since = int(given.get("timestamp") or 0)
        deleted = given.get("deleted") in (1, True, [0, 1])
        numbers = [
            number
            for number in range(options.attributes)
            if world.stamp(number) >= since
            and world.event_of(number) not in world.gone
            and (deleted or number not in world.removed)
            and not (given.get("to_ids") and number % 10 == 9)
        ]
        found = [world.attribute(number) for number in _page(numbers, given)]
        answer: Any = {"Attribute": found} if found or int(given.get("page", 1)) == 1 else []
        return web.json_response({"response": answer}, headers={"X-Result-Count": str(len(numbers))})

    async def sightings(request: web.Request) -> web.Response:
        if options.read_only:
            return _refusal(request, DENIED)
        given = await _search(request, world, "sightings")
        since = int(given.get("last") or 0)
        found = [world.sighting(number) for number in range(options.sightings)]
        rows = [{"Sighting": row} for row in found if int(row["date_sighting"]) >= since]
        return web.json_response({"response": rows})

    async def warninglists(_request: web.Request) -> web.Response:
        names = ("List of known public DNS resolvers", "Top 1000 websites")
        rows = [
            {"id": str(n), "name": name, "type": "string", "description": name, "version": "20251201", "enabled": n < 2,
             "default": True, "category": "false_positive", "warninglist_entry_count": str(1000 * n),
             "valid_attributes": "domain, hostname, url"}
            for n, name in enumerate(names, 1)
        ]  # fmt: skip
        return web.json_response({"Warninglists": [{"Warninglist": row} for row in rows]})

    app = simulating.make(world, options, refuse)
    app.router.add_get("/servers/getVersion", version)
    app.router.add_post("/events/restSearch", events)
    app.router.add_post("/attributes/restSearch", attributes)
    app.router.add_post("/sightings/restSearch", sightings)
    app.router.add_get("/warninglists/index", warninglists)
    return app


async def _search(request: web.Request, world: World, kind: str) -> dict[str, Any]:
    given = await request.json()
    world.searches.append((kind, given))
    return dict(given)


def _page(found: list[Any], given: dict[str, Any]) -> list[Any]:
    limit, page = int(given.get("limit") or 1 << 30), int(given.get("page") or 1)
    return found[(page - 1) * limit : page * limit]


def _refusal(request: web.Request, text: str) -> web.Response:
    return web.json_response({"name": text, "message": text, "url": request.path}, status=403)
