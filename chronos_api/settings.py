"""What an API process must know, taken from the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from chronos_common.config import Config, control_url, is_loopback, read_api_keys, read_secret, split_address
from chronos_common.config.keys import ApiKey
from chronos_common.models import RetryPolicy
from chronos_common.schemas.job import Defaults


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """One API process. `open_access`: no credentials are asked for."""

    workers: tuple[str, ...]
    secret: str
    keys: tuple[ApiKey, ...] = ()
    open_access: bool = False
    requests_per_second: float = 500.0
    burst: int = 1_000
    metrics_path: str | None = "/metrics"
    defaults: Defaults = field(default_factory=Defaults.built_in)


def settings_from(config: Config) -> ApiSettings:
    """The settings of the API; without any key only loopback listens, and nobody is asked for one."""
    keys = read_api_keys(config)
    host, _ = split_address(config.server.http.address)
    retry = config.scheduler.default_retry_policy
    prometheus = config.metrics.prometheus
    return ApiSettings(
        workers=config.api.workers or (control_url(config),),
        secret=read_secret(config),
        keys=keys,
        open_access=config.auth.mode == "none" or (not keys and is_loopback(host)),
        requests_per_second=config.rate_limit.requests_per_second,
        burst=config.rate_limit.burst,
        metrics_path=prometheus.path if prometheus.enabled else None,
        defaults=Defaults(
            RetryPolicy(retry.max_attempts, retry.initial_interval, retry.max_interval, retry.multiplier),
            config.scheduler.execution_timeout,
            config.scheduler.missed_run_policy,
        ),
    )
