"""Clients that write, repeat until they know, and record every acknowledgement.

Each writer has jobs of its own. A change names the version it changes, so that a repeat that comes late changes
nothing; a 412 or 404 to a repeat therefore says that an earlier try got through.
"""

import threading
import time

import requests

from tests.cluster.history import Operation

_TRY_S = 10
_GIVE_UP_S = 30
_PAUSE_S = 0.15
_MOST_JOBS = 10


class Writer:
    """One writer; `operations` grows, in the order in which things were done, and is read after `finish`."""

    def __init__(self, number, base_url, target_url, by_hand, chance):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.operations = []
        self.ids = {}
        self._number = number
        self._base = f"{base_url}/api/v1/jobs"
        self._target = target_url
        self._by_hand = by_hand
        self._chance = chance
        self._session = requests.Session()
        self._over = threading.Event()
        self._living = {}
        self._count = 0
        self._index = "0"
        self._failure = None

    def start(self):
        """Begin to write."""
        self._thread.start()

    def _run(self):
        try:
            while not self._over.wait(_PAUSE_S):
                self._something()
        except Exception as failure:  # noqa: BLE001 - raised where it is waited for
            self._failure = failure

    def finish(self):
        """Wait for the last operation to end."""
        self._over.set()
        self._thread.join(timeout=2 * _GIVE_UP_S)
        if self._failure is not None or self._thread.is_alive():
            raise AssertionError(f"writer {self._number} did not finish") from self._failure

    def _something(self):
        if not self._living:
            self._create()
            return
        name = self._chance.choice(sorted(self._living))
        kinds = [self._update, self._update, self._read, self._read, self._trigger, self._delete]
        if len(self._living) < _MOST_JOBS:
            kinds.append(lambda _: self._create())
        self._chance.choice(kinds)(name)

    def _ask(self, method, url, *, accept, settled=(), **request):
        """Repeat a request until its outcome is certain or patience ends; (outcome, answer).

        `settled`: statuses that say, to a repeat after a try of unknown outcome, that this try got through.
        """
        deadline = time.monotonic() + _GIVE_UP_S
        doubtful = False
        while True:
            try:
                answer = self._session.request(method, url, timeout=_TRY_S, **request)
            except requests.RequestException:
                doubtful = True
            else:
                if answer.status_code == accept:
                    self._index = answer.headers.get("X-Chronos-Index", self._index)
                    return "ok", answer
                if doubtful and answer.status_code in settled:
                    return "ok", answer
                if answer.status_code not in (429, 503):
                    raise AssertionError(f"{method} {url}: {answer.status_code} {answer.text[:500]}")
                doubtful = doubtful or (answer.status_code == 503 and answer.json()["code"] != "unavailable")
            if time.monotonic() > deadline:
                return ("unknown" if doubtful else "fail"), None
            self._over.wait(0.1)

    def _record(self, kind, job, value, outcome):
        self.operations.append(Operation(kind, job, value, outcome))
        if outcome == "unknown" and kind != "read":
            self._living.pop(job, None)

    def _key(self):
        self._count += 1
        return {"Idempotency-Key": f"{self._number}-{self._count}"}

    def _create(self):
        headers = self._key()
        name = f"churn-{self._number}-{self._count}"
        job = {"name": name, "webhook": {"url": self._target}, "tags": {"revision": "0"}}
        outcome, answer = self._ask("POST", self._base, accept=201, json=job, headers=headers)
        if outcome == "ok":
            self.ids[name] = answer.json()["id"]
            self._living[name] = [1, 0]
        self._record("create", name, 0, outcome)

    def _update(self, name):
        version, revision = self._living[name]
        change = {"tags": {"revision": str(revision + 1)}}
        headers = {"If-Match": f'"{version}"', "Content-Type": "application/merge-patch+json"}
        outcome, _ = self._ask(
            "PATCH", f"{self._base}/{self.ids[name]}", accept=200, settled=(412,), json=change, headers=headers
        )
        if outcome == "ok":
            self._living[name] = [version + 1, revision + 1]
        self._record("update", name, revision + 1, outcome)

    def _delete(self, name):
        outcome, _ = self._ask("DELETE", f"{self._base}/{self.ids[name]}", accept=204, settled=(404,))
        if outcome == "ok":
            del self._living[name]
        self._record("delete", name, None, outcome)

    def _read(self, name):
        headers = {"X-Chronos-Min-Index": self._index}
        outcome, answer = self._ask("GET", f"{self._base}/{self.ids[name]}", accept=200, headers=headers)
        value = int(answer.json()["tags"]["revision"]) if outcome == "ok" else None
        self._record("read", name, value, outcome)

    def _trigger(self, _name):
        outcome, answer = self._ask("POST", f"{self._base}/{self._by_hand}/trigger", accept=202, headers=self._key())
        self._record("trigger", "by-hand", answer.json()["id"] if outcome == "ok" else None, outcome)

    def final(self):
        """The revision of each of its jobs now, confirmed by a quorum; None for one that is not there."""
        found = {}
        for name, job_id in self.ids.items():
            answer = self._session.get(f"{self._base}/{job_id}?consistency=strong", timeout=_TRY_S)
            if answer.status_code not in (200, 404):
                raise AssertionError(f"{name} could not be read: {answer.status_code} {answer.text[:500]}")
            found[name] = int(answer.json()["tags"]["revision"]) if answer.status_code == 200 else None
        return found
