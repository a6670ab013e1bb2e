from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline_connectors.engine import functions
from towline_connectors.engine.expressions import ExpressionError, compile_expression, interpret, parse
from towline_connectors.engine.values import Mismatch

EXPRESSIONS = [
    "a",
    "a.b.c",
    "a[0]",
    "a[-1].b",
    "a || b",
    "a && b || c",
    "!a",
    "a == 'x'",
    "a != `null`",
    "a == b",
    "a < b",
    "a >= `1`",
    "a[].b",
    "a[*].b",
    "a.*",
    "a[?b].c",
    "a[?b == 'x'].c | [0]",
    "[a, b.c]",
    "{x: a, y: b.c}",
    "a[1:3]",
    "a[::-1]",
    "@",
    "a | b",
    "a.b || a.c || b",
    "keys(a || `{}`)",
    "sort_by(a[?b == 'x'] || `[]`, &c)",
    "first(a, b, c)",
    "default(a, b)",
    "contains(a, 'x')",
    "length(a)",
    "join('-', [b.c, 'x'])",
    "str(a)",
    "[0]",
    "a[?!b]",
    "map(&b, a[] || `[]`)",
    "`[1, 2]`[0]",
    "'text' || a",
    "(a || b).c",
    "to_array(a)",
]
NAMES = st.sampled_from(["a", "b", "c"])
LEAVES = st.sampled_from([None, True, False, 0, 1, -1, 2.5, "", "x", "y", "1"])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


def outcome(call: Any) -> Any:
    try:
        return "value", call()
    except Exception as error:
        return "error", type(error).__name__


@pytest.mark.parametrize("text", EXPRESSIONS)
@settings(max_examples=40, deadline=None)
@given(value=JSON)
def test_compiled_expressions_agree_with_the_interpreter(text: str, value: Any) -> None:
    compiled, tree = compile_expression(text), parse(text)
    assert outcome(lambda: compiled(value)) == outcome(lambda: interpret(tree, value))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("=", "empty"),
        ("=a..b", "goes wrong at `.`"),
        ("=lowr(a)", "is lower() meant?"),
        ("=ts()", "takes 1 to 2 arguments, 0 given"),
        ("=a-b", "not JMESPath"),
        ("='x", "not JMESPath"),
        ("=a[", "goes wrong"),
        ("=(" * 200, "not JMESPath"),
    ],
)
def test_mistakes_are_explained(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("ts(v)", "2021-07-19T20:45:18.244Z", "2021-07-19T20:45:18.244Z"),
        ("ts(v)", "2024-07-05 13:31:26", "2024-07-05T13:31:26.000Z"),
        ("ts(v)", "2024-07-05", "2024-07-05T00:00:00.000Z"),
        ("ts(v)", "2024-07-05T13:31:26+02:00", "2024-07-05T11:31:26.000Z"),
        ("ts(v)", "2021-08-04T10:20:30.1234567Z", "2021-08-04T10:20:30.123Z"),
        ("ts(v)", "2021-08-04T10:20:30+0000", "2021-08-04T10:20:30.000Z"),
        ("ts(v)", 1700000000, "2023-11-14T22:13:20.000Z"),
        ("ts(v)", 1700000000123, "2023-11-14T22:13:20.123Z"),
        ("ts(v)", "1700000000", "2023-11-14T22:13:20.000Z"),
        ("ts(v)", "", None),
        ("ts(v)", None, None),
        ("ts(v, '%d/%m/%Y')", "05/07/2024", "2024-07-05T00:00:00.000Z"),
        ("epoch(v)", "1970-01-01T00:01:00Z", 60),
        ("int(v)", "42", 42),
        ("int(v)", "", None),
        ("int(v)", 3.0, 3),
        ("float(v)", "7.5", 7.5),
        ("bool(v)", "Yes", True),
        ("bool(v, 'active', 'on')", "active", True),
        ("bool(v, 'active')", "off", False),
        ("lower(v)", "ABC", "abc"),
        ("ips(v)", "10.0.0.1, fe80::1%eth0 x", ["10.0.0.1", "fe80::1"]),
        ("ips(v)", ["10.0.0.1", "10.0.0.1/24", None, "::ffff"], ["10.0.0.1", "::ffff"]),
        ("macs(v)", "00-0D-3A-52-D3-A6 x", ["00:0d:3a:52:d3:a6"]),
        ("macs(v)", ["000D3A52D3A6"], ["00:0d:3a:52:d3:a6"]),
        ("first(v)", [None, "", "a", "b"], "a"),
        ("filetime(v)", "132534432000000000", "2020-12-26T08:00:00.000Z"),
        ("filetime(v)", "9223372036854775807", None),
        ("generalized_time(v)", "20260102030405.0Z", "2026-01-02T03:04:05.000Z"),
        ("generalized_time(v)", "20260102030405.123+0200", "2026-01-02T01:04:05.123Z"),
        ("bitand(v, `2`)", "514", True),
        ("bitand(v, `2`)", 512, False),
        ("offsets(v, `100`)", 250, [0, 100, 200]),
        ("offsets(v, `100`)", "100", [0]),
        ("offsets(v, `100`)", 0, []),
        ("offsets(v, `100`)", None, None),
        ("split(v, ',')", "a, b,,c", ["a", "b", "c"]),
        ("match(v, 'CN=([^,]+)')", "CN=Ann,OU=x", "Ann"),
        ("get(v, 'k', 'none')", {"k": 1}, 1),
        ("get(v, 'z', 'none')", {"k": 1}, "none"),
        ("join('-', [v, 'x'])", None, None),
        ("multiply(v, `100`)", "0.5", 50.0),
        ("substring(v, `0`, `2`)", "abc", "ab"),
        ("replace(v, 'a', 'b')", "aa", "bb"),
        ("trim(v)", "  x ", "x"),
        ("texts(v)", ["a", None, 3], ["a", "3"]),
    ],
)
def test_typed_functions(text: str, value: Any, expected: Any) -> None:
    assert compile_expression(text)({"v": value}) == expected


def test_guid_and_sid_of_a_directory() -> None:
    raw = bytes.fromhex("33221100554477668899aabbccddeeff")
    assert functions.guid(raw) == "00112233-4455-6677-8899-aabbccddeeff"
    assert functions.guid(base64.b64encode(raw).decode()) == functions.guid(raw)
    assert functions.guid("{00112233-4455-6677-8899-AABBCCDDEEFF}") == functions.guid(raw)
    sid = bytes.fromhex("010500000000000515000000a065cf7e784b9b5fe77c8770091c0100")
    assert functions.sid(sid) == "S-1-5-21-2127521184-1604012920-1887927527-72713"


@pytest.mark.parametrize("text", ["ts(v)", "int(v)", "float(v)", "bool(v)", "guid(v)", "sid(v)", "filetime(v)"])
def test_values_that_do_not_fit_are_refused_not_guessed(text: str) -> None:
    with pytest.raises(Mismatch):
        compile_expression(text)({"v": "certainly not"})


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()), st.binary()))
def test_functions_give_a_value_or_a_mismatch_never_another_error(value: Any) -> None:
    for name in ("ts", "epoch", "int", "float", "str", "bool", "texts", "ips", "macs", "sha", "guid", "sid",
                 "filetime", "generalized_time", "lower", "split", "length", "first"):  # fmt: skip
        function = functions.FUNCTIONS[name][0]
        try:
            function(value)
        except Mismatch:
            continue
