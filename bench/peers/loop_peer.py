"""`python -m bench.peers.loop_peer URL JOBS`: what one writes in an afternoon; no disk, no history, no retries.

A loop that looks each second at the next fire time of every job, by croniter, and hands what is due to a
thread pool of 20.
"""

from __future__ import annotations

import heapq
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from croniter import croniter

from bench.peers.webhook import call


def main(url: str, jobs: str) -> None:
    """Run until killed."""
    now = time.time()
    schedules = [croniter("* * * * * *", now, second_at_beginning=True) for _ in range(int(jobs))]
    due = [(schedule.get_next(float), number) for number, schedule in enumerate(schedules)]
    heapq.heapify(due)
    with ThreadPoolExecutor(20) as pool:
        while True:
            fire_time, number = due[0]
            if (wait_s := fire_time - time.time()) > 0:
                time.sleep(wait_s)
            pool.submit(call, url)
            heapq.heapreplace(due, (schedules[number].get_next(float), number))


if __name__ == "__main__":
    main(*sys.argv[1:])
