"""The servers that are measured: how each is started, reached and stopped, and what CPU time it has used so far.

Every server runs on core SERVER_CORE, in a network namespace of its own; the load generator and everything else on CLIENT_CORE.
"""
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = f"{TOP}/build/release"
HOST = "ekm.wirewrap.test"
SERVER_CORE, CLIENT_CORE = 0, 1
TOKEN_LENGTH = 970  # of a Google-issued token for a service agent
REPLY = '{"wrappedBlob":"' + "A" * 82 + '"}'  # 100 bytes
INFLIGHT = 1024  # requests outstanding at most, of all connections together: the generator's default
SPARE_FILES = 1000  # of a process that holds connections: what else it opens
CONNECTIONS_HAPROXY = 4000  # it wants two descriptors for each
# Counters and gauges of the dataplane that stay where they are in a healthy run.
DROPS = ["nic_no_buffer", "tcp_table_full", "tcp_accept_overflow", "tcp_syn_cache_dropped", "tcp_no_recv_buffer", "tcp_no_send_buffer",
         "tcp_pressure_gaps", "tcp_pressure_aborted", "tcp_no_hop", "tcp_no_board", "reply_full", "steer_lost", "conn_no_record",
         "conn_no_small_buffer", "conn_no_large_buffer", "audit_lost"]
DROP_GAUGES = ["nic_rx_missed", "nic_rx_no_buffer", "nic_rx_errors", "nic_tx_errors"]
LOOKED_AT = ["tcp_timeouts", "tcp_tail_probes", "tcp_spurious", "tcp_keepalives", "tcp_idle_closed", "turn_16_ms", "turn_longer"]
ENDS = ["tcp_accepted", "tls_handshake_ok", "tcp_reset_by_peer", "tcp_keepalive_dead", "tcp_given_up", "tcp_rst_sent", "tcp_retransmits",
        "tcp_handshake_timeout", "tcp_orphan_timeout", "conn_handshake_cut", "conn_handshake_timeout", "tls_peer_alert", "tls_protocol_error"]
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


def files_max(wanted):
    """How many descriptors a process may have: raised to what is wanted where that is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def processes_for(connections):
    """A process holds no more connections than it may have descriptors, and a ninth of them stays free (Nginx): how many it takes."""
    room = connections * 9 // 8
    return -(-room // (files_max(room + SPARE_FILES) - SPARE_FILES))


def busy(used_ns, before, after):
    """Share of the time between two samples."""
    return used_ns / max(1, after["at"] - before["at"])


def connections_max(connections):
    """Those of the row, and those of the one before it or of its background that are still in TIME-WAIT."""
    return max(4096, connections * 5 // 4 + 2048)


class House:
    """A state of ./dev up: configuration, store, key, certificate and token."""
    static, port, netns = False, 443, None
    environment, up = {}, []

    def __init__(self, folder, connections):
        self.state, self.connections = f"{folder}/{self.name}", connections

    def bring_up(self):
        env = dict(os.environ, WW_CORES=str(SERVER_CORE), WW_CONNECTIONS=str(connections_max(self.connections)), **self.environment)
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

    def prepare(self, connections):
        pass

    def more(self):
        return ["--device", f"vhost:{self.socket}"]

    def begin(self, connections):
        for _ in range(500):
            if os.path.exists(self.socket):
                break
            time.sleep(0.02)
        config = f"{self.state}/wirewrap.yaml"
        with open(config, encoding="utf-8") as f:
            text = f.read()
        with open(config, "w", encoding="utf-8") as f:
            f.write(re.sub(r"connections_max: \d+", f"connections_max: {connections_max(connections)}", text))
        self.dataplane = self.child(f"{BUILD}/dataplane/ww-dataplane", "--config", f"{self.state}/wirewrap.yaml")

    def last_words(self):
        with open(f"{self.state}/bench.log", encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()[-3:]
        if self.dataplane is None or self.dataplane.poll() is not None:
            return "; the dataplane said last: " + " | ".join(lines)
        try:
            counters = json.loads(self.ctl("dataplane", "stats", "--json"))["counters"]
        except (subprocess.SubprocessError, ValueError, KeyError) as why:
            return f"; no counters of the dataplane: {why}"
        return "; " + ", ".join(f"{k} {counters[k]}" for k in DROPS + LOOKED_AT + ENDS if counters.get(k))

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

    def schedstat(self):
        return f"/proc/{self.dataplane.pid}/task/{self.worker_task()}/schedstat"

    def sample(self):
        """What the worker counted, and what everything else of the product used."""
        stats = json.loads(self.ctl("dataplane", "stats", "--json"))
        counters, gauges = stats["counters"], stats["gauges"]
        pid, worker = self.dataplane.pid, self.worker_task()
        return {"at": time.monotonic_ns(), "busy_ns": counters["worker_busy_ns"], "turns": counters["worker_busy_turns"],
                "requests": counters["http_requests"], "worker_ns": task_ns(pid, worker),
                "others_ns": task_ns(pid) - task_ns(pid, worker) + task_ns(self.ctrl.pid),
                "retransmits": counters.get("tcp_retransmits", 0),
                "handshakes": counters["tls_handshake_ok"], "handshake_ns": counters["tls_handshake_ns"],
                "step_ns_max": gauges["tls_step_ns_max"],
                "drops": {k: counters.get(k, 0) for k in DROPS} | {k: gauges.get(k, 0) for k in DROP_GAUGES},
                "looked_at": {k: counters.get(k, 0) for k in LOOKED_AT}}

    def cost(self, a, b, _done):
        # The worker never rests: the share of the time in which it had no core is that of its busy turns, too, and is no cost of ours.
        requests, busy_ns = b["requests"] - a["requests"], b["busy_ns"] - a["busy_ns"]
        if requests == 0:
            raise RuntimeError(f"the dataplane counted no request in the {(b['at'] - a['at']) / 1e9:.1f} s between two samples")
        on_core = min(1.0, busy(b["worker_ns"] - a["worker_ns"], a, b))
        shaken = b["handshakes"] - a["handshakes"]
        steps = {"handshake_us": (b["handshake_ns"] - a["handshake_ns"]) / shaken / 1000, "handshake_step_max_us": b["step_ns_max"] / 1000} if shaken else {}
        return steps | {"server_busy": busy(busy_ns * on_core, a, b), "server_cpu_us_per_op": (busy_ns * on_core + b["others_ns"] - a["others_ns"]) / requests / 1000,
                "worker_busy_us_per_op": busy_ns / requests / 1000,
                "other_threads_us_per_op": (b["others_ns"] - a["others_ns"]) / requests / 1000,
                "requests_per_turn": requests / max(1, b["turns"] - a["turns"]),
                "worker_on_core": on_core}


def kernel_sample(pid):
    """Of the namespace that the process is in, both ends being there."""
    found = {}
    for path in ("snmp", "netstat"):
        with open(f"/proc/{pid}/net/{path}", encoding="ascii") as f:
            lines = f.read().splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            found.update(zip(names.split()[1:], values.split()[1:]))
    return {"at": time.monotonic_ns(), "retransmits": int(found["RetransSegs"]), "looked_at": {},
            "drops": {k: int(found.get(k, 0)) for k in ("ListenOverflows", "ListenDrops", "TCPBacklogDrop", "TCPMemoryPressures")}}


def trouble(a, b, result):
    """What went wrong between two samples, here and at the generator's end."""
    drops = {k: b["drops"][k] - a["drops"][k] for k in b["drops"]}
    seen = drops | {k: b["looked_at"][k] - a["looked_at"][k] for k in b["looked_at"]}
    again = b["retransmits"] - a["retransmits"]
    seen |= {"retransmits": again, "client_retransmits": result["client_retransmits"], "client_drops": result["client_drops"]}
    return {"retransmits": again + result["client_retransmits"], "drops": sum(drops.values()) + result["client_drops"],
            "trouble": {k: v for k, v in seen.items() if v != 0}}


class OnKernel:
    """Reached over the loopback of a network namespace."""
    target, sources = "127.0.0.1", [f"127.0.0.{10 + i}" for i in range(8)]

    def prefix(self):
        return ["ip", "netns", "exec", self.netns]

    def more(self):
        return []

    def prepare(self, connections):
        pass

    def begin(self, connections):
        pass

    def end(self):
        pass

    def last_words(self):
        return ""

    def cost(self, a, b, done):
        used_ns = b["cpu_ns"] - a["cpu_ns"]
        return {"server_busy": busy(used_ns, a, b), "server_cpu_us_per_op": used_ns / done / 1000}


class EpollWrap(OnKernel, House):
    """The product's rooms over kernel sockets: bench/servers/epoll_server.c in the dataplane's place."""
    name, environment = "epoll-wrap", {"WW_DATAPLANE": "ww-epoll-server"}

    def start(self):
        self.bring_up()
        self.netns = self.env["WW_NETNS"]
        self.pids = {k[7:].lower(): int(v) for k, v in self.env.items() if k.startswith("WW_PID_")}
        pin(self.pids["ctrl"], CLIENT_CORE)
        prepare_netns(self.netns)

    def schedstat(self):
        return f"/proc/{self.pids['dataplane']}/task/{self.pids['dataplane']}/schedstat"

    def sample(self):
        return {"cpu_ns": task_ns(self.pids["dataplane"]) + task_ns(self.pids["ctrl"])} | kernel_sample(self.pids["dataplane"])

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
        self.launch()

    def launch(self):
        self.configure()
        with open(f"{self.folder}/log", "wb") as log:
            self.process = subprocess.Popen(["taskset", "-c", str(SERVER_CORE), "ip", "netns", "exec", self.netns, *self.command()],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_for_port()

    def wait_for_port(self):
        for _ in range(100):
            if f":{self.port}" in run("ip", "netns", "exec", self.netns, "ss", "-Hltn"):
                return
            time.sleep(0.05)
        with open(f"{self.folder}/log", encoding="utf-8") as f:
            raise RuntimeError(f"{self.name} does not listen: {f.read()}")

    def schedstat(self):
        """Of the first worker: rows that look at it have one."""
        pid = tree(self.process.pid)[-1]
        return f"/proc/{pid}/task/{pid}/schedstat"

    def sample(self):
        return {"cpu_ns": sum(task_ns(p) for p in tree(self.process.pid))} | kernel_sample(self.process.pid)

    def quit(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def stop(self):
        self.quit()
        subprocess.run(["ip", "netns", "del", self.netns], check=False, stderr=subprocess.DEVNULL)

    def certificate(self):
        return f"{self.wirewrap.state}/server.pem", f"{self.wirewrap.state}/server.key"


class Nginx(KernelServer):
    """One worker, as long as one may have the descriptors of the row.  Several share by the hash of each connection: nginx closes idle
    connections as soon as less than a sixteenth of a worker's is free, and whoever wakes first would take more than its share."""
    name, short, port = "nginx-static", "n", 8443
    workers = 1

    def prepare(self, connections):
        if processes_for(connections) != self.workers:
            self.workers = processes_for(connections)
            self.quit()
            self.launch()

    def configure(self):
        chain, key = self.certificate()
        each = min(files_max(0) - SPARE_FILES // 2, max(4096, self.connections * 5 // 4))
        temporary = "".join(f" {kind}_temp_path {self.folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        with open(f"{self.folder}/nginx.conf", "w", encoding="utf-8") as f:
            f.write(f"""
user root; daemon off; worker_processes {self.workers}; pid {self.folder}/pid; error_log {self.folder}/error.log warn;
events {{ worker_connections {each}; accept_mutex off; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; client_header_timeout 3600; server_tokens off; default_type application/json;
    large_client_header_buffers 4 16k;{temporary}
    server {{
        listen 127.0.0.1:{self.port} ssl backlog=8192{' reuseport' if self.workers > 1 else ''}; server_name {HOST};
        ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519;
        ssl_session_tickets on; ssl_session_cache off;
        location / {{ return 200 '{REPLY}'; }}
    }}
}}
""")

    def last_words(self):
        with open(f"{self.folder}/error.log", encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()[-3:]
        return "; nginx said last: " + " | ".join(lines) if lines else ""

    def command(self):
        return ["nginx", "-p", self.folder, "-c", f"{self.folder}/nginx.conf"]


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
    maxconn {CONNECTIONS_HAPROXY}
    tune.ssl.cachesize 0
defaults
    mode http
    timeout client 1h
    timeout http-request 1h
frontend f
    bind 127.0.0.1:{self.port} ssl crt {pem} ssl-min-ver TLSv1.3 curves X25519 backlog 8192
    http-request return status 200 content-type application/json string '{REPLY}'
""")

    def command(self):
        return ["haproxy", "-db", "-f", f"{self.folder}/haproxy.cfg"]


def command(system, row, more, connections, part):
    argv = [*system.prefix(), f"{BUILD}/bench/load/ww-bench", "--target", system.target, "--port", str(system.port),
            "--host", HOST, "--ca", system.ca, "--token-file", system.token_file, "--cpu", str(CLIENT_CORE), "--name", row.name,
            "--system", system.name, "--announce", "--wait", "--server-cpu", str(SERVER_CORE), "--connections", str(connections), "--seconds", str(row.seconds),
            "--warmup", str(row.warmup), "--seed", str(1 + part), *system.more(), *row.arguments, *more]
    for s in system.sources:
        argv += ["--source", s]
    return argv + (["--static"] if system.static else [])


class Generators:
    """The load generator; several of them where one may not have so many descriptors.  They connect, wait for each other, and measure at
    the same time."""

    def __init__(self, system, row, more):
        count = processes_for(row.connections) if system.netns else 1
        sizes = [row.connections // count + (i < row.connections % count) for i in range(count)]
        if count > 1:
            more = [*more, "--inflight", str(INFLIGHT // count), "--quiet"]
        self.processes = [subprocess.Popen(command(system, row, more, n, i), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                          for i, n in enumerate(sizes)]
        self.limit = threading.Timer(120 + 20 * row.one_run_s(system.name), self.kill)
        self.limit.start()

    def kill(self):
        for p in self.processes:
            p.kill()

    def expect(self, word):
        for p in self.processes:
            if p.stdout.readline().strip() != word:
                raise RuntimeError(f"the load generator ended with {p.wait(10)}")

    def go(self, system):
        self.expect("ready")
        for p in self.processes:
            p.stdin.write(f"go {system.schedstat()}\n")
            p.stdin.flush()

    def results(self):
        return [json.loads(p.stdout.readline()) for p in self.processes]

    def end(self):
        self.limit.cancel()
        self.kill()
        for p in self.processes:
            p.wait()
            p.stdout.close()
            p.stdin.close()


def together(parts):
    """Sums; of latencies, which each part has of an equal share, the mean, and the largest of the largest."""
    first = parts[0]
    if len(parts) == 1:
        return first
    out = dict(first, generators=len(parts))
    for key in ("connections", "done", "ops_per_s", "errors", "unfinished", "bytes_in", "bytes_out", "client_retransmits", "client_drops"):
        out[key] = sum(p[key] for p in parts)
    for key in ("mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "seconds"):
        out[key] = sum(p[key] for p in parts) / len(parts)
    for key in ("max_us", "ramp_s"):
        out[key] = max(p[key] for p in parts)
    out["percentiles_us"] = [[q, sum(p["percentiles_us"][i][1] for p in parts) / len(parts)] for i, (q, _) in enumerate(first["percentiles_us"])]
    return out


def generator(system, row, more):
    """One run of the load generator against a system; the result with the server's cost in it."""
    system.prepare(row.connections)
    load = Generators(system, row, more)
    try:
        system.begin(row.connections)
        load.go(system)
        load.expect("begin")
        before = system.sample()
        load.expect("end")
        after = system.sample()
        result = together(load.results())
    except (RuntimeError, ValueError) as why:
        raise RuntimeError(f"{why}{system.last_words()}") from why
    finally:
        load.end()
        system.end()
    done = result["done"] + result["errors"] + result.get("background_done", 0)
    result.update(system.cost(before, after, max(1, done)))
    result.update(trouble(before, after, result))
    return result
