"""Who may stand for election, and who may be voted for: pre-vote and loyalty to a live leader.

The library lets any node whose timer runs out raise the term and depose a healthy leader. Here it asks first
(Raft thesis §9.6), and nobody supports an election while a leader is alive (§4.2.3), unless that leader itself
hands over (§3.10). A node that has lost its files, or never had any, votes only among equals until it has caught
up with a leader: it may have given votes and acknowledgements it no longer knows of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chronos_worker.raft.journal import GENESIS
from chronos_worker.raft.messages import PreVote, PreVoteAnswer, RequestVote

if TYPE_CHECKING:
    from collections.abc import Callable

    from chronos_worker.raft.engine import Engine
    from chronos_worker.raft.journal import Journal
    from chronos_worker.raft.network import Network
    from chronos_worker.raft.vote import VoteFile

_RETRY_SHARE: Final = 0.2
"""How much of an election timeout passes between two questions."""


class Elections:
    """Decides before the library acts."""

    def __init__(
        self,
        peers: list[str],
        engine: Engine,
        journal: Journal,
        vote: VoteFile,
        network: Network,
        clock: Callable[[], float],
        loyalty_s: float,
    ) -> None:
        self._peers = sorted(peers)
        self._engine = engine
        self._journal = journal
        self._vote = vote
        self._network = network
        self._clock = clock
        self._loyalty_s = loyalty_s
        self._leader_heard_at = clock()
        self._asked_term: int | None = None
        self._supporters: set[str] = set()
        self._may_stand = False
        self._votes_of_term = 0
        self._voters: set[str] = set()
        self.is_transfer = False

    def before_tick(self) -> None:
        """Keep the library from standing for election before a majority would support it."""
        if not self._peers or self._engine.role() == "leader" or not self._engine.election_due():
            return
        self.is_transfer = self._engine.transfer_pending()
        if self.is_transfer or self._may_stand:
            self._forget()
            return
        self._engine.postpone_election(_RETRY_SHARE)
        if self._vote.joined or self._journal.last_index == GENESIS[0]:
            self._ask()

    def leader_heard(self) -> None:
        """A leader of the current term is alive."""
        self._leader_heard_at = self._clock()
        self._forget()

    def answer(self, peer: str, question: PreVote) -> None:
        """Say whether we would vote; nothing changes here."""
        granted = (
            question.term > self._engine.term()
            and not self._is_loyal()
            and self._is_eligible(question.last_index, question.last_term)
        )
        self._network.send(peer, PreVoteAnswer(question.term, self._engine.term(), granted))

    def take_answer(self, peer: str, answer: PreVoteAnswer) -> None:
        """Count support; with a majority the next tick stands for election."""
        if answer.term > self._engine.term():
            self._engine.adopt_term(answer.term)
            self._forget()
        elif answer.granted and answer.asked_term == self._asked_term == self._engine.term() + 1:
            self._supporters.add(peer)
            if 2 * (len(self._supporters) + 1) > len(self._peers) + 1:
                self._may_stand = True
                self._engine.hasten_election()

    def may_vote(self, request: RequestVote) -> bool:
        """Tell whether the library may see a request for a vote at all."""
        if self._is_loyal() and not request.transfer:
            return False
        return self._vote.joined or request.last_index == GENESIS[0]

    def is_first_vote(self, peer: str, term: int) -> bool:
        """Tell whether this vote is new: the library would count a repeated one again."""
        if term != self._votes_of_term:
            self._votes_of_term, self._voters = term, set()
        if peer in self._voters:
            return False
        self._voters.add(peer)
        return True

    def _ask(self) -> None:
        self._asked_term = self._engine.term() + 1
        self._supporters.clear()
        question = PreVote(self._asked_term, self._journal.last_index, self._journal.last_term)
        for peer in self._peers:
            self._network.send(peer, question)

    def _forget(self) -> None:
        self._asked_term = None
        self._may_stand = False
        self._supporters.clear()

    def _is_loyal(self) -> bool:
        if self._engine.role() == "leader":
            return True
        return self._clock() - self._leader_heard_at < self._loyalty_s

    def _is_eligible(self, last_index: int, last_term: int) -> bool:
        """Raft §5.4.1, and the rule for a node without a past."""
        if not self._vote.joined and last_index != GENESIS[0]:
            return False
        return (last_term, last_index) >= (self._journal.last_term, self._journal.last_index)
