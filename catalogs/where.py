"""Filter expressions of catalog queries: text to a small tree, parsed and never evaluated.

metrics.rmse < 0.02 and (config.modes >= 12 or "train" in tags) and not stage in ("design", "report")
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kernels.errors import InputError

LONGEST = 10_000
"""Characters of an expression."""

DEEPEST = 20
"""Brackets and `not` inside one another; SQLite's own parser gives up at some thirty."""

MOST = 200
"""Comparisons in an expression."""

COLUMNS = ("key", "stage", "version", "created", "seconds", "bytes", "host", "user", "code", "note")
"""Names without a namespace: what is known of every artifact."""

NAMESPACES = ("metrics", "config", "parameters")
"""First part of dotted names."""

Scalar = float | str
_OPERATORS = ("==", "!=", "<=", ">=", "<", ">")
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_]\w*(?:\.\w+)*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


@dataclass(frozen=True)
class Compare:
    """`name operator value`; an artifact without the name does not match."""

    name: str
    operator: str
    value: Scalar


@dataclass(frozen=True)
class OneOf:
    """`name in (values)`."""

    name: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class HasTag:
    """`"tag" in tags`."""

    tag: str


@dataclass(frozen=True)
class Within:
    """The parameter's values, all of them, lie in [low, high]; `search(reynolds=(1e4, 1e5))`."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class HasName:
    """The artifact is a version of a name; `search(name="bars")`."""

    name: str


@dataclass(frozen=True)
class Not:
    """The artifacts that `part` does not match, those without its names included."""

    part: "Condition"


@dataclass(frozen=True)
class All:
    """Every part matches."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Any:
    """At least one part matches."""

    parts: tuple["Condition", ...]


Leaf = Compare | OneOf | HasTag | Within | HasName
Condition = Leaf | Not | All | Any


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def parse(text: str) -> Condition:
    """Tree of a filter expression.

    Grammar: `or`, `and`, `not`, brackets; `name < number` and its kin, chained as in `1 < config.modes <= 9`;
    `name == "text"`; `name in (1, 2)`; `"tag" in tags`. Names are `metrics.x`, `config.x.y`,
    `parameters.x` or one of COLUMNS; `true` and `false` are 1 and 0. Raises InputError with the place of the
    first mistake. Not handled: arithmetic, comparison of two names, patterns.
    """
    if len(text) > LONGEST:
        raise InputError(f"where: {len(text)} characters, expected at most {LONGEST}: use a shorter filter")
    parser = _Parser(text)
    condition = parser.either()
    parser.end()
    count = sum(1 for _ in leaves(condition))
    if count > MOST:
        raise InputError(f"where: {count} comparisons, expected at most {MOST}: use a shorter filter")
    return condition


def storable_text(text: str) -> bool:
    """Whether a database can hold the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every comparison in a tree."""
    if isinstance(condition, Not):
        yield from leaves(condition.part)
    elif isinstance(condition, All | Any):
        for part in condition.parts:
            yield from leaves(part)
    else:
        yield condition


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._at = 0
        self._depth = 0

    def _scan(self) -> Iterator[_Token]:
        at = 0
        end = len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._mistake(f"{self._text[start]!r} is not understood here", start)
            start = match.start(match.lastgroup)
            yield _Token(match.lastgroup, match[match.lastgroup], start)
            at = match.end()
        yield _Token("end", "the end", end)

    def _mistake(self, what: str, place: int) -> InputError:
        low = max(0, place - 30)
        shown = self._text[low : place + 30].replace("\n", " ")
        return InputError(
            f"where: {what} (character {place + 1}, near {shown!r}): expected an expression such as "
            "'metrics.rmse < 0.02 and config.modes >= 12'"
        )

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *words: str) -> bool:
        if self._next.kind in ("sign", "name") and self._next.text in words:
            self._at += 1
            return True
        return False

    def _expect(self, *words: str) -> None:
        if not self._take(*words):
            raise self._mistake(
                f"{self._next.text!r} where {' or '.join(words)} is expected", self._next.place
            )

    def end(self) -> None:
        """Raise InputError where something follows."""
        if self._next.kind != "end":
            raise self._mistake(
                f"{self._next.text!r} where 'and', 'or' or the end is expected", self._next.place
            )

    def either(self) -> Condition:
        """`part or part or ...`."""
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._mistake(f"more than {DEEPEST} brackets inside one another", self._next.place)
        try:
            if self._take("not"):
                return Not(self._one())
            if self._take("("):
                inner = self.either()
                self._expect(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        left = self._operand()
        if self._take("not"):
            self._expect("in")
            return Not(self._membership(left))
        if self._take("in"):
            return self._membership(left)
        parts: list[Condition] = []
        while self._next.kind == "sign" and self._next.text in _OPERATORS:
            operator = self._next.text
            self._at += 1
            right = self._operand()
            parts.append(self._compare(left, operator, right))
            left = right
        if not parts:
            raise self._mistake(
                f"{self._next.text!r} where one of {', '.join(_OPERATORS)}, in is expected", self._next.place
            )
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _operand(self) -> _Token:
        token = self._next
        if token.kind not in ("number", "text", "name") or token.text in ("and", "or", "not", "in"):
            raise self._mistake(f"{token.text!r} where a name or a value is expected", token.place)
        self._at += 1
        return token

    def _compare(self, left: _Token, operator: str, right: _Token) -> Condition:
        if self._is_name(left) == self._is_name(right):
            raise self._mistake(
                f"{left.text} {operator} {right.text} compares two "
                f"{'names' if self._is_name(left) else 'values'}, expected a name and a value",
                left.place,
            )
        if self._is_name(right):
            left, right, operator = right, left, _MIRROR[operator]
        return Compare(self._name(left), operator, self._value(right))

    def _membership(self, left: _Token) -> Condition:
        if self._take("tags"):
            value = None if self._is_name(left) else self._value(left)
            if not isinstance(value, str):
                raise self._mistake(f"{left.text} in tags, expected a tag in quotes", left.place)
            return HasTag(value)
        name = self._name(left)
        self._expect("(", "[")
        values = [self._value(self._operand())]
        while self._take(","):
            if self._next.text in (")", "]"):
                break
            values.append(self._value(self._operand()))
        self._expect(")", "]")
        return OneOf(name, tuple(values))

    def _is_name(self, token: _Token) -> bool:
        return token.kind == "name" and token.text not in ("true", "false", "True", "False")

    def _name(self, token: _Token) -> str:
        space = token.text.split(".")[0]
        if not self._is_name(token):
            raise self._mistake(f"the value {token.text} where a name is expected", token.place)
        if token.text in COLUMNS or (space in NAMESPACES and "." in token.text):
            return token.text
        raise self._mistake(
            f"{token.text!r} is not known; names are {', '.join(n + '.NAME' for n in NAMESPACES)}, "
            f'{", ".join(COLUMNS)} and "TAG" in tags',
            token.place,
        )

    def _value(self, token: _Token) -> Scalar:
        if token.kind == "number":
            value = float(token.text)
            if not math.isfinite(value):
                raise self._mistake(f"{token.text} is too large a number", token.place)
            return value
        if token.kind == "text":
            text = re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
            if not storable_text(text):
                raise self._mistake("the text holds a character that no database keeps", token.place)
            return text
        if self._is_name(token):
            raise self._mistake(f"the name {token.text} where a value is expected", token.place)
        return 1.0 if token.text.lower() == "true" else 0.0
