#include "tests/apps/tcp_calls.h"

#include "tests/apps/tcp_apps.h"

void tcp_calls_init(struct tcp_calls *a, struct net *net, const struct net_addr *local,
                    const struct net_addr *peer, uint16_t port)
{
    *a = (struct tcp_calls){.net = net, .local = *local, .peer = *peer, .port = port};
}

static void calls_open(struct tcp_calls *a, uint64_t now_us)
{
    for (size_t i = 0; i < CALLS_AT_ONCE && a->begun < a->wanted; i++) {
        if (a->calls[i].conn != NULL)
            continue;
        struct net_conn *c = net_connect(a->net, &a->local, &a->peer, a->port, now_us);
        if (c == NULL)
            return;
        a->calls[i] = (struct tcp_call){.conn = c};
        net_set_user(c, &a->calls[i]);
        a->begun++;
    }
}

static void call_read(struct tcp_calls *a, struct tcp_call *k, uint64_t now_us)
{
    struct span in;

    while ((in = net_peek(k->conn)).len != 0) {
        for (size_t i = 0; i < in.len; i++, k->read++)
            a->wrong += k->read >= k->sent || in.ptr[i] != tcp_apps_chargen_byte(k->read);
        net_consume(k->conn, in.len, now_us);
    }
}

static void call_write(struct tcp_calls *a, struct tcp_call *k, uint64_t now_us)
{
    uint8_t chunk[2048];

    while (k->sent < a->bytes) {
        size_t len = sizeof chunk;
        if (len > a->bytes - k->sent)
            len = (size_t)(a->bytes - k->sent);
        for (size_t i = 0; i < len; i++)
            chunk[i] = tcp_apps_chargen_byte(k->sent + i);
        size_t sent = net_send(k->conn, span_of(chunk, len), now_us);
        k->sent += sent;
        if (sent < len)
            return;
    }
    if (k->read >= a->bytes)
        net_close(k->conn, now_us);
}

static void call_end(struct tcp_calls *a, struct tcp_call *k, uint64_t now_us)
{
    enum net_cause cause = net_close_cause(k->conn);

    if (cause == NET_CAUSE_REFUSED)
        a->refused++;
    else if (cause == NET_CAUSE_FINISHED && k->read == a->bytes)
        a->finished++;
    else
        a->failed++;
    net_release(k->conn, now_us);
    k->conn = NULL;
}

void tcp_calls_turn(struct tcp_calls *a, uint64_t now_us)
{
    struct net_conn *c;
    uint32_t events;

    calls_open(a, now_us);
    while ((c = net_next_event(a->net, &events)) != NULL) {
        struct tcp_call *k = net_user(c);
        call_read(a, k, now_us);
        call_write(a, k, now_us);
        if ((events & NET_EVENT_PEER_FIN) != 0)
            net_close(c, now_us);
        if ((events & NET_EVENT_CLOSED) != 0)
            call_end(a, k, now_us);
    }
}

bool tcp_calls_are_over(const struct tcp_calls *a)
{
    return a->finished + a->refused + a->failed == a->wanted;
}
