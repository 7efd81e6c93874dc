"""Is every occurrence accounted for? A checker that looks at the ledger and the sink only."""

from chronos_common.protocol import ListExecutions, decode_result


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
