"""Issues, projects and accounts that the simulator of Jira makes up. An issue is made when it is asked for."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from towline_connectors.catalogue.people import GIVEN_NAMES, SURNAMES, digest, pick
from towline_connectors.catalogue.simulating import EPOCH

DAY = 86400
STATUSES = (("To Do", "new"), ("In Progress", "indeterminate"), ("In Review", "indeterminate"), ("Done", "done"))
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
TYPES = ("Task", "Bug", "Story", "Incident")
PROJECTS = ("SEC", "OPS", "WEB", "NET", "HR", "LAB", "DOC", "API", "IOT", "QA")


def stamp(when: float) -> str:
    """A time as Jira writes it."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def document(*paragraphs: str) -> dict[str, Any]:
    """Text in the Atlassian Document Format."""
    content = [{"type": "paragraph", "content": [{"type": "text", "text": text}]} for text in paragraphs]
    return {"type": "doc", "version": 1, "content": content}


class World:
    """Tests change issues here."""

    def __init__(self, seed: int, issues: int, projects: int, users: int) -> None:
        self.seed = seed
        self.issues = set(range(issues))
        self.projects = set(range(projects))
        self.users = users
        self.changed: dict[int, int] = {}

    def touch(self, number: int) -> None:
        self.changed[number] = int(time.time())

    def updated(self, number: int) -> int:
        return self.changed.get(number, EPOCH - 40 * DAY + number * 600)

    def ordered(self) -> list[int]:
        return sorted(self.issues, key=lambda number: (self.updated(number), number))

    def key(self, number: int) -> str:
        return f"{self.project_key(self.project_of(number))}-{number + 1}"

    def project_of(self, number: int) -> int:
        return number % max(1, len(self.projects))

    def project_key(self, number: int) -> str:
        return PROJECTS[number % 10] + (str(number // 10) if number >= 10 else "")

    def user(self, number: int, root: str) -> dict[str, Any]:
        given = GIVEN_NAMES[pick(self.seed, "given", number, len(GIVEN_NAMES))]
        surname = SURNAMES[pick(self.seed, "surname", number, len(SURNAMES))]
        account = f"5b10{digest(self.seed, 'user', number)[:10].hex()}"
        row: dict[str, Any] = {
            "self": f"{root}/rest/api/3/user?accountId={account}",
            "accountId": account,
            "accountType": "app" if number % 20 == 19 else "atlassian",
            "displayName": f"{given} {surname}",
            "active": number % 15 != 14,
        }
        if number % 4:  # who hides the address shows none
            row["emailAddress"] = f"{given}.{surname}{number}@example.com".lower()
        return row

    def project(self, number: int, root: str) -> dict[str, Any]:
        return {
            "self": f"{root}/rest/api/3/project/{10000 + number}",
            "id": str(10000 + number),
            "key": self.project_key(number),
            "name": f"Project {number}",
            "description": "" if number % 2 else f"What team {number} works on",
            "lead": self.user(number % max(1, self.users), root),
            "projectTypeKey": "service_desk" if number % 3 == 0 else "software",
            "simplified": False,
            "style": "classic",
            "isPrivate": False,
        }

    def issue(self, number: int, root: str, fields: list[str]) -> dict[str, Any]:
        status, category = STATUSES[pick(self.seed, "status", number, 4)]
        project = self.project_of(number)
        opened = EPOCH - 90 * DAY + number * 60
        edits = " (edited)" if number in self.changed else ""
        all_fields: dict[str, Any] = {
            "summary": f"Review access of system {number}{edits}",
            "description": document(f"System {number}.", "Ask its owner.") if number % 3 else None,
            "status": {"name": status, "statusCategory": {"key": category, "name": status}},
            "priority": {"name": PRIORITIES[number % 5]} if number % 11 else None,
            "issuetype": {"name": TYPES[number % 4], "subtask": False},
            "project": {
                "id": str(10000 + project),
                "key": self.project_key(project),
                "name": f"Project {project}",
            },
            "assignee": self.user(number % max(1, self.users), root) if number % 5 else None,
            "reporter": self.user(number * 3 % max(1, self.users), root),
            "labels": ["access"] if number % 2 else [],
            "components": [],
            "resolution": {"name": "Done"} if category == "done" else None,
            "resolutiondate": stamp(opened + DAY) if category == "done" else None,
            "created": stamp(opened),
            "updated": stamp(self.updated(number)),
            "duedate": "2026-02-01" if number % 7 == 0 else None,
            "statuscategorychangedate": stamp(opened + 3600),
        }
        shown = {name: value for name, value in all_fields.items() if name in fields}
        row = {"id": str(20000 + number), "key": self.key(number), "self": f"{root}/rest/api/3/issue/{20000 + number}"}
        return row | ({"fields": shown} if fields else {})

    def comments(self, number: int, root: str) -> list[dict[str, Any]]:
        rows = []
        for n in range(number % 3):
            when = stamp(EPOCH - 60 * DAY + number * 60 + n)
            rows.append(
                {
                    "id": str(30000 + number * 10 + n),
                    "author": self.user((number + n) % max(1, self.users), root),
                    "body": document(f"Looked at it, step {n}."),
                    "created": when,
                    "updated": when,
                    "jsdPublic": n == 0,
                }
            )
        return rows

    def changes(self, number: int, root: str) -> list[dict[str, Any]]:
        if number % 2:
            return []
        item = {"field": "status", "fieldtype": "jira", "fieldId": "status", "from": "1", "fromString": "To Do",
                "to": "3", "toString": "In Progress"}  # fmt: skip
        when = stamp(EPOCH - 50 * DAY + number * 60)
        author = self.user(number % max(1, self.users), root)
        return [{"id": str(40000 + number), "author": author, "created": when, "items": [item]}]
