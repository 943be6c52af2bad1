"""`runner completion`: what a shell needs to complete our commands and options."""

from __future__ import annotations

import click

from runner_client.cli.session import Session, command


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command_line(session: Session, shell: str) -> int:
    """Print the completion for a shell.

    \b
    bash   eval "$(runner completion bash)"        in ~/.bashrc
    zsh    eval "$(runner completion zsh)"         in ~/.zshrc
    fish   runner completion fish | source         in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from runner_client.cli.app import app

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(app, {}, "runner", "_RUNNER_COMPLETE").source())
    return 0
