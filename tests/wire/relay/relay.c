/* ww-relay --a PORT --b PORT [--seed N] [--ab SPEC] [--ba SPEC] [--trace FILE] [--replay FILE]
 *
 * Carries frames between two ports until SIGTERM or SIGINT, and does to each direction what its SPEC says.  PORT:
 * tap:NAME (its kernel is the peer; made if absent) or packet:NAME (an interface whose wire we take over; without
 * addresses, or its kernel answers too).  SPEC: see decide.h.
 *
 * Decisions come from the seed, or from the trace of an earlier run.  The trace has a line of JSON for each counted
 * frame, after one with the arguments, which a replay takes over.  At the end a line of JSON says how often each
 * thing was done.  Exit status: 0; 1 no such port or file; 2 wrong usage; 3 something that was asked for never
 * happened.
 *
 * A frame waits in its direction's list, ordered by the time at which it leaves; the process sleeps until that time
 * or the next frame. */
#include "tests/wire/relay/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX     20000
#define RECEIVE_ROOM (16 * 1024 * 1024)
#define BURST        64 /* frames taken from one port before the other gets its turn */

enum did {
    DID_LOSS,
    DID_BURST,
    DID_LISTED,
    DID_TWICE,
    DID_LATE,
    DID_OVERTAKEN,
    DID_CORRUPT,
    DID_CUT,
    DID_STALL,
    DID_DELAY,
    DID_TOO_BIG,
    DID_TOLD,
    DID_COUNT
};

static const char *const did_names[DID_COUNT] = {"lost",    "lost_in_bursts", "lost_by_number", "duplicated",
                                                 "late",    "reordered",      "corrupted",      "truncated",
                                                 "stalled", "delayed",        "too_big",        "told"};

struct port {
    int fd;
    bool is_socket;
    uint64_t unsent; /* frames that the kernel would not take */
};

struct held {
    struct held *before, *after;
    uint64_t leaves_us;
    uint32_t n; /* 0: not counted */
    uint32_t len;
    uint8_t bytes[];
};

struct lane {
    const char *name;
    struct port *from, *to;
    struct decider decider;
    struct held *first, *last;
    uint32_t held_count, n, leaving_max;
    uint64_t in_order_us; /* what keeps its order leaves no earlier */
    uint64_t seen, sent, no_room;
    uint64_t did[DID_COUNT];
};

struct relay {
    struct port a, b;
    struct lane ab, ba;
    FILE *trace;
};

static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- ports ---- */

static int open_tap(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* All frames that come from its wire, none of those that we or its kernel send. */
static bool socket_listen(int fd, int index)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
    struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
    int on = 1, room = RECEIVE_ROOM;

    return setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) == 0 &&
           setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0 &&
           bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
}

static int open_packet(const char *name)
{
    int index = (int)if_nametoindex(name);
    int fd = index != 0 ? socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;

    if (fd >= 0 && socket_listen(fd, index))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool port_open(struct port *p, const char *text)
{
    p->is_socket = strncmp(text, "packet:", 7) == 0;
    if (p->is_socket)
        p->fd = open_packet(text + 7);
    else
        p->fd = strncmp(text, "tap:", 4) == 0 ? open_tap(text + 4) : -1;
    if (p->fd < 0)
        fprintf(stderr, "ww-relay: cannot use port %s: %s\n", text,
                errno != 0 ? strerror(errno) : "tap:NAME or packet:NAME");
    return p->fd >= 0;
}

static void port_send(struct port *p, const uint8_t *bytes, size_t len)
{
    if (write(p->fd, bytes, len) != (ssize_t)len)
        p->unsent++;
}

/* Frames that the kernel had no room to keep for us: losses that are in no trace. */
static unsigned int port_missed(const struct port *p)
{
    struct tpacket_stats s = {0};
    socklen_t len = sizeof s;

    if (p->is_socket)
        (void)getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len);
    return s.tp_drops;
}

/* ---- a direction's list ---- */

/* Behind everything that leaves no later. */
static void list_put(struct lane *l, struct held *h)
{
    struct held *before = l->last;

    while (before != NULL && before->leaves_us > h->leaves_us)
        before = before->before;
    h->before = before;
    h->after = before != NULL ? before->after : l->first;
    *(h->after != NULL ? &h->after->before : &l->last) = h;
    *(before != NULL ? &before->after : &l->first) = h;
    l->held_count++;
}

static struct held *list_take(struct lane *l)
{
    struct held *h = l->first;

    l->first = h->after;
    *(l->first != NULL ? &l->first->before : &l->last) = NULL;
    l->held_count--;
    return h;
}

static void hold(struct lane *l, const uint8_t *bytes, uint32_t len, uint32_t n, uint64_t leaves_us)
{
    struct held *h = l->held_count < HELD_MAX ? malloc(sizeof *h + len) : NULL;

    if (h == NULL) {
        l->no_room++;
        return;
    }
    h->leaves_us = leaves_us;
    h->n = n;
    h->len = len;
    memcpy(h->bytes, bytes, len);
    list_put(l, h);
}

static void let_go(struct lane *l, uint64_t now)
{
    while (l->first != NULL && l->first->leaves_us <= now) {
        struct held *h = list_take(l);
        l->did[DID_OVERTAKEN] += h->n != 0 && h->n < l->leaving_max;
        if (h->n > l->leaving_max)
            l->leaving_max = h->n;
        port_send(l->to, h->bytes, h->len);
        l->sent++;
        free(h);
    }
}

/* ---- what is done to a frame ---- */

static void too_big(struct relay *r, struct lane *l, const uint8_t *bytes, uint32_t len)
{
    static uint8_t answer[FRAME_MAX];
    size_t answer_len = l->decider.want.ptb ? packet_too_big(bytes, len, l->decider.want.mtu, answer) : 0;

    l->did[DID_TOO_BIG]++;
    l->did[DID_TOLD] += answer_len > 0;
    if (answer_len > 0)
        port_send(l->from, answer, answer_len);
    if (r->trace != NULL)
        fprintf(r->trace, "{\"dir\":\"%s\",\"too_big\":%u,\"mtu\":%u,\"told\":%s}\n", l->name, len,
                l->decider.want.mtu, answer_len > 0 ? "true" : "false");
}

static void count(struct lane *l, const struct decision *d)
{
    l->did[DID_LOSS] += d->lose == LOSS_CHANCE;
    l->did[DID_BURST] += d->lose == LOSS_BURST;
    l->did[DID_LISTED] += d->lose == LOSS_LISTED;
    l->did[DID_TWICE] += d->twice;
    l->did[DID_LATE] += d->late_us > 0;
    l->did[DID_CUT] += d->cut > 0;
    l->did[DID_CORRUPT] += d->flip != 0;
    l->did[DID_STALL] += d->stall_us > 0;
    l->did[DID_DELAY] += d->lose == LOSS_NONE && l->decider.want.delay_us > 0;
}

static void impair(struct lane *l, uint8_t *bytes, uint32_t len, const struct decision *d, uint64_t now)
{
    uint64_t leaves = now + l->decider.want.delay_us;

    if (d->stall_us > 0 && l->in_order_us < now + d->stall_us)
        l->in_order_us = now + d->stall_us;
    if (d->lose != LOSS_NONE)
        return;
    if (l->in_order_us < leaves)
        l->in_order_us = leaves;
    if (d->flip != 0)
        bytes[d->flip_at] ^= d->flip;
    for (int copies = 1 + d->twice; copies > 0; copies--)
        hold(l, bytes, d->cut > 0 ? d->cut : len, l->n, l->in_order_us + d->late_us);
}

static void take(struct relay *r, struct lane *l, uint8_t *bytes, uint32_t len, uint64_t now)
{
    const struct impairments *want = &l->decider.want;

    l->seen++;
    if (want->mtu != 0 && packet_ip_len(bytes, len) > want->mtu) {
        too_big(r, l, bytes, len);
        return;
    }
    if (!packet_is(bytes, len, want->only)) {
        hold(l, bytes, len, 0, now > l->in_order_us ? now : l->in_order_us);
        return;
    }
    struct decision d = decide(&l->decider, ++l->n, len);
    if (r->trace != NULL)
        decision_write(r->trace, l->name, l->n, now, len, &d);
    count(l, &d);
    impair(l, bytes, len, &d, now);
}

static void receive(struct relay *r, struct lane *l, uint64_t now)
{
    static uint8_t bytes[FRAME_MAX];

    for (int i = 0; i < BURST; i++) {
        ssize_t len = read(l->from->fd, bytes, sizeof bytes);
        if (len < ETH_HLEN)
            return;
        take(r, l, bytes, (uint32_t)len, now);
    }
}

/* ---- the loop ---- */

static void until_next(const struct relay *r, uint64_t now, struct timespec **timeout, struct timespec *t)
{
    uint64_t next = UINT64_MAX;

    if (r->ab.first != NULL)
        next = r->ab.first->leaves_us;
    if (r->ba.first != NULL && r->ba.first->leaves_us < next)
        next = r->ba.first->leaves_us;
    *timeout = next == UINT64_MAX ? NULL : t;
    uint64_t us = next > now ? next - now : 0;
    *t = (struct timespec){(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
}

static void run(struct relay *r, const sigset_t *awake)
{
    struct pollfd ready[2] = {{.fd = r->a.fd, .events = POLLIN}, {.fd = r->b.fd, .events = POLLIN}};
    struct timespec t, *timeout;

    while (!stopping) {
        if (r->trace != NULL)
            (void)fflush(r->trace); /* whoever reads along sees everything before we sleep */
        until_next(r, clock_us(), &timeout, &t);
        if (ppoll(ready, 2, timeout, awake) < 0 && errno != EINTR)
            return;
        uint64_t now = clock_us();
        receive(r, &r->ab, now);
        receive(r, &r->ba, now);
        let_go(&r->ab, now);
        let_go(&r->ba, now);
    }
}

/* ---- the end ---- */

static void wanted(const struct lane *l, bool want[DID_COUNT])
{
    const struct impairments *w = &l->decider.want;

    want[DID_LOSS] = w->loss > 0;
    want[DID_BURST] = w->burst > 0;
    want[DID_LISTED] = w->listed_count > 0;
    want[DID_TWICE] = w->duplicate > 0;
    want[DID_OVERTAKEN] = w->reorder > 0;
    want[DID_CORRUPT] = w->corrupt > 0;
    want[DID_CUT] = w->truncate > 0;
    want[DID_STALL] = w->spike > 0;
    want[DID_DELAY] = w->delay_us > 0;
    want[DID_TOO_BIG] = w->mtu > 0;
    want[DID_TOLD] = w->ptb;
}

/* A replay is asked for what its trace holds. */
static void wanted_replay(const struct lane *l, bool want[DID_COUNT])
{
    for (uint32_t i = 0; i < l->decider.recorded_count; i++) {
        const struct decision *d = &l->decider.recorded[i];
        want[DID_LOSS] |= d->lose == LOSS_CHANCE;
        want[DID_BURST] |= d->lose == LOSS_BURST;
        want[DID_LISTED] |= d->lose == LOSS_LISTED;
        want[DID_TWICE] |= d->twice;
        want[DID_CORRUPT] |= d->flip != 0;
        want[DID_CUT] |= d->cut > 0;
        want[DID_STALL] |= d->stall_us > 0;
    }
}

static bool did_all(const struct lane *l)
{
    bool want[DID_COUNT] = {false}, all = true;

    if (l->decider.replaying)
        wanted_replay(l, want);
    else
        wanted(l, want);
    for (int i = 0; i < DID_COUNT; i++)
        if (want[i] && l->did[i] == 0) {
            fprintf(stderr, "ww-relay: %s: asked for '%s', and in %u frames it never happened\n", l->name,
                    did_names[i], l->n);
            all = false;
        }
    return all;
}

static void report(const struct lane *l)
{
    printf(
        "\"%s\":{\"seen\":%llu,\"counted\":%u,\"sent\":%llu,\"missed\":%u,\"unsent\":%llu,\"no_room\":%llu",
        l->name, (unsigned long long)l->seen, l->n, (unsigned long long)l->sent, port_missed(l->from),
        (unsigned long long)l->to->unsent, (unsigned long long)l->no_room);
    for (int i = 0; i < DID_COUNT; i++)
        printf(",\"%s\":%llu", did_names[i], (unsigned long long)l->did[i]);
    printf("}");
}

static void lane_free(struct lane *l)
{
    while (l->first != NULL)
        free(list_take(l));
    free(l->decider.recorded);
}

/* ---- the beginning ---- */

struct arguments {
    const char *a, *b, *ab, *ba, *seed, *trace, *replay;
};

static bool arguments_take(int argc, char **argv, struct arguments *out)
{
    const struct {
        const char *name;
        const char **to;
    } known[] = {{"--a", &out->a},          {"--b", &out->b},       {"--ab", &out->ab},
                 {"--ba", &out->ba},        {"--seed", &out->seed}, {"--trace", &out->trace},
                 {"--replay", &out->replay}};

    *out = (struct arguments){.ab = "", .ba = "", .seed = "1"};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == sizeof known / sizeof known[0] || i + 1 == argc)
            return false;
        *known[k].to = argv[i + 1];
    }
    return out->a != NULL && out->b != NULL;
}

/* The specs of an earlier run: the first line of its trace. */
static bool replay_head(FILE *from, char ab[512], char ba[512])
{
    char line[2048];

    return fgets(line, sizeof line, from) != NULL &&
           sscanf(line, "{\"seed\":%*[0-9],\"ab\":\"%511[^}]", ab) == 1 &&
           strstr(ab, "\",\"ba\":\"") != NULL &&
           sscanf(strstr(ab, "\",\"ba\":\""), "\",\"ba\":\"%511[^}]", ba) == 1;
}

static bool replay(struct relay *r, struct arguments *arguments)
{
    static char ab[512], ba[512];
    FILE *from = fopen(arguments->replay, "r");
    bool good = from != NULL && replay_head(from, ab, ba) && decider_replay(&r->ab.decider, from, "ab");

    if (good) {
        rewind(from);
        good = decider_replay(&r->ba.decider, from, "ba");
        *strstr(ab, "\",\"ba\"") = '\0';
        ba[strcspn(ba, "\"")] = '\0';
        arguments->ab = ab;
        arguments->ba = ba;
    }
    if (!good)
        fprintf(stderr, "ww-relay: %s is no trace of mine\n", arguments->replay);
    if (from != NULL)
        fclose(from);
    return good;
}

static bool specs(struct relay *r, const struct arguments *arguments)
{
    const char *bad = impairments_parse(arguments->ab, &r->ab.decider.want);

    if (bad == NULL)
        bad = impairments_parse(arguments->ba, &r->ba.decider.want);
    if (bad != NULL)
        fprintf(stderr, "ww-relay: cannot do '%s'\n", bad);
    r->ab.decider.seed = strtoull(arguments->seed, NULL, 10) * 2;
    r->ba.decider.seed = r->ab.decider.seed + 1;
    return bad == NULL;
}

static bool trace_open(struct relay *r, const struct arguments *arguments)
{
    if (arguments->trace == NULL)
        return true;
    r->trace = fopen(arguments->trace, "w");
    if (r->trace == NULL)
        fprintf(stderr, "ww-relay: cannot write %s: %s\n", arguments->trace, strerror(errno));
    else
        fprintf(r->trace, "{\"seed\":%s,\"ab\":\"%s\",\"ba\":\"%s\"}\n", arguments->seed, arguments->ab,
                arguments->ba);
    return r->trace != NULL;
}

/* Signals reach us only while we sleep: none is lost between the look at `stopping` and the sleep. */
static void signals(sigset_t *awake)
{
    struct sigaction stop = {.sa_handler = on_stop};
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, awake);
    sigdelset(awake, SIGTERM);
    sigdelset(awake, SIGINT);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
}

static int finish(struct relay *r)
{
    bool all = did_all(&r->ab);

    all &= did_all(&r->ba);
    printf("{");
    report(&r->ab);
    printf(",");
    report(&r->ba);
    printf("}\n");
    if (r->trace != NULL)
        all &= fclose(r->trace) == 0;
    lane_free(&r->ab);
    lane_free(&r->ba);
    return all ? 0 : 3;
}

int main(int argc, char **argv)
{
    static struct relay r;
    struct arguments arguments;
    sigset_t awake;

    r.ab = (struct lane){.name = "ab", .from = &r.a, .to = &r.b};
    r.ba = (struct lane){.name = "ba", .from = &r.b, .to = &r.a};
    if (!arguments_take(argc, argv, &arguments)) {
        fprintf(stderr, "usage: ww-relay --a PORT --b PORT [--seed N] [--ab SPEC] [--ba SPEC] [--trace FILE] "
                        "[--replay FILE]\n");
        return 2;
    }
    if (arguments.replay != NULL && !replay(&r, &arguments))
        return 1;
    if (!specs(&r, &arguments))
        return 2;
    if (!port_open(&r.a, arguments.a) || !port_open(&r.b, arguments.b) || !trace_open(&r, &arguments))
        return 1;
    signals(&awake);
    printf("ww-relay ready\n");
    fflush(stdout);
    run(&r, &awake);
    return finish(&r);
}
