"""A clock that a test turns by hand."""


class ManualClock:
    """`run` lets time pass, `move` is what an operator or a time server does to the wall clock."""

    def __init__(self, wall=1_700_049_600_000):
        self.wall, self.mono = wall, 100.0

    def now_ms(self):
        return self.wall

    def monotonic_s(self):
        return self.mono

    def run(self, seconds):
        self.wall += int(seconds * 1_000)
        self.mono += seconds

    def move(self, seconds):
        self.wall += int(seconds * 1_000)
