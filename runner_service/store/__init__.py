"""SQL: every fact that must outlive a process, on SQLite or PostgreSQL. `open_store` is the door.

A module per noun holds its query functions ``f(conn, …)``; `engine` runs them in transactions, `sql` is the port.
"""

from runner_service.store.opening import StoreUnusable, open_store
from runner_service.store.sql import SqlStore
from runner_service.store.upgrade import SchemaOutdated, SchemaTooNew

__all__ = ["SchemaOutdated", "SchemaTooNew", "SqlStore", "StoreUnusable", "open_store"]
