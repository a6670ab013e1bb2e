"""Assets: OCSF device (class 5001). Correlate by cloud_uid, serial, agent_uid, MAC with hostname; never by IP alone."""

from __future__ import annotations

from towline_connectors.entities.enums import DEVICE_TYPE, RISK_LEVEL
from towline_connectors.entities.model import EXT, OBSERVED, Entity, Field

ASSET = Entity(
    name="asset",
    table="assets",
    description="A device or host: server, laptop, phone, virtual machine, network box.",
    fields=(
        Field("hostname", "text", "Host name, short or full, as the source tells it."),
        Field("name", "text", "The name that people gave it."),
        Field("fqdn", "texts", "Fully qualified names."),
        Field("ip", "texts", "IPv4 and IPv6 addresses."),
        Field("mac", "texts", "MAC addresses, lower case with colons."),
        Field("type_id", "integer", "Kind of device.", enum=DEVICE_TYPE),
        Field("os_name", "text", "Operating system."),
        Field("os_version", "text", "Version of the operating system."),
        Field("vendor_name", "text", "Manufacturer."),
        Field("model", "text", "Model."),
        Field("serial", "text", "Serial number."),
        Field("agent_uid", "text", "Id of the vendor's agent on it."),
        Field("cloud_provider", "text", "Cloud that it runs in."),
        Field("cloud_uid", "text", "Id of the instance in its cloud."),
        Field("region", "text", "Cloud region."),
        Field("domain", "text", "Directory or DNS domain."),
        Field("dn", "text", "Distinguished name in a directory."),
        Field("sid", "text", "Windows security identifier."),
        Field("netbios_name", "text", "NetBIOS name."),
        Field("location", "text", "Site or room."),
        Field("description", "text", "Free text."),
        Field("status", "text", "Life-cycle state in the source's own words."),
        Field("risk_level_id", "integer", "Risk.", enum=RISK_LEVEL),
        Field("risk_score", "number", "Risk in the source's own scale."),
        Field("is_managed", "boolean", "Whether an agent or a management system takes care of it."),
        Field("is_enabled", "boolean", "Whether its account is enabled."),
        Field("owner", "ref", "Who is responsible for it.", ref="user"),
        Field("labels", "texts", "Tags, as key:value where the source has both."),
        *OBSERVED,
        Field("boot_time", "time", "Last start."),
        Field("created_time", "time", "When the source made its record."),
        EXT,
    ),
)
