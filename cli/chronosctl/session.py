"""What a command is given: the API, how to print, and where it stands. Made once, in `main`."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from chronos_common.config import BadYaml, read_yaml
from cli.chronosctl.client import Api
from cli.chronosctl.failures import bad_input
from cli.chronosctl.output import FORMATS, Printer

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SERVER: Final = "http://127.0.0.1:8080"
_SETTINGS: Final = ("server", "api_key", "output")


class Session:
    """One run of the program. `sleep` takes seconds, `clock` gives them."""

    def __init__(
        self,
        api: Api,
        printer: Printer,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api = api
        self.printer = printer
        self.sleep = sleep
        self.clock = clock

    @property
    def interactive(self) -> bool:
        """Whether a person sits at the terminal and can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()


class Options:
    """What stands on the command line and in the environment, before anything is read or asked."""

    def __init__(self, server: str | None, output: str | None, environ: Mapping[str, str]) -> None:
        self.server = server
        self.output = output
        self.environ = environ


def pass_session(command: Callable[..., None]) -> Callable[..., None]:
    """Open the session and give it to a command; help and completion need none."""

    @functools.wraps(command)
    def with_session(*args: Any, **kwargs: Any) -> None:
        options = click.get_current_context().find_object(Options)
        if options is None:
            raise TypeError("the command runs outside of chronosctl")
        command(open_session(options), *args, **kwargs)

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
        options.output = value


def open_session(options: Options) -> Session:
    """The session of the options, the environment and the file of settings, in this order.

    Raises:
        CliError: the file of settings cannot be used.
    """
    environ = options.environ
    settings = read_settings(settings_path(environ))
    server = options.server or environ.get("CHRONOS_SERVER") or settings.get("server") or DEFAULT_SERVER
    key = environ.get("CHRONOS_API_KEY") or settings.get("api_key")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise bad_input("the API key holds characters that no header can carry", "accepted: printable ASCII")
    colours = sys.stdout.isatty() and "NO_COLOR" not in environ and environ.get("TERM") != "dumb"
    printer = Printer(options.output or settings.get("output") or "table", colours=colours)
    return Session(Api(server, key), printer)


def settings_path(environ: Mapping[str, str]) -> Path:
    """Where the settings of this user are: below XDG_CONFIG_HOME, or ~/.config."""
    base = environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(base) / "chronos" / "config.yaml"


def read_settings(path: Path) -> dict[str, str]:
    """The settings of a file; none if there is no file.

    Raises:
        CliError: it cannot be read, is no mapping of texts, or has an unknown key.
    """
    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, BadYaml) as error:
        raise bad_input(f"{path} cannot be used: {error}") from error
    found = documents[0] if documents else None
    if found is None:
        return {}
    if len(documents) > 1 or not isinstance(found, dict):
        raise bad_input(f"{path} must hold one mapping", f"accepted: {', '.join(_SETTINGS)}")
    for name, value in found.items():
        if name not in _SETTINGS or not isinstance(value, str):
            raise bad_input(f"{path}: {name}: is not a text setting here", f"accepted: {', '.join(_SETTINGS)}")
    if found.get("output", "table") not in FORMATS:
        raise bad_input(f"{path}: output is {found['output']!r}", f"accepted: {', '.join(FORMATS)}")
    return found
