from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.plans import plan, spec, users

from towline.api.manifest import Stream
from towline.contract import StreamPlan
from towline_connectors import entities
from towline_connectors.engine import expressions, fields
from towline_connectors.engine.compile import CompiledStream, check_manifest, compile_plan, compile_stream, load_spec
from towline_connectors.engine.errors import ConfigInvalid, InvalidManifest
from towline_connectors.engine.mapping import Mapper, Output
from towline_connectors.engine.values import Mismatch


def compiled(stream: dict[str, Any], **own: Any) -> CompiledStream:
    manifest = spec("https://a.example", [stream])
    return compile_stream(Stream.model_validate(stream), StreamPlan(name=stream["name"], **own), plan(manifest))


def mapped(stream: dict[str, Any], records: list[Any], **own: Any) -> Output:
    mapper = Mapper(compiled(stream, **own).map)
    out = mapper.output()
    mapper.map(records, None, None, out)
    return out


def columns(out: Output, entity: str, key: str) -> dict[str, Any]:
    return dict(zip(entities.get(entity).columns, out.rows[entity][key], strict=True))


def finding_stream(**changes: Any) -> dict[str, Any]:
    return {
        "name": "findings",
        "request": {"path": "/f"},
        "sync": {"mode": "Incremental", "cursor": "=ts(seen)"},
        "emit": [
            {"entity": "asset", "key": "=asset.id", "fields": {"hostname": "=asset.name", "ip": "=ips(asset.ip)"}},
            {
                "entity": "vulnerability",
                "key": "=cve",
                "fields": {"title": "=title", "cvss_score": "=score", "cve_uids": "=cve"},
            },
            {
                "entity": "asset_vulnerability",
                "key": "=join('/', [asset.id, cve])",
                "fields": {
                    "asset": {"ref": "asset", "key": "=asset.id"},
                    "vulnerability": {"ref": "vulnerability", "key": "=cve"},
                    "severity_id": {"from": "=severity", "map": {"low": 2, "High": 4}, "default": 0},
                    "port": "=port",
                    "last_observed_time": "=seen",
                },
            },
        ],
        **changes,
    }


FINDING = {
    "asset": {"id": "a1", "name": "h1", "ip": "10.0.0.1"},
    "cve": "CVE-2024-1",
    "title": "Bad",
    "score": 7.5,
    "severity": "LOW",
    "port": "443",
    "seen": "2024-05-06T07:08:09Z",
}


def test_one_record_becomes_rows_of_three_entities() -> None:
    out = mapped(finding_stream(), [FINDING])
    assert columns(out, "asset", "a1")["ip"] == ["10.0.0.1"]
    assert columns(out, "vulnerability", "CVE-2024-1")["cvss_score"] == 7.5
    row = columns(out, "asset_vulnerability", "a1/CVE-2024-1")
    assert (row["asset_key"], row["vulnerability_key"], row["severity_id"], row["port"]) == ("a1", "CVE-2024-1", 2, 443)
    assert row["last_observed_time"] == row["source_time"] == "2024-05-06T07:08:09.000Z"


def test_raw_is_kept_once_with_the_entity_that_refers_to_the_others() -> None:
    out = mapped(finding_stream(), [FINDING])
    assert b'"CVE-2024-1"' in columns(out, "asset_vulnerability", "a1/CVE-2024-1")["raw"]
    assert columns(out, "asset", "a1")["raw"] is None


def test_a_row_that_was_written_in_this_run_is_not_written_again_unless_it_changed() -> None:
    mapper = Mapper(compiled(finding_stream()).map)
    first, second = mapper.output(), mapper.output()
    mapper.map([FINDING], None, None, first)
    moved = {**FINDING, "asset": {**FINDING["asset"], "name": "renamed"}}
    mapper.map([FINDING], None, None, second)
    assert (len(first.rows["asset"]), len(second.rows["asset"])) == (1, 0)
    mapper.map([moved], None, None, second)
    assert columns(second, "asset", "a1")["hostname"] == "renamed"


def test_content_hash_follows_the_fields_and_nothing_else() -> None:
    def digest(**changes: Any) -> int:
        out = mapped(finding_stream(), [{**FINDING, **changes}])
        return int(columns(out, "asset_vulnerability", "a1/CVE-2024-1")["content_hash"])

    assert digest() == digest(extra="in raw only")
    assert digest() != digest(port=444)
    assert -(2**63) <= digest() < 2**63


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({**FINDING, "score": "abc"}, "vulnerability.cvss_score: 'abc' is not a number"),
        ({**FINDING, "port": 2**64}, "asset_vulnerability.port"),
        ({**FINDING, "seen": "yesterday"}, "is not a time"),
        ({**FINDING, "cve": None}, "vulnerability.key: the key is empty"),
        ({**FINDING, "cve": "x" * 2000}, "longer than 1000"),
        ({**FINDING, "asset": {"id": "a1", "name": {"a": 1}}}, "asset.hostname"),
        ("text", "not an object"),
        (None, "not an object"),
    ],
)
def test_a_record_that_does_not_map_is_kept_with_the_reason_and_leaves_no_rows(record: Any, why: str) -> None:
    out = mapped(finding_stream(), [record, {**FINDING, "cve": "CVE-2"}])
    assert [list(rows) for rows in out.rows.values()] == [["a1"], ["CVE-2"], ["a1/CVE-2"]]
    assert len(out.rejected) == 1
    assert why in out.rejected[0][1]


def test_empty_text_is_absent() -> None:
    out = mapped(users(), [{"id": "u1", "name": "", "mail": ""}])
    row = columns(out, "user", "u1")
    assert (row["name"], row["email_addr"]) == (None, None)


def test_an_item_makes_a_row_each_and_the_group_is_replaced_as_a_whole() -> None:
    stream = {
        "name": "groups",
        "request": {"path": "/g"},
        "sync": {"mode": "Full"},
        "emit": [
            {"entity": "group", "key": "=id", "fields": {"name": "=name"}},
            {
                "entity": "membership",
                "forEach": "=members",
                "key": "=join('/', [record.id, item])",
                "fields": {"group": {"ref": "group", "key": "=record.id"}, "member_dn": "=item"},
                "replaceWithin": "group",
            },
        ],
    }
    out = mapped(stream, [{"id": "g1", "name": "G", "members": ["a", "b"]}, {"id": "g2"}, {"id": "g3", "members": "c"}])
    assert sorted(out.rows["membership"]) == ["g1/a", "g1/b", "g3/c"]
    assert [(one.key, one.keys) for one in out.replacements] == [("g1", ["g1/a", "g1/b"]), ("g2", []), ("g3", ["g3/c"])]
    again = Mapper(compiled(stream).map)
    twice = again.output()
    again.map([{"id": "g1", "members": ["a"]}], None, None, twice)
    again.map([{"id": "g1", "members": ["a"]}], None, None, twice)
    assert twice.replacements[-1].keys == ["g1/a"], "a member that did not change still belongs to its group"


def test_tombstones_delete_and_a_later_record_revives() -> None:
    stream = users(
        sync={"mode": "Incremental", "cursor": "=ts(at)", "deletes": {"tombstone": "=deleted"}},
    )
    out = mapped(stream, [{"id": "u1", "name": "a"}, {"id": "u1", "deleted": True}, {"id": "u2", "deleted": "x"}])
    assert out.rows["user"] == {}
    assert out.tombstones == {"user": ["u1", "u2"]}


def test_a_filter_of_the_integration_keeps_what_is_true() -> None:
    out = mapped(users(), [{"id": "u1", "age": 0}, {"id": "u2"}, {"id": "u3", "age": False}], filter="age")
    assert list(out.rows["user"]) == ["u1"], "0 is true in JMESPath, null and false are not"


def test_a_mapping_of_the_integration_overrides_a_field() -> None:
    out = mapped(users(), [{"id": "u1", "name": "a", "nick": "N"}], mapping={"name": "upper(nick)"})
    assert columns(out, "user", "u1")["name"] == "N"


def test_a_mapping_to_nothing_is_refused_with_the_fields_that_exist() -> None:
    with pytest.raises(ConfigInvalid, match="no entity that has a field nme"):
        compiled(users(), mapping={"nme": "x"})
    with pytest.raises(ConfigInvalid, match="filter of stream users is wrong"):
        compiled(users(), filter="a..b")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"emit": [{"entity": "usr", "key": "=id"}]}, "there is no entity usr; is user meant?"),
        ({"emit": [{"entity": "user", "key": "=id", "fields": {"nam": "=n"}}]}, "user has no field nam"),
        ({"emit": [{"entity": "user", "key": "=foo(id)"}]}, "there is no function foo()"),
        ({"emit": [{"entity": "user", "key": "=id", "fields": {"name": {"form": "=n"}}}]}, "takes an expression"),
        ({"emit": [{"entity": "user", "key": "=id", "replaceWithin": "x"}]}, "replaceWithin"),
        ({"request": {"path": "/users/${confg.x}"}}, "is not known"),
        ({"request": {"path": "/users/${config.nope}"}}, "no property in configSchema"),
        ({"request": {"path": "/users", "query": {"k": "${secret.nope}"}}}, "no key in credentials"),
        ({"records": "=a["}, "records"),
    ],
)
def test_mistakes_in_a_manifest_are_found_before_any_request(change: dict[str, Any], says: str) -> None:
    manifest = spec("https://a.example", [users(**change)])
    with pytest.raises(InvalidManifest) as caught:
        compile_plan(plan(manifest))
    assert says in caught.value.message
    assert "streams[users]" in caught.value.message
    with pytest.raises(InvalidManifest):
        check_manifest(load_spec(manifest))


def test_a_plan_that_names_an_unknown_stream_is_the_integrations_mistake() -> None:
    with pytest.raises(ConfigInvalid, match="no stream nope; it has users"):
        compile_plan(plan(spec("https://a.example", [users()]), streams=[StreamPlan(name="nope")]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(["", "1", "true", "2024-01-01", 1700000000]),
)  # fmt: skip
KINDS = ["hostname", "ip", "type_id", "is_managed", "created_time", "ext", "risk_score"]


@given(value=VALUES, other=VALUES)
def test_generated_code_gives_what_field_by_field_evaluation_gives(value: Any, other: Any) -> None:
    asset = entities.get("asset")
    known = {field.name: field for field in asset.fields}
    for name in [kind for kind in KINDS if kind in known]:
        stream = users(emit=[{"entity": "asset", "key": "=id", "fields": {name: "=a.b || c"}}])
        record = {"id": "1", "a": {"b": value}, "c": other}
        one = fields.parse_field(known[name], "=a.b || c")
        try:
            expected = fields.evaluate(one, record)
        except Mismatch:
            expected = Mismatch
        out = mapped(stream, [record])
        got = columns(out, "asset", "1")[known[name].column] if out.rows["asset"] else Mismatch
        assert got == expected or (got is Mismatch and expected is Mismatch), (name, value, other)
    assert expressions.truthy(0)


def test_what_a_rejected_record_would_have_written_is_written_by_the_next_that_maps() -> None:
    stream = users(
        emit=[
            {"entity": "group", "forEach": "=groups", "key": "=item.id", "fields": {"name": "=item.name"}},
            {"entity": "user", "key": "=id", "fields": {"name": "=name", "created_time": "=at"}, "raw": True},
        ]
    )
    groups = [{"id": "g1", "name": "G"}]
    mapper = Mapper(compiled(stream).map)
    out = mapper.output()
    mapper.map([{"id": "u1", "at": "never", "groups": groups}], None, None, out)
    assert (list(out.rows["group"]), len(out.rejected)) == ([], 1)
    mapper.map([{"id": "u2", "groups": groups}, {"id": "u3", "groups": groups}], None, None, out)
    assert list(out.rows["group"]) == ["g1"]
    later = mapper.output()
    mapper.map([{"id": "u4", "groups": groups}], None, None, later)
    assert list(later.rows["group"]) == []
