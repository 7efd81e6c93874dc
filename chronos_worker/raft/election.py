"""Who may stand for election, and who may be voted for: pre-vote, loyalty to a live leader, and whole memory.

The library lets any node whose timer runs out raise the term and depose a healthy leader. Here it asks first
(Raft thesis §9.6), and nobody supports an election while a leader is alive (§4.2.3), unless that leader itself
hands over (§3.10).

A node that has lost its files looks like one that never had any: it may have given votes and acknowledgements
which it no longer knows of. So a node counts for an election as Raft means it only once it has *joined*, that is
caught up with a leader since its files were made. Until then it stands, and votes, only in an election that
every member supported beforehand: whatever was committed is then in some honest log among them, and the
candidate's log is at least as new as each. A new cluster begins this way, when all its members have met.
Such a node knows only the first list of members, so once the list has changed no election rests on it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from chronos_worker.raft.messages import PreVote, PreVoteAnswer, RequestVote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.membership import Configuration
    from chronos_worker.raft.network import Network
    from chronos_worker.raft.vote import VoteFile

_RETRY_SHARE: Final = 0.2
"""How much of an election timeout passes between two questions."""
_ROUND_BITS: Final = 62
_OPEN_ROUNDS: Final = 5
"""Answers to this many of the latest questions still count: about one election timeout of delay."""


class Elections:
    """Decides before the library acts."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        vote: VoteFile,
        network: Network,
        clock: Callable[[], float],
        random: Random,
        loyalty_s: float,
    ) -> None:
        self._peers: list[str] = []
        self._is_voter = False
        self._founders = ""
        self._engine = engine
        self._journal = journal
        self._vote = vote
        self._network = network
        self._clock = clock
        self._random = random
        self._loyalty_s = loyalty_s
        self._leader_heard_at = clock()
        self._rounds: dict[int, dict[str, PreVoteAnswer]] = {}
        """The questions asked, and who supports each."""
        self._supported_round: int | None = None
        """A round with enough support to stand."""
        self._supported: dict[str, deque[int]] = {}
        """The latest rounds of each peer that this node supported in this life."""
        self._votes_of_term = 0
        self._voters: set[str] = set()
        self.is_transfer = False
        self.unanimous_round = 0
        """The round everybody supported, if the election under way rests on one."""
        self.allies: set[str] = set()
        """Who supported that round, and is linked with us ever since: none of them knows a later term."""

    def configure(self, node_id: str, configuration: Configuration) -> None:
        """Ask the voters of this list from now on."""
        self._is_voter = node_id in configuration.voters
        self._founders = configuration.digest if configuration.is_founding else ""
        self._peers = sorted(configuration.voters - {node_id})
        self._supported = {peer: rounds for peer, rounds in self._supported.items() if peer in configuration.members}
        self._forget()

    def before_tick(self) -> None:
        """Keep the library from standing for election before enough members would support it."""
        if self._engine.role() == "leader" or not self._engine.election_due():
            return
        if not self._is_voter:
            self._engine.postpone_election(1.0)
            return
        if not self._peers:
            return
        self.is_transfer = self._engine.transfer_pending() and self._vote.joined
        if self.is_transfer or self._supported_round is not None:
            round_ = self._supported_round or 0
            supporters = self._rounds.get(round_, {})
            self.unanimous_round = round_ if self._is_unanimous(supporters) else 0
            self.allies = set(supporters) if self.unanimous_round else set()
            self._forget()
            return
        self._engine.postpone_election(_RETRY_SHARE)
        self._ask()

    @property
    def is_joined(self) -> bool:
        """Whether this node may be voted for and vote as Raft means it."""
        return self._vote.joined

    def leader_heard(self) -> None:
        """A leader of the current term is alive."""
        self._leader_heard_at = self._clock()
        self._forget()

    def leader_lost(self) -> None:
        """The link to the leader broke, as it does at once when its process dies: ask soon.

        Nothing is given away: who still hears the leader says no, and without a majority nobody stands.
        """
        self._leader_heard_at = float("-inf")
        self._engine.postpone_election(_RETRY_SHARE)

    def parted(self, peer: str) -> None:
        """A link broke, or is new: what its other end said before may have been said in another life."""
        self.allies.discard(peer)
        for supporters in self._rounds.values():
            supporters.pop(peer, None)

    def answer(self, peer: str, question: PreVote) -> None:
        """Say whether we would vote; nothing changes here but our memory of having said so."""
        granted = (
            question.term > self._engine.term()
            and not self._is_loyal()
            and (question.last_term, question.last_index) >= (self._journal.last_term, self._journal.last_index)
        )
        if granted:
            self._supported.setdefault(peer, deque(maxlen=_OPEN_ROUNDS)).append(question.round)
        term, joined = self._engine.term(), self._vote.joined
        self._network.send(peer, PreVoteAnswer(question.round, term, granted, joined, self._founders))

    def take_answer(self, peer: str, answer: PreVoteAnswer) -> None:
        """Count support; with enough of it the next tick stands for election."""
        if answer.term > self._engine.term():
            self._engine.adopt_term(answer.term)
            self._forget()
        elif answer.granted and answer.round in self._rounds and peer in self._peers:
            supporters = self._rounds[answer.round]
            supporters[peer] = answer
            joined = self._vote.joined + sum(supporter.joined for supporter in supporters.values())
            majority = self._vote.joined and 2 * joined > len(self._peers) + 1
            if majority or self._is_unanimous(supporters):
                self._supported_round = answer.round
                self._engine.hasten_election()

    def may_vote(self, peer: str, request: RequestVote) -> bool:
        """Tell whether the library may see a request for a vote at all."""
        if self._is_loyal() and not request.transfer:
            return False
        return self._vote.joined or request.round in self._supported.get(peer, ())

    def is_first_vote(self, peer: str, term: int) -> bool:
        """Tell whether this vote is new: the library would count a repeated one again."""
        if term != self._votes_of_term:
            self._votes_of_term, self._voters = term, set()
        if peer in self._voters:
            return False
        self._voters.add(peer)
        return True

    def _ask(self) -> None:
        while len(self._rounds) >= _OPEN_ROUNDS:
            del self._rounds[next(iter(self._rounds))]
        nonce = self._random.getrandbits(_ROUND_BITS) | 1
        self._rounds[nonce] = {}
        question = PreVote(self._engine.term() + 1, self._journal.last_index, self._journal.last_term, nonce)
        for peer in self._peers:
            self._network.send(peer, question)

    def _is_unanimous(self, supporters: Mapping[str, PreVoteAnswer]) -> bool:
        """Whether every member supports us, and all know the same first list and no other."""
        agreeing = sum(supporter.founders == self._founders for supporter in supporters.values())
        return bool(self._founders) and agreeing == len(self._peers)

    def _forget(self) -> None:
        self._rounds.clear()
        self._supported_round = None

    def _is_loyal(self) -> bool:
        if self._engine.role() == "leader":
            return True
        return self._clock() - self._leader_heard_at < self._loyalty_s
