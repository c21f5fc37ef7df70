"""tcpdump on one device, which ends when it has read everything that the kernel has for it: told to end before, it would leave the rest."""
import re
import signal
import subprocess

COUNTS = re.compile(r"(\d+) packets captured, (\d+) packets received by filter, (\d+) packets dropped by kernel")


class Capture:
    """From now on; wait_for: the caller's, with its bound."""

    def __init__(self, device, path, wait_for, *options):
        self.log, self.wait_for = f"{path}.log", wait_for
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["tcpdump", "-i", device, "-U", "-w", path, "-B", "131072", "--immediate-mode", *options],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: "listening on" in self.said() or not self.alive(), "tcpdump listens")

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def is_drained(self):
        """By what it answered to the question before this one."""
        counts = COUNTS.findall(self.said())
        self.process.send_signal(signal.SIGUSR1)
        return bool(counts) and counts[-1][0] == counts[-1][1]

    def stop(self):
        """Everything that crossed the device is in the file, or this raises."""
        if not self.alive():
            raise AssertionError(f"tcpdump has ended: {self.said()}")
        self.wait_for(self.is_drained, "tcpdump has read everything")
        self.process.send_signal(signal.SIGINT)
        self.wait_for(lambda: not self.alive(), "tcpdump ends")
        if self.process.returncode != 0 or "\n0 packets dropped by kernel" not in self.said():
            raise AssertionError(f"the capture has holes: {self.said()}")
