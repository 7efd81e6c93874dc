"""Who belongs to the cluster: an entry of the log like any other, in force as soon as it is appended (Raft §6).

The first list is that of the configuration file, the same on every node. The first leader writes it into the log
together with the cluster's name; from then on the log alone decides, and a change is one entry that adds or
removes one voter. Majorities of two lists that differ by one voter intersect, so no two leaders can be elected
by them. A newcomer first listens: it is sent everything and counts for nothing until it has caught up.

The newest list that a snapshot covers, or that a cut of the journal would drop, is kept in `members`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from chronos_worker.raft.checked import with_checksum, without_checksum
from chronos_worker.raft.errors import ChangeRefused, DiskFailed, JournalCorrupt
from chronos_worker.raft.files import replace_durably

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from chronos_worker.raft.files import Files
    from chronos_worker.raft.journal import Journal

MEMBERS_TAG: Final = b"\x10"
"""The first byte of an entry that holds a list of members; the library's own tags are 0 to 3."""


MAX_MEMBERS: Final = 15
"""Every further voter makes each commit slower; the greatest clusters in the field have nine."""


class Member(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`address` is host:port of its Raft port; only voters elect and count for a commit."""

    address: str
    is_voter: bool


class Configuration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """A whole list. `is_founding`: nobody was ever added or removed, only addresses may have changed.

    What is derived from it is asked at every turn, and it never changes: hence kept.
    """

    cluster_id: str
    is_founding: bool
    members: dict[str, Member]

    @cached_property
    def names(self) -> frozenset[str]:
        """The ids of all members."""
        return frozenset(self.members)

    @cached_property
    def voters(self) -> frozenset[str]:
        """The ids that elect and count."""
        return frozenset(name for name, member in self.members.items() if member.is_voter)

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """The members' addresses by id."""
        return {name: member.address for name, member in self.members.items()}

    def having(self, members: dict[str, Member], *, is_founding: bool | None = None) -> Configuration:
        """Return the list of the same cluster with other members."""
        founding = self.is_founding if is_founding is None else is_founding
        return Configuration(self.cluster_id, founding, members)

    @property
    def digest(self) -> str:
        """A digest of the member ids: equal lists, equal digests."""
        return hashlib.sha256(msgspec.msgpack.encode(sorted(self.members))).hexdigest()


@dataclass(frozen=True, slots=True)
class Agreed:
    """A list and the entry it stands in; (0, 0) is the one of the configuration file."""

    index: int
    term: int
    configuration: Configuration

    @property
    def version(self) -> tuple[int, int]:
        """What tells which of two lists is newer, even if one of them is never committed (Raft §5.4.1)."""
        return self.term, self.index


def founding(addresses: Mapping[str, str]) -> Agreed:
    """The list of a configuration file: node id to address."""
    return Agreed(0, 0, Configuration("", True, {name: Member(address, True) for name, address in addresses.items()}))


def added(configuration: Configuration, name: str, address: str) -> Configuration:
    """Return the list with a newcomer that does not vote yet, or with the new address of a member.

    Raises:
        ChangeRefused: the address is taken, or the list is full.
    """
    members = configuration.members
    holder = next((other for other, member in members.items() if member.address == address and other != name), None)
    if holder is not None:
        raise ChangeRefused(f"{holder!r} has the address {address!r} already")
    if name in members:
        return configuration.having({**members, name: Member(address, members[name].is_voter)})
    if len(members) >= MAX_MEMBERS:
        raise ChangeRefused(f"the cluster has {len(members)} members, which is the most there can be")
    return configuration.having({**members, name: Member(address, is_voter=False)}, is_founding=False)


def promoted(configuration: Configuration, name: str) -> Configuration:
    """Return the list in which this member votes."""
    member = configuration.members[name]
    return configuration.having({**configuration.members, name: Member(member.address, is_voter=True)})


def removed(configuration: Configuration, name: str, present: Collection[str]) -> Configuration:
    """Return the list without a member.

    Args:
        configuration: the list in force.
        name: who has to go.
        present: the voters that are there now.

    Raises:
        ChangeRefused: it is no member, or those who would be left have no majority at present.
    """
    if name not in configuration.members:
        raise ChangeRefused(f"{name!r} is no member; members are {', '.join(sorted(configuration.members))}")
    left = {other: member for other, member in configuration.members.items() if other != name}
    after = configuration.having(left, is_founding=False)
    near = after.voters & frozenset(present)
    if not 2 * len(near) > len(after.voters):
        raise ChangeRefused(
            f"without {name!r} only {len(near)} of {len(after.voters)} voters would be reachable, "
            "which is no majority; bring another one back first"
        )
    return after


_ENCODER: Final = msgspec.msgpack.Encoder()
_COMMAND: Final = msgspec.msgpack.Decoder(Configuration)
_KEPT: Final = msgspec.msgpack.Decoder(tuple[int, int, Configuration])


def encode_command(configuration: Configuration) -> bytes:
    """Return the command of an entry that brings this list into force."""
    return MEMBERS_TAG + _ENCODER.encode(configuration)


def encode_agreed(agreed: Agreed) -> bytes:
    """Return a list with its place in the log, as kept on disk and sent with a snapshot."""
    return _ENCODER.encode((agreed.index, agreed.term, agreed.configuration))


def decode_agreed(data: bytes) -> Agreed:
    """Raises `msgspec.MsgspecError` when the bytes are nothing of the kind."""
    return Agreed(*_KEPT.decode(data))


class Membership:
    """Every list that may still come into force or fall back into it, oldest first.

    Raises:
        JournalCorrupt: `members` is damaged.
        DiskFailed: from the disk, at any call that writes.
    """

    def __init__(self, files: Files, directory: Path, journal: Journal, first: Agreed) -> None:
        self._files = files
        self._path = directory / "members"
        base = self._load() or first
        self._known = [base]
        self.follow(journal)

    @property
    def current(self) -> Agreed:
        """The list in force here: the newest in the log, committed or not."""
        return self._known[-1]

    def at(self, index: int) -> Agreed:
        """Return the list in force at an index of the log that is not cut away."""
        return next(agreed for agreed in reversed(self._known) if agreed.index <= index or agreed is self._known[0])

    def appended(self, command: bytes, index: int, term: int) -> None:
        """An entry was appended; when it holds a list, that is in force now."""
        if command[:1] == MEMBERS_TAG and index > self._known[0].index:
            self._known.append(Agreed(index, term, _COMMAND.decode(command[1:])))

    def staying(self, committed: int) -> frozenset[str]:
        """Return who is on any list that may still be in force, given what is committed: links to them stand."""
        since = self.at(committed).index
        lists = [agreed.configuration.names for agreed in self._known if agreed.index >= since]
        return lists[0] if len(lists) == 1 else frozenset[str]().union(*lists)

    def follow(self, journal: Journal) -> None:
        """The journal is another one now: only the lists that it holds may come into force yet."""
        del self._known[1:]
        for entry in journal.entries[1:]:
            self.appended(entry.command, entry.idx, entry.term)

    def cut(self, index: int) -> None:
        """The entries from `index` on are gone, and with them the lists they held."""
        while len(self._known) > 1 and self._known[-1].index >= index:
            self._known.pop()

    def keep(self, index: int) -> None:
        """Before the journal drops the entries up to `index`: remember the list in force there."""
        base = self.at(index)
        if base is not self._known[0]:
            self.install(base)

    def install(self, base: Agreed) -> None:
        """Take over a list that is committed, durably, and forget older ones."""
        try:
            replace_durably(self._files, self._path, with_checksum(encode_agreed(base)))
        except OSError as error:
            raise DiskFailed(f"{self._path}: {error}") from error
        self._known = [base, *(agreed for agreed in self._known if agreed.index > base.index)]

    def _load(self) -> Agreed | None:
        if not self._files.exists(self._path):
            return None
        content = without_checksum(self._path.read_bytes())
        if content is None:
            raise JournalCorrupt(f"{self._path}: checksum does not match; the members are unknown")
        return decode_agreed(content)
