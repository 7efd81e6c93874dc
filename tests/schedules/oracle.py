"""An independent answer to "when is this due": look at every minute, and at nothing of the code under test.

For each UTC minute of a window the local wall clock is asked whether the fields name it. A wildcard-hour
expression fires at each such minute. One with fixed hours fires at the first showing of each named wall
clock minute; minutes that the clock jumps over fire together at the jump.
"""

import datetime as dt
from zoneinfo import ZoneInfo

MINUTE = dt.timedelta(minutes=1)


def values(text, low, high):
    """The set a simple cron field names; written from crontab(5), without names."""
    found = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        if body == "*":
            first, last = low, high
        elif "-" in body:
            first, last = map(int, body.split("-"))
        else:
            first = int(body)
            last = high if step else first
        found |= set(range(first, last + 1, int(step or 1)))
    return found


class Fields:
    """The five fields of an expression as sets."""

    def __init__(self, expression):
        minute, hour, dom, month, dow = expression.split()
        self.minutes, self.hours = values(minute, 0, 59), values(hour, 0, 23)
        self.doms, self.months = values(dom, 1, 31), values(month, 1, 12)
        self.dows = {number % 7 for number in values(dow, 0, 7)}
        self.both = dom[0] == "*" or dow[0] == "*"
        self.elapsed = hour[0] == "*" or len(self.hours) == 24

    def named(self, local):
        if local.minute not in self.minutes or local.hour not in self.hours or local.month not in self.months:
            return False
        dom, dow = local.day in self.doms, local.isoweekday() % 7 in self.dows
        return (dom and dow) if self.both else (dom or dow)


def fire_times(expression, zone_name, start, end):
    """Every fire time in [start, end), as aware UTC datetimes, in order."""
    fields, tz = Fields(expression), ZoneInfo(zone_name)
    moment = start - dt.timedelta(days=2)
    furthest = moment.astimezone(tz).replace(tzinfo=None) - MINUTE
    fired = []
    while moment < end:
        local = moment.astimezone(tz).replace(tzinfo=None)
        due = fields.named(local) if fields.elapsed else False
        while not fields.elapsed and furthest < local:  # more than one round only where the clock jumps
            furthest += MINUTE
            due = due or fields.named(furthest)
        if due and moment >= start:
            fired.append(moment)
        moment += MINUTE
    return fired
