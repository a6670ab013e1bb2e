"""Tables that the simulator of ServiceNow makes up. A row is made from its number when it is asked for; in memory
stands one small tuple for each row, so that the table is ordered by (sys_updated_on, sys_id) as the API orders it.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from towline_connectors.catalogue.cmdb.servicenow import simulated_more
from towline_connectors.catalogue.cmdb.servicenow.simulated_more import stamp
from towline_connectors.catalogue.people import DEPARTMENTS, GIVEN_NAMES, SURNAMES, digest, pick
from towline_connectors.catalogue.simulating import EPOCH

Row = dict[str, Any]
REFERENCES = {
    "manager": "sys_user",
    "user": "sys_user",
    "group": "sys_user_group",
    "caller_id": "sys_user",
    "assigned_to": "sys_user",
    "assignment_group": "sys_user_group",
    "cmdb_ci": "cmdb_ci",
    "owned_by": "sys_user",
    "department": "cmn_department",
    "location": "cmn_location",
}
SERVER_CLASSES = ("cmdb_ci_linux_server", "cmdb_ci_win_server", "cmdb_ci_server")
PRODUCTS = (
    "E-mail",
    "VPN",
    "Printer",
    "Laptop",
    "Phone",
    "Payroll",
    "Intranet",
    "Wi-Fi",
    "Build server",
    "Badge reader",
)
TROUBLES = ("does not start", "is slow", "shows an error", "lost its settings", "needs an upgrade", "is locked")


class Table:
    """Rows by (sys_updated_on, sys_id). With `stamped` rows never change: created is when they were updated."""

    def __init__(
        self, name: str, seed: int, rows: int, bulk: int, make: Callable[[int], Row], stamped: bool = False
    ) -> None:
        self.name = name
        self._stamped = stamped
        self._make = make
        self._seed = seed
        self._changes: dict[int, tuple[float, int]] = {}  # number -> when, how often
        self._next = rows
        # The first `bulk` rows were imported in the same second; the others follow, two in each second.
        times = (EPOCH - 86400 - max(0, rows - bulk) // 2 + max(0, number - bulk + 2) // 2 for number in range(rows))
        self.order = sorted((float(when), self.sys_id(number), number) for number, when in enumerate(times))
        self._when = {number: when for when, _, number in self.order}

    def sys_id(self, number: int) -> str:
        return digest(self._seed, self.name, number)[:16].hex()

    def since(self, when: float) -> list[tuple[float, str, int]]:
        return self.order[bisect_left(self.order, (when,)) :]

    def touch(self, number: int, when: float | None = None) -> None:
        """The row changes now and moves to the end of the order."""
        self._remove(number)
        now = float(int(when if when is not None else time.time()))
        self._changes[number] = (now, self._changes.get(number, (0.0, 0))[1] + 1)
        self._when[number] = now
        insort(self.order, (now, self.sys_id(number), number))

    def delete(self, number: int) -> None:
        self._remove(number)

    def add(self) -> int:
        number, self._next = self._next, self._next + 1
        self._when[number] = float(int(time.time()))
        insort(self.order, (self._when[number], self.sys_id(number), number))
        return number

    def _remove(self, number: int) -> None:
        key = (self._when.pop(number), self.sys_id(number), number)
        del self.order[bisect_left(self.order, key)]

    def row(self, number: int) -> Row:
        row = self._make(number)
        changes = self._changes.get(number, (0.0, 0))[1]
        for text in ("short_description", "title", "description"):
            if changes and text in row:
                row[text] += f" (update {changes})"
        row |= {
            "sys_id": self.sys_id(number),
            "sys_created_on": stamp(self._when[number] if self._stamped else EPOCH - 86400 * 400),
            "sys_created_by": "admin",
            "sys_updated_on": stamp(self._when[number]),
            "sys_updated_by": "admin",
            "sys_mod_count": str(changes + 1),
        }
        return row


class Tables:
    """All tables of one instance."""

    def __init__(
        self, seed: int, users: int, groups: int, servers: int, computers: int, incidents: int, bulk: int, others: int
    ) -> None:
        self.seed = seed
        self.users, self.groups, self.servers = users, groups, servers
        self.all = {
            "sys_user": Table("sys_user", seed, users, bulk, self._user),
            "sys_user_group": Table("sys_user_group", seed, groups, 0, self._group),
            "sys_user_grmember": Table("sys_user_grmember", seed, min(users * 2, groups * 20), 0, self._member),
            "cmdb_ci_server": Table("cmdb_ci", seed, servers, bulk, self._server),
            "incident": Table("incident", seed, incidents, bulk, self._incident),
        }
        # A class holds the rows of the classes below it too, with the columns of its own alone.
        self.all["cmdb_ci_computer"] = Table("cmdb_ci", seed, servers + computers, bulk, self._computer)
        for name, make in simulated_more.makers(seed, users, groups, servers).items():
            self.all[name] = Table(name, seed, others, 0, make, stamped=name in simulated_more.STAMPED)
        self._deleted: list[Row] = []
        self.all["sys_audit_delete"] = Table("sys_audit_delete", seed, 0, 0, self._deleted.__getitem__, stamped=True)

    def delete(self, table: str, number: int) -> str:
        """Delete a row and leave the mark that auditing leaves; its sys_id."""
        key = self.all[table].sys_id(number)
        self.all[table].delete(number)
        self._deleted.append({"tablename": table, "documentkey": key, "display_value": ""})
        self.all["sys_audit_delete"].add()
        return key

    def class_of(self, table: str, number: int) -> str:
        if table == "cmdb_ci_server" or (table == "cmdb_ci_computer" and number < self.servers):
            return SERVER_CLASSES[number % 3]
        return table

    def _user(self, n: int) -> Row:
        given, surname = self._pick("given", n, GIVEN_NAMES), self._pick("surname", n, SURNAMES)
        login = f"{given}.{surname}{n}".lower()
        return {
            "user_name": login,
            "name": f"{given} {surname}",
            "first_name": given,
            "last_name": surname,
            "email": f"{login}@example.com",
            "employee_number": str(100000 + n),
            "title": "Manager" if n < 10 else "Specialist",
            "department": self._reference("cmn_department", n % len(DEPARTMENTS)),
            "location": self._reference("cmn_location", n % 7),
            "manager": self._reference("sys_user", n // 10) if n >= 10 else "",
            "active": "false" if n % 40 == 39 else "true",
            "locked_out": "true" if n % 90 == 89 else "false",
            "web_service_access_only": "true" if n % 200 == 5 else "false",
            "enable_multifactor_authn": "true" if n % 2 else "false",
            "last_login_time": "" if n % 3 else stamp(EPOCH - 86400 * 3),
            "phone": "" if n % 4 else f"+1 555 01{n % 100:02d}",
            "sys_class_name": "sys_user",
        }

    def _group(self, n: int) -> Row:
        return {
            "name": f"{DEPARTMENTS[n % len(DEPARTMENTS)]} {n}",
            "description": f"Support group number {n}",
            "email": f"group{n}@example.com" if n % 2 else "",
            "manager": self._reference("sys_user", n % max(1, self.users)),
            "active": "true",
            "type": "",
            "parent": "",
        }

    def _member(self, n: int) -> Row:
        user, group = n % max(1, self.users), (n * 7 + n // max(1, self.users)) % max(1, self.groups)
        return {"user": self._reference("sys_user", user), "group": self._reference("sys_user_group", group)}

    def _computer(self, n: int) -> Row:
        noise = digest(self.seed, "computer", n)
        server = n < self.servers
        return {
            "name": f"{'srv' if server else 'ws'}-{n:06d}",
            "host_name": "",
            "fqdn": f"{'srv' if server else 'ws'}-{n:06d}.example.com",
            "ip_address": f"10.{noise[0]}.{noise[1]}.{noise[2] or 1}",
            "mac_address": ":".join(f"{part:02X}" for part in (2, *noise[3:8])) if n % 3 else "",
            "serial_number": f"SN{noise[8:14].hex().upper()}",
            "asset_tag": f"P{1000000 + n}",
            "os": ("Linux Debian", "Windows Server 2022 Standard", "Windows 11 Enterprise")[n % 3],
            "os_version": ("12", "10.0.20348", "10.0.22631")[n % 3],
            "form_factor": "Server" if server else ("Laptop" if n % 2 else "Desktop"),
            "operational_status": "6" if n % 50 == 49 else "1",
            "install_status": "1",
            "environment": "Production" if n % 4 else "Test",
            "dns_domain": "example.com",
            "short_description": f"{'Server' if server else 'Workstation'} number {n}",
            "owned_by": self._reference("sys_user", n % max(1, self.users)),
            "location": self._reference("cmn_location", n % 7),
            "last_discovered": stamp(EPOCH - 86400 * 2),
            "discovery_source": "ServiceNow",
            "duplicate_of": "",
            "sys_class_name": self.class_of("cmdb_ci_computer", n),
        }

    def _server(self, n: int) -> Row:
        row = self._computer(n)
        return row | {"host_name": str(row["name"]), "classification": "Production"}

    def _incident(self, n: int) -> Row:
        state = ("1", "2", "3", "6", "7", "7", "7", "8")[pick(self.seed, "state", n, 8)]
        opened = EPOCH - 86400 * 30 - n * 60
        ended = state in ("6", "7")
        return {
            "number": f"INC{10000 + n:07d}",
            "short_description": f"{self._pick('product', n, PRODUCTS)} {self._pick('trouble', n, TROUBLES)}",
            "description": f"Reported by telephone. Case {n}. " + "It happened again after a restart. " * 5,
            "state": state,
            "priority": str(1 + pick(self.seed, "priority", n, 5)),
            "impact": str(1 + n % 3),
            "urgency": str(1 + n % 3),
            "severity": str(1 + n % 3),
            "category": "hardware" if n % 2 else "software",
            "subcategory": "",
            "caller_id": self._reference("sys_user", n % max(1, self.users)),
            "assigned_to": self._reference("sys_user", n * 3 % max(1, self.users)) if n % 4 else "",
            "assignment_group": self._reference("sys_user_group", n % max(1, self.groups)),
            "cmdb_ci": self._reference("cmdb_ci", n % max(1, self.servers)) if n % 2 else "",
            "business_service": "",
            "correlation_id": "",
            "opened_at": stamp(opened),
            "resolved_at": stamp(opened + 7200) if ended else "",
            "closed_at": stamp(opened + 90000) if state == "7" else "",
            "close_code": "Solution provided" if ended else "",
            "close_notes": "Restarted." if ended else "",
            "due_date": "",
            "reassignment_count": str(n % 4),
            "sys_class_name": "incident",
        }

    def _pick(self, salt: str, number: int, among: tuple[str, ...] | list[str]) -> str:
        return among[pick(self.seed, salt, number, len(among))]

    def _reference(self, table: str, number: int) -> str:
        return digest(self.seed, table, number)[:16].hex()
