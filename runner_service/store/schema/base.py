"""What all tables share."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

REVISION = "0022"
"""The newest migration; kept here so that an up-to-date database is opened without importing Alembic."""

metadata = MetaData()


def word() -> TypeEngine[str]:
    """Text that sorts as Python's ``str`` of ASCII does."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def serial() -> TypeEngine[int]:
    """A key that the engine counts up; SQLite does so for INTEGER only."""
    return BigInteger().with_variant(Integer(), "sqlite")
