"""The part of CEL that our own rules use: `towline validate` and a local run refuse what the API server refuses.

Not a general CEL: no types beyond JSON's, no user's expression ever gets here. A test evaluates every rule of the
models, another compares the verdicts with a real API server's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

Variables = Mapping[str, Any]
Evaluate = Callable[[Variables], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+)|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<operator>&&|\|\||==|!=|<=|>=|[<>!+\-*/?:()\[\].,]))"
)
_TYPES: dict[str, type] = {"int": int, "string": str, "bool": bool}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "in": lambda a, b: a in b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"size": len, "int": int, "string": str, "type": type}


class CelError(ValueError):
    """The expression is not of our subset, or reads something that is not there."""


def evaluate(expression: str, variables: Variables) -> Any:
    """The value of `expression`. Raises CelError."""
    try:
        return _compiled(expression)(variables)
    except CelError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CelError(f"{expression}: {error}") from error


def understand(expression: str) -> None:
    """Raises CelError when `expression` is not of our subset."""
    _compiled(expression)


@cache
def _compiled(expression: str) -> Evaluate:
    return _Parser(expression).whole()


def matches(text: str, pattern: str) -> bool:
    """RE2's idea of a match: anywhere in the text, and a final $ is the very end."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None


_METHODS: dict[str, Callable[..., Any]] = {
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "matches": matches,
    "findAll": lambda text, pattern: [found.group() for found in re.finditer(pattern, text)],
    "substring": lambda text, start, end=None: text[start:end],
    "size": len,
    "sum": sum,
}
_COLLECT: dict[str, Callable[[Iterable[Any]], Any]] = {"all": all, "exists": any, "map": list}


class _Parser:
    """Recursive descent; each method returns a closure over the variables."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _tokens(expression)
        self._next = 0

    def whole(self) -> Evaluate:
        value = self._choice()
        if self._next < len(self._tokens):
            raise CelError(f"{self._expression}: unexpected {self._tokens[self._next][1]}")
        return value

    def _take(self, *words: str) -> str | None:
        if self._next < len(self._tokens):
            kind, word = self._tokens[self._next]
            if kind != "text" and word in words:
                self._next += 1
                return word
        return None

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise CelError(f"{self._expression}: {word} expected")

    def _name(self) -> str:
        kind, word = self._tokens[self._next] if self._next < len(self._tokens) else ("", "the end")
        if kind != "name":
            raise CelError(f"{self._expression}: a name expected, not {word}")
        self._next += 1
        return word

    def _choice(self) -> Evaluate:
        condition = self._either()
        if not self._take("?"):
            return condition
        then = self._choice()
        self._need(":")
        otherwise = self._choice()
        return lambda v: then(v) if condition(v) else otherwise(v)

    def _either(self) -> Evaluate:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda v: any(part(v) for part in parts)

    def _both(self) -> Evaluate:
        parts = [self._relation()]
        while self._take("&&"):
            parts.append(self._relation())
        return parts[0] if len(parts) == 1 else lambda v: all(part(v) for part in parts)

    def _relation(self) -> Evaluate:
        left = self._sum()
        operator = self._take(*_COMPARE)
        if not operator:
            return left
        right, compare = self._sum(), _COMPARE[operator]
        return lambda v: compare(left(v), right(v))

    def _sum(self) -> Evaluate:
        value = self._product()
        while operator := self._take("+", "-"):
            value = _arithmetic(operator, value, self._product())
        return value

    def _product(self) -> Evaluate:
        value = self._unary()
        while self._take("*"):
            value = _arithmetic("*", value, self._unary())
        return value

    def _unary(self) -> Evaluate:
        if self._take("!"):
            value = self._unary()
            return lambda v: not value(v)
        return self._member()

    def _member(self) -> Evaluate:
        value = self._primary()
        while True:
            if self._take("."):
                value = self._field_or_call(value, self._name())
            elif self._take("["):
                value = _index(value, self._choice())
                self._need("]")
            else:
                return value

    def _field_or_call(self, owner: Evaluate, name: str) -> Evaluate:
        if not self._take("("):
            return lambda v: owner(v)[name]
        if name in _COLLECT or name == "filter":
            return self._macro(owner, name)
        if name not in _METHODS:
            raise CelError(f"{self._expression}: unknown method {name}")
        method, arguments = _METHODS[name], self._until(")")
        return lambda v: method(owner(v), *(argument(v) for argument in arguments))

    def _macro(self, owner: Evaluate, name: str) -> Evaluate:
        variable = self._name()
        self._need(",")
        body = self._choice()
        self._need(")")
        if name == "filter":
            return lambda v: [item for item in owner(v) if body({**v, variable: item})]
        collect: Callable[[Iterable[Any]], Any] = _COLLECT[name]
        return lambda v: collect(body({**v, variable: item}) for item in owner(v))

    def _until(self, end: str) -> list[Evaluate]:
        """What stands between commas up to `end`."""
        found: list[Evaluate] = []
        while not self._take(end):
            found.append(self._choice())
            if not self._take(","):
                self._need(end)
                break
        return found

    def _primary(self) -> Evaluate:
        if self._take("("):
            value = self._choice()
            self._need(")")
            return value
        if self._take("["):
            items = self._until("]")
            return lambda v: [item(v) for item in items]
        if self._next >= len(self._tokens):
            raise CelError(f"{self._expression}: ends too early")
        kind, word = self._tokens[self._next]
        if kind == "operator":
            raise CelError(f"{self._expression}: unexpected {word}")
        self._next += 1
        if kind == "number":
            number = int(word)
            return lambda _: number
        if kind == "text":
            text = re.sub(r"\\(.)", r"\1", word[1:-1])
            return lambda _: text
        return self._named(word)

    def _named(self, word: str) -> Evaluate:
        if word in _WORDS:
            return lambda _: _WORDS[word]
        if not self._take("("):
            return lambda v: v[word] if word in v else _TYPES[word]
        if word == "has":
            return self._has()
        if word not in _FUNCTIONS:
            raise CelError(f"{self._expression}: unknown function {word}")
        function, arguments = _FUNCTIONS[word], self._until(")")
        return lambda v: function(*(argument(v) for argument in arguments))

    def _has(self) -> Evaluate:
        """`has(a.b.c)`: a.b must be there, c may be missing."""
        owner = self._primary()
        self._need(".")
        name = self._name()
        while self._take("."):
            owner, name = _select(owner, name), self._name()
        self._need(")")
        return lambda v: name in owner(v)


def _select(owner: Evaluate, name: str) -> Evaluate:
    return lambda v: owner(v)[name]


def _index(owner: Evaluate, index: Evaluate) -> Evaluate:
    return lambda v: owner(v)[index(v)]


def _arithmetic(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    if operator == "+":
        return lambda v: left(v) + right(v)
    if operator == "-":
        return lambda v: left(v) - right(v)
    return lambda v: left(v) * right(v)


def _tokens(expression: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(expression.rstrip()):
        match = _TOKEN.match(expression, position)
        if not match:
            raise CelError(f"{expression}: not understood from {expression[position:]!r}")
        kind = match.lastgroup or ""
        found.append((kind, match.group(kind)))
        position = match.end()
    return found
