"""What the simulator of Defender for Endpoint makes up: machines with software, findings, alerts. All from numbers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from towline_connectors.catalogue.people import GIVEN_NAMES, digest, pick
from towline_connectors.catalogue.simulating import EPOCH, iso

Row = dict[str, Any]
DAY = 86400
PLATFORMS = (("Windows11", "23H2"), ("Windows10", "22H2"), ("WindowsServer2022", "21H2"), ("Ubuntu", "22.04"))
PRODUCTS = (("microsoft", "edge"), ("google", "chrome"), ("mozilla", "firefox"), ("openssl", "openssl"))
SEVERITIES = ("Low", "Medium", "High", "Critical")
SCORES = (3.1, 5.5, 7.8, 9.8)
CVES = 400


def _ticks(timestamp: float) -> str:
    """A time as this API writes it: with seven digits behind the second."""
    return iso(timestamp).replace("Z", "1234Z")


class Tenant:
    """Tests change `machines`, `fixed`, `resolved` and `seen` here, and call `mend` and `found`."""

    def __init__(self, seed: int, machines: int, findings: int, alerts: int) -> None:
        self.seed = seed
        self.machines = machines
        self.findings = findings
        self.alerts = alerts
        self.fixed: set[tuple[int, int]] = set()  # (machine, number of its finding)
        self.resolved: dict[int, float] = {}  # alert -> when
        self.seen: float = EPOCH - DAY * 1.4047  # when the assessment last saw each finding
        self._changed: list[tuple[float, Row]] = []  # when, and a row of the assessment with its status

    def machine_id(self, number: int) -> str:
        return digest(self.seed, "machine", number)[:20].hex()

    def machine(self, number: int) -> Row:
        noise = digest(self.seed, "host", number)
        platform, version = PLATFORMS[noise[0] % len(PLATFORMS)]
        address = f"10.{noise[1]}.{noise[2]}.{noise[3] or 1}"
        card = noise[4:10].hex().upper()
        cloud = noise[10] % 3 == 0
        machine = {
            "vmId": str(UUID(bytes=noise[16:32])),
            "cloudProvider": "Azure",
            "resourceId": f"/subscriptions/{UUID(int=self.seed)}/virtualMachines/vm-{number:05d}",
            "subscriptionId": None,
        }
        return {
            "id": self.machine_id(number),
            "mergedIntoMachineId": None,
            "isPotentialDuplication": False,
            "isExcluded": False,
            "exclusionReason": None,
            "computerDnsName": f"vm-{number:05d}" if noise[11] % 5 == 0 else f"vm-{number:05d}.corp.example.com",
            "firstSeen": _ticks(EPOCH - 200 * DAY),
            "lastSeen": _ticks(EPOCH - noise[12] * 60),
            "osPlatform": platform,
            "osVersion": None,
            "osProcessor": "x64",
            "version": version,
            "lastIpAddress": address,
            "lastExternalIpAddress": None if noise[13] % 4 == 0 else "203.0.113.10",
            "agentVersion": "10.8760.22621.3958",
            "osBuild": 22621 if platform.startswith("Windows") else None,
            "healthStatus": "Active" if noise[14] % 8 else "Inactive",
            "deviceValue": "Normal",
            "rbacGroupId": 0,
            "rbacGroupName": None,
            "riskScore": ("None", "Low", "Medium", "High")[noise[15] % 4],
            "exposureLevel": ("None", "Low", "Medium", "High")[noise[11] % 4],
            "isAadJoined": None,
            "aadDeviceId": None,
            "machineTags": [f"site-{noise[12] % 4}"] if noise[12] % 2 else [],
            "defenderAvStatus": "Updated",
            "onboardingStatus": "Onboarded" if noise[13] % 16 else "CanBeOnboarded",
            "osArchitecture": "64-bit",
            "managedBy": "Unknown",
            "managedByStatus": "Unknown",
            "ipAddresses": [
                {"ipAddress": address, "macAddress": card, "type": "Ethernet", "operationalStatus": "Up"},
                {"ipAddress": "127.0.0.1", "macAddress": None, "type": "SoftwareLoopback", "operationalStatus": "Up"},
            ],
            "vmMetadata": machine if cloud else None,
        }

    def cve(self, machine: int, number: int) -> int:
        return (pick(self.seed, "cves", machine, CVES) + number * 37) % CVES

    def vulnerabilities(self, machine: int) -> list[Row]:
        return [
            self._vulnerability(self.cve(machine, n)) for n in range(self.findings) if (machine, n) not in self.fixed
        ]

    def _vulnerability(self, number: int) -> Row:
        noise = digest(self.seed, "cve", number)
        level = noise[0] % 4
        return {
            "@odata.type": "#microsoft.windowsDefenderATP.api.PublicVulnerabilityDto",
            "id": f"CVE-2025-{10000 + number}",
            "name": f"CVE-2025-{10000 + number}",
            "description": "Summary: the product is older than the version that mends a known fault.",
            "severity": SEVERITIES[level],
            "cvssV3": SCORES[level],
            "cvssVector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" if noise[1] % 3 else None,
            "exposedMachines": 1 + noise[2] % 30,
            "publishedOn": "2025-05-13T00:00:00Z",
            "updatedOn": "2025-06-01T03:15:06.577Z",
            "firstDetected": "2025-06-02T13:51:06Z",
            "publicExploit": noise[3] % 4 == 0,
            "exploitVerified": noise[3] % 8 == 0,
            "exploitInKit": noise[3] % 16 == 0,
            "exploitTypes": ["Remote"] if noise[4] % 2 else [],
            "exploitUris": [],
            "cveSupportability": "Supported",
        }

    def listed(self) -> list[Row]:
        """A row for each machine and CVE, with the product."""
        return [
            {
                "id": f"{row['deviceId']}-_-{row['cveId']}-_-{row['softwareVendor']}-_-{row['softwareName']}-_-1.0-_-",
                "cveId": row["cveId"],
                "machineId": row["deviceId"],
                "fixingKbId": None,
                "productName": row["softwareName"],
                "productVendor": row["softwareVendor"],
                "productVersion": row["softwareVersion"],
                "severity": row["vulnerabilitySeverityLevel"],
            }
            for row in self.assessments()
            if row["cveId"]
        ]

    def assessments(self) -> list[Row]:
        """A row for each machine, software and CVE; each machine also has a program without a known weakness."""
        rows = []
        for machine in range(self.machines):
            rows.append(self._assessment(machine, "microsoft", "onedrive", None))
            for number in range(self.findings):
                if (machine, number) not in self.fixed:
                    vendor, name = PRODUCTS[number % len(PRODUCTS)]
                    rows.append(self._assessment(machine, vendor, name, self.cve(machine, number)))
        return rows

    def mend(self, machine: int, number: int, when: float) -> None:
        """A finding of a machine is mended; the export of changes tells it."""
        self._log(machine, number, "Fixed", when)
        self.fixed.add((machine, number))

    def found(self, machine: int, number: int, when: float) -> None:
        """A finding that was mended is there again."""
        self.fixed.discard((machine, number))
        self._log(machine, number, "New", when)

    def _log(self, machine: int, number: int, status: str, when: float) -> None:
        vendor, name = PRODUCTS[number % len(PRODUCTS)]
        row = self._assessment(machine, vendor, name, self.cve(machine, number))
        self._changed.append((when, {**row, "status": status, "eventTimestamp": _ticks(when)}))

    def changes(self, since: float) -> list[Row]:
        """What became known, changed or was mended from a time on; the newest row of each finding."""
        return list({row["id"]: row for when, row in self._changed if when >= since}.values())

    def _assessment(self, machine: int, vendor: str, name: str, cve: int | None) -> Row:
        level = digest(self.seed, "cve", cve)[0] % 4 if cve is not None else 0
        known = f"CVE-2025-{10000 + cve}" if cve is not None else None
        device = self.machine_id(machine)
        return {
            "id": f"{device}_{name}_1.0.{machine % 7}_{known or ''}_",
            "deviceId": device,
            "rbacGroupName": "None",
            "deviceName": f"vm-{machine:05d}.corp.example.com",
            "osPlatform": "Windows11",
            "osVersion": "10.0.22621.3958",
            "osArchitecture": "x64",
            "softwareVendor": vendor,
            "softwareName": name,
            "softwareVersion": f"1.0.{machine % 7}",
            "cveId": known,
            "vulnerabilitySeverityLevel": SEVERITIES[level] if known else None,
            "cvssScore": SCORES[level] if known else None,
            "recommendedSecurityUpdate": None,
            "recommendedSecurityUpdateId": None,
            "recommendedSecurityUpdateUrl": None,
            "diskPaths": [f"C:\\Program Files\\{name}\\{name}.exe"],
            "registryPaths": [],
            "lastSeenTimestamp": iso(self.seen).replace("T", " ")[:19],
            "firstSeenTimestamp": "2025-11-03 10:13:34.8476880",
            "exploitabilityLevel": ("NoExploit", "ExploitIsPublic", "ExploitIsVerified")[machine % 3],
            "recommendationReference": f"va-_-{vendor}-_-{name}",
            "securityUpdateAvailable": True,
        }

    def software(self) -> list[Row]:
        return [
            {
                "deviceId": self.machine_id(machine),
                "rbacGroupName": "None",
                "deviceName": f"vm-{machine:05d}.corp.example.com",
                "osPlatform": "Windows11",
                "softwareVendor": vendor,
                "softwareName": name,
                "softwareVersion": f"1.0.{machine % 7}",
                "numberOfWeaknesses": machine % 5,
                "diskPaths": [],
                "registryPaths": [f"HKEY_LOCAL_MACHINE\\SOFTWARE\\{vendor}\\{name}"],
                "softwareFirstSeenTimestamp": "2025-04-07 02:06:47",
                "endOfSupportStatus": "None",
                "endOfSupportDate": None,
            }
            for machine in range(self.machines)
            for vendor, name in PRODUCTS
        ]

    def recommendations(self) -> list[Row]:
        return [
            {
                "id": f"va-_-{vendor}-_-{name}",
                "productName": name,
                "recommendationName": f"Update {vendor.title()} {name.title()}",
                "weaknesses": 20 + number,
                "vendor": vendor,
                "recommendedVersion": "",
                "recommendedVendor": "",
                "recommendedProgram": "",
                "recommendationCategory": "Application",
                "subCategory": "",
                "severityScore": (0.0, 5.0, 8.5, 9.5)[number],
                "publicExploit": number == 3,
                "activeAlert": False,
                "associatedThreats": [],
                "remediationType": "Update",
                "status": "Active",
                "configScoreImpact": 0,
                "exposureImpact": 1.5,
                "totalMachineCount": self.machines,
                "exposedMachinesCount": number,
                "nonProductivityImpactedAssets": 0,
                "relatedComponent": name.title(),
            }
            for number, (vendor, name) in enumerate(PRODUCTS)
        ]

    def alert(self, number: int) -> Row:
        noise = digest(self.seed, "alert", number)
        created = EPOCH - 30 * DAY + number * 600
        updated = self.resolved.get(number, created + 60)
        name = GIVEN_NAMES[noise[0] % len(GIVEN_NAMES)].lower()
        return {
            "id": f"da{638000000000000000 + number}_{noise[1]}",
            "incidentId": 7000 + number // 3,
            "investigationId": None,
            "assignedTo": None if noise[2] % 2 else "analyst@example.com",
            "severity": ("Informational", "Low", "Medium", "High")[noise[3] % 4],
            "status": "Resolved" if number in self.resolved else "New",
            "classification": None,
            "determination": None,
            "investigationState": "UnsupportedAlertType",
            "detectionSource": "WindowsDefenderAtp",
            "detectorId": str(UUID(bytes=noise[16:32])),
            "category": "Execution",
            "threatFamilyName": None,
            "title": "Low-reputation code was run by a signed program",
            "description": "A program that the maker signed ran code of low reputation.",
            "alertCreationTime": _ticks(created),
            "firstEventTime": _ticks(created - 120),
            "lastEventTime": _ticks(created - 60),
            "lastUpdateTime": iso(updated),
            "resolvedTime": iso(updated) if number in self.resolved else None,
            "machineId": self.machine_id(number % max(1, self.machines)),
            "computerDnsName": f"vm-{number % max(1, self.machines):05d}.corp.example.com",
            "rbacGroupName": None,
            "threatName": None,
            "mitreTechniques": ["T1059", "T1218"],
            "relatedUser": None if noise[4] % 3 == 0 else {"userName": name, "domainName": "CORP"},
            "comments": [],
            "evidence": [{"entityType": "Process", "fileName": "rundll32.exe", "processId": 3276, "sha1": None}],
        }

    def indicator(self, number: int) -> Row:
        kind, value = (("IpAddress", f"198.51.100.{number % 250}"), ("FileSha1", digest(1, "file", number)[:20].hex()))[
            number % 2
        ]
        return {
            "id": str(995 + number),
            "indicatorValue": value,
            "indicatorType": kind,
            "action": "Alert",
            "application": None,
            "source": "simulator",
            "sourceType": "AadApp",
            "title": f"Indicator {number}",
            "creationTimeDateTimeUtc": _ticks(EPOCH - DAY),
            "createdBy": str(UUID(int=2)),
            "expirationTime": None if number % 3 else "2027-01-01T00:00:00Z",
            "lastUpdateTime": _ticks(EPOCH),
            "lastUpdatedBy": None,
            "severity": "Informational",
            "description": None,
            "recommendedActions": None,
            "rbacGroupNames": [],
        }
