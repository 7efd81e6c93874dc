"""Is every occurrence accounted for? A checker that looks at the ledger and the sink only."""

import time

from chronos_common.protocol import ListExecutions, decode_result
from tests.support.processes import wait_for


def all_executions(client, job_id):
    """Every execution of a job, oldest fire time first."""
    found, after = [], None
    while True:
        read = ListExecutions(job_id=job_id, descending=False, after=after, limit=500)
        page = decode_result(read, client.query(read))
        found += page.items
        if not page.more:
            return found
        after = page.items[-1].id


def unaccounted(executions, period_ms, first, until):
    """Fire times in [first, until) that are neither in an execution of their own nor in a skipped stretch."""
    answered = set()
    for execution in executions:
        if execution.skipped is None:
            answered.add(execution.fire_time)
        else:
            skipped = execution.skipped
            answered |= set(range(skipped.first_fire_time, skipped.last_fire_time + 1, period_ms))
    return sorted(set(range(first, until, period_ms)) - answered)


def wait_until_accounted(client, jobs, period_ms):
    """Until every fire time of these jobs up to two seconds ago has its row; a busy machine may be late with it."""
    until = time.time_ns() // 1_000_000_000 * 1_000 - 2_000

    def missing():
        return any(unaccounted(all_executions(client, job.id), period_ms, job.next_fire_time, until) for job in jobs)

    wait_for(lambda: not missing(), "every occurrence to have its row")
