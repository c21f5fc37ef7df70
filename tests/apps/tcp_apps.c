#include "tests/apps/tcp_apps.h"

#define CHARGEN_LINE  74 /* 72 characters, CR, LF */
#define CHARGEN_CHUNK 2048

void tcp_apps_init(struct tcp_apps *a, struct net *net, struct tcp_app_conn *conns, uint32_t conns_max)
{
    *a = (struct tcp_apps){.net = net, .conns = conns, .conns_max = conns_max};
}

uint8_t tcp_apps_chargen_byte(uint64_t at)
{
    uint64_t line = at / CHARGEN_LINE;
    uint64_t column = at % CHARGEN_LINE;

    if (column >= 72)
        return column == 72 ? '\r' : '\n';
    return (uint8_t)(' ' + (line + column) % 95);
}

/* false: no slot; c is gone. */
static bool app_accept(struct tcp_apps *a, struct net_conn *c, uint64_t now_us)
{
    for (uint32_t i = 0; i < a->conns_max; i++) {
        if (a->conns[i].conn != NULL)
            continue;
        a->conns[i] = (struct tcp_app_conn){.conn = c};
        net_set_user(c, &a->conns[i]);
        a->accepted++;
        return true;
    }
    net_abort(c, now_us);
    net_release(c, now_us);
    a->failed++;
    return false;
}

static void app_close(struct tcp_app_conn *s, uint64_t now_us)
{
    net_close(s->conn, now_us);
    s->ending = true;
}

/* true: everything that had come was sent back. */
static bool echo_serve(struct tcp_apps *a, struct tcp_app_conn *s, uint64_t now_us)
{
    struct span in;

    while ((in = net_peek(s->conn)).len != 0) {
        size_t sent = net_send(s->conn, in, now_us);
        if (sent == 0)
            return false;
        net_consume(s->conn, sent, now_us);
        a->bytes_in += sent;
        a->bytes_out += sent;
    }
    return true;
}

static bool discard_serve(struct tcp_apps *a, struct tcp_app_conn *s, uint64_t now_us)
{
    struct span in;

    while ((in = net_peek(s->conn)).len != 0) {
        a->bytes_in += in.len;
        net_consume(s->conn, in.len, now_us);
    }
    return true;
}

static bool chargen_serve(struct tcp_apps *a, struct tcp_app_conn *s, uint64_t now_us)
{
    (void)discard_serve(a, s, now_us);
    for (;;) {
        uint8_t chunk[CHARGEN_CHUNK];
        size_t len = sizeof chunk;
        if (a->chargen_bytes != 0 && len > a->chargen_bytes - s->generated)
            len = (size_t)(a->chargen_bytes - s->generated);
        if (len == 0)
            break;
        for (size_t i = 0; i < len; i++)
            chunk[i] = tcp_apps_chargen_byte(s->generated + i);
        size_t sent = net_send(s->conn, span_of(chunk, len), now_us);
        s->generated += sent;
        a->bytes_out += sent;
        if (sent < len)
            return false;
    }
    app_close(s, now_us);
    return true;
}

static bool app_serve(struct tcp_apps *a, struct tcp_app_conn *s, uint64_t now_us)
{
    switch (net_local_port(s->conn)) {
    case APP_PORT_ECHO:
        return echo_serve(a, s, now_us);
    case APP_PORT_CHARGEN:
        return s->ending ? discard_serve(a, s, now_us) : chargen_serve(a, s, now_us);
    default:
        return discard_serve(a, s, now_us);
    }
}

static void app_finish(struct tcp_apps *a, struct tcp_app_conn *s, uint64_t now_us)
{
    if (net_close_cause(s->conn) == NET_CAUSE_FINISHED)
        a->finished++;
    else
        a->failed++;
    net_release(s->conn, now_us);
    s->conn = NULL;
}

void tcp_apps_turn(struct tcp_apps *a, uint64_t now_us)
{
    struct net_conn *c;
    uint32_t events;

    while ((c = net_next_event(a->net, &events)) != NULL) {
        if ((events & NET_EVENT_ESTABLISHED) != 0 && !app_accept(a, c, now_us))
            continue;
        struct tcp_app_conn *s = net_user(c);
        bool drained = app_serve(a, s, now_us);
        s->peer_done = s->peer_done || (events & NET_EVENT_PEER_FIN) != 0;
        if (s->peer_done && drained && !s->ending)
            app_close(s, now_us);
        if ((events & NET_EVENT_CLOSED) != 0)
            app_finish(a, s, now_us);
    }
}
