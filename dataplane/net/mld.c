/* Tells switches which IPv6 groups we listen to, when we come up and when a querier asks (RFC 3810): those
 * that snoop would otherwise keep solicitations from us.  All nodes is never reported (RFC 3810 6). */
#include "dataplane/net/ip.h"

#define REPORT_TYPE           143
#define MODE_IS_EXCLUDE       2
#define REPORT_HEADER_LEN     8
#define RECORD_LEN            20
#define HOP_BY_HOP_LEN        8
#define GROUPS_MAX            (NET_SERVICE_ADDRS_MAX + 1)
#define QUERY_LEN_MIN         24
#define RESPONSE_DELAY_MS_MAX 10000
#define CHECKSUM_OFFSET       2

static uint16_t groups_collect(const struct net *n, struct net_addr groups[GROUPS_MAX])
{
    uint16_t found = 0;

    groups[found++] = addr_solicited_node(&n->link_local);
    for (uint16_t i = 0; i < n->config.addr_count; i++) {
        struct net_addr g = addr_solicited_node(&n->config.addrs[i].addr);
        bool known = n->config.addrs[i].addr.family != NET_IP6;
        for (uint16_t k = 0; k < found && !known; k++)
            known = net_addr_equal(&groups[k], &g);
        if (!known)
            groups[found++] = g;
    }
    return found;
}

static void message_write(uint8_t *at, const struct net_addr *groups, uint16_t group_count)
{
    memset(at, 0, REPORT_HEADER_LEN);
    at[0] = REPORT_TYPE;
    store_be16(at + 6, group_count);
    for (uint16_t i = 0; i < group_count; i++) {
        uint8_t *record = at + REPORT_HEADER_LEN + (size_t)i * RECORD_LEN;
        memset(record, 0, 4);
        record[0] = MODE_IS_EXCLUDE;
        memcpy(record + 4, groups[i].bytes, 16);
    }
}

void mld_report(struct net *n)
{
    /* RFC 3810 5: router alert in a hop-by-hop header, hop limit 1, to all MLDv2 routers (ff02::16). */
    static const uint8_t hop_by_hop[HOP_BY_HOP_LEN] = {IP_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};
    static const struct net_addr routers = {.family = NET_IP6, .bytes = {0xff, 0x02, [15] = 0x16}};
    struct net_addr groups[GROUPS_MAX];
    uint16_t group_count = groups_collect(n, groups);
    uint16_t len = (uint16_t)(REPORT_HEADER_LEN + group_count * RECORD_LEN);
    uint8_t *at = reply_begin_frame(n, (uint16_t)(ETH_HEADER_LEN + IP6_HEADER_LEN + HOP_BY_HOP_LEN + len));
    uint8_t mac[6];

    if (at == NULL)
        return;
    addr_group_mac(&routers, mac);
    eth_header_write(n, at, mac, ETH_TYPE_IP6);
    at += ETH_HEADER_LEN;
    at += ip_header_write(at, &n->link_local, &routers, 0, (uint16_t)(HOP_BY_HOP_LEN + len), 1, false);
    memcpy(at, hop_by_hop, HOP_BY_HOP_LEN);
    at += HOP_BY_HOP_LEN;
    message_write(at, groups, group_count);
    uint16_t pseudo = checksum_pseudo(&n->link_local, &routers, IP_PROTO_ICMP6, len);
    store_be16(at + CHECKSUM_OFFSET, (uint16_t)~checksum_sum(span_of(at, len), pseudo));
    count(n->counters, REASON_MLD_REPORTED);
    reply_commit_frame(n);
}

/* RFC 3810 5.1.3: beyond 32767 the field is a float; that means more than 32 s, which we cut to ten. */
void mld_input(struct net *n, const struct ip_packet *p)
{
    if (p->fragmented || p->payload.len < QUERY_LEN_MIN || p->hop_limit != 1 ||
        !addr_is_link_local6(&p->src)) {
        count(n->counters, REASON_MLD_BAD_QUERY);
        return;
    }
    uint32_t delay_ms = load_be16(p->payload.ptr + 4);
    if (delay_ms > RESPONSE_DELAY_MS_MAX)
        delay_ms = RESPONSE_DELAY_MS_MAX;
    uint64_t at_us = n->now_us + net_random_below(n, delay_ms * 1000 + 1);
    if (at_us < n->mld_report_at_us)
        n->mld_report_at_us = at_us;
    link_due(n, at_us);
}

void mld_timers(struct net *n)
{
    if (n->now_us < n->mld_report_at_us)
        return;
    n->mld_report_at_us = UINT64_MAX;
    mld_report(n);
}
