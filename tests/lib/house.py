"""A running Wirewrap for one test: `./dev up` in a state folder of its own, and the test process inside its namespace."""
import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CLONE_NEWNET = 0x40000000
BOUND = 300  # seconds; ends a wait that would never end, decides nothing else
BAD_WORDS = ("Sanitizer", "runtime error:", "never given back")
HOST = "ekm.wirewrap.test"
AUDIENCE = f"https://{HOST}"
CALLER = "service-100200300400@gcp-sa-ekms.iam.gserviceaccount.com"


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nic", default="tap", choices=["tap", "virtio"])
    parser.add_argument("--build", default="release", choices=["release", "debug"])
    return parser.parse_args()


def wait_for(condition, what):
    """condition() until it is true."""
    until = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {BOUND} s")
        time.sleep(0.05)


class House:
    def __init__(self, chosen=None):
        chosen = chosen or options()
        self.nic, self.build, self.workers = chosen.nic, chosen.build, 1
        self.state = tempfile.mkdtemp(prefix="wirewrap-test.")
        self.address, self.address6 = "192.0.2.2", "2001:db8:57::2"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def dev(self, *arguments):
        done = subprocess.run([f"{ROOT}/dev", *arguments], env=dict(os.environ, WW_BUILD=self.build), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in done.stdout.splitlines():
            print(f"# {line}")
        if done.returncode:
            raise AssertionError(f"./dev {' '.join(arguments)} exited with {done.returncode}")

    def up(self):
        self.dev("up", "--state", self.state, "--nic", self.nic, "--workers", str(self.workers))
        self.enter()

    def enter(self):
        """This thread, and what it starts from now on, sees the house's network."""
        namespace = os.open(f"/run/netns/{self.env('WW_NETNS')}", os.O_RDONLY)
        setns(namespace)
        os.close(namespace)

    def stop(self):
        """Stops the processes and removes the namespace; the state stays."""
        setns(self.home)
        self.dev("down", "--state", self.state)
        self.check_logs()

    def check_logs(self):
        """Told to stop, every process ended with 0, and no sanitizer had anything to say."""
        for name in ("supervisor", "ctrl", "bridge", "dataplane"):
            path = f"{self.state}/{name}.log"
            for line in open(path, errors="replace") if os.path.exists(path) else ():
                if name == "supervisor" and " ended with " in line:
                    print(f"# {line.strip()}")  # who fell, and when: a case that did not expect it has its cause here
                stopped = line.split(" stopped with ")
                if len(stopped) == 2 and stopped[1].strip() != "0" or any(bad in line for bad in BAD_WORDS):
                    raise AssertionError(f"{name}.log: {line.strip()}")

    def down(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.state, ignore_errors=True)

    def env(self, name):
        with open(f"{self.state}/env") as f:
            for line in f:
                key, _, value = line.rstrip("\n").partition("=")
                if key == name:
                    return value
        raise KeyError(name)

    def pid(self, name):
        """0 while it is being restarted."""
        return int(self.env(f"WW_PID_{name.upper()}") or 0)

    @property
    def token(self):
        return self.env("WW_TOKEN")

    @property
    def key(self):
        return self.env("WW_KEY_PATH")

    @property
    def ca(self):
        return self.env("WW_CA")

    def binary(self, name):
        for folder, _, names in os.walk(f"{ROOT}/build/{self.build}"):
            if name in names and os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        raise AssertionError(f"there is no {name} in build/{self.build}")

    def wwctl(self, *arguments, refused=False):
        """stdout of a wwctl command that must succeed, or all it says when it must be refused.  A change is over when the dataplane has
        it: on a machine that stands still that may be later than wwctl waits."""
        done = subprocess.run([self.binary("wwctl"), "--admin", f"{self.state}/admin.sock", *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if is_committed_and_not_acked(done) and not refused:
            wait_for(self.in_sync, f"an ack of wwctl {' '.join(arguments)}")
        elif (done.returncode != 0) != refused:
            raise AssertionError(f"wwctl {' '.join(arguments)} exited with {done.returncode}: {done.stdout}{done.stderr}")
        return (done.stdout + done.stderr if refused else done.stdout).strip()

    def wwctl_json(self, *arguments):
        return json.loads(self.wwctl(*arguments, "--json"))

    def counters(self):
        return self.wwctl_json("dataplane", "stats")["counters"]

    def gauges(self):
        return self.wwctl_json("dataplane", "stats")["gauges"]

    def in_sync(self):
        """ctrl is there, the dataplane is attached to it and serves its latest epoch."""
        try:
            return self.wwctl_json("status")["dataplane"]["in_sync"]
        except AssertionError:
            return False

    def key_make(self, path, *callers):
        self.wwctl("key", "create", path)
        self.policy_set(path, *callers)

    def policy_set(self, path, *callers, reasons="all"):
        policy = f"{self.state}/policy-of-a-test.json"
        with open(policy, "w") as f:
            json.dump({"callers": list(callers), "reasons": reasons}, f)
        self.wwctl("policy", "set", path, "--file", policy)

    def token_for(self, email, audience=AUDIENCE, *arguments):
        return self.wwctl("dev", "token", "--email", email, "--audience", audience, *arguments)


def files(folder):
    """(path, content) of each under a folder; one that is gone when it is looked at was a journal, or on its way to another name."""
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                if os.path.isfile(f"{at}/{name}"):
                    with open(f"{at}/{name}", "rb") as f:
                        yield f"{at}/{name}", f.read()
            except FileNotFoundError:
                pass


def is_committed_and_not_acked(done):
    return done.returncode == 3 and "not acked by the dataplane" in done.stderr or re.search(
        r'dataplane"?: ?"?not (yet acked|attached)', done.stdout) is not None


def setns(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
