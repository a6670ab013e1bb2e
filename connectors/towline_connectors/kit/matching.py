"""Which recorded answer fits a request.

Method and path have to be equal; leniently, where a path was not recorded at all, one of another version of the API
does. Strictly, the query has to be equal too, save the times in it. Leniently, parameters that the recording
lacks do not count, and others may differ (page sizes, times): of the answers that fit best each is given once, in
their order; a request that comes again word by word after that gets the last one again. What was answered for one
stream answers another one only if it is a GET and no parameter differs: a search or a job for other things would
otherwise bring the same records again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from towline_connectors.kit.har import Entry

_NUMBER_OR_TIME = re.compile(r"-?[0-9.]+|.*\d{4}-?\d\d-?\d\d.*", re.DOTALL)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|(?<![\w.-])1\d{9}(?:\d{3})?(?![\w.-])"  # or seconds or milliseconds since 1970
)
_VERSION = re.compile(r"v\d+(\.\d+)*|beta|latest", re.IGNORECASE)
_NAMESPACE = re.compile(r"/servicesNS/[^/]+/[^/]+/")  # of Splunk: a user and an app
_LISTED = ("search", "restSearch", "index")
_PARAMETER = re.compile(rb"""[?&]([\w$.%-]{1,100})=([^&"'<>\s\]}\\]{0,4000})""")  # in an address
_ROOT_FIELD = re.compile(r"\{\s*(?:[A-Za-z_]\w*\s*:\s*)?([A-Za-z_]\w*)")
_OPERATION = re.compile(r"\b(?:query|mutation|subscription)\b\s*\w*\s*(?:\([^()]*\))?")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = ""
    host: str = ""

    @property
    def form(self) -> bool:
        return self.content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"

    def parameters(self) -> Counter[tuple[str, str]]:
        pairs = Counter(self.query)
        if self.form:
            pairs.update(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return pairs


class Matcher:
    """The answers of one recording."""

    def __init__(self, entries: Iterable[Entry], *, lenient: bool) -> None:
        self._entries = list(entries)
        self._lenient = lenient
        self._named = _named_parameters(self._entries) if lenient else {}
        self._used: set[int] = set()
        self._earlier: set[int] = set()  # given to other streams
        self._others: frozenset[int] = frozenset()  # what other streams ask for
        self._parents: frozenset[tuple[str, ...]] = frozenset()
        self._last: dict[tuple[Any, ...], int] = {}

    def next_stream(
        self, others: frozenset[int] = frozenset(), parents: frozenset[tuple[str, ...]] = frozenset()
    ) -> None:
        """`others`: numbers of entries that answer none of its requests. `parents`: the resources of lists that are
        only read for the pieces in them, which those before it may have read too."""
        self._earlier |= self._used
        self._used.clear()
        self._others, self._parents = others, parents

    def answer(self, asked: Asked) -> Entry | None:
        """None: the recording has no answer to this."""
        same = [
            number
            for number in self._recorded(asked.method, unquote(asked.path))
            if _same_operation(self._entries[number], asked)
        ]
        parameters = asked.parameters()
        word_by_word = (asked.method, asked.path, frozenset(parameters.items()), b"" if asked.form else asked.body)
        found = self._fresh(same, asked, parameters, known=word_by_word in self._last)
        if found is None:
            found = self._last.get(word_by_word)
        if found is None:
            return None
        self._used.add(found)
        self._last[word_by_word] = found
        return self._entries[found]

    def has(self, asked: Asked) -> bool:
        """Whether a method and path were recorded, with whatever parameters, and not only for streams before this
        one; of GraphQL and JSON-RPC the operation."""
        numbers = set(self._recorded(asked.method, unquote(asked.path))) - self._earlier
        return any(_same_operation(self._entries[number], asked) for number in numbers)

    def _recorded(self, method: str, path: str) -> list[int]:
        """The entries of a method and path. Leniently, if there are none: those of the same resource in another
        version of the API, with a slash at the end, as a whole instead of as changes (`/delta`) or by a search, or
        asked for by POST instead of GET; or else below another address, such as that of a proxy."""
        numbered = [each for each in enumerate(self._entries) if each[0] not in self._others]
        same = [number for number, entry in numbered if entry.method == method and entry.path == path]
        if same or not self._lenient:
            return same
        wanted = resource(path)
        kin = [(number, entry) for number, entry in numbered if resource(entry.path) == wanted]
        if not kin and len(wanted) > 1:
            kin = [(number, entry) for number, entry in numbered if resource(entry.path)[-len(wanted) :] == wanted]
        same = [number for number, entry in kin if entry.method == method]
        return same or [number for number, entry in kin if {entry.method, method} == {"GET", "POST"}]

    def unused(self, method: str, path: str) -> int:
        """How many answers to a method and path were never asked for."""
        return sum(
            entry.method == method and entry.path == path and number not in self._used | self._earlier
            for number, entry in enumerate(self._entries)
        )

    def _fresh(self, same: list[int], asked: Asked, parameters: Counter[tuple[str, str]], *, known: bool) -> int | None:
        """The best answer that was not given yet."""
        names = {name for name, _value in parameters}
        path = resource(asked.path)
        again = self._lenient and any(path[-len(parent) :] == parent for parent in self._parents)
        best: tuple[Any, ...] | None = None
        for number in same:
            if number in self._used:
                continue
            entry = self._entries[number]
            recorded = Counter(entry.query) + Counter(entry.form)
            rest = recorded - parameters
            if number in self._earlier and (asked.method != "GET" or rest) and not again:
                continue
            if not self._lenient:
                if not asked.form and _timeless(recorded) != _timeless(parameters):
                    continue
                lacking = agreeing = 0
                differing = rest.total()  # times at most: the clock is another one
                if rest and known:
                    continue
            else:
                differing = sum(count for (name, _v), count in rest.items() if name in names)
                lacking = rest.total() - differing
                agreeing = (recorded & parameters).total()
                if rest and (known or self._another(same, rest, parameters)):
                    continue
            alike = _alike(entry.sent, asked.body) if asked.body and not asked.form else (0.0, 0)
            # A later page, whose address an earlier answer named, is not the first one.
            later = bool(self._named.get(number, frozenset()) - names)
            rank = (later, -alike[0], differing, alike[1], -agreeing, lacking, entry.netloc != asked.host, number)
            if best is None or rank < best:
                best = rank
        return None if best is None else int(best[-1])

    def _another(self, same: list[int], rest: Counter[tuple[str, str]], asked: Counter[tuple[str, str]]) -> bool:
        """Whether a parameter tells that the answer is about another thing: it names an id, of which the recording
        has several. Numbers and times may differ: sizes, offsets, windows."""
        wanted = dict(asked)
        for name, value in rest:
            given = next((v for n, v in wanted if n == name), None)
            if given is None or _NUMBER_OR_TIME.fullmatch(value) or _NUMBER_OR_TIME.fullmatch(given):
                continue
            values = {v for n in same for key, v in (*self._entries[n].query, *self._entries[n].form) if key == name}
            if len(values) > 1 and not re.search(r"[\s<>=^,:]", value + given):
                return True
        return False


def _named_parameters(entries: list[Entry]) -> dict[int, frozenset[str]]:
    """The parameters of each request that an earlier answer about the same resource named, as in the address of its
    next page."""
    found: dict[int, frozenset[str]] = {}
    answers: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for number, entry in enumerate(entries):
        earlier = answers.setdefault(resource(entry.path), set())
        named = frozenset(name for name, value in entry.query if (name, value) in earlier)
        if named:
            found[number] = named
        links = [value.encode() for name, value in entry.headers if name == "link"]
        for text in (entry.body, *links):
            plain = text.replace(b"\\u0026", b"&").replace(b"&amp;", b"&")
            earlier.update((_read(name), _read(value)) for name, value in _PARAMETER.findall(plain))
    return found


def _read(text: bytes) -> str:
    return unquote_plus(text.decode("utf-8", "replace"))


def resource(path: str) -> tuple[str, ...]:
    """A path without what tells the version of the API, in whose name it is asked, or how the same resource is listed:
    `/rest/api/3/search/` and `/rest/api/latest/search/jql`, `/users/delta`, `/users/search` and `/users`,
    `/events/restSearch` and `/events/index`, `/devices/combined/devices/v1` and `/devices/entities/devices/v2`,
    `/servicesNS/USER/APP/search/jobs` and `/services/search/v2/jobs`, `get_endpoints` and `get_endpoint`."""
    kept: list[str] = []
    for segment in filter(None, _NAMESPACE.sub("/services/", path).split("/")):
        after_api = bool(kept) and kept[-1].lower() in ("api", "rest")
        if (
            _VERSION.fullmatch(segment)
            or (kept and segment in ("combined", "entities"))
            or (after_api and re.fullmatch(r"\d+(\.\d+)*", segment))
        ):
            continue
        kept.append(segment)
    if kept and kept[-1] in ("delta", "jql"):
        kept.pop()
    if len(kept) > 1 and kept[-1] in _LISTED and kept[-2].lower() not in ("api", "rest"):
        kept.pop()
    if kept and kept[-1].startswith("get_"):
        kept[-1] = kept[-1].removesuffix("s")
    return tuple(kept)


def _timeless(parameters: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter((name, _TIME.sub("time", value)) for name, value in parameters.elements())


def _json(body: bytes) -> Any:
    if body[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _operation(body: Any) -> str | None:
    """What a GraphQL or JSON-RPC body asks for."""
    if not isinstance(body, dict):
        return None
    query = body.get("query")
    if isinstance(query, str):
        head = _OPERATION.search(query)  # fragments may stand before it
        if found := _ROOT_FIELD.search(query, head.end() if head else 0):
            return found[1]
    return body["method"] if isinstance(body.get("method"), str) and "jsonrpc" in body else None


def _same_operation(entry: Entry, asked: Asked) -> bool:
    recorded, wanted = _operation(_json(entry.sent)), _operation(_json(asked.body))
    return recorded is None or wanted is None or recorded == wanted


def _alike(recorded: bytes, asked: bytes) -> tuple[float, int]:
    """How much of the structure of two JSON bodies is common (0 to 1), and how many values differ."""
    one, other = _json(recorded), _json(asked)
    if one is None or other is None:
        return 0.0, 0
    left, right = dict(_leaves(one)), dict(_leaves(other))
    both = left.keys() & right.keys()
    share = len(both) / max(1, len(left.keys() | right.keys()))
    return round(share, 2), sum(left[key] != right[key] for key in both)


def _leaves(value: Any, place: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    if depth < 20 and isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, f"{place}.{key}", depth + 1)
    else:
        yield place, json.dumps(value, sort_keys=True, default=str)
