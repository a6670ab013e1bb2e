"""Users: OCSF user (class 5003). Correlate by directory object id, e-mail address, domain with name."""

from __future__ import annotations

from towline_connectors.entities.enums import USER_TYPE
from towline_connectors.entities.model import EXT, Entity, Field

USER = Entity(
    name="user",
    table="users",
    description="A person's or service's account.",
    fields=(
        Field("name", "text", "Log-in name."),
        Field("full_name", "text", "Name of the person."),
        Field("given_name", "text", "First name."),
        Field("surname", "text", "Family name."),
        Field("email_addr", "text", "E-mail address."),
        Field("domain", "text", "Directory domain."),
        Field("dn", "text", "Distinguished name in a directory."),
        Field("sid", "text", "Windows security identifier."),
        Field("uid_alt", "text", "Another id: principal name, POSIX uid."),
        Field("employee_uid", "text", "Personnel number."),
        Field("job_title", "text", "Job."),
        Field("department", "text", "Department."),
        Field("company", "text", "Company."),
        Field("phone_number", "text", "Telephone."),
        Field("location", "text", "Site or room."),
        Field("description", "text", "Free text."),
        Field("manager", "ref", "Superior.", ref="user"),
        Field("manager_dn", "text", "Distinguished name of the superior."),
        Field("type_id", "integer", "Kind of account.", enum=USER_TYPE),
        Field("status", "text", "Life-cycle state in the source's own words."),
        Field("has_mfa", "boolean", "Whether a second factor is set up."),
        Field("is_enabled", "boolean", "Whether the account may log in."),
        Field("is_locked", "boolean", "Whether it is locked after failed log-ins."),
        Field("created_time", "time", "When the account was made."),
        Field("last_login_time", "time", "Last log-in that the source knows of."),
        Field("password_changed_time", "time", "Last change of the password."),
        Field("expiration_time", "time", "When the account expires."),
        EXT,
    ),
)
