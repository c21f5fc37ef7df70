#!/usr/bin/python3
"""Ten thousand idle TLS clients and two thousand that send a byte a second: everybody else's wraps succeed, and what the crowd does to
their p99 is reported (N = 5 runs with and without it, in turn)."""
import os
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
os.environ["WW_CONNECTIONS"] = "16384"
import client
import house
import ratio
import tap

h = house.House()
IDLE, SLOW = 10000, 2000


class Crowd:
    def __init__(self):
        tokens = f"{h.state}/tokens-of-a-test"
        with open(tokens, "w", encoding="ascii") as f:
            f.write(h.token + "\n")
        self.idle = subprocess.Popen([h.binary("ww-bench"), "--target", h.address, "--token-file", tokens, "--ca", h.ca, "--key", h.key,
                                      "--connections", str(IDLE), "--rate", "1", "--seconds", "3000", "--quiet"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        query = client.request(h, f"{h.key}:wrap", client.wrap_body(b"slow"))
        self.slow = [client.Connection(h, h.address6) for _ in range(SLOW)]
        for c in self.slow:
            c.send(query[:-600])  # what is left takes ten minutes
        self.rest, self.broken = query[-600:], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.drip, daemon=True)
        self.thread.start()
        house.wait_for(lambda: h.gauges()["tls_conns"] >= IDLE + SLOW, "the crowd is there")

    def drip(self):
        """Each of them sends a byte a second, spread over it."""
        began, sent = time.monotonic(), 0
        while not self.stopping.is_set():
            due = min(int((time.monotonic() - began) * SLOW), len(self.rest) * SLOW - SLOW)
            for at in range(sent, due):
                try:
                    self.slow[at % SLOW].send(self.rest[at // SLOW:at // SLOW + 1])
                except OSError as why:
                    self.broken.append(repr(why))
            sent = max(sent, due)
            self.stopping.wait(0.01)

    def end(self):
        self.stopping.set()
        self.thread.join()
        tap.equal(h.gauges()["tls_conns"] >= IDLE + SLOW, True, "the crowd was there to the end")
        tap.equal(self.broken, [])
        tap.check(self.idle.poll() is None, "the idle ones stayed")
        self.idle.terminate()
        self.idle.wait()
        for c in self.slow:
            c.close()
        house.wait_for(lambda: h.gauges()["tls_conns"] == 0, "the crowd has gone")


@tap.case
def every_wrap_succeeds_beside_a_crowd_and_its_effect_is_reported():
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    tap.check(allowed >= IDLE + 1000, f"{allowed} descriptors are allowed, ww-bench needs {IDLE}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    ratio.report(h, f"{IDLE} idle and {SLOW} one-byte-a-second clients", lambda run: Crowd().end)


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
