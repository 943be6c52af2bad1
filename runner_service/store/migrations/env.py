"""Alembic's entry: runs on the connection that `store.upgrade` hands over, or on ``-x url=…`` for developers.

alembic -c runner_service/store/migrations/alembic.ini -x url=sqlite:////tmp/x.db revision --autogenerate -m "…"
"""

from __future__ import annotations

import sqlalchemy
from alembic import context
from sqlalchemy import Connection

from runner_service.store.schema import metadata


def run(connection: Connection) -> None:
    # Alembic believes that SQLite cannot take DDL back, and would commit each statement by itself.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with sqlalchemy.create_engine(context.get_x_argument(as_dictionary=True)["url"]).connect() as made:
        run(made)
        made.commit()
