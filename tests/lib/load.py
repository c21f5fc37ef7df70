"""Requests that go on in the background while a test does something to the house."""
import os
import threading
import time

import client


class Load:
    """COUNT threads, each with one connection, each wrapping until stop() or WRAPS in all; a connection that ends is made anew only
    if reconnect is set.  Outcomes: replies (status by status), blobs with their plaintexts, broken (why a connection ended)."""

    def __init__(self, h, count=2, path=None, token=None, reconnect=False, wraps=None, blob=None, pace=0):
        self.h, self.path, self.token, self.reconnect, self.wraps = h, path, token, reconnect, wraps
        self.pace = pace  # seconds between a thread's requests
        self.blob = blob  # (blob, plaintext): unwrap this one instead of wrapping
        self.lock = threading.Lock()
        self.statuses, self.blobs, self.broken = {}, [], []
        self.log = []  # (begun, ended, status) by the monotonic clock, for what came before and after what
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(count)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        return self.join()

    def join(self, seconds=300):
        for t in self.threads:
            t.join(seconds)
            if t.is_alive():
                raise AssertionError("the load did not end")
        return self

    def work(self):
        while not self.stopping.is_set():
            try:
                c = client.Connection(self.h)
                while not self.stopping.is_set() and self.step(c):
                    pass
                c.close()
                return
            except (OSError, client.Closed) as why:
                with self.lock:
                    self.broken.append(repr(why))
                if not self.reconnect:
                    return
                self.stopping.wait(0.05)

    def step(self, c):
        """One request; False when enough were made."""
        with self.lock:
            if self.wraps is not None and self.wraps == 0:
                return False
            if self.wraps is not None:
                self.wraps -= 1
        if self.pace:
            time.sleep(self.pace)
        plaintext, begun = os.urandom(32), time.monotonic()
        if self.blob:
            reply = c.unwrap(self.blob[0], None, self.path, token=self.token)
        else:
            reply = c.wrap(plaintext, None, self.path, token=self.token)
        with self.lock:
            self.log.append((begun, time.monotonic(), reply.status))
            self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
            if reply.status == 200 and not self.blob:
                self.blobs.append((client.base64.b64decode(reply.json()["wrappedBlob"]), plaintext))
        return True

    def count(self):
        with self.lock:
            return sum(self.statuses.values())
