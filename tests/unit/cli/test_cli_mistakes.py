"""The mistakes that people make in a Connector: each is told with its line, its place and a cure, in no Python words."""

# ruff: noqa: E501 - a table reads better with one mistake a line
from __future__ import annotations

import re

import pytest

from towline.cli.checking import check
from towline.cli.errors import CliError
from towline.cli.manifests import parse

GOOD = """\
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata:
  name: acme
spec:
  title: Acme
  vendor: Acme
  version: 1.0.0
  description: Reads hosts.
  category: CMDB
  stage: Alpha
  documentationURL: https://docs.acme.example/api
  capabilities: [Pull]
  credentials:
  - key: token
    title: API token
  configSchema:
    type: object
    additionalProperties: false
    properties:
      region:
        type: string
        description: Where the data lies.
  egress: [api.acme.example]
  http:
    baseURL: https://api.acme.example
    timeout: 30s
    maxAnswerMiB: 64
    auth:
      kind: Bearer
      value: ${secret.token}
    headers:
      X-Region: ${config.region}
    budgets:
    - name: all
      match: {path: /*}
      rates:
      - 60/1m
    errors:
    - when: {status: [401]}
      class: Auth
      hint: Make a new token.
    retry:
      attempts: 5
      backoff: {initial: 1s, cap: 1m}
  health:
    request: {path: /me}
  streams:
  - name: hosts
    description: All hosts.
    permission: hosts.read
    request:
      path: /hosts
      query: {since: "${window.start}"}
    records: =items
    paginate:
      kind: Cursor
      from: =next
      param: cursor
    sync:
      mode: Incremental
      cursor: =updated
      format: Time
      lookback: 10m
      deletes: {completeScan: OnFull}
    emit:
    - entity: asset
      key: =id
      fields:
        hostname: =name
        type_id: {from: =kind, map: {server: 1}, default: 0}
"""

# What stands there, what somebody writes instead, the line that is named, and what the sentence has to hold.
MISTAKES: dict[str, tuple[str, str, str | int, tuple[str, ...]]] = {
    # The file
    "a tab": ("    timeout: 30s", "\ttimeout: 30s", "timeout:", ("not valid YAML", "use spaces")),
    "a wrong indent": ("    timeout: 30s", "     timeout: 30s", "timeout:", ("begin in the same column",)),
    "a colon in a text": ("title: Acme", "title: Acme: hosts", "title:", ("a colon and a blank", "needs quotes")),
    "a backtick": ("hostname: =name", "hostname: `name`", "hostname:", ("begins with `", "needs quotes")),
    "an at sign": ("hostname: =name", "hostname: @name", "hostname:", ("begins with @", "needs quotes")),
    "a percent sign": ("hint: Make", "hint: %Make", "hint:", ("begins with %", "needs quotes")),
    "a star": ("hint: Make a", "hint: *.a", "hint:", ("begins with * or &", "needs quotes")),
    "an exclamation mark": ("records: =items", "records: !items", "records:", ("begins with !", "needs quotes")),
    "a reference in braces": ('{since: "${window.start}"}', "{since: ${window.start}}", "since:", ("needs quotes",)),
    "an alias of nothing": ("timeout: 30s", "timeout: 30s\n    <<: *common", "<<:", ("there is no &common",)),
    "a key twice": ("  title: Acme\n", "  title: Acme\n  title: Other\n", "Other", ('"title" stands twice', "remove")),
    "a tag of a language": ("title: Acme", "title: !!python/name:os.system x", "title:", ("tags", "quotes")),
    "a bomb of aliases": (
        "spec:\n",
        "".join(f"{a}: &{a} [{', '.join([f'*{b}'] * 10) if b else '1'}]\n" for a, b in zip("abcdefg", " abcdef", strict=True)
                ).replace("* ", "*").replace("[*, *, *, *, *, *, *, *, *, *]", "[1]") + "spec:\n",
        0,
        ("aliases (*) stand for too much", "write out"),
    ),
    # Kind, version and name
    "another version": ("towline.dev/v1alpha1", "towline.dev/v1", 0, ('apiVersion "towline.dev/v1"', "reads towline.dev/v1alpha1")),
    "a misspelt kind": ("kind: Connector", "kind: Conector", "kind:", ('kind: "Conector" is not a kind', "Connector")),
    "a name with capitals": ("name: acme", "name: Acme_One", "Acme_One", ("metadata.name", "use lower-case letters")),
    "no name": ("  name: acme", "  labels: {}", "metadata:", ("metadata.name: it is missing: add it",)),
    # Keys
    "a misspelt key": ("  title:", "  titel:", "titel:", ("spec.titel", 'did you mean "title"?')),
    "a key in other capitals": ("baseURL:", "baseUrl:", "baseUrl:", ("spec.http.baseUrl", 'did you mean "baseURL"?')),
    "a key in snake case": ("maxAnswerMiB:", "max_answer_mib:", "max_answer_mib:", ("spec.http.max_answer_mib", "maxAnswerMiB")),
    "a key of elsewhere": ("value: ${secret.token}", "token: ${secret.token}", "token:", ("spec.http.auth.token", "no such field")),
    "streams in the singular": ("  streams:", "  stream:", "stream:", ("spec.stream", 'did you mean "streams"?')),
    "a path that is missing": ("      path: /hosts\n", "", "request:\n      query", ("spec.streams[0].request.path", "add it")),
    "a key that is missing": ("      key: =id\n", "", "entity: asset", ("emit[0].key", "add it")),
    # Types
    "a text for a list": ("capabilities: [Pull]", "capabilities: Pull", "capabilities:", ("write [Pull]",)),
    "a number for a list": ("status: [401]", "status: 401", "status:", ("when.status", "write [401]")),
    "a number in quotes": ("status: [401]", "status: ['401']", "status:", ("write it without quotes",)),
    "a number with a unit": ("maxAnswerMiB: 64", "maxAnswerMiB: 64MiB", "maxAnswerMiB:", ("write 64 alone",)),
    "a number in words": ("attempts: 5", "attempts: five", "attempts:", ("whole number", "write digits alone")),
    "a bare yes": ("title: Acme", "title: yes", "title:", ("is true", "put it in quotes")),
    "a bare number": ("hint: Make a new token.", "hint: 5", "hint:", ("put it in quotes",)),
    "nothing": ("X-Region: ${config.region}", "X-Region:", "X-Region:", ("is empty", "remove the line")),
    "an empty item": ("    emit:\n", "    emit:\n    -\n", "    -\n    - entity", ("emit[0]", "is empty", "remove the line")),
    "a text for an object": ("health:\n    request: {path: /me}", "health: /me", "health:", ("its fields are request",)),
    "an object for a text": ("- 60/1m", "- {requests: 60, per: 1m}", "requests:", ("rates[0]", "for example 100/1m")),
    "a map that is a list": ("map: {server: 1}", "map: [server]", "type_id:", ("type_id", "at least one entry")),
    # Forms and limits
    "an enum in small letters": ("category: CMDB", "category: cmdb", "category:", ("write CMDB",)),
    "an enum with a typo": ("mode: Incremental", "mode: Incremetal", "mode:", ("write Incremental",)),
    "an enum of one's own": ("kind: Bearer", "kind: Token", "kind: Token", ("spec.http.auth.kind", "Basic", "or Signature")),
    "a class of one's own": ("class: Auth", "class: Unauthorised", "class:", ("errors[0].class", "RateLimited", "CursorLost")),
    "true for an enum": ("OnFull", "true", "deletes:", ("true is not allowed", "Never, OnFull or Always")),
    "a method in small letters": ("path: /hosts", "path: /hosts\n      method: get", "method:", ("write GET",)),
    "a paging of one's own": ("kind: Cursor", "kind: Token", "kind: Token", ("paginate.kind", "LinkHeader")),
    "a format of elsewhere": ("records: =items", "format: NDJSON", "format:", ("JSONLines",)),
    "a duration in words": ("timeout: 30s", "timeout: 30 seconds", "timeout:", ("not a duration", "for example 30m")),
    "a duration without a unit": ("timeout: 30s", "timeout: 30", "timeout:", ("not a duration", "for example 30m")),
    "a rate in words": ("60/1m", "60 per minute", "60 per", ("not a rate", "for example 100/1m")),
    "a version of two numbers": ("version: 1.0.0", "version: 1.0", "version:", ("three numbers", "1.0.0")),
    "an address without https": ("URL: https://docs", "URL: docs", "documentationURL:", ("begin with https://",)),
    "a stream's name with blanks": ("- name: hosts", "- name: All Hosts", "- name: All", ("use lower-case letters",)),
    "a wait without its source": ("class: Auth", "class: RateLimited\n      wait: [retry-after]", "wait:", ("write header:NAME",)),
    "a status that there is not": ("status: [401]", "status: [4010]", "status:", ("at most 599",)),
    "a number below the least": ("maxAnswerMiB: 64", "maxAnswerMiB: 0", "maxAnswerMiB:", ("at least 1",)),
    "a title without an end": ("title: Acme", f"title: {'A' * 300}", "title:", ("at most 80 characters", "has 300")),
    "a type of no schema": ("type: string", "type: text", "configSchema:", ("region.type", "write string, integer")),
    # What belongs together
    "Basic without a password": (
        "kind: Bearer\n      value: ${secret.token}", "kind: Basic\n      username: x", "auth:", ("needs username and password",)
    ),
    "a push without actions": ("[Pull]", "[Pull, Push]", "spec:", ("spec.actions", "needs at least one action")),
    "a stream without a request": (
        '    request:\n      path: /hosts\n      query: {since: "${window.start}"}\n', "", "streams:", ("needs request or export",)
    ),
    "a cursor without a place": ("      from: =next\n", "", "paginate:", ("paginate.from", "where the answer names")),
    "a parameter of another paging": ("param: cursor", "offset: cursor", "offset:", ("kind Offset", "write param")),
    "increments without a cursor": ("      cursor: =updated\n", "", "sync:", ("sync.cursor", "Incremental needs cursor")),
    "a rule for every answer": ("when: {status: [401]}", "when: {}", "when:", ("give at least one of status",)),
    "two bodies": (
        "path: /hosts", "path: /hosts\n      json: {a: 1}\n      form: {b: 2}", "request:\n      path", ("give one of json, form",)
    ),
    "a stream twice": (
        "  streams:\n", "  streams:\n  - name: hosts\n    request: {path: /x}\n    sync: {mode: Full}\n", "- name: hosts\n    desc",
        ("hosts stands here twice", "remove one"),
    ),
    "an entity twice": ("    - entity: asset\n", "    - entity: asset\n      key: =id\n    - entity: asset\n", 69, ("stands here twice",)),
    "two protocols": ("  http:\n", "  ldap: {url: 'ldaps://x', bind: {username: a, password: b}}\n  http:\n", "spec:", ("exactly one",)),
    # References and expressions
    "a secret that is not declared": ("{secret.token}", "{secret.tokne}", "value:", ("${secret.tokne}", "add it there")),
    "a setting that is not declared": ("{config.region}", "{config.regio}", "X-Region:", ("${config.regio}", "configSchema")),
    "a reference that is not closed": ("{secret.token}", "{secret.token", "value:", ("close it with }",)),
    "a reference as in a shell": ("${secret.token}", "$secret.token", "value:", ("is written ${secret.token}",)),
    "a reference as in Helm": ("${secret.token}", "'{{ secret.token }}'", "value:", ("is written ${secret.token}",)),
    "a reference to nothing": ("${window.start}", "${start}", "since:", ("${start} is not known here", "${window.…}")),
    "a window that has no such edge": ("${window.start}", "${window.begin}", "since:", ("window has start, end",)),
    "a budget that is not there": ("permission: hosts.read", "budget: every", "budget:", ("no entry every", "add it")),
    "a parent that is not there": (
        "    records: =items", "    partitions: [{name: g, kind: Parent, stream: groups, key: =id}]", "partitions:",
        ("there is no stream groups",),
    ),
    "a piece that is not there": ("path: /hosts", "path: /hosts/${partition.group}", "request:\n", ("partition.group",)),
    "an expression cut short": ("records: =items", "records: =items[", "records:", ("`items[` is not JMESPath", "character 7")),
    "an expression of elsewhere": ("records: =items", "records: =items[?a=1]", "records:", ("character 9 of",)),
    "a function with a typo": ("=name", "=lowr(name)", "hostname:", ("is lower() meant?",)),
    "a function with too much": ("=name", "=lower(name, x)", "hostname:", ("takes 1 argument, 2 given",)),
    "a field without its sign": ("hostname: =name", "hostname: name", "hostname:", ("write =name",)),
    "a column with a typo": ("hostname:", "host_name:", "entity: asset", ("no field host_name", "is hostname meant?")),
    "an entity in the plural": ("entity: asset", "entity: assets", "emit:", ("no entity assets", "is asset meant?")),
    "a word for a number": ("map: {server: 1}", "map: {server: Server}", "type_id:", ("'Server' is not an integer",)),
    "a field of another form": ("{from: =kind,", "{form: =kind,", "type_id:", ("{from, map, default}",)),
}  # fmt: skip
_PYTHON = re.compile(
    r"Traceback|NoneType|KeyError|ValueError|TypeError|ValidationError|Input should|\bdict\b|\bstr\b|\bint\b|"
    r"object at 0x|\bTrue\b|\bFalse\b|<class|pydantic|yaml\.|constructor"
)


def problems(text: str) -> list[str]:
    """What `towline validate` and `towline connector lint` say."""
    try:
        return [problem for finding in check(parse(text.encode(), "connector.yaml")) for problem in finding.problems]
    except CliError as error:
        return [" ".join([str(error), *error.cure])]


def test_what_the_mistakes_are_made_in_is_good() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_a_cure(mistake: str) -> None:
    right, wrong, at, words = MISTAKES[mistake]
    assert right in GOOD
    text = GOOD.replace(right, wrong, 1)
    said = problems(text)
    whole = "\n".join(said)
    assert all(word in whole for word in words), whole
    assert not _PYTHON.search(whole.replace("additionalProperties", "")), whole
    sentence = next(one for one in said if words[0] in one)
    line = text[: text.index(at)].count("\n") + 1 if isinstance(at, str) else at
    assert sentence.startswith(f"connector.yaml:{line}: " if line else "connector.yaml"), whole
    assert len(said) <= 3, "one mistake is not told many times"
