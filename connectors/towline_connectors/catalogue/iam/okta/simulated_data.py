"""What the simulator of Okta makes up: people, groups, applications, factors, devices, a log. All from numbers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from towline_connectors.catalogue.people import DEPARTMENTS, GIVEN_NAMES, SURNAMES, digest
from towline_connectors.catalogue.simulating import EPOCH, iso, recently

Row = dict[str, Any]
DAY = 86400
STATES = ("ACTIVE",) * 12 + ("LOCKED_OUT", "PASSWORD_EXPIRED", "PROVISIONED", "DEPROVISIONED")
FACTORS = (("push", "OKTA"), ("webauthn", "FIDO"), ("sms", "OKTA"))
MODES = ("SAML_2_0", "OPENID_CONNECT", "BOOKMARK")
EVENTS = ("user.session.start", "user.authentication.sso", "group.user_membership.add", "user.account.lock")


class Org:
    """Tests change states, memberships and times here."""

    def __init__(self, seed: int, users: int, groups: int, events: int) -> None:
        self.seed = seed
        self.users = list(range(users))
        self.groups = list(range(groups))
        self.events = events
        self.changed: dict[int, tuple[str, float]] = {}  # user -> (status, when)
        self.left: set[tuple[int, int]] = set()  # (group, user)

    def _id(self, kind: str, number: int) -> str:
        prefix = {"user": "00u", "group": "00g", "app": "0oa", "factor": "opf", "device": "guo"}[kind]
        return prefix + digest(self.seed, kind, number)[:8].hex() + "5d7"

    def user_id(self, number: int) -> str:
        return self._id("user", number)

    def group_id(self, number: int) -> str:
        return self._id("group", number)

    def updated(self, number: int) -> float:
        return self.changed[number][1] if number in self.changed else EPOCH - DAY - number * 3600

    def user(self, number: int) -> Row:
        noise = digest(self.seed, "person", number)
        given, last = GIVEN_NAMES[noise[0] % len(GIVEN_NAMES)], SURNAMES[noise[1] % len(SURNAMES)]
        login = f"{given}.{last}.{number}@example.com".lower()
        status = self.changed[number][0] if number in self.changed else STATES[noise[2] % len(STATES)]
        profile = {
            "firstName": given,
            "lastName": last,
            "mobilePhone": None,
            "secondEmail": None,
            "login": login,
            "email": login,
            "department": DEPARTMENTS[noise[3] % len(DEPARTMENTS)],
        }
        if noise[4] % 2:
            profile |= {"title": "Engineer", "employeeNumber": str(1000 + number), "city": "Zurich"}
        return {
            "id": self.user_id(number),
            "status": status,
            "created": iso(EPOCH - 400 * DAY),
            "activated": None if status == "PROVISIONED" else iso(EPOCH - 400 * DAY),
            "statusChanged": iso(self.updated(number)),
            "lastLogin": iso(EPOCH - 2 * DAY) if noise[5] % 3 else None,
            "lastUpdated": iso(self.updated(number)),
            "passwordChanged": iso(EPOCH - 90 * DAY) if noise[6] % 2 else None,
            "type": {"id": "oty1" + f"{self.seed:04d}"},
            "profile": profile,
            "credentials": {"emails": [], "provider": {"type": "OKTA", "name": "OKTA"}},
            "_links": {"self": {"href": f"https://example.okta.com/api/v1/users/{self.user_id(number)}"}},
        }

    def group(self, number: int) -> Row:
        everyone = number == 0
        return {
            "id": self.group_id(number),
            "created": iso(EPOCH - 500 * DAY),
            "lastUpdated": iso(EPOCH - 300 * DAY),
            "lastMembershipUpdated": iso(EPOCH - DAY),
            "objectClass": ["okta:user_group"],
            "type": "BUILT_IN" if everyone else "OKTA_GROUP",
            "profile": {
                "name": "Everyone" if everyone else f"Group {number}",
                "description": "All users in your organization" if everyone else None,
            },
        }

    def members(self, group: int) -> list[int]:
        if group == 0:
            return self.users
        found = [n for n in self.users if digest(self.seed, f"in-{group}", n)[0] % 4 == 0]
        return [n for n in found if (group, n) not in self.left]

    def app(self, number: int) -> Row:
        return {
            "id": self._id("app", number),
            "name": f"example_app_{number}",
            "label": f"Example application {number}",
            "status": "ACTIVE" if number % 5 else "INACTIVE",
            "lastUpdated": iso(EPOCH - 20 * DAY),
            "created": iso(EPOCH - 200 * DAY),
            "features": ["PUSH_NEW_USERS"] if number % 2 else [],
            "signOnMode": MODES[number % 3],
            "settings": {"app": {}, "signOn": {"ssoAcsUrl": f"https://app{number}.example.com/acs"}},
            "_links": {"appLinks": []},
        }

    def factors(self, user: int) -> list[Row]:
        noise = digest(self.seed, "factor", user)
        return [
            {
                "id": self._id("factor", user * 10 + place),
                "factorType": kind,
                "provider": provider,
                "vendorName": provider,
                "status": "ACTIVE" if noise[place] % 4 else "PENDING_ACTIVATION",
                "created": iso(EPOCH - 100 * DAY),
                "lastUpdated": iso(EPOCH - 90 * DAY),
                "profile": {"name": "Telephone"} if kind == "push" else {},
            }
            for place, (kind, provider) in enumerate(FACTORS[: noise[9] % 4])
        ]

    def device(self, number: int) -> Row:
        noise = digest(self.seed, "device", number)
        owner = self.users[number % len(self.users)] if self.users else 0
        return {
            "id": self._id("device", number),
            "status": "ACTIVE",
            "created": iso(EPOCH - 60 * DAY),
            "lastUpdated": iso(EPOCH - DAY),
            "profile": {
                "displayName": f"laptop-{number:04d}",
                "platform": ("WINDOWS", "MACOS", "IOS", "ANDROID")[noise[0] % 4],
                "serialNumber": noise[1:7].hex().upper(),
                "sid": None,
                "osVersion": "14.6.1",
                "registered": True,
                "secureHardwarePresent": True,
                "diskEncryptionType": "ALL_INTERNAL_VOLUMES",
            },
            "resourceType": "UDDevice",
            "resourceId": self._id("device", number),
            "_embedded": {
                "users": [{"managementStatus": "NOT_MANAGED", "user": {"id": self.user_id(owner)}}]
                if noise[1] % 2
                else []
            },
        }

    def event(self, number: int) -> Row:
        noise = digest(self.seed, "event", number)
        actor = number % max(1, len(self.users))
        kind = EVENTS[noise[0] % len(EVENTS)]
        target = {"id": self._id("app", 1), "type": "AppInstance", "alternateId": "Mail", "displayName": "Mail"}
        return {
            "uuid": str(UUID(bytes=noise[16:32])),
            "published": iso(recently() - (self.events - number) * 60),
            "eventType": kind,
            "legacyEventType": None,
            "version": "0",
            "severity": "WARN" if kind == "user.account.lock" else "INFO",
            "displayMessage": "User logged in to Okta" if kind == "user.session.start" else kind,
            "actor": {
                "id": self.user_id(actor),
                "type": "User",
                "alternateId": f"user{actor}@example.com",
                "displayName": f"User {actor}",
                "detailEntry": None,
            },
            "client": {
                "userAgent": {"rawUserAgent": "Mozilla/5.0", "os": "Windows", "browser": "FIREFOX"},
                "zone": "null",
                "device": "Computer",
                "id": None,
                "ipAddress": f"198.51.100.{noise[1]}",
                "geographicalContext": {"city": "Zurich", "state": None, "country": "Switzerland"},
            }
            if noise[2] % 5
            else None,
            "outcome": {"result": "SUCCESS" if noise[3] % 6 else "FAILURE", "reason": None},
            "target": [target] if kind == "user.authentication.sso" else None,
            "transaction": {"type": "WEB", "id": noise[4:12].hex(), "detail": {}},
            "debugContext": {"debugData": {"requestUri": "/login"}},
            "authenticationContext": {"externalSessionId": noise[12:16].hex()},
            "securityContext": {"isProxy": None},
        }
