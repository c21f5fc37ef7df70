#include "dataplane/net/ip.h"

#define ARP_LEN     28
#define ARP_REQUEST 1
#define ARP_REPLY   2

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* One ARP packet as it lies on the wire (RFC 826), its addresses taken out. */
struct arp {
    uint16_t op;
    const uint8_t *sender_mac, *target_mac;
    struct net_addr sender, target;
};

static bool parse(struct span packet, struct arp *out)
{
    static const uint8_t ethernet_ip4[6] = {0, 1, 0x08, 0x00, 6, 4};
    const uint8_t *p = packet.ptr;

    if (memcmp(p, ethernet_ip4, sizeof ethernet_ip4) != 0)
        return false;
    *out = (struct arp){.op = load_be16(p + 6),
                        .sender_mac = p + 8,
                        .sender = addr_ip4(p + 14),
                        .target_mac = p + 18,
                        .target = addr_ip4(p + 24)};
    return out->op == ARP_REQUEST || out->op == ARP_REPLY;
}

static void send(struct net *n, const uint8_t to[6], const struct arp *a)
{
    uint8_t *at = reply_begin_frame(n, ETH_HEADER_LEN + ARP_LEN);

    if (at == NULL)
        return;
    eth_header_write(n, at, to, ETH_TYPE_ARP);
    at += ETH_HEADER_LEN;
    store_be16(at, 1);
    store_be16(at + 2, ETH_TYPE_IP4);
    at[4] = 6;
    at[5] = 4;
    store_be16(at + 6, a->op);
    memcpy(at + 8, a->sender_mac, 6);
    memcpy(at + 14, a->sender.bytes, 4);
    memcpy(at + 18, a->target_mac, 6);
    memcpy(at + 24, a->target.bytes, 4);
    reply_commit_frame(n);
}

void arp_ask(struct net *n, const struct net_addr *target, const uint8_t to[6])
{
    static const uint8_t unknown[6];
    struct arp a = {.op = ARP_REQUEST, .sender_mac = n->config.mac, .target_mac = unknown, .target = *target};

    if (route_source(n, target, &a.sender))
        send(n, to != NULL ? to : broadcast, &a);
}

/* RFC 5227 2.3: an announcement is a request for the address by its owner. */
void arp_announce(struct net *n, const struct net_addr *addr)
{
    static const uint8_t unknown[6];
    struct arp a = {.op = ARP_REQUEST,
                    .sender_mac = n->config.mac,
                    .sender = *addr,
                    .target_mac = unknown,
                    .target = *addr};

    send(n, broadcast, &a);
}

/* RFC 5227 2.1.1: a question that tells no address of its sender, so that nobody learns from it. */
void arp_probe(struct net *n, const struct net_addr *addr)
{
    static const uint8_t unknown[6];
    struct arp a = {.op = ARP_REQUEST, .sender_mac = n->config.mac, .target_mac = unknown, .target = *addr};

    send(n, broadcast, &a);
}

static void answer(struct net *n, const struct arp *q)
{
    struct arp a = {.op = ARP_REPLY,
                    .sender_mac = n->config.mac,
                    .sender = q->target,
                    .target_mac = q->sender_mac,
                    .target = q->sender};

    count(n->counters, REASON_ARP_ANSWERED);
    send(n, q->sender_mac, &a);
}

/* The sender address may be zero in a probe (RFC 5227 2.1.1), which is a request. */
static bool sender_is_sound(const struct net *n, const struct arp *a)
{
    if (!mac_is_usable(a->sender_mac) || memcmp(a->sender_mac, n->config.mac, 6) == 0)
        return false;
    if (addr_is_unspecified(&a->sender))
        return a->op == ARP_REQUEST;
    return !addr_is_martian(&a->sender) && !route_is_broadcast(n, &a->sender);
}

static void conflict(struct net *n, const struct net_addr *addr)
{
    count(n->counters, REASON_ARP_CONFLICT);
    if (net_conflict(n, addr))
        arp_announce(n, addr);
}

void arp_input(struct net *n, struct span packet)
{
    struct arp a;

    if (packet.len < ARP_LEN) {
        count(n->counters, REASON_ARP_TRUNCATED);
        return;
    }
    if (!parse(packet, &a)) {
        count(n->counters, REASON_ARP_BAD_FORMAT);
        return;
    }
    if (!sender_is_sound(n, &a)) {
        count(n->counters, REASON_ARP_BAD_SENDER);
        return;
    }
    if (ip_addr_is_ours(n, &a.sender)) {
        conflict(n, &a.sender);
        return;
    }
    bool for_us = ip_addr_is_ours(n, &a.target);
    if (a.op == ARP_REPLY && for_us && memcmp(a.target_mac, n->config.mac, 6) == 0) {
        neighbour_answered(n, &a.sender, a.sender_mac);
        return;
    }
    neighbour_claimed(n, &a.sender, a.sender_mac);
    if (a.op == ARP_REQUEST && for_us)
        answer(n, &a);
    else
        count(n->counters, REASON_ARP_NOT_OURS);
}
