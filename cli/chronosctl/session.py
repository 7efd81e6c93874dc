"""What a command is given: the API, how to print, and where it stands. Made once, in `main`."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import click

from chronos_common.durations import parse_duration_ms
from cli.chronosctl.client import Api
from cli.chronosctl.output import FORMATS, Printer
from cli.chronosctl.settings import Setting, key_is_exposed, resolve, settings_path

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """One run of the program, with the `settings` it came from. `sleep` takes seconds, `clock` gives them."""

    def __init__(
        self,
        api: Api,
        printer: Printer,
        *,
        settings: Mapping[str, Setting] = MappingProxyType({}),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api = api
        self.printer = printer
        self.settings = settings
        self.sleep = sleep
        self.clock = clock

    @property
    def interactive(self) -> bool:
        """Whether a person sits at the terminal and can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()


class Options:
    """What stands on the command line and in the environment, before anything is read or asked.

    `given` are the global options by the name of their setting; None is not given.
    """

    def __init__(self, given: Mapping[str, str | None], environ: Mapping[str, str]) -> None:
        self.given = dict(given)
        self.environ = environ


def pass_session(command: Callable[..., None]) -> Callable[..., None]:
    """Open the session and give it to a command; help and completion need none."""

    @functools.wraps(command)
    def with_session(*args: Any, **kwargs: Any) -> None:
        options = click.get_current_context().find_object(Options)
        if options is None:
            raise TypeError("the command runs outside of chronosctl")
        try:
            command(open_session(options), *args, **kwargs)
        except BrokenPipeError:  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return with_session


def output_option(command: F) -> F:
    """`-o` behind the command, where people write it; it is stronger than the one before it."""
    return click.option(
        "-o", "--output", type=click.Choice(FORMATS), callback=_choose_format, expose_value=False,
        help="How to print the answer.",
    )(command)  # fmt: skip


def _choose_format(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    options = ctx.find_object(Options)
    if value is not None and options is not None:
        options.given["output"] = value


def open_session(options: Options) -> Session:
    """The session of the options, the environment and the file of settings, in this order.

    Raises:
        CliError: the file of settings cannot be used, or a value is none that could be.
    """
    environ = options.environ
    found = resolve(options.given, environ)
    colours = sys.stdout.isatty() and "NO_COLOR" not in environ and environ.get("TERM") != "dumb"
    printer = Printer(str(found["output"].value), colours=colours)
    path = settings_path(environ)
    if found["api_key"].origin == str(path) and key_is_exposed(path):
        printer.note(f"warning: others can read the key in {path}; chmod 600 keeps it yours")
    read_s = parse_duration_ms(str(found["timeout"].value)) / 1_000
    api = Api(str(found["server"].value), found["api_key"].value, ca=found["ca"].value, read_s=read_s)
    return Session(api, printer, settings=found)
