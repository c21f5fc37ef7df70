"""A program on a TAP, the Linux kernel as its peer, in network namespaces that the test makes and removes.

    far  198.51.100.2, 2001:db8:58::2
     |   veth
    peer 192.0.2.1/24, 2001:db8:57::1/64 on the TAP ww0; routes between far and the wire
     |   TAP, or TAP - ww-bridge - vhost-user
    ours 192.0.2.2, 2001:db8:57::2; default gateway: the peer

With a relay between the two (relaying.py) the peer's end is peer0, and ours has a namespace without an address:

    peer 192.0.2.1/24, 2001:db8:57::1/64 on peer0
     |   veth
    mid0 - ww-relay - ww0 (TAP), or kernel0 (veth; behind it a kernel with our addresses)

The test's own thread enters peer: sockets and commands are there unless inside(FAR) says otherwise.  Every wait is a bounded
poll for an outcome; every process is ended by its pid.
"""
import argparse
import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path[:0] = [f"{ROOT}/tests/lib", f"{ROOT}/tests/wire/oracle"]
import oracle
import tap
import tcpdump

CLONE_NEWNET = 0x40000000
TAP = "ww0"
OURS4, OURS6 = "192.0.2.2", "2001:db8:57::2"
PEER4, PEER6 = "192.0.2.1", "2001:db8:57::1"
FAR4, FAR6 = "198.51.100.2", "2001:db8:58::2"
BOUND = 120  # seconds; ends a wait that would never end, decides nothing else


def wait_for(condition, what, seconds=BOUND):
    """What condition() returns, once that is true."""
    until = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def run(*command, ok=True, timeout=BOUND):
    """stdout and stderr of a command that must succeed (ok=None: may do as it likes)."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=timeout)
    if ok is not None and (done.returncode == 0) != ok:
        raise AssertionError(f"{' '.join(map(str, command))} exited with {done.returncode}: {done.stdout}")
    return done.stdout


def setns(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def address(device, ip4, ip6):
    for family in ("ipv4", "ipv6"):  # a neighbour that does not answer for three seconds, the default, is not gone: its machine stands still
        run("sysctl", "-qw", *[f"net.{family}.neigh.{device}.{which}_solicit={BOUND}" for which in ("mcast", "ucast")])
    run("ip", "addr", "add", f"{ip4}/24", "dev", device)
    run("ip", "addr", "add", f"{ip6}/64", "dev", device, "nodad")
    run("ip", "link", "set", device, "up")


def plain(device):
    """What a virtual pair leaves to hardware that is not there would reach us undone."""
    run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")


class Program:
    """A process of ours; what it prints goes to a file that is polled for the line which says that it is ready."""

    def __init__(self, folder, ready, *command):
        self.name = os.path.basename(command[0])
        self.log = tempfile.NamedTemporaryFile("w+", dir=folder, prefix=f"{self.name}.", delete=False)
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env)
        wait_for(lambda: ready in self.said() or self.process.poll() is not None, f"{self.name} is ready")
        if ready not in self.said():
            raise AssertionError(f"{self.name} ended at once with {self.process.returncode}: {self.said()}")

    @property
    def pid(self):
        return self.process.pid

    def said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, sig=signal.SIGTERM):
        """Ends it as an operator would; everything it said."""
        if self.alive():
            self.process.send_signal(sig)
            try:
                self.process.wait(BOUND)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} does not end: {self.said()[-2000:]}")
        if self.process.returncode != 0:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.said()[-4000:]}")
        return self.said()


def built(name):
    """The newest program of that name under the build folders."""
    found = glob.glob(f"{ROOT}/build*/**/{name}", recursive=True)
    return max((f for f in found if os.path.isfile(f)), key=os.path.getmtime, default=None)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--echo", default=built("ww-echo"), help="ww-echo; what was built last")
    parser.add_argument("--bridge", default=built("ww-bridge"), help="ww-bridge; what was built last")
    parser.add_argument("--relay", default=built("ww-relay"), help="ww-relay; what was built last")
    parser.add_argument("--long", action="store_true", help="the sizes of ./dev test --long")
    parser.add_argument("--no-offload", action="store_true", help="checksums by us, not by the device")
    return parser.parse_args()


class Wire:
    def __init__(self):
        chosen = options()
        self.echo_program, self.bridge_program, self.relay_program = chosen.echo, chosen.bridge, chosen.relay
        self.offload, self.long = not chosen.no_offload, chosen.long
        self.folder = tempfile.mkdtemp(prefix="wirewrap-wire.")
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.peer, self.far = f"ww-wire-{os.getpid()}", f"ww-far-{os.getpid()}"
        self.middle = None
        self.made, self.programs, self.echo, self.bridge = [], [], None, None
        self.device = f"tap:{TAP}"
        self.capture_file, self.capture, self.macs = None, None, set()

    # ---- namespaces ----

    def make(self, name):
        """A namespace, and this thread in it."""
        run("ip", "netns", "add", name)
        self.made.append(name)
        self.enter(name)
        for key in ("conf.all.accept_dad", "conf.default.accept_dad", "conf.all.accept_ra", "conf.default.router_solicitations"):
            run("sysctl", "-qw", f"net.ipv6.{key}=0")
        run("ip", "link", "set", "lo", "up")

    def make_peer(self):
        self.make(self.peer)
        run("ip", "tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue")
        address(TAP, PEER4, PEER6)

    def make_silent(self):
        """Our TAP where the kernel has no address: whoever answers there is a script (scripted.py)."""
        self.make(self.peer)
        run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue")
        run("ip", "link", "set", TAP, "up")

    def make_relayed(self):
        """The peer on peer0; mid0 and our TAP in a namespace whose kernel has no address and says nothing of its own."""
        self.middle = f"ww-mid-{os.getpid()}"
        self.make(self.middle)
        run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue")
        run("ip", "link", "set", TAP, "txqueuelen", "10000", "up")
        self.make(self.peer)
        self.make_pair("mid0", "peer0")
        address("peer0", PEER4, PEER6)

    def make_kernel(self):
        """A kernel with our addresses, in the place of ours; its namespace's name."""
        name = f"ww-kernel-{os.getpid()}"
        self.make(name)
        self.make_pair("kernel0", "ours0")
        address("ours0", OURS4, OURS6)
        self.enter(self.peer)
        return name

    def make_pair(self, theirs, name):
        """name here, theirs in the middle; nothing is left to hardware that is not there."""
        run("ip", "link", "add", name, "type", "veth", "peer", "name", theirs, "netns", self.middle)
        plain(name)
        with self.inside(self.middle):
            plain(theirs)
            run("ip", "link", "set", theirs, "up")

    def make_far(self):
        """A network behind the peer, which routes."""
        run("ip", "netns", "add", self.far)
        self.made.append(self.far)
        run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "far0", "netns", self.far)
        run("ip", "addr", "add", "198.51.100.1/24", "dev", "up0")
        run("ip", "addr", "add", "2001:db8:58::1/64", "dev", "up0", "nodad")
        run("ip", "link", "set", "up0", "up")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        with self.inside(self.far):
            run("ip", "link", "set", "lo", "up")
            run("ip", "addr", "add", f"{FAR4}/24", "dev", "far0")
            run("ip", "addr", "add", f"{FAR6}/64", "dev", "far0", "nodad")
            run("ip", "link", "set", "far0", "up")
            run("ip", "route", "add", "default", "via", "198.51.100.1")
            run("ip", "-6", "route", "add", "default", "via", "2001:db8:58::1")

    def enter(self, name):
        descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
        setns(descriptor)
        os.close(descriptor)

    @contextlib.contextmanager
    def inside(self, name):
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.enter(name)
        try:
            yield
        finally:
            setns(back)
            os.close(back)

    # ---- programs ----

    def program(self, ready, *command):
        p = Program(self.folder, ready, *command)
        self.programs.append(p)
        return p

    def start_echo(self, *more):
        with self.inside(self.middle or self.peer):
            self.echo = self.program("ww-echo ready", self.echo_program, "--device", self.device, "--addr", f"{OURS4}/24", "--addr",
                                     f"{OURS6}/64", "--gateway", PEER4, "--gateway", PEER6, "--offload", "on" if self.offload else "off",
                                     *more)
        self.macs.add(self.mac)
        return self.echo

    @property
    def socket(self):
        return f"{self.folder}/vhost.sock"

    def start_bridge(self):
        self.device = f"virtio-user:{self.socket}"
        self.bridge = self.program("bridge ready", self.bridge_program, "--vhost", self.socket, "--tap", TAP)
        return self.bridge

    @property
    def mac(self):
        """Ours, as the program says it."""
        return re.search(r'nic agreed .*mac="([0-9a-f:]+)"', self.echo.said())[1]

    def stop_echo(self):
        """Its last words: {"counter": {...}, "gauge": {...}}."""
        said = {"counter": {}, "gauge": {}}
        for kind, name, value in re.findall(r"^(counter|gauge) (\w+) (\d+)$", self.echo.stop(), re.M):
            said[kind][name] = int(value)
        self.said = said
        return said

    # ---- capture ----

    def capture_start(self, device=TAP):
        """What crosses our wire from now on; begin before ours does."""
        self.capture_file = f"{self.folder}/wire.pcap"
        with self.inside(self.middle or self.peer):
            self.capture = tcpdump.Capture(device, self.capture_file, wait_for, "-s", "2000")
        self.programs.append(self.capture)

    def judge(self, trust_peer=False, least=100, explained=()):
        """Ends the capture: the oracle finds no breach in what we sent, nor does tshark; there were at least so many segments."""
        if self.capture.alive():
            self.capture.stop()
        seen = oracle.judge(self.capture_file, self.macs, trust_peer)
        print(f"# the oracle saw {seen.looked_at} frames of ours, {seen.segments} segments, {len(seen.connections)} connections")
        tap.check(seen.segments >= least, f"only {seen.segments} segments of ours were captured")
        tap.equal([f"{rule}: frame {number}: {text}" for rule, number, text in seen.found[:10]], [], f"{len(seen.found)} breaches")
        said = oracle.expert(self.capture_file, self.macs, explained)
        tap.equal(said[:10], [], f"tshark: {len(said)} frames of ours")

    # ---- end ----

    def end(self):
        for p in self.programs:
            if p.alive():
                p.kill()
        setns(self.home)
        for name in self.made:
            run("ip", "netns", "del", name, ok=None)
        shutil.rmtree(self.folder, ignore_errors=True)
