/* net-segment N BYTES offload|software: N times, a segment of so many bytes comes in and acknowledges the one before, is read, and is
 * answered by one of the same size, which carries the acknowledgement.  For callgrind, which counts the doors of net (bench/net/run). */
#include "base/check.h"
#include "bench/net/rig.h"

#include <string.h>

static void once(struct net_rig *r, struct net_peer *p, struct span data)
{
    struct wire_segment got;
    uint32_t events;

    r->now_us += 100;
    p->next.flags = WIRE_ACK | WIRE_PSH;
    p->next.data = data;
    p->next.tsval = (uint32_t)(r->now_us / 1000);
    net_rig_give(r, &p->next);
    p->next.seq += (uint32_t)data.len;
    counted_timers(r->net, r->now_us);
    struct net_conn *c = counted_event(r->net, &events);
    CHECK(c == p->conn && events == NET_EVENT_READABLE);
    CHECK(counted_read(c, r->now_us) == data.len);
    CHECK(counted_send(c, data, r->now_us) == data.len);
    CHECK(counted_event(r->net, &events) == NULL);
    CHECK(net_rig_take(r, &got) && got.data.len == data.len && got.ack == p->next.seq);
    p->next.ack = got.seq + (uint32_t)data.len;
    p->next.tsecr = got.tsval;
    CHECK(!net_rig_take(r, &got));
}

int main(int argc, char **argv)
{
    static uint8_t data[1400];
    int n = argc == 4 ? atoi(argv[1]) : 0;
    size_t len = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    struct net_config c;
    struct net_rig r;
    struct net_peer p;

    if (n <= 0 || len == 0 || len > sizeof data) {
        fprintf(stderr, "usage: net-segment N BYTES offload|software\n");
        return 2;
    }
    net_config_defaults(&c);
    net_rig_init(&r, &c, strcmp(argv[3], "offload") == 0);
    net_rig_connect(&r, 0, &p);
    for (int i = 0; i < n; i++)
        once(&r, &p, span_of(data, len));
    return 0;
}
