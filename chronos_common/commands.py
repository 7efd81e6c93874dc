"""The commands that may stand in the replicated log, and their encoding.

Every change of shared state is one of these. Whatever needs a clock, chance, a schedule or configuration
was decided by the proposer and is carried inside; applying a command is a function of (rows, command).

Each command has a level: the first at which every build reads it. A build announces the highest level it reads
(`READS`), and nobody proposes a command above the level that all members have announced (docs/adr/0007). A new
command, or a new field that changes what applying does, takes the next level.

An entry of the log is one envelope byte (`ENVELOPE_VERSION`) and a msgpack list of commands: many
commands travel in one entry. A decoder that meets an unknown envelope, tag or field type raises
`UnknownCommand`, and the node stops rather than skip what its peers may apply.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from chronos_common.models import AttemptStatus, JobSpec, NodeInfo, Skipped

ENVELOPE_VERSION: Final = 1
FIRST_LEVEL: Final = 1
"""Every build reads this; a member that has announced nothing yet is taken to read no more."""
READS: Final = 1
"""The highest level of commands that this build reads."""
MAX_ENTRY_BYTES: Final = 256 * 1024
"""Bound of one log entry. The Raft layer moves nothing larger."""


class UnknownCommand(Exception):
    """The log holds something this version cannot read. Never skipped: the node stops."""


class _Command(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all commands. A field this build does not know is as bad as an unknown command."""

    level: ClassVar[int] = FIRST_LEVEL


# --- what a client may ask for; `id`s, times and next fire times are filled in by the leader ---


class CreateJob(_Command, frozen=True, tag="create_job"):
    """Add a job; its name must be free in its namespace."""

    spec: JobSpec
    job_id: str = ""
    next_fire_time: int | None = None


class UpdateJob(_Command, frozen=True, tag="update_job"):
    """Replace a job's spec as a new version.

    `next_fire_time` takes effect only if schedule, time zone or enabledness differ from the stored
    spec, so that editing a description never skips an occurrence that is due.
    """

    job_id: str
    spec: JobSpec
    expect_version: int | None = None
    next_fire_time: int | None = None
    change: str = "updated"


class DeleteJob(_Command, frozen=True, tag="delete_job"):
    """Remove a job and cancel what is active of it. Its ledger stays until retention ends."""

    job_id: str
    expect_version: int | None = None


class TriggerJob(_Command, frozen=True, tag="trigger_job"):
    """Run a job now, whatever its schedule and whether or not it is enabled."""

    job_id: str
    payload: Any = None
    has_payload: bool = False
    execution_id: bytes = b""


class ReplayExecution(_Command, frozen=True, tag="replay_execution"):
    """Run again what an execution ran: same job version, same payload, a new execution id."""

    source_id: bytes
    execution_id: bytes = b""


class CancelExecution(_Command, frozen=True, tag="cancel_execution"):
    """End a pending or running execution; a running request is aborted."""

    execution_id: bytes
    reason: str = "cancelled by request"


class JobBatch(_Command, frozen=True, tag="job_batch"):
    """Many job changes as one command. `atomic`: all or none; else each by itself."""

    items: tuple[CreateJob | UpdateJob | DeleteJob, ...]
    atomic: bool = False


class BeginRestore(_Command, frozen=True, tag="begin_restore"):
    """Fill this empty cluster from a backup; the same one again goes on where it stood.

    Until the end nothing is fired and no other change is taken. `backup` is the SHA-256 that names it.
    """

    backup: str
    schema: str
    index: int
    taken_at: int


class RestoreRows(_Command, frozen=True, tag="restore_rows"):
    """Piece `number` (from 1) of the rows, see `chronos_common.backups`; `more`: the batch goes on in the next."""

    backup: str
    number: int
    data: bytes
    more: bool = False


class EndRestore(_Command, frozen=True, tag="end_restore"):
    """All rows were sent: so many of each table, in pieces of this `chain`. Matching, the cluster begins to work."""

    backup: str
    rows: dict[str, int]
    chain: bytes


class AbortRestore(_Command, frozen=True, tag="abort_restore"):
    """Forget the rows restored so far, a bounded number at a time; without a restore under way nothing happens."""


RestoreChange = BeginRestore | RestoreRows | EndRestore | AbortRestore
"""The steps of a restore. Each may be repeated, so no outcome of theirs is kept."""

Change = (
    CreateJob | UpdateJob | DeleteJob | TriggerJob | ReplayExecution | CancelExecution | JobBatch | RestoreChange
)  # fmt: skip


class ClientRequest(_Command, frozen=True, tag="request"):
    """A change with its idempotency: the same `command_id` again gets the stored outcome.

    `fingerprint` is a digest of what was asked; the same id with another fingerprint is refused.
    `at` is the proposer's clock.
    """

    command_id: str
    fingerprint: bytes
    principal: str
    at: int
    change: Change


# --- what the leader decides ---


class Claim(_Command, frozen=True, array_like=True):
    """A seat on one life of one node."""

    node_id: str
    incarnation: int


class Run(_Command, frozen=True, array_like=True):
    """Start an execution. `claim` indexes the command's claims; None leaves it pending for a seat."""

    execution_id: bytes
    fire_time: int
    claim: int | None = None


class Skip(_Command, frozen=True, array_like=True):
    """Write one ledger row for occurrences that will not run."""

    execution_id: bytes
    skipped: Skipped


class FireItem(_Command, frozen=True, array_like=True):
    """One job's due occurrences: a compare-and-set of (version, next fire time) guards all of it."""

    job_seq: int
    version: int
    expected: int
    next_fire_time: int | None
    runs: tuple[Run, ...] = ()
    skips: tuple[Skip, ...] = ()


class Fire(_Command, frozen=True, tag="fire"):
    """Answer due occurrences of many jobs."""

    at: int
    claims: tuple[Claim, ...]
    items: tuple[FireItem, ...]


class Start(_Command, frozen=True, array_like=True):
    """Begin attempt `number` of a pending execution, if its last attempt was `number - 1`."""

    execution_seq: int
    number: int
    claim: int


class StartAttempts(_Command, frozen=True, tag="start"):
    """Hand pending executions (retries, lost ones, those that waited for a seat) to nodes."""

    at: int
    claims: tuple[Claim, ...]
    items: tuple[Start, ...]


class Move(_Command, frozen=True, array_like=True):
    """A pending execution is due at `due_at` instead of `expected`, if it still is due then."""

    execution_seq: int
    expected: int
    due_at: int


class MoveDue(_Command, frozen=True, tag="move_due"):
    """The leader's clock was set back: what waits for an instant waits as long as it had to, and no longer."""

    items: tuple[Move, ...]


class Response(_Command, frozen=True):
    """What came back from a target, as far as it is kept."""

    http_status: int | None = None
    error_code: str | None = None
    error: str | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    truncated: bool = False
    timings_ms: dict[str, float] = {}


class Result(_Command, frozen=True):
    """How an attempt ended. Applies only while exactly that attempt is still running.

    `retry_at` is when the next attempt is due if this one may be repeated and budget remains;
    None says that repeating cannot help.
    """

    execution_seq: int
    number: int
    status: AttemptStatus
    started_at: int
    finished_at: int
    retry_at: int | None = None
    response: Response = Response()


class RecordResults(_Command, frozen=True, tag="record"):
    """Results from one life of one node."""

    claim: Claim
    items: tuple[Result, ...]


class AnnounceNode(_Command, frozen=True, tag="announce_node"):
    """A node begins a life. Attempts claimed by its earlier lives become lost."""

    at: int
    node: NodeInfo


class ReleaseNode(_Command, frozen=True, tag="release_node"):
    """A life of a node ends (`lost` or `left`): its attempts become lost, their executions pending.

    With state `draining` its attempts go on and it gets no new ones.
    """

    at: int
    claim: Claim
    state: str


class RaiseLevel(_Command, frozen=True, tag="raise_level"):
    """From here on commands up to level `raise_to` may be in the log, if all `members` announced that they read them.

    The level never falls. A node that does not read it stops here, before it meets what it cannot read.
    """

    raise_to: int
    members: tuple[str, ...]


class ForgetNode(_Command, frozen=True, tag="forget_node"):
    """Drop the row of a node that is no member any more and runs nothing."""

    node_id: str


class Prune(_Command, frozen=True, tag="prune"):
    """Forget finished executions, ended outcomes and purged jobs, a bounded number at a time."""

    execution_seqs: tuple[int, ...] = ()
    outcomes_before: int | None = None
    job_seqs: tuple[int, ...] = ()


class Barrier(_Command, frozen=True, tag="barrier"):
    """Changes nothing; whoever sees it applied has seen everything before it."""

    token: str


class TakeDigest(_Command, frozen=True, tag="take_digest"):
    """Every node digests its rows as they are right after this entry. Always alone in its entry."""

    token: str


class ReportDigest(_Command, frozen=True, tag="report_digest"):
    """What a node found: its digest at `index`. Changes no row; every node compares what it hears.

    Rows of different `schema`, as there are while versions are mixed, have different digests and are not compared.
    """

    token: str
    node_id: str
    index: int
    sha256: str
    schema: str


Command = (
    ClientRequest | Fire | StartAttempts | RecordResults | AnnounceNode | ReleaseNode
    | MoveDue | ForgetNode | RaiseLevel | Prune | Barrier | TakeDigest | ReportDigest
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Command]] = msgspec.msgpack.Decoder(list[Command])
_ENVELOPE = bytes([ENVELOPE_VERSION])


def level_of(command: Command | Change) -> int:
    """The level of a command; a client's request has that of the change it asks for."""
    return command.change.level if isinstance(command, ClientRequest) else command.level


def encode_command(command: Command) -> bytes:
    """One command as it will stand inside an entry; its length is what counts against the bound."""
    return _encoder.encode(command)


def join_entry(encoded: list[bytes]) -> bytes:
    """An entry from commands already encoded (msgpack arrays are their items behind a length)."""
    count = len(encoded)
    return b"".join((_ENVELOPE, b"\xdd", count.to_bytes(4, "big"), *encoded))


def encode_entry(commands: list[Command]) -> bytes:
    """An entry of the log holding `commands` in order."""
    return join_entry([_encoder.encode(command) for command in commands])


_TAKE_DIGEST: Final = b"take_digest"
_TAKE_DIGEST_PREFIX: Final = encode_entry([TakeDigest("")]).partition(_TAKE_DIGEST)[0] + _TAKE_DIGEST


def is_take_digest(entry: bytes) -> bool:
    """Whether an entry is a lone `TakeDigest`, told from its first bytes: nothing may be applied along with it."""
    return entry.startswith(_TAKE_DIGEST_PREFIX)


def decode_entry(data: bytes) -> list[Command]:
    """The commands of an entry.

    Raises:
        UnknownCommand: the envelope, a tag or a field is not of this version.
    """
    if data[:1] != _ENVELOPE:
        raise UnknownCommand(f"log entry has envelope version {data[0] if data else 'none'}; "
                             f"this build reads {ENVELOPE_VERSION}")  # fmt: skip
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise UnknownCommand(f"log entry cannot be read by this build: {error}") from error
