"""`runner whoami`: who one is to the server."""

from __future__ import annotations

from runner_client.cli.session import Session, command


@command("whoami")
def command_line(session: Session) -> int:
    """Say who you are to the server, and what you may do."""
    return session.run(_whoami(session))


async def _whoami(session: Session) -> int:
    from runner.v1.api_key_pb2 import ApiKey
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        me = await client.auth.who_am_i()
    if session.json:
        print_json(as_json(me))
    else:
        role = ApiKey.Role.Name(me.role).removeprefix("ROLE_").lower()
        print_line(f"{me.name or '(no credential)'} {role}")
    return 0
