#!/usr/bin/python3
"""Stands outside both hosts at the wire of host 1's guest network: asks the guest things in every
protocol that it answers by itself, and tells of each frame that it sends.

Run as a program in the lab's namespace: frames.py watch|flood INTERFACE GUEST_MAC GUEST_ADDRESS SECONDS; it
prints one JSON object with the number of the guest's frames by ethertype.
"""

import collections
import json
import select
import socket
import struct
import subprocess
import sys
import time

ASK_INTERVAL_S = 0.2
FLOOD_INTERVAL_S = 0.005
FLOOD_BYTES = 1400  # of each ping
NAMES = {0x0800: "ipv4", 0x0806: "arp", 0x8035: "rarp", 0x86DD: "ipv6"}
NEIGHBOUR_ADVERTISEMENT = 136
OUR_MAC = bytes.fromhex("0253504543aa")
OUR_IPV4 = "192.168.88.253"  # nobody's; the asker takes no part in TCP
OUR_IPV6 = "fe80::53:5045:43aa"


def watch(network, interface, mac, address, seconds, how="watch"):
    """What the guest sent within `seconds`, {"arp": 3, ...}, while it was asked all the time.

    `how`: "flood" asks for much more, and only by pings.
    """
    argv = network.inside([sys.executable, __file__, how, interface, mac, address, seconds])
    done = subprocess.run(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def kind_of(data):
    """A frame's ethertype by name, and what announces an address by names of its own."""
    name = NAMES.get(struct.unpack_from("!H", data, 12)[0], "other")
    payload = data[14:]
    if name == "arp" and payload[14:18] == payload[24:28]:  # the sender asks for itself
        return "gratuitous-arp"
    if name == "ipv6" and payload[6] == socket.IPPROTO_ICMPV6 and payload[40] == NEIGHBOUR_ADVERTISEMENT:
        return "neighbour-advertisement" if payload[44] & 0x40 else "unsolicited-advertisement"
    return name


def link_local(mac):
    """The address that a Linux guest gives itself (EUI-64, RFC 4291 appendix A)."""
    return socket.inet_pton(socket.AF_INET6, "fe80::")[:8] + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(to, ethertype, payload):
    return to + OUR_MAC + struct.pack("!H", ethertype) + payload


def arp_request(address):
    return frame(b"\xff" * 6, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + OUR_MAC
                 + socket.inet_aton(OUR_IPV4) + bytes(6) + socket.inet_aton(address))


def ping4(mac, address, number, data=b"specrep!"):
    icmp = struct.pack("!BBHHH", 8, 0, 0, 0x5350, number & 0xFFFF) + data
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), number & 0xFFFF, 0, 64, 1, 0, socket.inet_aton(OUR_IPV4),
                     socket.inet_aton(address))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return frame(mac, 0x0800, ip + icmp)


def neighbour_solicitation(mac):
    target, ours = link_local(mac), socket.inet_pton(socket.AF_INET6, OUR_IPV6)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    icmp = struct.pack("!BBHI", 135, 0, 0, 0) + target + b"\x01\x01" + OUR_MAC
    pseudo = ours + group + struct.pack("!IxxxB", len(icmp), 58)
    icmp = icmp[:2] + struct.pack("!H", checksum(pseudo + icmp)) + icmp[4:]
    ip = struct.pack("!IHBB", 0x60000000, len(icmp), 58, 255) + ours + group
    return frame(b"\x33\x33\xff" + target[13:], 0x86DD, ip + icmp)


def main(how, interface, mac_text, address, seconds):
    mac = bytes.fromhex(mac_text.replace(":", ""))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    wire.bind((interface, 0))
    counts = collections.Counter()
    end_s = time.monotonic() + float(seconds)
    ask_s, number = 0, 0
    while time.monotonic() < end_s:
        if time.monotonic() >= ask_s:
            flood, number = how == "flood", number + 1
            ask_s = time.monotonic() + (FLOOD_INTERVAL_S if flood else ASK_INTERVAL_S)
            # By the first of these the guest knows where to answer the ping.
            questions = [arp_request(address), ping4(mac, address, number, bytes(FLOOD_BYTES if flood else 8))]
            if not flood:
                questions.append(neighbour_solicitation(mac))
            for question in questions:
                wire.send(question)
        if select.select([wire], [], [], FLOOD_INTERVAL_S)[0]:
            data, source = wire.recvfrom(65535)
            # What we send ourselves comes past as well.
            if data[6:12] == mac and source[2] != socket.PACKET_OUTGOING:
                counts[NAMES.get(struct.unpack("!H", data[12:14])[0], "other")] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
