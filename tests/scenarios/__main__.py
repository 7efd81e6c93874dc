"""`make scenarios-rewrite`: write down what happens today. Read the difference before you commit it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.scenarios.transcript import HERE, played, scenarios

for scenario in scenarios():
    with tempfile.TemporaryDirectory() as directory:
        (HERE / f"{scenario}.txt").write_text(played(scenario, Path(directory)), encoding="utf-8")
