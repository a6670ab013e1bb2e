"""Software: OCSF package (inventory class 5020). Correlate by purl, cpe_name, name with version."""

from __future__ import annotations

from towline_connectors.entities.model import EXT, OBSERVED, Entity, Field

SOFTWARE = Entity(
    name="software",
    table="software",
    description="A program or package installed on an asset.",
    fields=(
        Field("asset", "ref", "Where it is installed.", ref="asset"),
        Field("name", "text", "Name."),
        Field("version", "text", "Version."),
        Field("vendor_name", "text", "Publisher."),
        Field("purl", "text", "Package URL."),
        Field("cpe_name", "text", "CPE 2.3 name."),
        Field("path", "text", "Where it lies on the asset."),
        Field("license", "text", "Licence."),
        Field("installed_time", "time", "When it was installed."),
        *OBSERVED,
        EXT,
    ),
)
