"""The part of Active Directory's schema that the connector reads, with its names and value types, for slapd.

slapd's own msuser.schema has no matching rules, so filters such as (uSNChanged>=1) find nothing there. OIDs are of
OpenLDAP's arc for experiments.
"""

from __future__ import annotations

from collections.abc import Iterator

_ARC = "1.3.6.1.4.1.4203.666.11.77"
_INTEGER = "EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE"
_TEXT = "EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15"
_BYTES = "EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE"
_BOOLEAN = "EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE"
_NAME = "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE"
_TIME = (
    "EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch"
    " SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE"
)
_AD_ATTRIBUTES = {
    _BYTES: "objectGUID objectSid invocationId",
    _BOOLEAN: "isDeleted",
    _INTEGER: "uSNChanged userAccountControl groupType sAMAccountType primaryGroupID adminCount lastLogonTimestamp"
    " pwdLastSet accountExpires lockoutTime highestCommittedUSN badPwdCount badPasswordTime flags versionNumber",
    f"{_TEXT} SINGLE-VALUE": "sAMAccountName userPrincipalName employeeID department company location dNSHostName"
    " operatingSystem operatingSystemVersion gPLink gPCFileSysPath",
    _TEXT: "servicePrincipalName",
    _NAME: "objectCategory managedBy defaultNamingContext dsServiceName lastKnownParent",
    _TIME: "whenCreated whenChanged",
}


def lines() -> Iterator[str]:
    """Directives of slapd.conf."""
    number = 0
    for kind, names in _AD_ATTRIBUTES.items():
        for name in names.split():
            number += 1
            yield f"attributetype ( {_ARC}.1.{number} NAME '{name}' {kind} )"
    common = (
        "sAMAccountName $ objectSid $ objectGUID $ objectCategory $ whenCreated $ whenChanged $ uSNChanged"
        " $ description $ mail $ displayName $ managedBy $ member $ servicePrincipalName $ userAccountControl"
        " $ lastLogonTimestamp $ primaryGroupID $ adminCount $ location $ isDeleted $ lastKnownParent"
    )
    person = (
        "givenName $ employeeID $ department $ company $ manager $ userPrincipalName $ pwdLastSet"
        " $ accountExpires $ lockoutTime $ badPwdCount $ badPasswordTime"
    )
    computer = "dNSHostName $ operatingSystem $ operatingSystemVersion"
    yield (
        f"objectclass ( {_ARC}.2.1 NAME 'user' SUP organizationalPerson STRUCTURAL"
        f" MUST ( sAMAccountName $ objectGUID ) MAY ( {common} $ {person} ) )"
    )
    yield f"objectclass ( {_ARC}.2.2 NAME 'computer' SUP user STRUCTURAL MAY ( {computer} ) )"
    yield (
        f"objectclass ( {_ARC}.2.3 NAME 'group' SUP top STRUCTURAL"
        f" MUST ( cn $ groupType $ objectGUID ) MAY ( {common} ) )"
    )
    yield (
        f"objectclass ( {_ARC}.2.5 NAME 'groupPolicyContainer' SUP top STRUCTURAL MUST ( cn $ objectGUID )"
        " MAY ( displayName $ gPCFileSysPath $ versionNumber $ flags $ whenCreated $ uSNChanged ) )"
    )
    yield (f"objectclass ( {_ARC}.2.6 NAME 'container' SUP top STRUCTURAL MUST cn )")
    yield (
        f"objectclass ( {_ARC}.2.7 NAME 'domainPart' SUP top AUXILIARY"
        " MAY ( objectGUID $ gPLink $ whenCreated $ uSNChanged ) )"
    )
    yield (f"objectclass ( {_ARC}.2.4 NAME 'nTDSDSA' SUP top STRUCTURAL MUST ( cn $ invocationId ) )")
