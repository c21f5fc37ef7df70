/* net: a segment with data in, one out, which acknowledges it; the device makes and checks checksums, or we do. */
#include "base/check.h"
#include "bench/micro/micro.h"
#include "bench/net/rig.h"

struct wire {
    struct net_rig rig;
    struct net_peer peer;
    size_t len;
};

static uint8_t data[1400];

/* What the peer has for us is written by its half of the rig, inside the measured part, as are its looks at ours: bench/net/run counts the
 * doors of net alone. */
static void segment_once(void *arg)
{
    struct wire *w = arg;
    struct wire_segment got;
    uint32_t events;

    w->rig.now_us += 100;
    w->peer.next.flags = WIRE_ACK | WIRE_PSH;
    w->peer.next.data = span_of(data, w->len);
    w->peer.next.tsval = (uint32_t)(w->rig.now_us / 1000);
    net_rig_give(&w->rig, &w->peer.next);
    w->peer.next.seq += (uint32_t)w->len;
    counted_timers(w->rig.net, w->rig.now_us);
    struct net_conn *c = counted_event(w->rig.net, &events);
    CHECK(c == w->peer.conn && counted_read(c, w->rig.now_us) == w->len);
    CHECK(counted_send(c, span_of(data, w->len), w->rig.now_us) == w->len);
    CHECK(counted_event(w->rig.net, &events) == NULL && net_rig_take(&w->rig, &got));
    w->peer.next.ack = got.seq + (uint32_t)w->len;
    w->peer.next.tsecr = got.tsval;
    CHECK(!net_rig_take(&w->rig, &got));
}

static void wire_open(struct wire *w, size_t len, bool offload)
{
    struct net_config c;

    net_config_defaults(&c);
    net_rig_init(&w->rig, &c, offload);
    net_rig_connect(&w->rig, 0, &w->peer);
    w->len = len;
}

int main(int argc, char **argv)
{
    static struct wire small, large, software;
    struct micro list[] = {
        {"a segment of 100 bytes in and out", segment_once, NULL, &small},
        {"a segment of 1400 bytes in and out", segment_once, NULL, &large},
        {"... with checksums in software", segment_once, NULL, &software},
    };

    wire_open(&small, 100, true);
    wire_open(&large, 1400, true);
    wire_open(&software, 1400, false);
    return micro_main(argc, argv, list, sizeof list / sizeof list[0]);
}
