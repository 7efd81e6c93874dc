"""The collector of cyclic garbage, told how these processes use memory."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""So many more objects than were freed, and the collector looks; Python's own choice is 700."""


def collect_seldom() -> None:
    """Look for cyclic garbage seldom, and never among what is here now. To be called once everything is built.

    Rows, messages and answers come by the thousand, form no cycles and are gone a moment later; looking for cycles
    among them took an eighth of what an execution costs the worker.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
