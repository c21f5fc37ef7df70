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


class House:
    """A state of ./dev up: configuration, store, key, certificate and token."""
    static, port, netns = False, 443, None
    environment, up = {}, []

    def __init__(self, folder, connections):
        self.state, self.connections = f"{folder}/{self.name}", connections

    def bring_up(self):
        env = dict(os.environ, WW_CORES=str(SERVER_CORE), WW_CONNECTIONS=str(max(4096, self.connections * 2)), **self.environment)
        run(f"{TOP}/dev", "up", "--state", self.state, *self.up, env=env)
        self.env = self.read_env()
        self.ca, self.token_file = self.env["WW_CA"], f"{self.state}/bench-tokens"
        with open(self.token_file, "w", encoding="ascii") as f:
            f.write(self.token() + "\n")

    def bring_down(self):
        subprocess.run([f"{TOP}/dev", "down", "--state", self.state], check=False, stdout=subprocess.DEVNULL)

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


class Wirewrap(House):
    """ww-dataplane on virtio-user; the load generator is the other end of that wire (vhost-user), with our TCP in it.  Whoever makes
    the socket is there first: the dataplane is started anew for each run."""
    name, up, environment = "wirewrap", ["--nic", "virtio"], {"WW_IDLE": "pause"}
    target, sources = "192.0.2.2", [f"192.0.2.{100 + i}" for i in range(4)]
    ctrl = dataplane = None

    def start(self):
        self.bring_up()
        self.bring_down()  # what it made stays
        self.socket = f"{self.state}/vhost.sock"
        self.ctrl = self.child(f"{BUILD}/ctrl/ww-ctrl", "--config", f"{self.state}/wirewrap.yaml", "--dev")

    def child(self, *argv):
        with open(f"{self.state}/bench.log", "ab") as log:
            return subprocess.Popen(["taskset", "-c", str(CLIENT_CORE), *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def prefix(self):
        return []

    def more(self):
        return ["--device", f"vhost:{self.socket}"]

    def begin(self):
        for _ in range(200):
            if os.path.exists(self.socket):
                break
            time.sleep(0.02)
        self.dataplane = self.child(f"{BUILD}/dataplane/ww-dataplane", "--config", f"{self.state}/wirewrap.yaml")

    def end(self):
        if self.dataplane is not None:
            self.dataplane.terminate()
            self.dataplane.wait(20)
            self.dataplane = None

    def stop(self):
        self.end()
        if self.ctrl is not None:
            self.ctrl.terminate()
            self.ctrl.wait(20)

    def worker_task(self):
        pid = self.dataplane.pid
        for t in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{t}/comm", encoding="ascii") as f:
                if f.read().startswith("ww-worker"):
                    return t
        raise RuntimeError("the dataplane has no worker thread")

    def sample(self):
        """What the worker counted, and what everything else of the product used."""
        counters = json.loads(self.ctl("dataplane", "stats", "--json"))["counters"]
        pid, worker = self.dataplane.pid, self.worker_task()
        return {"at": time.monotonic_ns(), "busy_ns": counters["worker_busy_ns"], "turns": counters["worker_busy_turns"],
                "requests": counters["http_requests"], "worker_ns": task_ns(pid, worker),
                "others_ns": task_ns(pid) - task_ns(pid, worker) + task_ns(self.ctrl.pid)}

    def cost(self, a, b, _done):
        # The worker never rests: the share of the time in which it had no core is that of its busy turns, too, and is no cost of ours.
        requests, busy_ns = b["requests"] - a["requests"], b["busy_ns"] - a["busy_ns"]
        on_core = min(1.0, (b["worker_ns"] - a["worker_ns"]) / (b["at"] - a["at"]))
        return {"server_cpu_us_per_op": (busy_ns * on_core + b["others_ns"] - a["others_ns"]) / requests / 1000,
                "worker_busy_us_per_op": busy_ns / requests / 1000,
                "other_threads_us_per_op": (b["others_ns"] - a["others_ns"]) / requests / 1000,
                "requests_per_turn": requests / max(1, b["turns"] - a["turns"]),
                "worker_on_core": on_core}


class OnKernel:
    """Reached over the loopback of a network namespace."""
    target, sources = "127.0.0.1", [f"127.0.0.{10 + i}" for i in range(4)]

    def prefix(self):
        return ["ip", "netns", "exec", self.netns]

    def more(self):
        return []

    def begin(self):
        pass

    def end(self):
        pass

    def cost(self, a, b, done):
        return {"server_cpu_us_per_op": (b["cpu_ns"] - a["cpu_ns"]) / done / 1000}


class EpollWrap(OnKernel, House):
    """The product's rooms over kernel sockets: bench/servers/epoll_server.c in the dataplane's place."""
    name, environment = "epoll-wrap", {"WW_DATAPLANE": "ww-epoll-server"}

    def start(self):
        self.bring_up()
        self.netns = self.env["WW_NETNS"]
        self.pids = {k[7:].lower(): int(v) for k, v in self.env.items() if k.startswith("WW_PID_")}
        pin(self.pids["ctrl"], CLIENT_CORE)
        prepare_netns(self.netns)

    def sample(self):
        return {"cpu_ns": task_ns(self.pids["dataplane"]) + task_ns(self.pids["ctrl"])}

    def stop(self):
        self.bring_down()


def prepare_netns(netns):
    run("ip", "netns", "exec", netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1",
        "net.core.somaxconn=8192", "net.ipv4.tcp_max_syn_backlog=8192")


class KernelServer(OnKernel):
    """A program that answers every request with the same 100 bytes of JSON, over TLS 1.3 with Wirewrap's own certificate."""
    static = True

    def __init__(self, folder, connections, wirewrap):
        self.folder, self.connections, self.wirewrap = f"{folder}/{self.name}", connections, wirewrap
        self.netns, self.process = f"wwb-{self.short}-{os.getpid()}", None

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
    argv = [*system.prefix(), f"{BUILD}/bench/load/ww-bench", "--target", system.target, "--port", str(system.port),
            "--host", HOST, "--ca", system.ca, "--token-file", system.token_file, "--cpu", str(CLIENT_CORE), "--name", name,
            "--system", system.name, "--announce", *system.more(), *arguments]
    for s in system.sources:
        argv += ["--source", s]
    if system.static:
        argv.append("--static")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        system.begin()
        samples, result = {}, None
        for line in process.stdout:
            if line.strip() in ("begin", "end"):
                samples[line.strip()] = system.sample()
            else:
                result = json.loads(line)
        if process.wait() != 0 or result is None:
            raise RuntimeError(f"{name}: the load generator failed against {system.name}")
    finally:
        process.kill()
        process.wait()
        system.end()
    done = result["done"] + result["errors"] + result.get("background_done", 0)
    result.update(system.cost(samples["begin"], samples["end"], max(1, done)))
    return result
