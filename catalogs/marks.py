"""What people add to artifacts after they were published: tags, names with versions, notes."""

import re
import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs.database import insert_new, writing
from catalogs.locks import hold
from catalogs.queries import Queries
from catalogs.tables import artifacts, names, tags
from catalogs.where import storable_text
from kernels.errors import InputError

LONGEST_NOTE = 10_000
"""Characters of a note."""

_MARK = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_KEY_LIKE = re.compile(r"[0-9a-f]+")


class Marks(Queries):
    """The half of the catalog that marks; nothing here changes an artifact's data or key."""

    def tag(self, key: str, *given: str) -> None:
        """Put tags on an artifact; those that it has already stay.

        Raises InputError for an unknown key and for a tag that is not letters, digits, `_`, `.`, `-`.
        """
        full = self.resolve(key)
        for one in given:
            _check(one, "tag")
        with writing(self.engine) as connection:
            number = _number(connection, full)
            for one in sorted(set(given)):  # in one order, so that two never wait for each other
                _put(connection, number, one)

    def untag(self, key: str, *given: str) -> None:
        """Take tags off an artifact.

        Raises InputError for an unknown key and for a tag that the artifact has not.
        """
        full = self.resolve(key)
        with writing(self.engine) as connection:
            number = _number(connection, full)
            known = set(connection.execute(sa.select(tags.c.tag).where(tags.c.artifact == number)).scalars())
            lacking = sorted(set(given) - known)
            if lacking:
                raise InputError(f"artifact {full[:12]} has no tag {lacking}; it has {sorted(known)}")
            mine = (tags.c.artifact == number) & tags.c.tag.in_(given)
            connection.execute(sa.delete(tags).where(mine))

    def move_tag(self, tag: str, key: str) -> str | None:
        """Take a tag off every artifact and put it on this one, in one transaction; the key that had it last.

        Readers see the old bearer or the new one, never none. Raises InputError as `tag` does.
        """
        _check(tag, "tag")
        full = self.resolve(key)
        with writing(self.engine) as connection:
            hold(connection, "tag", tag)
            number = _number(connection, full)
            before = _bearer(connection, tag)
            connection.execute(sa.delete(tags).where(tags.c.tag == tag))
            _put(connection, number, tag)
        return before

    def tagged(self, tag: str) -> str | None:
        """Key of the artifact that got the tag last, None where no artifact has it.

        Raises InputError for what is no tag.
        """
        _check(tag, "tag")
        with self.engine.connect() as connection:
            return _bearer(connection, tag)

    def name(self, key: str, name: str) -> int:
        """Make an artifact the latest version of a name; the version's number, which it keeps for good.

        Naming the latest version again changes nothing. Raises InputError for an unknown key, a name that is
        not letters, digits, `_`, `.`, `-`, and one that could be the start of a key.
        """
        check_name(name)
        full = self.resolve(key)
        with writing(self.engine) as connection:
            return next_version(connection, name, _number(connection, full))

    def note(self, key: str, text: str) -> None:
        """Write the note of an artifact, in place of the one it has.

        Raises InputError for an unknown key and a text of more than LONGEST_NOTE characters.
        """
        if len(text) > LONGEST_NOTE or not storable_text(text):
            raise InputError(
                f"a note of {len(text)} characters; expected at most {LONGEST_NOTE}, none of them NUL or half"
                " of a surrogate pair: shorten it, or keep it in a file beside the project"
            )
        full = self.resolve(key)
        with writing(self.engine) as connection:
            connection.execute(sa.update(artifacts).where(artifacts.c.key == full).values(note=text))


def _check(mark: str, kind: str) -> None:
    if not _MARK.fullmatch(mark):
        raise InputError(
            f"the {kind} {mark!r} cannot be used; expected a letter, then at most 99 letters, digits, '_', "
            "'.' or '-'"
        )


def check_name(name: str) -> None:
    """Raise InputError where an artifact cannot have the name."""
    _check(name, "name")
    if _KEY_LIKE.fullmatch(name):
        raise InputError(f"the name {name!r} could be the start of a key: use a name with other letters")


def next_version(connection: Connection, name: str, number: int) -> int:
    """Make the artifact of a number the latest version of a name, unless it is; the version."""
    # versions are numbered without gaps, which takes a look at the last one
    hold(connection, "name", name)
    mine = sa.select(names.c.number, names.c.artifact).where(names.c.name == name)
    last = connection.execute(mine.order_by(names.c.number.desc()).limit(1)).first()
    if last is not None and last.artifact == number:
        return int(last.number)
    version = 1 if last is None else int(last.number) + 1
    row = {"name": name, "number": version, "artifact": number, "created": time.time()}
    connection.execute(sa.insert(names), row)
    return version


def _number(connection: Connection, key: str) -> int:
    found = connection.execute(sa.select(artifacts.c.id).where(artifacts.c.key == key)).scalar()
    if found is None:
        raise InputError(f"artifact {key[:12]} was removed meanwhile: list the catalog again")
    return int(found)


def _put(connection: Connection, number: int, tag: str) -> None:
    stage = connection.execute(sa.select(artifacts.c.stage).where(artifacts.c.id == number)).scalar_one()
    insert_new(connection, tags, {"tag": tag, "artifact": number, "created": time.time(), "stage": stage})


def _bearer(connection: Connection, tag: str) -> str | None:
    query = sa.select(artifacts.c.key).join(tags, tags.c.artifact == artifacts.c.id).where(tags.c.tag == tag)
    found = (
        connection.execute(query.order_by(tags.c.created.desc(), tags.c.artifact.desc())).scalars().first()
    )
    return None if found is None else str(found)
