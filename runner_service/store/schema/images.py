"""Images of agents, and the names they go by."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from runner_service.store.schema.base import metadata, word

images = Table(
    "images",
    metadata,
    Column("image_id", word(), primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("files", word(), nullable=False),
    # Of the files; images with the same ones share it.
    Column("blob_key", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("images_by_files", "files"),
    Index("images_by_blob", "blob_key"),
)

image_tags = Table(
    "image_tags",
    metadata,
    Column("realm", word(), primary_key=True),
    Column("name", word(), primary_key=True),
    Column("tag", word(), primary_key=True),
    Column("image_id", word(), nullable=False),
    # What searches look through: name and model without case.
    Column("text", Text, nullable=False),
    Index("image_tags_of_image", "image_id"),
    sqlite_with_rowid=False,
)
