#!/usr/bin/python3
"""devices_test.py: ours on an interface of the kernel (af_packet), and what it says of devices that cannot be used."""
import subprocess

import rig
import streams
import tap

OURS = "ours0"

wire = rig.Wire()


@tap.case
def ping_is_answered():
    for address in (rig.OURS4, rig.OURS6):
        rig.run("ping", "-n", "-q", "-c", "3", "-i", "0.05", address)


@tap.case
def our_mac_is_the_interfaces_own():
    tap.check(f"link/ether {wire.mac}" in rig.run("ip", "link", "show", OURS), wire.mac)


@tap.case
def streams_are_exact():
    for address in (rig.OURS4, rig.OURS6):
        streams.echo(address, streams.pattern(200000))
        streams.discard(address, streams.pattern(1 << 20))


@tap.case
def we_come_back_after_being_killed():
    wire.echo.kill()
    wire.start_echo()
    streams.echo(rig.OURS4, streams.pattern(1000))


def refused(device, *words):
    done = subprocess.run([wire.echo_program, "--device", device, "--addr", f"{rig.OURS4}/24"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=rig.BOUND)
    tap.equal(done.returncode, 1, done.stdout)
    for word in words:
        tap.check(word in done.stdout, f"{device} is refused without '{word}': {done.stdout}")


@tap.case
def tap_that_does_not_exist_is_refused_with_the_command_that_makes_it():
    refused("tap:absent0", "ip tuntap add dev absent0 mode tap multi_queue")


@tap.case
def tap_that_is_not_multi_queue_is_refused():
    rig.run("ip", "tuntap", "add", "dev", "single0", "mode", "tap")
    refused("tap:single0", "single0")


@tap.case
def virtio_socket_without_a_server_is_refused_by_its_path():
    refused(f"virtio-user:{wire.folder}/nobody.sock", "nobody.sock")


@tap.case
def pci_device_that_is_not_there_is_refused_by_its_address():
    refused("pci:0000:7f:1e.7", "0000:7f:1e.7")


@tap.case
def unknown_kind_of_device_is_refused_with_those_that_exist():
    refused("carrier-pigeon:7", "carrier-pigeon:7", "tap:", "pci:")


@tap.case
def mtu_that_the_device_cannot_carry_is_refused():
    done = subprocess.run([wire.echo_program, "--device", f"tap:{rig.TAP}", "--mtu", "9000", "--addr", f"{rig.OURS4}/24"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=rig.BOUND)
    tap.check(done.returncode == 1 and "MTU 9000" in done.stdout, done.stdout)


@tap.case
def nothing_is_left_open():
    said = wire.stop_echo()
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge()


def before():
    """A pair of interfaces instead of the TAP: the peer's end has its addresses, ours has none and its kernel stays silent."""
    wire.make_peer()
    rig.run("ip", "addr", "flush", "dev", rig.TAP)
    rig.run("ip", "link", "add", "peer0", "type", "veth", "peer", "name", OURS)
    rig.plain("peer0")
    rig.plain(OURS)
    rig.run("sysctl", "-qw", f"net.ipv6.conf.{OURS}.disable_ipv6=1")
    rig.address("peer0", rig.PEER4, rig.PEER6)
    rig.run("ip", "link", "set", OURS, "up")
    wire.device = f"af_packet:{OURS}"
    wire.capture_start("peer0")
    wire.start_echo()


tap.run(before, wire.end)
