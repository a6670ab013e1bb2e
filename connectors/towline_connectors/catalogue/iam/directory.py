"""A directory of people who do not exist, for tests and the demo: LDIF and configuration for a real slapd.

Two flavours: `openldap` (inetOrgPerson, groupOfNames) and `active-directory` (the names, classes and values of a
domain). The same options give the same directory.

    python -m towline_connectors.catalogue.iam.directory --flavour active-directory --out /srv/slapd
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from towline_connectors.catalogue.iam import directory_schema
from towline_connectors.catalogue.people import DEPARTMENTS, GIVEN_NAMES, SURNAMES, digest, pick

Flavour = Literal["openldap", "active-directory"]
READER_PASSWORD = "reader-of-the-directory"  # noqa: S105 - of a made-up directory
ADMIN_PASSWORD = "admin-of-the-directory"  # noqa: S105

SYSTEMS = (
    ("Windows 11 Enterprise", "10.0 (22631)"),
    ("Windows 10 Enterprise", "10.0 (19045)"),
    ("Windows Server 2022 Standard", "10.0 (20348)"),
    ("Windows Server 2019 Datacenter", "10.0 (17763)"),
)


@dataclass(frozen=True, slots=True)
class Options:
    flavour: Flavour = "openldap"
    people: int = 3000
    groups: int = 60  # the first has `everybody` members, the others some dozens; every tenth holds groups
    computers: int = 300  # active-directory only
    everybody: int = 2000
    seed: int = 1

    @property
    def base(self) -> str:
        return "dc=example,dc=org" if self.flavour == "openldap" else "DC=corp,DC=example"

    @property
    def reader(self) -> str:
        """Distinguished name of the account that may read everything."""
        return f"cn=towline,{self.base}"

    @property
    def admin(self) -> str:
        return f"cn=admin,{self.base}"


def person_dn(options: Options, number: int) -> str:
    if options.flavour == "openldap":
        return f"uid={_login(options, number)},ou=people,{options.base}"
    return f"CN={_full_name(options, number)} {number},OU=People,{options.base}"


def group_dn(options: Options, number: int) -> str:
    container = "ou=groups" if options.flavour == "openldap" else "OU=Groups"
    return f"{'cn' if options.flavour == 'openldap' else 'CN'}={group_name(number)},{container},{options.base}"


def group_name(number: int) -> str:
    return "All Staff" if number == 0 else f"{DEPARTMENTS[number % len(DEPARTMENTS)]} {number}"


def members(options: Options, number: int) -> list[str]:
    """Distinguished names of the direct members of a group."""
    if number == 0:
        return [person_dn(options, n) for n in range(min(options.everybody, options.people))]
    if number % 10 == 0:
        return [group_dn(options, n) for n in range(number - 9, number)]
    size = min(options.people, 5 + pick(options.seed, "size", number, 40))
    start = pick(options.seed, "start", number, options.people)
    return [person_dn(options, (start + 7 * n) % options.people) for n in dict.fromkeys(range(size))]


def object_guid(options: Options, kind: str, number: int) -> UUID:
    return UUID(bytes=digest(options.seed, f"guid-{kind}", number)[:16])


def ldif(options: Options) -> Iterator[str]:
    """The entries of the directory, each ending in an empty line."""
    if options.flavour == "openldap":
        yield from _openldap(options)
    else:
        yield from _active_directory(options)


def last_usn(options: Options) -> int:
    """highestCommittedUSN of a fresh directory."""
    return 12000 + options.people + options.groups + options.computers


def service_dn(options: Options) -> str:
    """The entry of the domain controller's database; its invocationId changes when the database is restored."""
    return f"CN=NTDS Settings,OU=Servers,{options.base}"


def root_dse(options: Options, usn: int) -> str:
    """What slapd adds to its root entry so that it looks like a domain controller's. Read when slapd starts."""
    return (
        f"dn:\ndefaultNamingContext: {options.base}\ndsServiceName: {service_dn(options)}\nhighestCommittedUSN: {usn}\n"
    )


def configuration(
    options: Options,
    folder: str,
    *,
    certificate: str | None = None,
    key: str | None = None,
    schema: str = "/etc/ldap/schema",
    modules: str = "/usr/lib/ldap",
) -> str:
    """slapd.conf of a server that keeps its data in `folder`/data and refuses unpaged searches beyond 1,000."""
    schemas = ["core", "cosine", "inetorgperson", "nis"]
    lines = [f"include {schema}/{name}.schema" for name in schemas]
    if options.flavour == "active-directory":
        lines += [*directory_schema.lines(), f"rootDSE {folder}/root-dse.ldif"]
    lines += [f"modulepath {modules}", "moduleload back_mdb", f"pidfile {folder}/slapd.pid"]
    if certificate and key:
        lines += [f"TLSCertificateFile {certificate}", f"TLSCertificateKeyFile {key}"]
    lines += [
        "sizelimit size.soft=1000 size.hard=1000 size.pr=1000 size.prtotal=unlimited",
        "security simple_bind=128",
        "",
        "database mdb",
        "maxsize 1073741824",
        f'suffix "{options.base}"',
        f'rootdn "{options.admin}"',
        f"rootpw {ADMIN_PASSWORD}",
        f"directory {folder}/data",
        "dbnosync",
        "index objectClass,entryUUID,modifyTimestamp eq",
        f'access to attrs=userPassword by anonymous auth by dn.exact="{options.reader}" none by * none',
        f'access to * by dn.exact="{options.reader}" read by anonymous auth by * none',
        "",
    ]
    if options.flavour == "active-directory":
        lines.insert(-3, "index uSNChanged,objectGUID eq")
    return "\n".join(lines)


def write(options: Options, folder: Path, *, certificate: str | None = None, key: str | None = None) -> None:
    """Everything that `slapadd` and `slapd` need, into `folder`: slapd.conf, data.ldif, root-dse.ldif, data/."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (folder / "data.ldif").open("w", encoding="utf-8") as out:
        out.writelines(f"{entry}\n" for entry in ldif(options))
    if options.flavour == "active-directory":
        (folder / "root-dse.ldif").write_text(root_dse(options, last_usn(options)))
    (folder / "slapd.conf").write_text(configuration(options, str(folder), certificate=certificate, key=key))


def _openldap(options: Options) -> Iterator[str]:
    yield _entry(options.base, "objectClass: dcObject", "objectClass: organization", "dc: example", "o: Example")
    yield _account(options)
    for name in ("people", "groups"):
        yield _entry(f"ou={name},{options.base}", "objectClass: organizationalUnit", f"ou: {name}")
    for n in range(options.people):
        login = _login(options, n)
        lines = [
            "objectClass: inetOrgPerson",
            f"uid: {login}",
            f"cn: {_full_name(options, n)}",
            f"sn: {_surname(options, n)}",
            f"givenName: {_given(options, n)}",
            f"mail: {login}@example.org",
            f"employeeNumber: {100000 + n}",
            f"departmentNumber: {_department(options, n)}",
            f"title: {_title(options, n)}",
            "o: Example",
        ]
        if n >= 10:
            lines.append(f"manager: {person_dn(options, n // 10)}")
        yield _entry(person_dn(options, n), *lines, uuid=object_guid(options, "person", n))
    for n in range(options.groups):
        yield _entry(
            group_dn(options, n),
            "objectClass: groupOfNames",
            f"cn: {group_name(n)}",
            f"description: Group number {n}",
            *(f"member: {dn}" for dn in members(options, n)),
            uuid=object_guid(options, "group", n),
        )
    for n in range(3):
        yield _entry(
            f"cn=host{n}.example.org,ou=groups,{options.base}",
            "objectClass: device",
            "objectClass: ipHost",
            "objectClass: ieee802Device",
            f"cn: host{n}.example.org",
            f"serialNumber: SN{n:04d}",
            f"ipHostNumber: 10.0.0.{n + 1}",
            f"macAddress: 02:00:00:00:00:{n:02x}",
            uuid=object_guid(options, "device", n),
        )
    yield _entry(
        f"cn=operators,ou=groups,{options.base}",
        "objectClass: posixGroup",
        "cn: operators",
        "gidNumber: 5000",
        *(f"memberUid: {_login(options, n)}" for n in range(min(5, options.people))),
        uuid=object_guid(options, "posix", 0),
    )


def _active_directory(options: Options) -> Iterator[str]:
    yield _entry(
        options.base, "objectClass: dcObject", "objectClass: organization", "dc: corp", "o: Example Corporation"
    )
    yield _account(options)
    policy = f"CN={{{str(object_guid(options, 'policy', 0)).upper()}}},CN=Policies,{options.base}"
    for n, name in enumerate(("People", "Groups", "Computers", "Servers")):
        yield _entry(
            f"OU={name},{options.base}",
            "objectClass: organizationalUnit",
            "objectClass: domainPart",
            f"ou: {name}",
            f"objectGUID:: {base64.b64encode(object_guid(options, 'unit', n).bytes_le).decode()}",
            "uSNChanged: 8200",
            f"gPLink: [LDAP://{policy};0]",
        )
    for name in ("Policies", "Deleted Objects"):
        yield _entry(f"CN={name},{options.base}", "objectClass: container", f"cn: {name}")
    yield _entry(
        policy,
        "objectClass: groupPolicyContainer",
        f"cn: {policy.partition(',')[0].removeprefix('CN=')}",
        "displayName: Default Domain Policy",
        f"objectGUID:: {base64.b64encode(object_guid(options, 'policy', 0).bytes_le).decode()}",
        "gPCFileSysPath: //corp.example/sysvol/corp.example/Policies",
        "versionNumber: 7",
        "flags: 0",
        "uSNChanged: 8300",
    )
    invocation = base64.b64encode(object_guid(options, "invocation", 1).bytes_le).decode()
    yield _entry(service_dn(options), "objectClass: nTDSDSA", "cn: NTDS Settings", f"invocationId:: {invocation}")
    usn = 12000
    for n in range(options.people):
        usn += 1
        yield _ad_person(options, n, usn)
    for n in range(options.groups):
        usn += 1
        yield _entry(
            group_dn(options, n),
            "objectClass: group",
            f"groupType: {-2147483646 if n % 5 else 2}",
            f"cn: {group_name(n)}",
            f"description: Group number {n}",
            *_ad_common(options, "group", n, 10000 + n, usn, group_name(n), "Group"),
            *(f"member: {dn}" for dn in members(options, n)),
        )
    for n in range(options.computers):
        usn += 1
        name = f"{'SRV' if n % 4 >= 2 else 'WS'}{n:05d}"
        system, version = SYSTEMS[n % len(SYSTEMS)]
        yield _entry(
            f"CN={name},OU=Computers,{options.base}",
            "objectClass: computer",
            f"cn: {name}",
            f"sn: {name}",
            f"dNSHostName: {name.lower()}.corp.example",
            f"operatingSystem: {system}",
            f"operatingSystemVersion: {version}",
            f"userAccountControl: {4096 if n % 20 else 4098}",
            f"lastLogonTimestamp: {_filetime(options, n)}",
            *_ad_common(options, "computer", n, 200000 + n, usn, f"{name}$", "Computer"),
        )


def _ad_person(options: Options, n: int, usn: int) -> str:
    login = _login(options, n)
    lines = [
        "objectClass: user",
        f"cn: {_full_name(options, n)} {n}",
        f"sn: {_surname(options, n)}",
        f"givenName: {_given(options, n)}",
        f"displayName: {_full_name(options, n)}",
        f"userPrincipalName: {login}@corp.example",
        f"mail: {login}@corp.example",
        f"title: {_title(options, n)}",
        f"department: {_department(options, n)}",
        "company: Example Corporation",
        f"employeeID: {100000 + n}",
        f"userAccountControl: {512 if n % 25 else 514}",
        "primaryGroupID: 513",
        f"lastLogonTimestamp: {_filetime(options, n)}",
        f"pwdLastSet: {_filetime(options, n + 7)}",
        "accountExpires: 9223372036854775807",
        f"lockoutTime: {0 if n % 50 else _filetime(options, n)}",
        f"badPwdCount: {0 if n % 50 else 5}",
    ]
    if n >= 10:
        lines.append(f"manager: {person_dn(options, n // 10)}")
    if n % 100 == 1:
        lines.append("adminCount: 1")
    if n % 200 == 2:
        lines.append(f"servicePrincipalName: HTTP/{login}.corp.example")
    return _entry(person_dn(options, n), *lines, *_ad_common(options, "person", n, 300000 + n, usn, login, "Person"))


def _ad_common(options: Options, kind: str, n: int, rid: int, usn: int, account: str, category: str) -> tuple[str, ...]:
    guid = base64.b64encode(object_guid(options, kind, n).bytes_le).decode()
    return (
        f"sAMAccountName: {account}",
        f"objectSid:: {base64.b64encode(sid_bytes(rid)).decode()}",
        f"objectGUID:: {guid}",
        f"objectCategory: CN={category},CN=Schema,CN=Configuration,{options.base}",
        "whenCreated: 20240105080000.0Z",
        "whenChanged: 20250301093000.0Z",
        f"uSNChanged: {usn}",
    )


def sid_bytes(rid: int) -> bytes:
    """S-1-5-21-1004336348-1177238915-682003330-`rid` as a domain controller stores it."""
    parts = (21, 1004336348, 1177238915, 682003330, rid)
    return bytes((1, len(parts))) + (5).to_bytes(6, "big") + b"".join(p.to_bytes(4, "little") for p in parts)


def _account(options: Options) -> str:
    return _entry(
        options.reader,
        "objectClass: organizationalRole",
        "objectClass: simpleSecurityObject",
        "cn: towline",
        f"userPassword: {READER_PASSWORD}",
    )


def _entry(dn: str, *lines: str, uuid: UUID | None = None) -> str:
    return "\n".join((f"dn: {dn}", *lines, *((f"entryUUID: {uuid}",) if uuid else ()), ""))


def _given(options: Options, n: int) -> str:
    return GIVEN_NAMES[pick(options.seed, "given", n, len(GIVEN_NAMES))]


def _surname(options: Options, n: int) -> str:
    return SURNAMES[pick(options.seed, "surname", n, len(SURNAMES))]


def _full_name(options: Options, n: int) -> str:
    return f"{_given(options, n)} {_surname(options, n)}"


def _login(options: Options, n: int) -> str:
    return f"{_given(options, n)}.{_surname(options, n)}{n}".lower()


def _department(options: Options, n: int) -> str:
    return DEPARTMENTS[pick(options.seed, "department", n, len(DEPARTMENTS))]


def _title(options: Options, n: int) -> str:
    return ("Director", "Manager", "Engineer", "Analyst", "Specialist")[min(n, pick(options.seed, "title", n, 5))]


def _filetime(options: Options, n: int) -> int:
    """A moment of 2025 in units of 100 ns since 1601."""
    return 133801632000000000 + pick(options.seed, "logon", n, 300 * 86400) * 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Write LDIF and slapd.conf of a made-up directory.")
    parser.add_argument("--flavour", choices=("openldap", "active-directory"), default="openldap")
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--computers", type=int, default=300)
    parser.add_argument("--everybody", type=int, default=2000, help="members of the largest group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder; slapd has to see it under the same path")
    parser.add_argument("--certificate", help="PEM file of the server's certificate")
    parser.add_argument("--key", help="PEM file of its key")
    given = parser.parse_args()
    options = Options(given.flavour, given.people, given.groups, given.computers, given.everybody, given.seed)
    write(options, given.out, certificate=given.certificate, key=given.key)


if __name__ == "__main__":
    main()
