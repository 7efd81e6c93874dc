"""The vocabulary every tier of Chronos shares."""

from typing import Final

VERSION: Final = "0.1.0"
