"""What options are called by those who type them, and which of them are of use only beside others."""

import click
from click.core import ParameterSource


def as_typed(command: click.Command, message: str) -> str:
    """Return a message about an option, "name is value; wanted ...", with its name as it is typed; others as they are.

    >>> as_typed(click.Command("x", params=[click.Option(["--batch-size"])]), "batch_size is 0; wanted at least 1")
    '--batch-size is 0; wanted at least 1'
    """
    name, verb, rest = message.partition(" is ")
    return f"{spelled(command, name)}{verb}{rest}"


def spelled(command: click.Command, name: str) -> str:
    """Return a parameter as it is typed, ``--batch-size`` for ``batch_size``; what is none stays as it is.

    >>> spelled(click.Command("x", params=[click.Option(["-b", "--batch-size"])]), "batch_size")
    '--batch-size'
    """
    found = next((each for each in command.params if each.name in (name, f"{name}_")), None)  # format_
    if isinstance(found, click.Option):
        return max(found.opts, key=len)
    return name if found is None else found.human_readable_name


def require_used(**needed: tuple[str, ...]) -> None:
    """Refuse options of the command that runs where none of those that they are for is given."""
    context = click.get_current_context()
    for name, others in needed.items():
        is_typed = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if is_typed and not any(context.params[other] for other in others):
            wanted = " or ".join(spelled(context.command, other) for other in others)
            raise click.UsageError(f"{spelled(context.command, name)} is for {wanted}: give that too, or leave it out")
