"""The expression language of manifests: JMESPath with typed functions, compiled to Python.

`compile_expression` is the one interface. A `Writer` turns the syntax tree into straight-line Python in which a
path that occurs twice is looked up once; functions that take sub-expressions (sort_by, map …) run in jmespath's
interpreter. Results agree with the interpreter's for every JSON value (property-tested).
"""

from __future__ import annotations

import difflib
import keyword
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jmespath.exceptions
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

from towline_connectors.engine.functions import FUNCTIONS
from towline_connectors.engine.values import Mismatch

Node = dict[str, Any]
Compiled = Callable[[Any], Any]
_NUMBERS = (int, float)


class ExpressionError(ValueError):
    """An expression that cannot be used; the text says what is wrong with it, `where` at which place below."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where

    @property
    def sentence(self) -> str:
        text = str(self)
        return text if text.endswith((".", "?")) else f"{text}."


class _Functions(Functions):
    """jmespath's functions and ours; ours win."""

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        ours = FUNCTIONS.get(function_name)
        if ours is not None:
            return ours[0](*resolved_args)
        try:
            return super().call_function(function_name, resolved_args)
        except jmespath.exceptions.JMESPathTypeError as error:
            raise Mismatch(f"{function_name}() cannot take a value of type {error.actual_type}") from None


def function_name(tree: Node) -> str | None:
    """The function whose result the expression is, if it is a call."""
    return tree["value"] if tree["type"] == "function_expression" else None


def literal(tree: Node) -> tuple[bool, Any]:
    """(True, value) if the expression is a constant."""
    return (True, tree["value"]) if tree["type"] == "literal" else (False, None)


def plain_path(tree: Node) -> list[str] | None:
    """The names of a.b.c; None if the expression is more than that."""
    if tree["type"] == "field":
        return [tree["value"]]
    if tree["type"] != "subexpression":
        return None
    parts = [plain_path(child) for child in tree["children"]]
    return None if None in parts else [name for part in parts for name in part or []]


def names(tree: Node) -> set[str]:
    """All members that an expression names."""
    found = {tree["value"]} if tree["type"] == "field" else set()
    for child in tree.get("children", ()):
        if isinstance(child, dict):
            found |= names(child)
    return found


def truthy(value: Any) -> bool:
    """JMESPath's idea of true: everything but null, false and empty texts, lists and objects. 0 is true."""
    return bool(value) or value.__class__ in _NUMBERS


def _equal(left: Any, right: Any) -> bool:
    if (left.__class__ is bool) is not (right.__class__ is bool) and (left in (0, 1) or right in (0, 1)):
        return False
    return bool(left == right)


def _ordered(name: str) -> Callable[[Any, Any], bool | None]:
    function = TreeInterpreter.COMPARATOR_FUNC[name]

    def compare(left: Any, right: Any) -> bool | None:
        numbers = left.__class__ in _NUMBERS and right.__class__ in _NUMBERS
        if not numbers and not (left.__class__ is str and right.__class__ is str):
            return None
        return bool(function(left, right))

    return compare


def _flatten(value: Any) -> list[Any] | None:
    if value.__class__ is not list:
        return None
    merged: list[Any] = []
    for element in value:
        if element.__class__ is list:
            merged.extend(element)
        else:
            merged.append(element)
    return merged


def _slice(value: Any, start: int | None, stop: int | None, step: int | None) -> list[Any] | None:
    if value.__class__ is not list:
        return None
    if step == 0:
        raise Mismatch("a slice's step cannot be 0")
    return value[start:stop:step]


def _members(value: Any) -> list[Any] | None:
    return list(value.values()) if value.__class__ is dict else None


_ORDERED = {name: _ordered(name) for name in ("lt", "gt", "lte", "gte")}


class _Interpreter(TreeInterpreter):
    """jmespath's interpreter; a number and a text that are compared give null instead of an exception."""

    def visit_comparator(self, node: Any, value: Any) -> Any:
        compare = _ORDERED.get(node["value"])
        if compare is None:
            return super().visit_comparator(node, value)
        left, right = (self.visit(child, value) for child in node["children"])
        return compare(left, right)


_FUNCTIONS = _Functions()
_BUILTINS: dict[str, Any] = dict(_FUNCTIONS.FUNCTION_TABLE)
_INTERPRETER: Any = _Interpreter(Options(custom_functions=_FUNCTIONS))


def parse(text: str) -> Node:
    """The syntax tree of an expression (with or without the leading `=`). Raises ExpressionError."""
    body = text.removeprefix("=")
    try:
        parsed: Any = Parser().parse(body).parsed
    except jmespath.exceptions.EmptyExpressionError:
        raise ExpressionError("the expression is empty") from None
    except jmespath.exceptions.LexerError as error:
        raise ExpressionError(f"character {error.lexer_position + 1} of `{body}` is not JMESPath") from None
    except jmespath.exceptions.ParseError as error:
        near = f"at `{error.token_value}`" if error.token_value else "at its end"
        raise ExpressionError(
            f"`{body}` is not JMESPath: it goes wrong {near} (character {error.lex_position + 1}); "
            "names with other characters than letters, digits and _ need double quotes"
        ) from None
    except (jmespath.exceptions.JMESPathError, ValueError, RecursionError):
        raise ExpressionError(f"`{body}` is not JMESPath") from None
    tree: Node = parsed
    _check_functions(tree)
    return tree


def _check_functions(node: Node) -> None:
    if node["type"] == "function_expression":
        _check_call(node["value"], len(node["children"]))
    if node["type"] == "subexpression" and node["children"][0]["type"] == "not_expression":
        raise ExpressionError("`!` takes the name after it alone, and `!a.b` is always null; write !(a.b)")
    for child in node.get("children", ()):
        if isinstance(child, dict):
            _check_functions(child)


def _check_call(name: str, given: int) -> None:
    ours = FUNCTIONS.get(name)
    if ours is not None:
        least, most = ours[1], ours[2]
    elif name in _BUILTINS:
        signature = _BUILTINS[name]["signature"]
        least = len(signature)
        most = None if signature and signature[-1].get("variadic") else least
    else:
        close = difflib.get_close_matches(name, [*FUNCTIONS, *_BUILTINS], 1)
        raise ExpressionError(f"there is no function {name}()" + (f"; is {close[0]}() meant?" if close else ""))
    if given < least or (most is not None and given > most):
        wanted = str(least) if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise ExpressionError(f"{name}() takes {wanted} argument{'' if wanted == '1' else 's'}, {given} given")


class Writer:
    """Writes Python for expressions into one function body. Atoms are local names or literals."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.globals: dict[str, Any] = {
            "_equal": _equal, "_flatten": _flatten, "_slice": _slice, "_members": _members, "_NUMBERS": _NUMBERS,
            "_call": _FUNCTIONS.call_function, "_visit": _INTERPRETER.visit,
            **{f"_{name}": compare for name, compare in _ORDERED.items()},
        }  # fmt: skip
        self.objects: set[str] = set()  # atoms known to be objects
        self.inline: dict[str, Callable[[str], str]] = {}  # functions of one argument written out instead of called
        self._depth = 1
        self._count = 0
        self._memo: dict[tuple[str, str], str] = {}

    def line(self, text: str) -> None:
        self.lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """An indented block; what is computed within is forgotten at its end, since it may not run."""
        self.line(header)
        outer = dict(self._memo)
        self._depth += 1
        yield
        self._depth -= 1
        self._memo = outer

    def name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def constant(self, value: Any) -> str:
        if value is None or value.__class__ in (bool, int, str):
            return repr(value)
        name = f"k{len(self.globals)}"
        self.globals[name] = value
        return name

    def function(self, function: Callable[..., Any]) -> str:
        base = f"f_{getattr(function, '__name__', 'call')}"
        name = base
        number = 1
        while self.globals.get(name, function) is not function:
            number += 1
            name = f"{base}{number}"
        self.globals[name] = function
        return name if not keyword.iskeyword(name) else f"{name}_"

    def remember(self, root: str, tree: Node, atom: str) -> None:
        """Let `tree` over `root` be `atom` without computing it."""
        self._memo[root, repr(tree)] = atom

    def bind(self, key: str, code: str) -> str:
        """A local name for `code`; the same key gives the same name while it is in scope."""
        known = self._memo.get(("", key))
        if known is None:
            known = self.name()
            self.line(f"{known} = {code}")
            self._memo["", key] = known
        return known

    def value(self, tree: Node, root: str) -> str:
        """Write what computes `tree` over `root`; returns the atom that holds the result."""
        kind = tree["type"]
        if kind in ("current", "identity"):
            return root
        if kind == "literal":
            return self.constant(tree["value"])
        key = (root, repr(tree))
        known = self._memo.get(key)
        if known is None:
            known = getattr(self, f"_{kind}", self._interpreted)(tree, root)
            self._memo[key] = known
        return known

    def _set(self, code: str) -> str:
        name = self.name()
        self.line(f"{name} = {code}")
        return name

    def _interpreted(self, tree: Node, root: str) -> str:
        return self._set(f"_visit({self.constant(tree)}, {root})")

    def _field(self, tree: Node, root: str) -> str:
        got = f"{root}.get({tree['value']!r})"
        if root == "None":
            return "None"
        return self._set(got if root in self.objects else f"{got} if {root}.__class__ is dict else None")

    def _chain(self, tree: Node, root: str) -> str:
        for child in tree["children"]:
            atom = self.value(child, root)
            root = atom if atom == "None" else self.named(atom)
        return root

    _subexpression = _index_expression = _pipe = _chain

    def _index(self, tree: Node, root: str) -> str:
        at = tree["value"]
        enough = f"len({root}) > {at}" if at >= 0 else f"len({root}) >= {-at}"
        return self._set(f"{root}[{at}] if {root}.__class__ is list and {enough} else None")

    def _slice(self, tree: Node, root: str) -> str:
        return self._set(f"_slice({root}, {', '.join(map(repr, tree['children']))})")

    def _either(self, tree: Node, root: str, stop: str) -> str:
        result = self._set(self.value(tree["children"][0], root))
        with self.block(f"if {stop.format(v=result)}:"):
            self.line(f"{result} = {self.value(tree['children'][1], root)}")
        return result

    def _or_expression(self, tree: Node, root: str) -> str:
        return self._either(tree, root, "not {v} and {v}.__class__ not in _NUMBERS")

    def _and_expression(self, tree: Node, root: str) -> str:
        return self._either(tree, root, "{v} or {v}.__class__ in _NUMBERS")

    def _not_expression(self, tree: Node, root: str) -> str:
        value = self.named(self.value(tree["children"][0], root))
        return self._set(f"{value}.__class__ not in _NUMBERS and not {value}")

    def named(self, atom: str) -> str:
        """An atom that may be followed by a dot."""
        return atom if atom.isidentifier() and atom not in ("None", "True", "False") else self._set(atom)

    def _comparator(self, tree: Node, root: str) -> str:
        left, right = (self.value(child, root) for child in tree["children"])
        sign = tree["value"]
        constant, wanted = literal(tree["children"][1])
        if sign in ("eq", "ne") and constant and (wanted is None or wanted.__class__ is str):
            same = "is" if wanted is None else "=="
            differs = "is not" if wanted is None else "!="
            return self._set(f"{self.named(left)} {same if sign == 'eq' else differs} {right}")
        if sign in ("eq", "ne"):
            return self._set(f"{'not ' if sign == 'ne' else ''}_equal({left}, {right})")
        return self._set(f"_{sign}({left}, {right})")

    def _function_expression(self, tree: Node, root: str) -> str:
        name, children = tree["value"], tree["children"]
        if any(child["type"] == "expref" for child in children):
            return self._interpreted(tree, root)
        arguments = ", ".join([self.value(child, root) for child in children])
        ours = FUNCTIONS.get(name)
        if name in self.inline and len(children) == 1:
            return self.inline[name](arguments)
        if ours is not None:
            return self._set(f"{self.function(ours[0])}({arguments})")
        return self._set(f"_call({name!r}, [{arguments}])")

    def _collect(self, root: str, make: Callable[[], str]) -> str:
        if root in self.objects:
            return self._set(make())
        result = self._set("None")
        with self.block(f"if {root} is not None:"):
            self.line(f"{result} = {make()}")
        return result

    def _multi_select_list(self, tree: Node, root: str) -> str:
        return self._collect(root, lambda: f"[{', '.join([self.value(c, root) for c in tree['children']])}]")

    def _multi_select_dict(self, tree: Node, root: str) -> str:
        def make() -> str:
            pairs = [f"{c['value']!r}: {self.value(c['children'][0], root)}" for c in tree["children"]]
            return "{" + ", ".join(pairs) + "}"

        return self._collect(root, make)

    def _flatten(self, tree: Node, root: str) -> str:
        return self._set(f"_flatten({self.value(tree['children'][0], root)})")

    def _loop(self, tree: Node, root: str, base: str, condition: Node | None) -> str:
        base = self.named(base)
        result = self._set("None")
        with self.block(f"if {base}.__class__ is list:"):
            self.line(f"{result} = []")
            element = self.name()
            with self.block(f"for {element} in {base}:"):
                if condition is not None:
                    kept = self.named(self.value(condition, element))
                    self.line(f"if not {kept} and {kept}.__class__ not in _NUMBERS: continue")
                found = self.value(tree["children"][1], element)
                self.line(f"if {found} is not None: {result}.append({found})".replace("None is not None", "False"))
        return result

    def _projection(self, tree: Node, root: str) -> str:
        return self._loop(tree, root, self.value(tree["children"][0], root), None)

    def _filter_projection(self, tree: Node, root: str) -> str:
        return self._loop(tree, root, self.value(tree["children"][0], root), tree["children"][2])

    def _value_projection(self, tree: Node, root: str) -> str:
        base = self._set(f"_members({self.value(tree['children'][0], root)})")
        return self._loop(tree, root, base, None)

    def build(self, header: str, extra: dict[str, Any] | None = None) -> Callable[..., Any]:
        """The function `run` whose body was written."""
        source = "\n".join([header, *self.lines])
        scope: dict[str, Any] = {**self.globals, **(extra or {})}
        exec(compile(source, "<manifest>", "exec"), scope)  # noqa: S102 - written here from a checked syntax tree
        built: Callable[..., Any] = scope["run"]
        return built


def interpret(tree: Node, value: Any) -> Any:
    """The value of a parsed expression by jmespath's own interpreter."""
    return _INTERPRETER.visit(tree, value)


def compile_expression(text: str) -> Compiled:
    """A function from a JSON value to the expression's value. Raises ExpressionError.

    The function raises `Mismatch` when a typed function cannot take what it is given."""
    tree = parse(text)
    writer = Writer()
    try:
        writer.line(f"return {writer.value(tree, 'r')}")
        return writer.build("def run(r):")
    except (SyntaxError, RecursionError):  # deeper than Python nests blocks
        return lambda value: _INTERPRETER.visit(tree, value)
