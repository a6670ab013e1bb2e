"""What the simulator of Entra ID makes up: people, groups, devices, sign-ins, audits. All from numbers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from towline_connectors.catalogue.people import DEPARTMENTS, GIVEN_NAMES, SURNAMES, digest
from towline_connectors.catalogue.simulating import EPOCH, iso, recently

Row = dict[str, Any]
DAY = 86400
SYSTEMS = (("Windows", "10.0.22631.3880"), ("MacMDM", "14.5"), ("IPhone", "17.5.1"), ("Android", "14"))


def _time(timestamp: float) -> str:
    return iso(timestamp).replace(".000Z", "Z")


class Directory:
    """`changes` is the order in which objects changed: (kind, number, whether it was deleted). Tests call `touch`."""

    def __init__(self, seed: int, users: int, groups: int, devices: int, sign_ins: int, audits: int) -> None:
        self.seed = seed
        self.totals = {"users": users, "groups": groups, "devices": devices}
        self.sign_ins = sign_ins
        self.audits = audits
        self.changes: list[tuple[str, int, bool]] = []
        self.deleted: set[tuple[str, int]] = set()
        self.disabled: set[int] = set()
        self.left: set[tuple[int, int]] = set()  # (group, user)

    def touch(self, kind: str, number: int, deleted: bool = False) -> None:
        self.changes.append((kind, number, deleted))
        if deleted:
            self.deleted.add((kind, number))

    def id(self, kind: str, number: int) -> str:
        return str(UUID(bytes=digest(self.seed, kind, number)[:16], version=4))

    def live(self, kind: str) -> list[int]:
        return [number for number in range(self.totals[kind]) if (kind, number) not in self.deleted]

    def row(self, kind: str, number: int) -> Row:
        makers = {"users": self.user, "groups": self.group, "devices": self.device}
        return makers[kind](number)

    def user(self, number: int) -> Row:
        noise = digest(self.seed, "person", number)
        given, last = GIVEN_NAMES[noise[0] % len(GIVEN_NAMES)], SURNAMES[noise[1] % len(SURNAMES)]
        name = f"{given}.{last}.{number}@example.com".lower()
        found: Row = {
            "id": self.id("users", number),
            "displayName": f"{given} {last}",
            "givenName": given,
            "surname": last,
            "userPrincipalName": name,
            "accountEnabled": number not in self.disabled and noise[2] % 16 > 0,
            "userType": "Guest" if noise[3] % 8 == 0 else "Member",
            "businessPhones": [],
            "createdDateTime": _time(EPOCH - 300 * DAY),
        }
        if noise[4] % 4:  # a delta leaves out what was never set
            found |= {
                "mail": name.title(),
                "jobTitle": "Engineer",
                "department": DEPARTMENTS[noise[5] % len(DEPARTMENTS)],
            }
        return found

    def group(self, number: int) -> Row:
        unified = number % 3 == 0
        return {
            "id": self.id("groups", number),
            "displayName": f"Group {number}",
            "groupTypes": ["Unified"] if unified else [],
            "securityEnabled": not unified,
            "mailEnabled": unified,
            "createdDateTime": _time(EPOCH - 300 * DAY),
            **({"mail": f"group{number}@example.com", "visibility": "Private"} if unified else {}),
        }

    def members(self, group: int) -> list[Row]:
        users = [n for n in self.live("users") if digest(self.seed, f"in-{group}", n)[0] % 3 == 0]
        found = [
            {"@odata.type": "#microsoft.graph.user", "id": self.id("users", n)}
            for n in users
            if (group, n) not in self.left
        ]
        if group + 1 < self.totals["groups"]:
            found.append({"@odata.type": "#microsoft.graph.group", "id": self.id("groups", group + 1)})
        return found

    def device(self, number: int) -> Row:
        noise = digest(self.seed, "machine", number)
        system, version = SYSTEMS[noise[0] % len(SYSTEMS)]
        return {
            "id": self.id("devices", number),
            "deviceId": str(UUID(bytes=noise[16:32])),
            "displayName": f"DESKTOP-{number:04d}",
            "operatingSystem": system,
            "operatingSystemVersion": version,
            "accountEnabled": True,
            "trustType": ("AzureAd", "ServerAd", "Workplace")[noise[1] % 3],
            "approximateLastSignInDateTime": _time(EPOCH - noise[2] * 3600),
            **({"isCompliant": True, "isManaged": True} if noise[3] % 2 else {}),
        }

    def risky_user(self, number: int) -> Row:
        return {
            "id": self.id("users", number),
            "isDeleted": False,
            "isProcessing": False,
            "riskLevel": ("low", "medium", "high")[number % 3],
            "riskState": "atRisk" if number % 2 else "dismissed",
            "riskDetail": "none",
            "riskLastUpdatedDateTime": iso(EPOCH - DAY),
            "userDisplayName": f"User {number}",
            "userPrincipalName": self.user(number)["userPrincipalName"],
        }

    def sign_in(self, number: int) -> Row:
        noise = digest(self.seed, "sign-in", number)
        user = number % max(1, self.totals["users"])
        failed = noise[0] % 5 == 0
        return {
            "id": str(UUID(bytes=noise[:16])),
            "createdDateTime": _time(recently() - (self.sign_ins - number) * 60),
            "userDisplayName": f"User {user}",
            "userPrincipalName": self.user(user)["userPrincipalName"],
            "userId": self.id("users", user),
            "appId": str(UUID(int=7)),
            "appDisplayName": "Example Portal",
            "ipAddress": "198.51.100.7" if noise[1] % 2 else "2001:db8::7",
            "clientAppUsed": "Browser",
            "correlationId": str(UUID(int=number)),
            "conditionalAccessStatus": "notApplied",
            "isInteractive": True,
            "riskDetail": "none",
            "riskLevelAggregated": "none",
            "riskLevelDuringSignIn": ("none", "low", "hidden")[noise[2] % 3],
            "riskState": "none",
            "resourceDisplayName": "Microsoft Graph",
            "status": {
                "errorCode": 50126 if failed else 0,
                "failureReason": "Invalid password" if failed else "Other.",
            },
            "deviceDetail": {"deviceId": "", "displayName": None, "operatingSystem": "Windows10", "browser": "Edge"},
            "location": {"city": "Zurich", "state": "Zurich", "countryOrRegion": "CH"} if noise[3] % 2 else None,
            "appliedConditionalAccessPolicies": [],
        }

    def audit(self, number: int) -> Row:
        noise = digest(self.seed, "audit", number)
        by_app = noise[0] % 3 == 0
        user = {"id": self.id("users", 0), "userPrincipalName": "admin@example.com", "ipAddress": "198.51.100.9"}
        return {
            "id": f"Directory_{UUID(bytes=noise[:16])}_{number}",
            "category": "UserManagement",
            "correlationId": str(UUID(int=number)),
            "result": "success",
            "resultReason": "",
            "activityDisplayName": "Update user",
            "activityDateTime": iso(recently() - (self.audits - number) * 60).replace("Z", "1234Z"),
            "loggedByService": "Core Directory",
            "operationType": "Update",
            "initiatedBy": {
                "user": None if by_app else user,
                "app": {"displayName": "Provisioning", "appId": None} if by_app else None,
            },
            "targetResources": [
                {"id": self.id("users", 1), "displayName": None, "type": "User", "userPrincipalName": "a@b"}
            ],
            "additionalDetails": [],
        }
