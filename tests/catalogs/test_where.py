"""Filter expressions: the tree they give, and the place of the first mistake."""

import pytest

from catalogs.where import All, Any, Compare, HasTag, Not, OneOf, parse
from kernels.errors import InputError


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("metrics.rmse < 2e-2", Compare("metrics.rmse", "<", 0.02)),
        ("12 <= config.modes", Compare("config.modes", ">=", 12.0)),
        ("config.inner.kind == 'a \\'b'", Compare("config.inner.kind", "==", "a 'b")),
        ("config.on == true", Compare("config.on", "==", 1.0)),
        ('"train" in tags', HasTag("train")),
        ("stage not in ('a', 'b',)", Not(OneOf("stage", ("a", "b")))),
        (
            "1 < config.modes <= 9",
            All((Compare("config.modes", ">", 1.0), Compare("config.modes", "<=", 9.0))),
        ),
        (
            "version == 1 or version == 2 and not (bytes > 3)",
            Any(
                (
                    Compare("version", "==", 1.0),
                    All((Compare("version", "==", 2.0), Not(Compare("bytes", ">", 3.0)))),
                )
            ),
        ),
    ],
)
def test_trees(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'the end' where a name or a value is expected \(character 1"),
        ("metrics.rmse < ", r"'the end' where a name .* \(character 15"),
        ("metrics.rmse = 3", r"'=' is not understood here \(character 14"),
        ("rmse < 3", "'rmse' is not known; names are metrics.NAME"),
        ("version < bytes", "version < bytes compares two names"),
        ("1 < 2", "1 < 2 compares two values"),
        ("version < 1e999", "1e999 is too large a number"),
        ("key == 'a\0'", "holds a character that no database keeps"),
        ("key == '\ud800'", "holds a character that no database keeps"),
        ("train in tags", "expected a tag in quotes"),
        ("(version < 1", r"'the end' where \) is expected"),
        ("version < 1 version", "'version' where 'and', 'or' or the end is expected"),
        ("__import__('os').system('x')", r"'\.' is not understood here \(character 17"),
        ("(" * 21 + "version < 1" + ")" * 21, "more than 20 brackets inside one another"),
        ("x" * 10_001, "10001 characters, expected at most 10000"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)
