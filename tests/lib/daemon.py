"""A ww-ctrl of the test's own, without a dataplane: its folder, its processes by pid, and wwctl on its socket."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import house

CONFIG = """nic:
  device: tap:ww0
net:
  addresses: [192.0.2.2/24]
  port: 443
dataplane:
  workers: 1
ctrl:
  state_dir: {folder}/store
  ctl_socket: {folder}/ctl.sock
  admin_socket: {folder}/admin.sock
  audit_dir: {folder}/audit
seal:
  passphrase_file: {folder}/passphrase
  argon2_memory: 8MiB
  argon2_passes: 1
tls:
  certificate_file: {folder}/server.pem
  key_file: {folder}/server.key
auth:
  audiences: [https://ekm.wirewrap.test]
{more}"""


class Daemon:
    def __init__(self, build=None):
        self.build = build or house.options().build
        self.folder = tempfile.mkdtemp(prefix="wirewrap-ctrl.")
        self.process = None
        self.approving = ()
        self.config()

    def config(self, more=""):
        with open(f"{self.folder}/wirewrap.yaml", "w") as f:
            f.write(CONFIG.format(folder=self.folder, more=more))

    def binary(self, name):
        for folder, _, names in os.walk(f"{house.ROOT}/build/{self.build}"):
            if name in names and os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        raise AssertionError(f"there is no {name} in build/{self.build}")

    def spawn(self, *options):
        log = open(f"{self.folder}/log", "ab")
        return subprocess.Popen([self.binary("ww-ctrl"), "--config", f"{self.folder}/wirewrap.yaml", *options],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, *options):
        self.process = self.spawn(*(options or ("--dev",)))
        house.wait_for(self.answers, "ww-ctrl to answer")

    def fails_to_start(self, *options):
        """What it says when it ends by itself."""
        at = os.path.getsize(f"{self.folder}/log") if os.path.exists(f"{self.folder}/log") else 0
        process = self.spawn(*options)
        try:
            status = process.wait(house.BOUND)
        finally:
            if process.poll() is None:
                process.kill()
        with open(f"{self.folder}/log") as f:
            f.seek(at)
            text = f.read()
        if status != 1:
            raise AssertionError(f"ended with {status}: {text}")
        return text

    def answers(self):
        if self.process.poll() is not None:
            with open(f"{self.folder}/log") as f:
                raise AssertionError(f"ww-ctrl ended with {self.process.returncode}: {f.read()[-2000:]}")
        return self.run("status").returncode == 0

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """The exit status after SIGTERM."""
        self.process.terminate()
        return self.process.wait(house.BOUND)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments, text=None):
        """What waits for signatures gets them, and is said again, where approvers() were made."""
        done = self.run_once(*arguments, text=text)
        if done.returncode == 4 and self.approving:
            self.approve(re.search(r"request ([0-9a-f]{32}) waits", done.stderr).group(1))
            done = self.run_once(*arguments, text=text)
        return done

    def run_once(self, *arguments, text=None):
        return subprocess.run([self.binary("wwctl"), "--admin", f"{self.folder}/admin.sock", *arguments], input=text or "",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ok(self, *arguments, text=None):
        done = self.run(*arguments, text=text)
        if done.returncode:
            raise AssertionError(f"wwctl {' '.join(arguments)} exited with {done.returncode}: {done.stderr}")
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.ok(*arguments, "--json"))

    def refused_as(self, code, *arguments, status=1, text=None):
        """What wwctl says as JSON of something that must be refused so."""
        done = self.run_once(*arguments, "--json", text=text)
        reply = json.loads(done.stdout)
        if done.returncode != status or reply["error"]["code"] != code:
            raise AssertionError(f"wwctl {' '.join(arguments)} exited with {done.returncode}: {done.stdout}")
        return reply

    @staticmethod
    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr}")

    def production(self):
        """A start without --dev on a new store, and slots enough to make keys."""
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={house.HOST}", "-addext",
                     f"subjectAltName=DNS:{house.HOST}", "-days", "30", "-keyout", f"{self.folder}/server.key", "-out", f"{self.folder}/server.pem")
        with open(f"{self.folder}/passphrase", "w") as f:
            f.write("correct horse battery\n")
        os.chmod(f"{self.folder}/passphrase", 0o600)
        self.start("--init")
        for n in (1, 2):
            identity = f"{self.folder}/identity{n}"
            recipient = subprocess.run(["age-keygen", "-o", identity], capture_output=True, text=True, check=True).stderr.split()[-1]
            self.ok("root", "slots", "add", "--age", recipient, "--identity", identity)

    def approvers(self, *names):
        """Keys of approvers, and the part of the configuration that names them."""
        self.approving = names
        for name in [n for n in names if not os.path.exists(f"{self.folder}/{n}.pub")]:
            self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{self.folder}/{name}.sign")
            self.openssl("ec", "-in", f"{self.folder}/{name}.sign", "-pubout", "-out", f"{self.folder}/{name}.pub")
        return "admin:\n  people:\n" + "".join(f"    - {{name: {name}, roles: approver, approval_key_file: {self.folder}/{name}.pub}}\n"
                                               for name in names)

    def approve(self, request):
        """All of them sign; what the last one answers."""
        for name in self.approving:
            signature = self.ok("approval", "sign", request, "--signing-key", f"{self.folder}/{name}.sign").strip()
            reply = self.json("approval", "submit", request, "--signature", signature)
        return reply

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(house.BOUND)
        s.connect(f"{self.folder}/{name}")
        return s
