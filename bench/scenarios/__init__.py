"""One module for each scenario."""

from __future__ import annotations

from typing import Final

from bench.scenario import Scenario
from bench.scenarios import (
    api,
    burst,
    failover,
    history,
    load,
    memory,
    punctuality,
    scale,
    slow_targets,
    snapshot,
    throughput,
)

_MODULES: Final = (
    throughput, punctuality, burst, failover, api, memory, slow_targets, load, scale, history, snapshot,
)  # fmt: skip
SCENARIOS: Final[dict[str, Scenario]] = {module.SCENARIO.name: module.SCENARIO for module in _MODULES}
"""In the order of a whole sitting."""
