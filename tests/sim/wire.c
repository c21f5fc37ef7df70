#include "tests/sim/wire.h"

#include "tests/unit/test.h"

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Frames are small: a plain loop, whose bounds gcc does not guess at. */
static void copy(uint8_t *to, const uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = from[i];
}

static uint32_t sum(struct span s, uint32_t acc)
{
    for (size_t i = 0; i < s.len; i++)
        acc += i % 2 == 0 ? (uint32_t)s.ptr[i] << 8 : s.ptr[i];
    while (acc >> 16 != 0)
        acc = (acc & 0xffff) + (acc >> 16);
    return acc;
}

static uint32_t pseudo_sum(bool v6, const uint8_t *src, const uint8_t *dst, uint32_t proto, uint32_t len)
{
    uint32_t size = v6 ? 16 : 4;

    return sum(span_of(src, size), sum(span_of(dst, size), proto + (len & 0xffff) + (len >> 16)));
}

static uint32_t options_put(uint8_t *p, const struct wire_segment *s)
{
    uint32_t n = 0;

    if (s->raw_options.len != 0) {
        memcpy(p, s->raw_options.ptr, s->raw_options.len);
        return (uint32_t)s->raw_options.len;
    }
    if (s->has_mss) {
        p[n] = 2;
        p[n + 1] = 4;
        put16(p + n + 2, s->mss);
        n += 4;
    }
    if (s->has_wscale) {
        memcpy(p + n, (uint8_t[]){1, 3, 3, s->wscale}, 4);
        n += 4;
    }
    if (s->sack_permitted) {
        memcpy(p + n, (uint8_t[]){1, 1, 4, 2}, 4);
        n += 4;
    }
    if (s->has_ts) {
        memcpy(p + n, (uint8_t[]){1, 1, 8, 10}, 4);
        put32(p + n + 4, s->tsval);
        put32(p + n + 8, s->tsecr);
        n += 12;
    }
    if (s->sack_count != 0) {
        memcpy(p + n, (uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * s->sack_count)}, 4);
        n += 4;
        for (uint8_t i = 0; i < s->sack_count; i++, n += 8) {
            put32(p + n, s->sack[i].start);
            put32(p + n + 4, s->sack[i].end);
        }
    }
    return n;
}

static void eth_put(uint8_t *out, const uint8_t *dst, const uint8_t *src, uint32_t type)
{
    for (int i = 0; i < 6; i++) {
        out[i] = dst[i];
        out[6 + i] = src[i];
    }
    put16(out + 12, type);
}

static uint8_t *ip_put(uint8_t *p, const struct wire_segment *s, uint32_t l4_len)
{
    if (s->src.v6) {
        memset(p, 0, 40);
        p[0] = 0x60;
        put16(p + 4, l4_len);
        p[6] = 6;
        p[7] = 64;
        memcpy(p + 8, s->src.bytes, 16);
        memcpy(p + 24, s->dst.bytes, 16);
        return p + 40;
    }
    memset(p, 0, 20);
    p[0] = 0x45;
    put16(p + 2, 20 + l4_len);
    put16(p + 6, 0x4000);
    p[8] = 64;
    p[9] = 6;
    memcpy(p + 12, s->src.bytes, 4);
    memcpy(p + 16, s->dst.bytes, 4);
    put16(p + 10, ~sum(span_of(p, 20), 0) & 0xffff);
    return p + 20;
}

uint16_t wire_tcp_write(uint8_t *out, const uint8_t dst_mac[6], const uint8_t src_mac[6],
                        const struct wire_segment *s)
{
    uint8_t options[64];
    uint32_t olen = options_put(options, s);
    uint32_t l4_len = 20 + olen + (uint32_t)s->data.len;
    uint8_t *h;

    eth_put(out, dst_mac, src_mac, s->src.v6 ? 0x86dd : 0x0800);
    h = ip_put(out + 14, s, l4_len);
    put16(h, s->sport);
    put16(h + 2, s->dport);
    put32(h + 4, s->seq);
    put32(h + 8, s->ack);
    h[12] = (uint8_t)((20 + olen) / 4 << 4);
    h[13] = s->flags;
    put16(h + 14, s->wnd);
    put32(h + 16, 0);
    memcpy(h + 20, options, olen);
    if (s->data.len != 0)
        memcpy(h + 20 + olen, s->data.ptr, s->data.len);
    put16(h + 16,
          ~sum(span_of(h, l4_len), pseudo_sum(s->src.v6, s->src.bytes, s->dst.bytes, 6, l4_len)) & 0xffff);
    return (uint16_t)(h + l4_len - out);
}

static void options_get(struct wire_segment *s, struct span o)
{
    s->options_len = (uint32_t)o.len;
    for (size_t i = 0; i < o.len && o.ptr[i] != 0;) {
        const uint8_t *p = o.ptr + i;
        if (p[0] == 1) {
            i++;
            continue;
        }
        assert_true(i + 1 < o.len && p[1] >= 2 && i + p[1] <= o.len);
        if (p[0] == 2) {
            s->has_mss = true;
            s->mss = get16(p + 2);
        } else if (p[0] == 3) {
            s->has_wscale = true;
            s->wscale = p[2];
        } else if (p[0] == 4) {
            s->sack_permitted = true;
        } else if (p[0] == 8) {
            s->has_ts = true;
            s->tsval = get32(p + 2);
            s->tsecr = get32(p + 6);
        } else if (p[0] == 5) {
            s->sack_count = (uint8_t)((p[1] - 2) / 8);
            for (uint8_t k = 0; k < s->sack_count; k++)
                s->sack[k] = (struct wire_sack){get32(p + 2 + 8 * k), get32(p + 6 + 8 * k)};
        }
        i += p[1];
    }
}

static void tcp_get(struct wire_segment *s, struct span l4)
{
    const uint8_t *h = l4.ptr;
    uint32_t header;

    assert_true(l4.len >= 20);
    header = (uint32_t)(h[12] >> 4) * 4;
    assert_true(header >= 20 && header <= l4.len);
    s->sport = get16(h);
    s->dport = get16(h + 2);
    s->seq = get32(h + 4);
    s->ack = get32(h + 8);
    s->flags = h[13];
    s->wnd = get16(h + 14);
    options_get(s, span_of(h + 20, header - 20));
    s->data = span_from(l4, header);
    s->csum_ok = sum(l4, pseudo_sum(s->src.v6, s->src.bytes, s->dst.bytes, 6, (uint32_t)l4.len)) == 0xffff;
}

static enum wire_kind ip4_get(struct wire_segment *s, struct span p)
{
    assert_true(p.len >= 20 && p.ptr[0] == 0x45);
    uint16_t total = get16(p.ptr + 2);
    assert_true(total <= p.len);
    if (p.ptr[9] != 6)
        return WIRE_OTHER;
    memcpy(s->src.bytes, p.ptr + 12, 4);
    memcpy(s->dst.bytes, p.ptr + 16, 4);
    tcp_get(s, span_of(p.ptr + 20, total - 20u));
    s->csum_ok = s->csum_ok && sum(span_of(p.ptr, 20), 0) == 0xffff;
    return WIRE_TCP;
}

static enum wire_kind ip6_get(struct wire_segment *s, struct span p)
{
    assert_true(p.len >= 40 && p.ptr[0] >> 4 == 6);
    uint16_t payload = get16(p.ptr + 4);
    assert_true(payload + 40u <= p.len);
    if (p.ptr[6] == 58 && p.ptr[40] == 135)
        return WIRE_NS;
    if (p.ptr[6] != 6)
        return WIRE_OTHER;
    s->src.v6 = true;
    s->dst.v6 = true;
    memcpy(s->src.bytes, p.ptr + 8, 16);
    memcpy(s->dst.bytes, p.ptr + 24, 16);
    tcp_get(s, span_of(p.ptr + 40, payload));
    return WIRE_TCP;
}

enum wire_kind wire_parse(struct span frame, struct wire_segment *s)
{
    uint16_t type;

    memset(s, 0, sizeof *s);
    assert_true(frame.len >= 14);
    type = get16(frame.ptr + 12);
    if (type == 0x0806)
        return get16(frame.ptr + 20) == 1 ? WIRE_ARP_REQUEST : WIRE_OTHER;
    if (type == 0x0800)
        return ip4_get(s, span_from(frame, 14));
    if (type == 0x86dd)
        return ip6_get(s, span_from(frame, 14));
    return WIRE_OTHER;
}

bool wire_question_target(struct span frame, struct wire_addr *target)
{
    struct wire_segment s;

    memset(target, 0, sizeof *target);
    switch (wire_parse(frame, &s)) {
    case WIRE_ARP_REQUEST:
        memcpy(target->bytes, frame.ptr + 38, 4);
        return true;
    case WIRE_NS:
        target->v6 = true;
        memcpy(target->bytes, frame.ptr + 14 + 40 + 8, 16);
        return true;
    default:
        return false;
    }
}

static uint16_t arp_answer(uint8_t *out, const uint8_t mac[6], struct span q)
{
    eth_put(out, q.ptr + 6, mac, 0x0806);
    copy(out + 14, q.ptr + 14, 6);
    put16(out + 20, 2);
    copy(out + 22, mac, 6);
    copy(out + 28, q.ptr + 38, 4);
    copy(out + 32, q.ptr + 22, 10);
    memset(out + 42, 0, 18);
    return 60;
}

/* RFC 4861 4.4: solicited, override, with the target link-layer address. */
static uint16_t na_answer(uint8_t *out, const uint8_t mac[6], struct span q)
{
    const uint8_t *ip = q.ptr + 14;
    uint8_t *o = out + 14;

    eth_put(out, q.ptr + 6, mac, 0x86dd);
    memset(o, 0, 72);
    o[0] = 0x60;
    put16(o + 4, 32);
    o[6] = 58;
    o[7] = 255;
    copy(o + 8, ip + 40 + 8, 16);
    copy(o + 24, ip + 8, 16);
    o[40] = 136;
    o[44] = 0x60;
    copy(o + 48, ip + 40 + 8, 16);
    o[64] = 2;
    o[65] = 1;
    copy(o + 66, mac, 6);
    put16(o + 42, ~sum(span_of(o + 40, 32), pseudo_sum(true, o + 8, o + 24, 58, 32)) & 0xffff);
    return 14 + 72;
}

uint16_t wire_neighbour_answer(uint8_t *out, const uint8_t mac[6], struct span frame)
{
    struct wire_segment s;

    switch (wire_parse(frame, &s)) {
    case WIRE_ARP_REQUEST:
        return arp_answer(out, mac, frame);
    case WIRE_NS:
        return na_answer(out, mac, frame);
    default:
        return 0;
    }
}
