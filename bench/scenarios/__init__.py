"""One module for each scenario."""

from __future__ import annotations

from typing import Final

from bench.scenario import Scenario
from bench.scenarios import api, burst, failover, load, memory, punctuality, slow_targets, throughput

SCENARIOS: Final[dict[str, Scenario]] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (throughput, punctuality, burst, failover, api, memory, slow_targets, load)
}
"""In the order of a whole sitting."""
