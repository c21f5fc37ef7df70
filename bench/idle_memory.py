#!/usr/bin/python3
"""bench/idle_memory.py [--json] [N]: resident memory per idle TLS connection, all in, of ww-dataplane over TAP and of nginx over loopback, whose
sockets are the kernel's and are not counted: N clients (default 2000) shake hands, ask once each, and then sit still.  Starts and stops both."""
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import systems  # noqa: E402

FIRST = 100  # what the first ones need, all share


def resident(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            total += int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1]) * 1024
    return total


def connect(address, context, request):
    s = context.wrap_socket(socket.create_connection(address), server_hostname=systems.HOST)
    s.sendall(request)
    if not s.recv(4096).startswith(b"HTTP/1.1 200"):
        sys.exit("a request was not answered 200")
    return s


def inside(what):
    """In the server's network namespace."""
    context = ssl.create_default_context(cafile=what["ca"])
    body = json.dumps({"plaintext": "aGVsbG8="})
    request = (f"POST /{what['key']}:wrap HTTP/1.1\r\nHost: {systems.HOST}\r\nAuthorization: Bearer {what['token']}\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()
    kept = [connect(tuple(what["address"]), context, request) for _ in range(FIRST)]
    before = resident(what["pids"])
    kept += [connect(tuple(what["address"]), context, request) for _ in range(what["count"])]
    time.sleep(1)
    print((resident(what["pids"]) - before) / what["count"] / 1024)
    for s in kept:
        s.close()


def measure(netns, what):
    systems.files_max(what["count"] + systems.SPARE_FILES)
    out = subprocess.run(["ip", "netns", "exec", netns, sys.executable, __file__, "--inside", json.dumps(what)], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return round(float(out), 2)


class OverTap(systems.House):
    name, up = "wirewrap", ["--nic", "tap"]


def main():
    if sys.argv[1:2] == ["--inside"]:
        inside(json.loads(sys.argv[2]))
        return
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    count = int(arguments[0]) if arguments else 2000
    with tempfile.TemporaryDirectory(prefix="ww-idle-") as folder:
        house = OverTap(folder, count)
        nginx = systems.Nginx(folder, count, house)
        try:
            house.bring_up()
            what = {"count": count, "ca": house.ca, "token": house.env["WW_TOKEN"], "key": house.env["WW_KEY_PATH"]}
            ours = measure(house.env["WW_NETNS"], what | {"address": [house.env["WW_ADDR"], 443], "pids": [int(house.env["WW_PID_DATAPLANE"])]})
            nginx.start()
            theirs = measure(nginx.netns, what | {"address": [nginx.target, nginx.port], "pids": systems.tree(nginx.process.pid)})
        finally:
            nginx.stop()
            house.bring_down()
    if "--json" in sys.argv:
        print(json.dumps({"connections": count, "kib_per_connection": {"wirewrap": ours, "nginx-static": theirs}}))
    else:
        print(f"{count} idle TLS connections: {ours:.1f} KiB each in ww-dataplane, {theirs:.1f} KiB in nginx, whose sockets are the kernel's")


main()
