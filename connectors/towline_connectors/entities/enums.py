"""OCSF's numbered enumerations. Findings and incidents have different lists of statuses on purpose."""

from __future__ import annotations

from typing import Final

Enum = tuple[tuple[int, str], ...]

SEVERITY: Final[Enum] = (
    (0, "Unknown"),
    (1, "Informational"),
    (2, "Low"),
    (3, "Medium"),
    (4, "High"),
    (5, "Critical"),
    (6, "Fatal"),
    (99, "Other"),
)
FINDING_STATUS: Final[Enum] = (
    (0, "Unknown"),
    (1, "New"),
    (2, "In Progress"),
    (3, "Suppressed"),
    (4, "Resolved"),
    (5, "Archived"),
    (6, "Deleted"),
    (99, "Other"),
)
INCIDENT_STATUS: Final[Enum] = (
    (0, "Unknown"),
    (1, "New"),
    (2, "In Progress"),
    (3, "On Hold"),
    (4, "Resolved"),
    (5, "Closed"),
    (99, "Other"),
)
PRIORITY: Final[Enum] = ((0, "Unknown"), (1, "Low"), (2, "Medium"), (3, "High"), (4, "Critical"), (99, "Other"))
CONFIDENCE: Final[Enum] = ((0, "Unknown"), (1, "Low"), (2, "Medium"), (3, "High"), (99, "Other"))
RISK_LEVEL: Final[Enum] = ((0, "Info"), (1, "Low"), (2, "Medium"), (3, "High"), (4, "Critical"), (99, "Other"))
DEVICE_TYPE: Final[Enum] = (
    (0, "Unknown"),
    (1, "Server"),
    (2, "Desktop"),
    (3, "Laptop"),
    (4, "Tablet"),
    (5, "Mobile"),
    (6, "Virtual"),
    (7, "IOT"),
    (8, "Browser"),
    (9, "Firewall"),
    (10, "Switch"),
    (11, "Hub"),
    (12, "Router"),
    (13, "IDS"),
    (14, "IPS"),
    (15, "Load Balancer"),
    (99, "Other"),
)
USER_TYPE: Final[Enum] = ((0, "Unknown"), (1, "User"), (2, "Admin"), (3, "System"), (4, "Service"), (99, "Other"))
INDICATOR_TYPE: Final[Enum] = (
    (0, "Unknown"),
    (1, "IP Address"),
    (2, "Domain"),
    (3, "Hostname"),
    (4, "Hash"),
    (5, "URL"),
    (6, "User Agent"),
    (7, "Digital Certificate"),
    (8, "Email"),
    (9, "Email Address"),
    (10, "Vulnerability"),
    (11, "File"),
    (12, "Registry Key"),
    (13, "Registry Value"),
    (14, "Command Line"),
    (99, "Other"),
)
# Ours: OCSF has no membership object.
MEMBER_TYPE: Final[Enum] = ((0, "Unknown"), (1, "User"), (2, "Group"), (3, "Asset"), (99, "Other"))
CHANGE_TYPE: Final[Enum] = ((0, "Unknown"), (1, "Standard"), (2, "Normal"), (3, "Emergency"), (99, "Other"))
CHANGE_STATUS: Final[Enum] = (
    (0, "Unknown"),
    (1, "New"),
    (2, "In Progress"),
    (3, "On Hold"),
    (4, "Resolved"),
    (5, "Closed"),
    (6, "Canceled"),
    (99, "Other"),
)
