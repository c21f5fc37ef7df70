#include "dataplane/net/tcp.h"

enum option_kind {
    OPT_END = 0,
    OPT_NOP = 1,
    OPT_MSS = 2,
    OPT_WSCALE = 3,
    OPT_SACK_PERMITTED = 4,
    OPT_SACK = 5,
    OPT_TIMESTAMPS = 8,
    OPT_MD5 = 19,
    OPT_AO = 29,
};

static void sack_take(struct tcp_options *out, struct span value)
{
    if (value.len == 0 || value.len % 8 != 0)
        return;
    out->sack_count = 0;
    for (size_t at = 0; at < value.len && out->sack_count < TCP_SACK_BLOCKS_MAX; at += 8)
        out->sack[out->sack_count++] =
            (struct tcp_range){.start = load_be32(value.ptr + at), .end = load_be32(value.ptr + at + 4)};
}

/* An option of a known kind with a length that is not its own is skipped like an unknown one. */
static void option_take(struct tcp_options *out, uint8_t kind, struct span value)
{
    if (kind == OPT_MSS && value.len == 2) {
        out->has_mss = true;
        out->mss = load_be16(value.ptr);
    } else if (kind == OPT_WSCALE && value.len == 1) {
        out->has_wscale = true;
        out->wscale = value.ptr[0] > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : value.ptr[0]; /* RFC 7323 2.3 */
    } else if (kind == OPT_SACK_PERMITTED && value.len == 0) {
        out->sack_permitted = true;
    } else if (kind == OPT_TIMESTAMPS && value.len == 8) {
        out->has_ts = true;
        out->tsval = load_be32(value.ptr);
        out->tsecr = load_be32(value.ptr + 4);
    } else if (kind == OPT_SACK) {
        sack_take(out, value);
    } else if (kind == OPT_MD5 || kind == OPT_AO) {
        out->refused = true;
    }
}

bool options_parse(struct span bytes, struct tcp_options *out)
{
    memset(out, 0, offsetof(struct tcp_options, sack));
    while (bytes.len != 0 && bytes.ptr[0] != OPT_END) {
        if (bytes.ptr[0] == OPT_NOP) {
            bytes = span_from(bytes, 1);
            continue;
        }
        if (bytes.len < 2 || bytes.ptr[1] < 2 || bytes.ptr[1] > bytes.len)
            return false;
        option_take(out, bytes.ptr[0], span_of(bytes.ptr + 2, bytes.ptr[1] - 2u));
        bytes = span_from(bytes, bytes.ptr[1]);
    }
    return true;
}

static uint32_t timestamps_put(uint32_t tsval, uint32_t tsecr, uint8_t *p)
{
    p[0] = OPT_TIMESTAMPS;
    p[1] = 10;
    store_be32(p + 2, tsval);
    store_be32(p + 6, tsecr);
    return 10;
}

uint32_t options_write_timestamps(uint32_t tsval, uint32_t tsecr, uint8_t *p)
{
    p[0] = OPT_NOP;
    p[1] = OPT_NOP;
    return 2 + timestamps_put(tsval, tsecr, p + 2);
}

uint32_t options_write_syn(const struct syn_entry *e, uint16_t mss, uint32_t tsval, uint8_t wscale,
                           uint8_t *p)
{
    bool sack = (e->flags & SYN_SACK) != 0;
    uint32_t len = 4;

    p[0] = OPT_MSS;
    p[1] = 4;
    store_be16(p + 2, mss);
    if ((e->flags & SYN_TS) != 0) {
        p[len++] = sack ? OPT_SACK_PERMITTED : OPT_NOP;
        p[len++] = sack ? 2 : OPT_NOP;
        len += timestamps_put(tsval, e->ts_recent, p + len);
    } else if (sack) {
        p[len++] = OPT_NOP;
        p[len++] = OPT_NOP;
        p[len++] = OPT_SACK_PERMITTED;
        p[len++] = 2;
    }
    if ((e->flags & SYN_WSCALE) != 0) {
        p[len++] = OPT_NOP;
        p[len++] = OPT_WSCALE;
        p[len++] = 3;
        p[len++] = wscale;
    }
    return len;
}

static uint32_t sack_count(const struct net_conn *c, uint32_t room)
{
    uint32_t ts = tcp_conn_has(c, TCP_CONN_TS) ? TCP_TS_OPTION_LEN : 0;
    uint32_t blocks = c->range_count + (tcp_conn_has(c, TCP_CONN_DSACK) ? 1u : 0u);

    room = u32_min(room, TCP_OPTIONS_MAX);
    if (!tcp_conn_has(c, TCP_CONN_SACK) || room < ts + 4)
        return 0;
    return u32_min(blocks, (room - ts - 4) / 8);
}

uint32_t options_len(const struct net_conn *c, uint32_t room)
{
    uint32_t blocks = sack_count(c, room);

    return (tcp_conn_has(c, TCP_CONN_TS) ? TCP_TS_OPTION_LEN : 0) + (blocks != 0 ? 4 + 8 * blocks : 0);
}

uint32_t options_write(const struct net_conn *c, uint8_t *p, uint32_t room)
{
    struct tcp_range blocks[TCP_SACK_BLOCKS_MAX];
    uint32_t len = 0;
    uint32_t count = sack_count(c, room);

    if (tcp_conn_has(c, TCP_CONN_TS))
        len += options_write_timestamps(tcp_conn_ts_now(c), c->ts_recent, p);
    if (count == 0)
        return len;
    count = recv_sack_blocks(c, blocks, count);
    p[len++] = OPT_NOP;
    p[len++] = OPT_NOP;
    p[len++] = OPT_SACK;
    p[len++] = (uint8_t)(2 + 8 * count);
    for (uint32_t i = 0; i < count; i++) {
        store_be32(p + len, blocks[i].start);
        store_be32(p + len + 4, blocks[i].end);
        len += 8;
    }
    return len;
}
