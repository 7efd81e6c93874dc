"""A job as users write it, and as it is answered."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validates_schema

from chronos_common.durations import format_duration
from chronos_common.models import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    ConcurrencyPolicy,
    HttpTarget,
    Job,
    JobSpec,
    Misfire,
    MisfirePolicy,
    Retention,
    RetryPolicy,
)
from chronos_common.schedules import InvalidSchedule, InvalidTimezone, parse_schedule
from chronos_common.schedules.zones import zone
from chronos_common.schemas.fields import (
    Choice,
    Duration,
    Flag,
    Instant,
    Name,
    Number,
    Payload,
    Strict,
    Text,
    Whole,
    instant_text,
    refuse,
)
from chronos_common.schemas.secrets import masked

MAX_HEADERS: Final = 64
MAX_TAGS: Final = 50
MAX_PAYLOAD_BYTES: Final = 64 * 1024
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_RANGE: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_DAY_MS: Final = 86_400_000
_YEAR_MS: Final = 366 * _DAY_MS


class Url(Text):
    """An http or https URL without credentials in it."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        accepted = "a URL such as https://api.example.com/path"
        try:
            parts = urlsplit(text)
            port_ok = parts.port is None or parts.port > 0
        except ValueError as error:
            raise refuse(f"is {text!r:.80}: {error}", accepted) from None
        if parts.scheme not in ("http", "https"):
            raise refuse(f"has the scheme {parts.scheme!r}", "http:// or https://")
        if not parts.hostname or not port_ok or not text.isascii() or " " in text:
            raise refuse(f"is {text!r:.80}", accepted)
        if parts.username is not None:
            raise refuse("holds credentials", "credentials in the auth field")
        return text


class Headers(fields.Field[dict[str, str]]):
    """Header names and values as RFC 9110 allows them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise refuse(f"is {value!r:.60}", "a mapping of header names to texts")
        if len(value) > MAX_HEADERS:
            raise refuse(f"has {len(value)} headers", f"at most {MAX_HEADERS}")
        errors = {name: [_header_problem(name, text)] for name, text in value.items() if _header_problem(name, text)}
        if errors:
            raise ValidationError(errors)
        return dict(value)


def _header_problem(name: Any, text: Any) -> str:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return "is not a header name; accepted: letters, digits and - _ . up to 128 characters"
    if not isinstance(text, str) or len(text) > 8_192 or not text.isascii():  # noqa: PLR2004
        return "has a value that is no header text; accepted: ASCII text of at most 8192 characters"
    if any(character < " " or character == "\x7f" for character in text):
        return "has a line break or control character in its value; accepted: one line of ASCII text"
    return ""


class Tags(fields.Field[dict[str, str]]):
    """A small mapping of texts."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        accepted = f"a mapping of at most {MAX_TAGS} short texts to short texts"
        if not isinstance(value, dict) or len(value) > MAX_TAGS:
            raise refuse("is no acceptable mapping of tags", accepted)
        for key, text in value.items():
            if not isinstance(key, str) or not isinstance(text, str) or not (key + text).isprintable():
                raise refuse(f"has the tag {key!r:.40}: {text!r:.40}", accepted)
            if not 1 <= len(key) <= 63 or len(text) > 255:  # noqa: PLR2004 - the bounds are stated in the text
                raise refuse(f"has the tag {key!r:.40}", "keys of 1 to 63 characters and values of at most 255")
        return dict(value)


class SuccessCodes(fields.Field[tuple[tuple[int, int], ...]]):
    """A list of status codes and ranges: [204, "200-299"]."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[tuple[int, int], ...]:
        accepted = 'a list of 1 to 20 codes or ranges from 100 to 599, such as [204, "200-299"]'
        if not isinstance(value, list) or not 1 <= len(value) <= 20:  # noqa: PLR2004
            raise refuse(f"is {value!r:.60}", accepted)
        ranges = []
        for item in value:
            matched = _RANGE.fullmatch(str(item)) if isinstance(item, int | str) and item is not True else None
            low = int(matched[1]) if matched else 0
            high = int(matched[2] or low) if matched else -1
            if low > high:
                raise refuse(f"has {item!r:.40}", accepted)
            ranges.append((low, high))
        return tuple(ranges)

    def _serialize(self, value: Any, *_: Any, **__: Any) -> list[int | str]:
        return _codes(value)


def _codes(ranges: tuple[tuple[int, int], ...]) -> list[int | str]:
    return [low if low == high else f"{low}-{high}" for low, high in ranges]


class AuthSchema(Strict):
    """Credentials sent with a webhook: basic, bearer or api_key."""

    type = Choice("basic", "bearer", "api_key", required=True)
    username = Text(longest=256)
    password = Text(longest=1_024)
    token = Text(longest=8_192)
    api_key = Text(longest=8_192)
    header = Text(longest=128)

    @validates_schema
    def _complete(self, data: dict[str, Any], **_: Any) -> None:
        needed = {"basic": {"username", "password"}, "bearer": {"token"}, "api_key": {"api_key"}}.get(
            data.get("type", ""), set()
        )
        optional = {"header"} if data.get("type") == "api_key" else set()
        errors = {name: [f"is missing; accepted: {data['type']} auth with it"] for name in needed - data.keys()}
        for name in data.keys() - needed - optional - {"type"}:
            errors[name] = [
                f"does not belong to {data['type']} auth; accepted: {', '.join(sorted(needed | optional))}"
            ]
        if "header" in data and not _TOKEN.fullmatch(data["header"]):
            errors["header"] = ["is not a header name; accepted: letters, digits and - _ . up to 128 characters"]
        if errors:
            raise ValidationError(errors)


class WebhookSchema(Strict):
    """The HTTP request a job makes."""

    url = Url(required=True, longest=2_048, metadata={"example": "https://api.example.com/reports/generate"})
    method = Choice(*METHODS, metadata={"description": "Default: POST if there is a body, else GET."})
    headers = Headers(metadata={"type": "object", "additionalProperties": {"type": "string"}})
    body = Payload(largest=MAX_PAYLOAD_BYTES, metadata={"description": "Text, sent as it is, or any JSON value."})
    auth = fields.Nested(AuthSchema, allow_none=True)
    success_codes = SuccessCodes(
        metadata={"type": "array", "items": {"type": ["integer", "string"]}, "example": ["200-299"]}
    )


class RetryPolicySchema(Strict):
    """When a failed attempt is repeated: initial x multiplier^(n-1), capped, with full jitter."""

    max_attempts = Whole(low=1, high=100)
    initial_interval = Duration(low=1, high=_DAY_MS)
    max_interval = Duration(low=1, high=30 * _DAY_MS)
    multiplier = Number(low=1, high=100)


class MisfireSchema(Strict):
    """What happens to occurrences found later than their grace."""

    policy = Choice(*(policy.value for policy in MisfirePolicy))
    grace = Duration(low=0, high=_YEAR_MS)
    window = Duration(low=1_000, high=_YEAR_MS)
    cap = Whole(low=1, high=1_000)


class RetentionSchema(Strict):
    """How long finished executions are kept: whichever bound is reached first."""

    max_age = Duration(low=1_000, high=10 * _YEAR_MS)
    max_count = Whole(low=1, high=1_000_000)


class JobDocument(Strict):
    """A job as its owner writes it."""

    name = Name(required=True, shortest=1, longest=200, metadata={"example": "daily-report"})
    namespace = Name(shortest=1, longest=63)
    description = Text(longest=4_096, multiline=True)
    schedule = Text(longest=200, allow_none=True, metadata={"example": "0 9 * * *"})
    timezone = Text(longest=64, metadata={"example": "America/New_York"})
    webhook = fields.Nested(WebhookSchema, required=True)
    retry_policy = fields.Nested(RetryPolicySchema)
    timeout = Duration(low=100, high=_DAY_MS)
    concurrency = Choice(*(policy.value for policy in ConcurrencyPolicy))
    misfire = fields.Nested(MisfireSchema)
    retention = fields.Nested(RetentionSchema)
    tags = Tags(metadata={"type": "object", "additionalProperties": {"type": "string"}})
    enabled = Flag()

    @validates_schema(skip_on_field_errors=False)
    def _timing(self, data: dict[str, Any], **_: Any) -> None:
        if errors := timing_problems(data):
            raise ValidationError(errors)


def timing_problems(data: dict[str, Any]) -> dict[str, list[str]]:
    """What is wrong between the fields of a job that say when: schedule, time zone, retry intervals."""
    errors: dict[str, list[str]] = {}
    timezone = data.get("timezone", "UTC")
    try:
        zone(timezone)
    except InvalidTimezone as error:
        nearest = ", ".join(error.nearest) or "an IANA name such as Europe/Berlin"
        errors["timezone"] = [f"{timezone!r} is not a time zone; accepted: {nearest}"]
        timezone = "UTC"
    if data.get("schedule") is not None:
        try:
            parse_schedule(data["schedule"], timezone)
        except InvalidSchedule as error:
            errors["schedule"] = [f"{error.problem}; accepted: {error.hint}"]
    retry = data.get("retry_policy", {})
    if retry.get("initial_interval", 0) > retry.get("max_interval", _YEAR_MS):
        errors["retry_policy"] = ["has an initial_interval longer than max_interval; accepted: one that is not"]
    return errors


class JobAnswer(JobDocument):
    """A job as it is answered: every default filled in, secrets masked."""

    id = fields.String(dump_only=True, metadata={"format": "uuid"})
    version = fields.Integer(dump_only=True)
    created_at = Instant(dump_only=True)
    updated_at = Instant(dump_only=True)
    next_fire_time = Instant(dump_only=True, allow_none=True)
    last_fire_time = Instant(dump_only=True, allow_none=True)
    schedule_status = Choice("scheduled", "disabled", "manual", "exhausted", dump_only=True)


class Defaults:
    """What a job document leaves out, as configured."""

    def __init__(self, retry_policy: RetryPolicy, timeout_ms: int, misfire_policy: MisfirePolicy) -> None:
        self.retry_policy = retry_policy
        self.timeout_ms = timeout_ms
        self.misfire_policy = misfire_policy

    @classmethod
    def built_in(cls) -> Defaults:
        """The defaults of a node without configuration."""
        return cls(RetryPolicy(), 300_000, MisfirePolicy.FIRE_ONCE)


def spec_of(data: dict[str, Any], defaults: Defaults) -> JobSpec:
    """The complete spec of a validated document."""
    retry, misfire, retention = data.get("retry_policy", {}), data.get("misfire", {}), data.get("retention", {})
    plain = Misfire()
    initial = retry.get("initial_interval", defaults.retry_policy.initial_interval_ms)
    return JobSpec(
        name=data["name"],
        target=target_of(data["webhook"]),
        schedule=data.get("schedule"),
        timezone=data.get("timezone", "UTC"),
        description=data.get("description", ""),
        retry_policy=RetryPolicy(
            retry.get("max_attempts", defaults.retry_policy.max_attempts),
            initial,
            retry.get("max_interval", max(initial, defaults.retry_policy.max_interval_ms)),
            retry.get("multiplier", defaults.retry_policy.multiplier),
        ),
        timeout_ms=data.get("timeout", defaults.timeout_ms),
        concurrency=ConcurrencyPolicy(data.get("concurrency", ConcurrencyPolicy.FORBID)),
        misfire=Misfire(
            MisfirePolicy(misfire.get("policy", defaults.misfire_policy)),
            misfire.get("grace", plain.grace_ms),
            misfire.get("window", plain.window_ms),
            misfire.get("cap", plain.cap),
        ),
        retention=Retention(
            retention.get("max_age", Retention().max_age_ms), retention.get("max_count", Retention().max_count)
        ),
        tags=data.get("tags", {}),
        enabled=data.get("enabled", True),
        namespace=data.get("namespace", "default"),
    )


def target_of(webhook: dict[str, Any]) -> HttpTarget:
    """The target of a validated webhook. Method default: POST if there is a body, else GET."""
    body = webhook.get("body")
    return HttpTarget(
        url=webhook["url"],
        method=webhook.get("method", "GET" if body is None else "POST"),
        headers=webhook.get("headers", {}),
        body=body,
        auth=_auth_of(webhook.get("auth")),
        success_codes=webhook.get("success_codes", ((200, 299),)),
    )


def _auth_of(auth: dict[str, Any] | None) -> Auth | None:
    match (auth or {}).get("type"):
        case "basic":
            return BasicAuth(auth["username"], auth["password"])  # type: ignore[index]
        case "bearer":
            return BearerAuth(auth["token"])  # type: ignore[index]
        case "api_key":
            return ApiKeyAuth(auth["api_key"], auth.get("header", "X-API-Key"))  # type: ignore[index,union-attr]
    return None


def document_of(spec: JobSpec) -> dict[str, Any]:
    """The spec as its owner would write it in full, secrets masked."""
    target, retry = masked(spec.target), spec.retry_policy
    return {
        "name": spec.name,
        "namespace": spec.namespace,
        "description": spec.description,
        "schedule": spec.schedule,
        "timezone": spec.timezone,
        "webhook": webhook_of(target),
        "retry_policy": {
            "max_attempts": retry.max_attempts,
            "initial_interval": format_duration(retry.initial_interval_ms),
            "max_interval": format_duration(retry.max_interval_ms),
            "multiplier": retry.multiplier,
        },
        "timeout": format_duration(spec.timeout_ms),
        "concurrency": spec.concurrency.value,
        "misfire": {
            "policy": spec.misfire.policy.value,
            "grace": format_duration(spec.misfire.grace_ms),
            "window": format_duration(spec.misfire.window_ms),
            "cap": spec.misfire.cap,
        },
        "retention": {"max_age": format_duration(spec.retention.max_age_ms), "max_count": spec.retention.max_count},
        "tags": spec.tags,
        "enabled": spec.enabled,
    }


def webhook_of(target: HttpTarget) -> dict[str, Any]:
    """A target, already masked, as users write it."""
    webhook: dict[str, Any] = {
        "url": target.url,
        "method": target.method,
        "headers": target.headers,
        "body": target.body,
        "success_codes": _codes(target.success_codes),
    }
    match target.auth:
        case BasicAuth(username=username, password=password):
            webhook["auth"] = {"type": "basic", "username": username, "password": password}
        case BearerAuth(token=token):
            webhook["auth"] = {"type": "bearer", "token": token}
        case ApiKeyAuth(api_key=key, header=header):
            webhook["auth"] = {"type": "api_key", "api_key": key, "header": header}
    return webhook


def answer_of(job: Job) -> dict[str, Any]:
    """A stored job as it is answered."""
    return {
        "id": job.id,
        "version": job.version,
        **document_of(job.spec),
        "created_at": _instant(job.created_at),
        "updated_at": _instant(job.updated_at),
        "next_fire_time": _instant(job.next_fire_time),
        "last_fire_time": _instant(job.last_fire_time),
        "schedule_status": _schedule_status(job),
    }


def _instant(ms: int | None) -> str | None:
    return None if ms is None else instant_text(ms)


def _schedule_status(job: Job) -> str:
    if job.spec.schedule is None:
        return "manual"
    if not job.spec.enabled:
        return "disabled"
    return "exhausted" if job.next_fire_time is None else "scheduled"
