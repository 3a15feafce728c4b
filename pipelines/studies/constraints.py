"""Constraints on the parameters of a study: text to a small tree over columns, parsed and never evaluated.

mesh_size * notch_segments < 0.1 and (constants.load >= 1.5e8 or not kind == "fine")
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kernels.errors import InputError

LONGEST = 10_000
"""Characters of an expression."""

DEEPEST = 100
"""Brackets inside one another."""

Columns = Mapping[str, np.ndarray]
Node = Callable[[Columns], Any]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<name>[A-Za-z_]\w*(?:\.\w+)*)
      | (?P<sign>==|!=|<=|>=|[-+*/<>()\[\],])
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<=": np.less_equal, ">=": np.greater_equal,
    "<": np.less, ">": np.greater,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
}  # fmt: skip
_WORDS = ("and", "or", "not", "in")


def keep(text: str, columns: Columns) -> np.ndarray:
    """Which points meet the constraint: bool of shape (points,).

    Grammar: `or`, `and`, `not`, brackets; comparisons, chained as in `0 < a <= b`; `name in (1, 2)`;
    `+ - * /` of numbers and parameters. Names are the parameters' dotted paths; `true` and `false` are 1 and
    0. A comparison with a number that is none (0/0) is false. Raises InputError with the place of the first
    mistake. Not handled: functions, powers.
    """
    if len(text) > LONGEST:
        raise InputError(f"where: {len(text)} characters, expected at most {LONGEST}: use a shorter one")
    node = _Parser(text, list(columns)).whole()
    count = len(next(iter(columns.values()))) if columns else 0
    with np.errstate(all="ignore"):
        try:
            result = np.asarray(node(columns))
        except InputError:
            raise
        except (TypeError, ValueError, np.exceptions.DTypePromotionError) as error:
            raise InputError(
                f"where: {text!r} mixes texts and numbers: compare a parameter of texts with a text in quotes"
            ) from error
    if result.dtype != np.bool_:
        raise InputError(f"where: {text!r} is no condition: expected a comparison such as 'a < 2 * b'")
    return np.broadcast_to(result, (count,)).copy()


class _Parser:
    """Recursive descent; every rule gives a function of the columns."""

    def __init__(self, text: str, known: list[str]) -> None:
        self._text, self._known = text, known
        self._tokens = self._scan()
        self._at = self._depth = 0

    def _scan(self) -> list[tuple[str, str, int]]:
        at, end, tokens = 0, len(self._text.rstrip()), []
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                raise self._mistake(f"{self._text[at:].lstrip()[:1]!r} is not understood here", at)
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return [*tokens, ("end", "the end", end)]

    def _mistake(self, what: str, place: int | None = None) -> InputError:
        at = self._tokens[self._at][2] if place is None else place
        near = self._text[max(0, at - 30) : at + 30]
        return InputError(
            f"where: {what} (character {at + 1}, near {near!r}): expected a condition such as "
            "'a < 2 * b and c >= 3'"
        )

    def _peek(self) -> str:
        kind, text, _ = self._tokens[self._at]
        return text if kind in ("sign", "name") else ""

    def _take(self, *words: str) -> str:
        found = self._peek()
        if found in words:
            self._at += 1
            return found
        return ""

    def _expect(self, *words: str) -> None:
        if not self._take(*words):
            raise self._mistake(f"{self._tokens[self._at][1]!r} where {' or '.join(words)} is expected")

    def whole(self) -> Node:
        node = self._either()
        if self._tokens[self._at][0] != "end":
            raise self._mistake(f"{self._tokens[self._at][1]!r} where 'and', 'or' or the end is expected")
        return node

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda c: np.logical_or.reduce(_conditions(parts, c))

    def _both(self) -> Node:
        parts = [self._negated()]
        while self._take("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda c: np.logical_and.reduce(_conditions(parts, c))

    def _negated(self) -> Node:
        if not self._take("not"):
            return self._comparison()
        self._deeper()
        part = self._negated()
        self._depth -= 1
        return lambda c: np.logical_not(_conditions([part], c)[0])

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._mistake(f"more than {DEEPEST} brackets inside one another")

    def _comparison(self) -> Node:
        left = self._sum()
        if self._take("in"):
            return self._membership(left)
        parts: list[Node] = []
        while self._peek() in _COMPARE:
            compare = _COMPARE[self._take(*_COMPARE)]
            right = self._sum()
            parts.append(lambda c, f=compare, a=left, b=right: f(a(c), b(c)))  # type: ignore[misc]
            left = right
        if not parts:
            return left
        return parts[0] if len(parts) == 1 else lambda c: np.logical_and.reduce(_conditions(parts, c))

    def _membership(self, left: Node) -> Node:
        self._expect("(", "[")
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        self._expect(")", "]")
        return lambda c: np.logical_or.reduce([np.equal(left(c), value(c)) for value in values])

    def _sum(self) -> Node:
        return self._chain(self._product, "+", "-")

    def _product(self) -> Node:
        return self._chain(self._value, "*", "/")

    def _chain(self, part: Callable[[], Node], *signs: str) -> Node:
        node = part()
        while sign := self._take(*signs):
            right, operation = part(), _ARITHMETIC[sign]
            node = lambda c, f=operation, a=node, b=right: f(a(c), b(c))  # type: ignore[misc]  # noqa: E731
        return node

    def _value(self) -> Node:
        self._deeper()
        try:
            if self._take("("):
                node = self._either()
                self._expect(")")
                return node
            if self._take("-"):
                inner = self._value()
                return lambda c: np.negative(inner(c))
        finally:
            self._depth -= 1
        kind, text, _ = self._tokens[self._at]
        if kind not in ("number", "text", "name") or text in _WORDS:
            raise self._mistake(f"{text!r} where a parameter or a value is expected")
        constant: Any = self._constant(kind, text)
        self._at += 1
        return (lambda c: c[text]) if constant is None else (lambda c: constant)

    def _constant(self, kind: str, text: str) -> Any:
        if kind == "number":
            return float(text)
        if kind == "text":
            return text[1:-1]
        if text in self._known:
            return None
        if text.lower() in ("true", "false"):
            return float(text.lower() == "true")
        raise self._mistake(f"{text!r} is no parameter of the study; it has {', '.join(self._known)}")


def _conditions(parts: list[Node], columns: Columns) -> list[np.ndarray]:
    found = [np.asarray(part(columns)) for part in parts]
    if any(one.dtype != np.bool_ for one in found):
        raise InputError("where: 'and', 'or' and 'not' join comparisons, one of these parts is a number")
    return list(np.broadcast_arrays(*found))
