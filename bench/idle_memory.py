#!/usr/bin/python3
"""bench/idle_memory.py [N]: resident memory of ww-dataplane per idle TLS connection, all in: N clients (default 2000) shake hands over TAP,
wrap once each, and then sit still.  Starts and stops its own ./dev up."""
import json
import os
import re
import shlex
import ssl
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def environment(state):
    text = open(os.path.join(state, "env"), encoding="utf-8").read()
    return dict(re.match(r"(?:export )?(\w+)=(.*)", word).groups() for word in shlex.split(text) if "=" in word)


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", open(f"/proc/{pid}/status", encoding="ascii").read())[1]) * 1024


def connect(env, context):
    s = context.wrap_socket(socket.create_connection((env["WW_ADDR"], 443)), server_hostname="ekm.wirewrap.test")
    body = json.dumps({"plaintext": "aGVsbG8="})
    s.sendall((f"POST /{env['WW_KEY_PATH']}:wrap HTTP/1.1\r\nHost: ekm.wirewrap.test\r\nAuthorization: Bearer {env['WW_TOKEN']}\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
    if not s.recv(4096).startswith(b"HTTP/1.1 200"):
        sys.exit("a wrap was not answered 200")
    return s


def inside(state, count):
    env = environment(state)
    context = ssl.create_default_context(cafile=env["WW_CA"])
    first = [connect(env, context) for _ in range(100)]  # what the first ones need, all share
    before = resident(env["WW_PID_DATAPLANE"])
    more = [connect(env, context) for _ in range(count)]
    time.sleep(1)
    after = resident(env["WW_PID_DATAPLANE"])
    print(f"{count} idle TLS connections: {(after - before) / count / 1024:.1f} KiB each ({before >> 20} MiB before, {after >> 20} MiB after)")
    for s in first + more:
        s.close()


def main():
    if len(sys.argv) == 4:
        inside(sys.argv[2], int(sys.argv[3]))
        return
    count = int(sys.argv[1]) if len(sys.argv) == 2 else 2000
    with tempfile.TemporaryDirectory(prefix="ww-idle-") as state:
        subprocess.run([f"{TOP}/dev", "up", "--state", state], check=True, stdout=subprocess.DEVNULL)
        try:
            netns = environment(state)["WW_NETNS"]
            limit = f"ulimit -n {count + 1000} && exec ip netns exec {netns} {sys.executable} {__file__} --inside {state} {count}"
            subprocess.run(["bash", "-c", limit], check=True)
        finally:
            subprocess.run([f"{TOP}/dev", "down", "--state", state], check=True, stdout=subprocess.DEVNULL)


main()
