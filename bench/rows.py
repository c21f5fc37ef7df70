"""The rows of the table: what is asked, of whom, and for how long."""
import dataclasses

ALL = ["wirewrap", "epoll-wrap", "nginx-static", "haproxy-static"]
PAIR = ["wirewrap", "nginx-static"]
ROUNDS = 5
ROUNDS_ELSE = 3  # of systems that no aim is held against

# What a run takes besides its measured seconds, for the estimate: a start, and each connection that is opened.
START_S = {"wirewrap": 1.5, "epoll-wrap": 0.3, "nginx-static": 0.3, "haproxy-static": 0.3}
CONNECTION_S = 0.0008


# Load on established connections, and handshakes beside it, that together leave nginx and the generator room.
BESIDE, HANDSHAKES = ("nginx-static", 0.15), ("nginx-static", 0.4, 1000)


@dataclasses.dataclass
class Row:
    """One load.  rate: (system, share of what it answered in row c64); None: closed loop.  background: handshakes a second beside it, as
    (system, share of what it answered in row handshakes, at most so many).  rounds: at most so many."""
    name: str
    connections: int
    who: list
    arguments: list = dataclasses.field(default_factory=list)
    rate: tuple = None
    background: tuple = None
    seconds: float = 3.0
    warmup: float = 0.7
    rounds: int = ROUNDS

    def rates(self, capacity):
        """Arguments of the generator.  capacity(system, name of a row): operations a second in this run."""
        out = []
        if self.rate:
            system, share = self.rate
            out += ["--rate", f"{share * capacity(system, 'c64'):.0f}"]
        if self.background:
            system, share, most = self.background
            out += ["--background", f"{min(most, share * capacity(system, 'handshakes')):.0f}"]
        return out

    def rounds_of(self, system):
        return self.rounds if system in PAIR else min(self.rounds, ROUNDS_ELSE)

    def one_run_s(self, system):
        return START_S[system] + self.connections * CONNECTION_S + self.warmup + self.seconds


def closed(connections, who=None, **more):
    return Row(f"c{connections}", connections, who or ALL, **more)


def loads(quick):
    rows = [
        closed(10),
        closed(64),
        closed(100),
        closed(1000),
        closed(10000, ["wirewrap", "epoll-wrap", "nginx-static"], seconds=4.0),
        closed(100000, PAIR, seconds=6.0, warmup=2.0, rounds=2),
        Row("mixed64", 64, ["wirewrap", "epoll-wrap"], ["--unwraps", "0.5", "--bad-tokens", "0.02"]),
        Row("handshakes", 32, ["wirewrap", "epoll-wrap", "nginx-static"], ["--handshakes"]),
        Row("open70", 64, PAIR, rate=("nginx-static", 0.7)),
        Row("open70ours", 64, ["wirewrap"], rate=("wirewrap", 0.7)),
        Row("beside", 64, PAIR, rate=BESIDE),
        Row("beside_handshakes", 64, PAIR, rate=BESIDE, background=HANDSHAKES),
    ]
    if quick:
        for r in rows:  # all four once, under a minute in all
            r.who = [s for s in r.who if s in PAIR or r.name == "c64"]
            r.seconds, r.warmup, r.rounds = (1.0, 0.3, 1) if r.connections <= 1000 else (2.0, 0.5, 1)
    return rows


# Rows that are no load on a running server: name -> seconds for the estimate (full, quick).
OTHERS = {"keys": (100, 15), "workers": (100, 15), "idle": (40, 25), "instructions": (20, 20)}
# What --quick takes where --rows names nothing.
QUICK = ["c64", "c1000", "mixed64", "handshakes", "open70", "instructions"]


def names():
    return [r.name for r in loads(False)] + list(OTHERS)
