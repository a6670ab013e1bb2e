"""Rows of the further tables of the simulator of ServiceNow: other classes, services, relations, changes, requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH

Row = dict[str, Any]
STAMPED = ("sys_journal_field",)  # rows that are written once
RELATIONS = ("Runs on::Runs", "Depends on::Used by", "Contains::Contained by")


def makers(seed: int, users: int, groups: int, servers: int) -> dict[str, Callable[[int], Row]]:
    """Name of a table -> row by number."""

    def key(table: str, number: int) -> str:
        return digest(seed, table, number)[:16].hex()

    def user(number: int) -> str:
        return key("sys_user", number % max(1, users))

    def group(number: int) -> str:
        return key("sys_user_group", number % max(1, groups))

    def server(number: int) -> str:
        return key("cmdb_ci", number % max(1, servers))

    def item(prefix: str, classes: tuple[str, ...]) -> Callable[[int], Row]:
        def make(n: int) -> Row:
            return {
                "name": f"{prefix}-{n:04d}",
                "ip_address": f"10.9.{n // 250}.{n % 250 + 1}",
                "mac_address": "",
                "serial_number": f"{prefix.upper()}{n:06d}",
                "operational_status": "1",
                "owned_by": user(n),
                "object_id": f"vm-{n}" if prefix == "vm" else "",
                "state": "on" if prefix == "vm" else "",
                "sys_class_name": classes[n % len(classes)],
            }

        return make

    def service(n: int) -> Row:
        return {
            "name": f"Service {n}",
            "version": "1",
            "short_description": "What a department cannot do without.",
            "operational_status": "1",
            "busines_criticality": "1 - most critical" if n % 3 == 0 else "3 - less critical",
            "owned_by": user(n),
            "support_group": group(n),
            "service_classification": "Business Service",
            "sys_class_name": "cmdb_ci_service",
        }

    def catalog_item(n: int) -> Row:
        return {
            "name": f"Laptop, model {n}",
            "short_description": "For people who travel.",
            "active": "true" if n % 5 else "false",
            "owner": user(n),
            "group": group(n),
            "price": "1200",
            "sys_class_name": "sc_cat_item",
        }

    def application(n: int) -> Row:
        return {
            "name": f"Application {n}",
            "short_description": "",
            "operational_status": "1",
            "owned_by": user(n),
            "vendor": "",
            "version": f"2.{n}",
            "sys_class_name": "cmdb_ci_app_server" if n % 2 else "cmdb_ci_appl",
        }

    def relation(n: int) -> Row:
        kind = RELATIONS[n % 3]
        return {
            "parent": key("cmdb_ci_service", n),
            "child": server(n),
            "type": key("cmdb_rel_type", n % 3),
            "type.name": kind,
        }

    def change(n: int) -> Row:
        state = ("-5", "-4", "-2", "-1", "0", "3", "4")[n % 7]
        begun = EPOCH - n * 3600
        return {
            "number": f"CHG{30000 + n:07d}",
            "short_description": f"Replace certificate number {n}",
            "description": "",
            "type": ("normal", "standard", "emergency")[n % 3],
            "state": state,
            "approval": ("not requested", "requested", "approved", "rejected")[n % 4],
            "priority": "4",
            "risk": str(1 + n % 4),
            "requested_by": user(n),
            "assigned_to": user(n + 1),
            "assignment_group": group(n),
            "cmdb_ci": server(n),
            "start_date": stamp(begun),
            "end_date": stamp(begun + 3600),
            "opened_at": stamp(begun - 86400),
            "closed_at": stamp(begun + 7200) if state == "3" else "",
        }

    def change_task(n: int) -> Row:
        return {
            "number": f"CTASK{10000 + n:07d}",
            "short_description": "Test afterwards",
            "state": ("1", "2", "3")[n % 3],
            "priority": "4",
            "change_request": key("change_request", n),
            "change_task_type": "testing",
            "assignment_group": group(n),
            "opened_at": stamp(EPOCH - n * 3600),
        }

    def requested(n: int) -> Row:
        return {
            "number": f"RITM{10000 + n:07d}",
            "short_description": "A laptop",
            "state": ("1", "2", "3", "4")[n % 4],
            "priority": "4",
            "requested_for": user(n),
            "cat_item": key("sc_cat_item", n),
            "approval": "requested",
            "stage": "waiting_for_approval",
            "opened_at": stamp(EPOCH - n * 3600),
        }

    def approval(n: int) -> Row:
        return {
            "sysapproval": key("change_request", n),
            "document_id": key("change_request", n),
            "source_table": "change_request",
            "approver": user(n),
            "state": ("requested", "approved", "rejected", "not_required")[n % 4],
            "comments": "",
            "due_date": "",
        }

    def comment(n: int) -> Row:
        return {
            "name": "incident",
            "element": "work_notes" if n % 2 else "comments",
            "element_id": key("incident", n),
            "value": f"Called back, nobody there ({n}).",
            "sys_created_by": "admin",
        }

    def inventory(n: int) -> Row:
        return {
            "display_name": f"P{1000 + n} - Laptop",
            "asset_tag": f"P{1000 + n}",
            "serial_number": f"INV{n:06d}",
            "install_status": "1",
            "assigned_to": user(n),
            "ci": server(n),
            "sys_class_name": "alm_hardware",
        }

    return {
        "cmdb_ci_netgear": item("net", ("cmdb_ci_ip_switch", "cmdb_ci_ip_router", "cmdb_ci_ip_firewall")),
        "cmdb_ci_vm_instance": item("vm", ("cmdb_ci_vm_instance",)),
        "cmdb_ci_storage_device": item("store", ("cmdb_ci_storage_device",)),
        "cmdb_ci_printer": item("print", ("cmdb_ci_printer",)),
        "cmdb_ci_service": service,
        "sc_cat_item": catalog_item,
        "cmdb_ci_appl": application,
        "cmdb_rel_ci": relation,
        "change_request": change,
        "change_task": change_task,
        "sc_req_item": requested,
        "sysapproval_approver": approval,
        "sys_journal_field": comment,
        "alm_hardware": inventory,
    }


def stamp(timestamp: float) -> str:
    """A time as the Table API writes it: UTC, without zone."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
