"""The servers that are measured: how each is started, reached and stopped, and what CPU time it has used so far.

Every server runs on core SERVER_CORE, in a network namespace of its own; the load generator and everything else on CLIENT_CORE.
"""
import json
import os
import re
import shlex
import signal
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = f"{TOP}/build/release"
HOST = "ekm.wirewrap.test"
SERVER_CORE, CLIENT_CORE = 0, 1
TOKEN_LENGTH = 970  # of a Google-issued token for a service agent
REPLY = '{"wrappedBlob":"' + "A" * 82 + '"}'  # 100 bytes
CALLER = "service-100200300400@gcp-sa-ekms.iam.gserviceaccount.com"


def task_ns(pid, task=None):
    """CPU time of a process, or of one thread of it, in ns."""
    tasks = [task] if task else os.listdir(f"/proc/{pid}/task")
    total = 0
    for t in tasks:
        try:
            with open(f"/proc/{pid}/task/{t}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def tree(pid):
    pids = [pid]
    for t in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{t}/children", encoding="ascii") as f:
            for child in f.read().split():
                pids += tree(int(child))
    return pids


def pin(pid, core):
    for t in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(t), {core})


def run(*argv, **more):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


class Wirewrap:
    """./dev up: the dataplane on virtio-user, a bridge, and the kernel's TAP behind it."""
    name, static, up = "wirewrap", False, ["--nic", "virtio"]
    environment = {"WW_IDLE": "pause"}

    def __init__(self, folder, connections):
        self.state = f"{folder}/{self.name}"
        self.connections = connections

    def start(self):
        env = dict(os.environ, WW_CORES=str(SERVER_CORE), WW_CONNECTIONS=str(max(4096, self.connections * 2)), **self.environment)
        run(f"{TOP}/dev", "up", "--state", self.state, *self.up, env=env)
        self.env = self.read_env()
        self.netns, self.target, self.port = self.env["WW_NETNS"], self.env["WW_ADDR"], 443
        self.ca = self.env["WW_CA"]
        self.pids = {k[7:].lower(): int(v) for k, v in self.env.items() if k.startswith("WW_PID_")}
        for name, pid in self.pids.items():
            if name != "dataplane":
                pin(pid, CLIENT_CORE)
        self.token_file = f"{self.state}/bench-tokens"
        with open(self.token_file, "w", encoding="ascii") as f:
            f.write(self.token() + "\n")
        self.sources = [f"192.0.2.{100 + i}" for i in range(4)]
        for s in self.sources:
            run("ip", "-n", self.netns, "addr", "add", f"{s}/24", "dev", "ww0")
        prepare_netns(self.netns)
        self.pause()

    def read_env(self):
        with open(f"{self.state}/env", encoding="utf-8") as f:
            return dict(re.match(r"(\w+)=(.*)", word).groups() for word in shlex.split(f.read()) if "=" in word)

    def token(self):
        plain = self.ctl("dev", "token", "--email", CALLER, "--audience", f"https://{HOST}", "--expires", "24h").strip()
        for pad in range(max(1, (TOKEN_LENGTH - len(plain)) * 3 // 4 - 12), TOKEN_LENGTH):
            token = self.ctl("dev", "token", "--email", CALLER, "--audience", f"https://{HOST}", "--expires", "24h", "--claim",
                             "pad=" + "x" * pad).strip()
            if len(token) >= TOKEN_LENGTH - 1:
                return token
        raise RuntimeError("no token of that length")

    def ctl(self, *argv):
        return run(f"{BUILD}/ctrl/cli/wwctl", "--admin", f"{self.state}/admin.sock", *argv)

    def worker_task(self):
        pid = self.pids["dataplane"]
        for t in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{t}/comm", encoding="ascii") as f:
                if f.read().startswith("ww-worker"):
                    return t
        raise RuntimeError("the dataplane has no worker thread")

    def sample(self):
        """What the worker counted, and what everything else of the product used."""
        counters = json.loads(self.ctl("dataplane", "stats", "--json"))["counters"]
        pid, worker = self.pids["dataplane"], self.worker_task()
        return {"at": time.monotonic_ns(), "busy_ns": counters["worker_busy_ns"], "turns": counters["worker_busy_turns"],
                "requests": counters["http_requests"], "worker_ns": task_ns(pid, worker),
                "others_ns": task_ns(pid) - task_ns(pid, worker) + task_ns(self.pids["ctrl"])}

    def cost(self, a, b, _done):
        # The worker never rests: the share of the time in which it had no core is that of its busy turns, too, and is no cost of ours.
        requests, busy_ns = b["requests"] - a["requests"], b["busy_ns"] - a["busy_ns"]
        on_core = min(1.0, (b["worker_ns"] - a["worker_ns"]) / (b["at"] - a["at"]))
        return {"server_cpu_us_per_op": (busy_ns * on_core + b["others_ns"] - a["others_ns"]) / requests / 1000,
                "worker_busy_us_per_op": busy_ns / requests / 1000,
                "other_threads_us_per_op": (b["others_ns"] - a["others_ns"]) / requests / 1000,
                "requests_per_turn": requests / max(1, b["turns"] - a["turns"]),
                "worker_on_core": on_core}

    # A polling worker would take its core from the server that is measured.
    def pause(self):
        os.kill(self.pids["dataplane"], signal.SIGSTOP)

    def resume(self):
        os.kill(self.pids["dataplane"], signal.SIGCONT)
        time.sleep(0.1)

    def stop(self):
        if os.path.exists(f"{self.state}/env"):
            self.resume()
        subprocess.run([f"{TOP}/dev", "down", "--state", self.state], check=False, stdout=subprocess.DEVNULL)


class EpollWrap(Wirewrap):
    """The product's rooms over kernel sockets: bench/servers/epoll_server.c in the dataplane's place."""
    name, up = "epoll-wrap", ["--nic", "tap"]
    environment = {"WW_DATAPLANE": "ww-epoll-server"}

    def sample(self):
        return {"cpu_ns": task_ns(self.pids["dataplane"]) + task_ns(self.pids["ctrl"])}

    def cost(self, a, b, done):
        return {"server_cpu_us_per_op": (b["cpu_ns"] - a["cpu_ns"]) / done / 1000}

    def start(self):
        super().start()
        self.target, self.sources = "127.0.0.1", [f"127.0.0.{10 + i}" for i in range(4)]

    def pause(self):
        pass

    def resume(self):
        pass


def prepare_netns(netns):
    run("ip", "netns", "exec", netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1",
        "net.core.somaxconn=8192", "net.ipv4.tcp_max_syn_backlog=8192")


class KernelServer:
    """A program that answers every request with the same 100 bytes of JSON, over TLS 1.3 with Wirewrap's own certificate."""
    static = True

    def __init__(self, folder, connections, wirewrap):
        self.folder, self.connections, self.wirewrap = f"{folder}/{self.name}", connections, wirewrap
        self.netns, self.target, self.sources = f"wwb-{self.short}-{os.getpid()}", "127.0.0.1", [f"127.0.0.{10 + i}" for i in range(4)]
        self.process = None

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self.ca, self.token_file = self.wirewrap.ca, self.wirewrap.token_file
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        prepare_netns(self.netns)
        self.configure()
        with open(f"{self.folder}/log", "wb") as log:
            limit = f"ulimit -n {self.connections * 4 + 16384}; exec taskset -c {SERVER_CORE} ip netns exec {self.netns} {self.command()}"
            self.process = subprocess.Popen(["bash", "-c", limit], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_for_port()

    def wait_for_port(self):
        for _ in range(100):
            if f":{self.port}" in run("ip", "netns", "exec", self.netns, "ss", "-Hltn"):
                return
            time.sleep(0.05)
        with open(f"{self.folder}/log", encoding="utf-8") as f:
            raise RuntimeError(f"{self.name} does not listen: {f.read()}")

    def sample(self):
        return {"cpu_ns": sum(task_ns(p) for p in tree(self.process.pid))}

    def cost(self, a, b, done):
        return {"server_cpu_us_per_op": (b["cpu_ns"] - a["cpu_ns"]) / done / 1000}

    def pause(self):
        pass

    def resume(self):
        pass

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
        subprocess.run(["ip", "netns", "del", self.netns], check=False, stderr=subprocess.DEVNULL)

    def certificate(self):
        return f"{self.wirewrap.state}/server.pem", f"{self.wirewrap.state}/server.key"


class Nginx(KernelServer):
    name, short, port = "nginx-static", "n", 8443

    def configure(self):
        chain, key = self.certificate()
        temporary = "".join(f" {kind}_temp_path {self.folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        with open(f"{self.folder}/nginx.conf", "w", encoding="utf-8") as f:
            f.write(f"""
user root; daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/error.log warn;
worker_rlimit_nofile {self.connections * 2 + 4096};
events {{ worker_connections {self.connections + 2048}; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; server_tokens off; default_type application/json;
    large_client_header_buffers 4 16k;{temporary}
    server {{
        listen 127.0.0.1:{self.port} ssl backlog=8192; server_name {HOST};
        ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519;
        ssl_session_tickets on; ssl_session_cache off;
        location / {{ return 200 '{REPLY}'; }}
    }}
}}
""")

    def command(self):
        return f"nginx -p {self.folder} -c {self.folder}/nginx.conf"


class Haproxy(KernelServer):
    name, short, port = "haproxy-static", "h", 8444

    def configure(self):
        pem = f"{self.folder}/server.pem"
        with open(pem, "w", encoding="ascii") as out:
            os.chmod(pem, 0o600)
            for part in self.certificate():
                with open(part, encoding="ascii") as f:
                    out.write(f.read())
        with open(f"{self.folder}/haproxy.cfg", "w", encoding="utf-8") as f:
            f.write(f"""
global
    nbthread 1
    maxconn {self.connections + 2048}
    tune.ssl.cachesize 0
defaults
    mode http
    timeout client 1h
    timeout http-request 60s
frontend f
    bind 127.0.0.1:{self.port} ssl crt {pem} ssl-min-ver TLSv1.3 curves X25519 backlog 8192
    http-request return status 200 content-type application/json string '{REPLY}'
""")

    def command(self):
        return f"haproxy -db -f {self.folder}/haproxy.cfg"


def generator(system, name, arguments):
    """One run of the load generator against a system; the result with the server's cost in it."""
    argv = ["ip", "netns", "exec", system.netns, f"{BUILD}/bench/load/ww-bench", "--target", system.target, "--port", str(system.port),
            "--host", HOST, "--ca", system.ca, "--token-file", system.token_file, "--cpu", str(CLIENT_CORE), "--name", name,
            "--system", system.name, "--announce", *arguments]
    for s in system.sources:
        argv += ["--source", s]
    if system.static:
        argv.append("--static")
    system.resume()
    try:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        samples, result = {}, None
        for line in process.stdout:
            if line.strip() in ("begin", "end"):
                samples[line.strip()] = system.sample()
            else:
                result = json.loads(line)
        if process.wait() != 0 or result is None:
            raise RuntimeError(f"{name}: the load generator failed against {system.name}")
    finally:
        system.pause()
    done = result["done"] + result["errors"] + result.get("background_done", 0)
    result.update(system.cost(samples["begin"], samples["end"], max(1, done)))
    return result
