"""What the simulator of Falcon makes up: hosts, findings, alerts, incidents, indicators. All from numbers."""

from __future__ import annotations

from typing import Any

from towline_connectors.catalogue.people import digest, pick
from towline_connectors.catalogue.simulating import EPOCH, iso

Row = dict[str, Any]
DAY = 86400
CID = "0123456789abcdef0123456789abcdef"
PLATFORMS = (
    ("Windows", "Windows 11", "Workstation"),
    ("Windows", "Windows Server 2022", "Server"),
    ("Mac", "Sonoma (14)", "Workstation"),
    ("Linux", "Ubuntu 22.04", "Server"),
)
GROUPS = 3
LEVELS = (("LOW", 3.1), ("MEDIUM", 5.5), ("HIGH", 7.8), ("CRITICAL", 9.8))


def stamp(timestamp: float) -> str:
    """A time as most of this API writes it: without fractions."""
    return iso(timestamp).replace(".000Z", "Z")


class Customer:
    """Tests change `hosts`, `closed`, `touched` and `states` here."""

    def __init__(self, seed: int, hosts: int, findings: int, alerts: int, incidents: int) -> None:
        self.seed = seed
        self.hosts = hosts
        self.findings = findings
        self.alerts = alerts
        self.incidents = incidents
        self.closed: dict[int, float] = {}  # number of a finding -> when
        self.states: dict[int, tuple[str, float]] = {}  # alert -> (status, when)

    def aid(self, number: int) -> str:
        return digest(self.seed, "host", number)[:16].hex()

    def group_id(self, number: int) -> str:
        return digest(self.seed, "group", number)[:16].hex()

    def aids(self) -> list[str]:
        return [self.aid(number) for number in range(self.hosts)]

    def host(self, aid: str) -> Row | None:
        number = next((n for n in range(self.hosts) if self.aid(n) == aid), None)
        if number is None:
            return None
        noise = digest(self.seed, "device", number)
        platform, version, kind = PLATFORMS[noise[0] % len(PLATFORMS)]
        found: Row = {
            "device_id": aid,
            "cid": CID,
            "agent_version": "7.18.18604.0",
            "bios_manufacturer": "Example",
            "bios_version": "1.2.3",
            "external_ip": "203.0.113.7",
            "mac_address": "-".join(f"{part:02x}" for part in noise[1:7]),
            "hostname": f"HOST-{number:05d}",
            "first_seen": stamp(EPOCH - 100 * DAY),
            "last_seen": stamp(EPOCH - noise[7] * 60),
            "local_ip": f"10.{noise[8]}.{noise[9]}.{noise[10] or 1}",
            "major_version": "10",
            "minor_version": "0",
            "os_version": version,
            "platform_id": "0",
            "platform_name": platform,
            "product_type_desc": kind,
            "provision_status": "Provisioned",
            "reduced_functionality_mode": "no",
            "serial_number": noise[11:17].hex().upper(),
            "status": "normal",
            "system_manufacturer": "Example Computers",
            "system_product_name": "Model 7",
            "tags": ["FalconGroupingTags/site-a"] if noise[17] % 2 else [],
            "groups": [self.group_id(n) for n in range(GROUPS) if noise[18 + n] % 2],
            "modified_timestamp": stamp(EPOCH - noise[7] * 60),
            "chassis_type_desc": "Laptop" if kind == "Workstation" and noise[22] % 2 else None,
            "meta": {"version": "42"},
            "device_policies": {"prevention": {"policy_type": "prevention", "policy_id": "f" * 32, "applied": True}},
        }
        if platform == "Windows":
            found["machine_domain"] = "corp.example.com"
        if kind == "Server":
            found |= {
                "service_provider": "AWS_EC2_V2",
                "instance_id": f"i-{noise[23:31].hex()}",
                "zone_group": "eu-west-1a",
            }
        return found

    def finding_total(self) -> int:
        return self.hosts * self.findings

    def finding(self, number: int) -> Row:
        host, place = divmod(number, self.findings)
        weakness = (pick(self.seed, "cve", host, 300) + place * 37) % 300
        level, score = LEVELS[weakness % len(LEVELS)]
        closed = self.closed.get(number)
        return {
            "id": f"{self.aid(host)}_{digest(self.seed, 'finding', number)[:16].hex()}",
            "cid": CID,
            "aid": self.aid(host),
            "vulnerability_id": f"CVE-2025-{20000 + weakness}",
            "data_providers": [{"provider": "Falcon sensor"}],
            "created_timestamp": stamp(EPOCH - 50 * DAY),
            "updated_timestamp": stamp(self.updated(number)),
            **({"closed_timestamp": stamp(closed)} if closed else {}),
            "status": "closed" if closed else "reopen" if number % 17 == 3 else "open",
            "apps": [
                {
                    "product_name_version": f"Example Product 1.{place}",
                    "product_name_normalized": "Example Product",
                    "sub_status": "open",
                    "remediation": {"ids": ["a" * 32]},
                    "evaluation_logic": {"id": "b" * 32},
                }
            ],
            "suppression_info": {"is_suppressed": number % 23 == 5},
            "confidence": "confirmed",
            "host_info": {"hostname": f"HOST-{host:05d}", "local_ip": "10.0.0.1", "platform": "Windows"},
            "remediation": {"ids": ["a" * 32], "entities": [{"id": "a" * 32, "action": "Update the product"}]},
            "cve": {
                "id": f"CVE-2025-{20000 + weakness}",
                "base_score": score,
                "severity": level,
                "exploit_status": (0, 30, 60, 90)[weakness % 4],
                "exprt_rating": level,
                "description": "The product is older than the version that mends a known fault.",
                "published_date": "2025-05-13T00:00:00Z",
                "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                "references": ["https://example.com/advisory"],
                "cisa_info": {"is_cisa_kev": weakness % 4 == 3},
            },
        }

    def updated(self, finding: int) -> float:
        return self.closed.get(finding) or EPOCH - 20 * DAY + finding

    def alert_id(self, number: int) -> str:
        return f"{CID}:ind:{self.aid(number % max(1, self.hosts))}:{number}"

    def alert_time(self, number: int) -> float:
        return self.states[number][1] if number in self.states else EPOCH - 10 * DAY + number * 60

    def alert(self, number: int) -> Row:
        noise = digest(self.seed, "alert", number)
        aid = self.aid(number % max(1, self.hosts))
        severity = (10, 30, 50, 70, 90)[noise[0] % 5]
        found: Row = {
            "composite_id": self.alert_id(number),
            "id": f"ind:{aid}:{number}",
            "cid": CID,
            "aggregate_id": f"aggind:{aid}:{number}",
            "agent_id": aid,
            "display_name": "SuspiciousScript",
            "name": "SuspiciousScript",
            "description": "A script ran with a hidden window.",
            "severity": severity,
            "severity_name": ("Informational", "Low", "Medium", "High", "Critical")[noise[0] % 5],
            "confidence": 80,
            "status": self.states.get(number, ("new", 0.0))[0],
            "product": "epp",
            "type": "ldt",
            "tactic": "Execution",
            "tactic_id": "TA0002",
            "technique": "Command and Scripting Interpreter",
            "technique_id": "T1059",
            "filename": "powershell.exe",
            "cmdline": "powershell.exe -w hidden",
            "user_name": "user",
            "timestamp": stamp(EPOCH - 10 * DAY + number * 60),
            "created_timestamp": iso(EPOCH - 10 * DAY + number * 60).replace("Z", "123456Z"),
            "updated_timestamp": iso(self.alert_time(number)).replace("Z", "654321Z"),
            "falcon_host_link": f"https://falcon.example.com/alerts/{number}",
        }
        if noise[1] % 4:
            found["device"] = {"device_id": aid, "hostname": f"HOST-{number % max(1, self.hosts):05d}"}
        return found

    def incident_id(self, number: int) -> str:
        return f"inc:{self.aid(number % max(1, self.hosts))}:{digest(self.seed, 'incident', number)[:16].hex()}"

    def incident(self, number: int) -> Row:
        aid = self.aid(number % max(1, self.hosts))
        return {
            "incident_id": self.incident_id(number),
            "incident_type": 1,
            "cid": CID,
            "host_ids": [aid],
            "hosts": [{"device_id": aid, "hostname": f"HOST-{number:05d}"}],
            "created": stamp(EPOCH - 5 * DAY),
            "start": stamp(EPOCH - 5 * DAY),
            "end": stamp(EPOCH - 4 * DAY),
            "state": "closed" if number % 3 == 0 else "open",
            "status": (40, 20, 30)[number % 3],
            "name": f"Incident on HOST-{number:05d}" if number % 2 else None,
            "tactics": ["Execution"],
            "techniques": ["PowerShell"],
            "objectives": ["Follow Through"],
            "fine_score": 25 + number,
            "modified_timestamp": iso(EPOCH - 4 * DAY + number).replace("Z", "654321Z"),
        }

    def indicator(self, number: int) -> Row:
        kind, value = (("ipv4", f"198.51.100.{number % 250}"), ("sha256", digest(1, "file", number).hex()))[number % 2]
        return {
            "id": digest(self.seed, "ioc", number).hex(),
            "type": kind,
            "value": value,
            "source": "simulator",
            "action": "detect",
            "severity": "medium",
            "platforms": ["windows"],
            "tags": ["test"],
            "expired": False,
            "deleted": False,
            "applied_globally": True,
            "created_on": iso(EPOCH - DAY),
            "modified_on": iso(EPOCH - DAY),
        }

    def assessment(self, aid: str) -> Row:
        noise = digest(self.seed, aid, 0)
        return {
            "aid": aid,
            "cid": CID,
            "event_platform": "Win",
            "product_type_desc": "Workstation",
            "modified_time": stamp(EPOCH - DAY),
            "sensor_file_status": "deployed",
            "assessment": {
                "sensor_config": noise[0] % 101,
                "os": noise[1] % 101,
                "overall": noise[2] % 101,
                "version": "3.9",
            },
            "assessment_items": {
                "os_signals": [{"signal_id": "c1", "criteria": "Disk encryption", "meets_criteria": "no"}],
                "sensor_signals": [],
            },
        }

    def group(self, number: int) -> Row:
        return {
            "id": self.group_id(number),
            "group_type": "static",
            "name": f"Group {number}",
            "description": "",
            "created_by": "admin@example.com",
            "created_timestamp": iso(EPOCH - 90 * DAY),
        }

    def application(self, number: int) -> Row:
        """Every fifth is a program that was run, with neither name nor version."""
        named = {
            "name": f"App {number}",
            "vendor": "Acme",
            "version": "1.0",
            "installation_paths": [f"/opt/app{number}"],
        }
        return {
            "id": f"{CID}_{digest(self.seed, 'app', number).hex()}",
            "cid": CID,
            **({} if number % 5 == 4 else named),
            "installation_timestamp": iso(EPOCH - 30 * DAY),
            "first_seen_timestamp": iso(EPOCH - 20 * DAY),
            "last_updated_timestamp": iso(EPOCH - DAY),
            "is_suspicious": False,
            "host": {"aid": self.aid(number % self.hosts), "hostname": f"host-{number % self.hosts}"},
        }

    def policy(self, number: int) -> Row:
        return {
            "id": digest(self.seed, "policy", number)[:16].hex(),
            "cid": CID,
            "name": f"Policy {number}",
            "description": None,
            "platform_name": "Windows",
            "groups": [],
            "enabled": number % 2 == 0,
            "created_by": "admin@example.com",
            "created_timestamp": iso(EPOCH - 90 * DAY),
            "prevention_settings": [
                {"name": "Sensor visibility", "settings": [{"id": "x", "value": {"enabled": True}}]}
            ],
        }
