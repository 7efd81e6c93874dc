"""Logs: one event name and its facts a line, as JSON or for a person's eyes, secrets masked."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

MASK: Final = "********"
LEVELS: Final = ("debug", "info", "warning", "error")
_SECRET_NAMES: Final = ("authorization", "password", "secret", "token", "api_key", "cookie")


def configure_logging(level: str, style: str, stream: TextIO | None = None) -> None:
    """Route structlog and the standard library's logging to one stream, `style` being json or console."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    render: list[structlog.types.Processor]
    if style == "json":
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        render = [
            structlog.dev.ConsoleRenderer(
                colors=(stream or sys.stderr).isatty(),
                # the prettier ones print local variables, and secrets among them
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its news is ours to tell
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Change the level at run time.

    Raises:
        ValueError: not one of LEVELS.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is not a log level; accepted are {', '.join(LEVELS)}")
    logging.getLogger().setLevel(level.upper())


def mask_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every fact whose name speaks of a secret."""
    for name in event:
        if any(word in name.lower() for word in _SECRET_NAMES):
            event[name] = MASK
    return event
