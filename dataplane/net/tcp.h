/* TCP's own header: the connection record and what its files say to each other.
 *
 *   tcp_input.c       header, lookup, listeners, segments for nobody
 *   tcp_express.c     the short way of the segment that was expected, and of its answer
 *   tcp_segment.c     one segment on a connection (RFC 9293 3.10.7)
 *   tcp_ack.c         what an acknowledgement means; NewReno (RFC 5681, 6582)
 *   tcp_cubic.c       how the congestion window grows and falls (RFC 9438)
 *   tcp_scoreboard.c  what is in flight, segment by segment; SACK blocks against it
 *   tcp_recovery.c    loss recovery with SACK (RFC 6675, 6937)
 *   tcp_rack.c        loss by time, and the probe of a silent tail (RFC 8985)
 *   tcp_undo.c        losses that were none (RFC 3522, 4015, 5682)
 *   tcp_pmtu.c        how large a segment the path takes (RFC 1191, 8201, 8899)
 *   tcp_reassembly.c  received bytes into the ring, ranges, SACK blocks
 *   tcp_output.c      which segment to send next; building it
 *   tcp_timer.c       deadlines over the wheel; retransmission, probes
 *   tcp_options.c     options off and onto the wire
 *   tcp_table.c       the table of connections, records, buffers, states
 *   tcp_record.c      the tables of small records: half open, TIME-WAIT
 *   tcp_syn_cache.c   from the SYN to the handshake's last ACK
 *   tcp_cookie.c      the same without remembering anything
 *   tcp_time_wait.c   what is left of a connection for 2 MSL
 *   tcp_conn.c        the connection functions of net.h
 *   tcp_pressure.c    taking on less, the fewer buffers are left
 *   tcp_keepalive.c   asking silent peers whether they are there
 *   tcp_connect.c     opening a connection ourselves
 *
 * Sequence numbers index the rings directly: byte s of a stream lies at ring[s & (size - 1)], sizes being
 * powers of two.  Ring contents therefore never move and need no base. */
#ifndef DATAPLANE_NET_TCP_H
#define DATAPLANE_NET_TCP_H

#include "base/flow_hash.h"
#include "dataplane/net/internal.h"
#include "dataplane/net/timer_wheel.h"

/* --- constants, with their source --- */
#define TCP_HEADER_LEN       20
#define TCP_OPTIONS_MAX      40
#define TCP_MSS_DEFAULT_4    536 /* RFC 9293 3.7.1: a peer that names no MSS */
#define TCP_MSS_DEFAULT_6    1220
#define TCP_MSS_FLOOR        48      /* a smaller offer is raised to this (B15): 36 bytes beside timestamps */
#define TCP_WSCALE_MAX       14      /* RFC 7323 2.3 */
#define TCP_TS_OPTION_LEN    12      /* with its two NOPs */
#define TCP_RTO_FIRST_US     1000000 /* RFC 6298 2.1 */
#define TCP_RTO_MIN_US       200000  /* as common practice; RFC 6298 2.4 would say a second */
#define TCP_RTO_MAX_US       60000000          /* RFC 6298 2.5 */
#define TCP_RTO_AFTER_SYN_US 3000000           /* RFC 6298 5.7: the SYN-ACK had to be repeated */
#define TCP_DELACK_US        40000             /* well under the half second of RFC 9293 3.8.6.3 */
#define TCP_GIVE_UP_US       100000000         /* RFC 9293 3.8.3: R2 of at least 100 s */
#define TCP_GIVE_UP_RETRIES  5                 /* ... and so many questions unanswered, however far apart */
#define TCP_PAWS_IDLE_S      (24u * 24 * 3600) /* RFC 7323 5.5 */
#define TCP_IW_SEGMENTS      10                /* RFC 6928 */
#define TCP_IW_BYTES         14600
#define TCP_CWND_MAX         (1u << 28) /* beyond any send buffer; keeps products within 64 bits */
#define TCP_DUPACKS          3
#define TCP_RANGES_MAX       8 /* stretches out of order per connection: bounds work per segment (D14) */
#define TCP_SACK_BLOCKS_MAX  4
#define TCP_RTT_FLOOR_US     1000 /* a round trip counts as one tick at least (B20) */
#define TCP_ACK_DELAY_US     50000 /* RFC 8985 7.2: how long a peer keeps the ACK of a lone segment, at first */
#define TCP_ACK_DELAY_MAX_US 200000 /* ... and once it has kept one for longer */
#define TCP_PROBES_MAX       3      /* probes in a row that bring nothing, each after twice the time */
#define TCP_REO_MULT_MAX     16 /* RFC 8985 6.2: quarters of the shortest round trip; srtt bounds it too */
#define TCP_REO_PERSIST      16 /* recoveries that a widened window lasts */
#define TCP_BURST_SEGMENTS   10 /* what the end of a recovery may let out at once */
#define TCP_OUTPUT_QUANTUM   16 /* segments of one connection before the next one's turn */
#define TCP_CHALLENGE_BURST  5  /* RFC 5961 10: per connection, refilled one per 200 ms and jitter */
#define TCP_CHALLENGE_US     200000
#define TCP_CHALLENGES_BURST 256 /* the same per worker: half of it to all, drawn anew each millisecond */
#define TCP_RESETS_BURST     512 /* RSTs to strangers, likewise; about 10 000/s in the long run */
#define TCP_RECORD_LEN       64  /* of a connection that has no struct net_conn */
#define TCP_SYN_RETRIES      7   /* of our own SYN: given up after 183 s (RFC 9293 3.8.3: at least 180) */
#define TCP_NEVER            UINT64_MAX

enum tcp_flag {
    TCP_FIN = 1 << 0,
    TCP_SYN = 1 << 1,
    TCP_RST = 1 << 2,
    TCP_PSH = 1 << 3,
    TCP_ACK = 1 << 4,
    TCP_URG = 1 << 5,
};

/* LISTEN has no record: it is a port of the configuration.  SYN-RECEIVED behind it is a struct syn_entry or a
 * cookie; the one here is a simultaneous open.  TIME-WAIT is a struct wait_entry. */
enum tcp_state {
    TCP_CLOSED, /* in no table; kept only until the user lets go */
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED,
    TCP_ESTABLISHED,
    TCP_CLOSE_WAIT,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSING,
    TCP_LAST_ACK,
    TCP_STATE_COUNT
};

enum tcp_conn_flag {
    TCP_CONN_TS = 1 << 0,             /* timestamps were agreed */
    TCP_CONN_SACK = 1 << 1,           /* the peer permitted SACK */
    TCP_CONN_USER = 1 << 2,           /* the user holds it: between ESTABLISHED and net_release */
    TCP_CONN_ACK_NOW = 1 << 3,        /* an ACK must leave with the next output */
    TCP_CONN_MTU_LOWERED = 1 << 4,    /* mss is less than was agreed */
    TCP_CONN_MTU_SUSPECTED = 1 << 17, /* ... because of timeouts that may prove to have been none */
    TCP_CONN_RESEND_FIRST = 1 << 5,   /* send the segment at snd_una again (fast retransmit, partial ACK) */
    TCP_CONN_PROBE = 1 << 6,          /* send one byte beyond the window */
    TCP_CONN_FORCE = 1 << 7,          /* send whatever the window takes, however small (SWS override) */
    TCP_CONN_FIN_QUEUED = 1 << 8,     /* our FIN follows snd_end */
    TCP_CONN_FIN_SEEN = 1 << 9,       /* the peer's FIN is known to lie at rcv_fin */
    TCP_CONN_FIN_RECEIVED = 1 << 10,  /* ... and rcv_nxt has passed it */
    TCP_CONN_RECOVERY = 1 << 11,      /* fast recovery until snd_una reaches recover */
    TCP_CONN_RTO_RECOVERY = 1 << 12,  /* slow start after a timeout until snd_una reaches recover */
    TCP_CONN_CWND_LIMITED = 1 << 13,  /* the last output stopped at cwnd: ACKs may grow it */
    TCP_CONN_TIMING = 1 << 14,        /* rtt_seq is being timed */
    TCP_CONN_WANT_ROOM = 1 << 15,     /* a net_send was short: WRITABLE is owed */
    TCP_CONN_PERSIST = 1 << 16,       /* the window is shut: TIMER_PERSIST instead of TIMER_REXMIT */
    TCP_CONN_PARTIAL_SEEN = 1 << 18,  /* RFC 6582 4: only the first partial ACK restarts the timer */
    TCP_CONN_WSCALE = 1 << 19,        /* window scaling was agreed */
    TCP_CONN_REORDER_TIMER = 1 << 21, /* TIMER_REXMIT is the end of a reordering window */
    TCP_CONN_PROBE_TIMER = 1 << 22,   /* ... or the tail's probe; with neither, the RTO */
    TCP_CONN_TLP = 1 << 23,           /* a tail probe awaits its answer, up to tlp_end */
    TCP_CONN_TLP_REPEAT = 1 << 24,    /* ... and repeated a segment */
    TCP_CONN_TLP_NOW = 1 << 25,       /* it leaves with the next output */
    TCP_CONN_LONE = 1 << 30,          /* one segment is in flight, as new, since last_send_us: no board yet */
    TCP_CONN_REORDERED = 1 << 26,     /* the path was seen to reorder */
    TCP_CONN_UNDO = 1 << 27,          /* the last loss may yet prove to have been none */
    TCP_CONN_FRTO = 1 << 28, /* the first segment was repeated after a timeout, and nothing else (RFC 5682) */
    TCP_CONN_FRTO_ASKED =
        1 << 29, /* ... and new ones ask whether the old ones arrive: no repetition until then */
    TCP_CONN_KEEPALIVE = 1u << 31, /* the next question leaves with the next output */
    TCP_CONN_DSACK = 1 << 20,      /* [dsack_start, dsack_end) came twice: the next ACK says so (RFC 2883) */
};

enum tcp_conn_timer {
    TIMER_REXMIT,
    TIMER_PERSIST,
    TIMER_DELACK,
    TIMER_CLOSE, /* FIN_WAIT_2, an orphan without progress */
    TIMER_IDLE,
    TIMER_KEEPALIVE,
    TIMER_USER,
    TIMER_COUNT
};

/* Neighbours as distances from struct tcp, in words of four bytes: half of what pointers would take, and everything that is
 * in a list, or is its head, lies in one piece of the arena behind it (tcp_init).  next is 0 in no list; an empty head is its
 * own neighbour. */
struct tcp_link {
    uint32_t next, prev;
};

struct tcp_range {
    uint32_t start, end; /* [start, end) */
    uint32_t stamp;      /* when it last grew: the newest is the first SACK block */
};

/* One segment in flight; it begins where the one before it ends. */
struct tcp_sent {
    uint64_t at_us; /* sent last */
    uint32_t end;
    uint32_t flags; /* enum sent_flag */
};

enum sent_flag {
    SENT_SACKED = 1 << 0,   /* the peer has it */
    SENT_LOST = 1 << 1,     /* it must be sent again, and has not been */
    SENT_REPEATED = 1 << 2, /* it went out more than once */
};

/* The segments in flight of a connection with SACK, from snd_una to snd_nxt without a gap.  Taken from its slab
 * with the second segment of a flight, or the first question about it, and given back when nothing is in flight; a
 * flight that found none is repaired as if the peer had no SACK.  A full ring holds new data back: what a peer with tiny
 * segments can make us keep and walk through is bounded (CVE-2019-11477). */
struct tcp_board {
    uint32_t head, count;   /* ring of records */
    uint32_t sacked, lost;  /* bytes under each flag; no segment has both */
    uint32_t prr_delivered; /* RFC 6937, while in recovery */
    uint32_t prr_out;
    uint32_t recover_flight; /* RecoverFS */
    uint64_t rack_at_us;     /* RFC 8985: the segment sent last among those that arrived; 0: none yet */
    uint32_t rack_end, rack_rtt_us;
    bool echoed; /* the ACK being taken echoes a timestamp: */
    uint32_t echo;
    uint32_t fack, fack_before; /* one past the highest that arrived; the same as of the last ACK */
    uint32_t widened_until;     /* the reordering window grows once per round trip */
    bool widened;
    bool lost_beyond;         /* a segment sent in this recovery was lost: another loss event (B34) */
    bool rescue_due, rescued; /* RFC 6675 4: a hole was filled; once per recovery */
    struct tcp_sent sent[];
};

/* A send or receive buffer.  Byte s of the stream lies at s - base modulo the buffer's size, and base is where the stream was when
 * the buffer was taken: a request and its reply then lie in the same few cache lines and the same page that the ones before them have
 * left warm, where s itself would lead each of them somewhere else in 64 KB. */
struct tcp_ring {
    uint32_t base;
    uint32_t stamp; /* of receiving, while there are ranges: as in the youngest */
    uint8_t bytes[];
    /* of receiving, behind the bytes: struct tcp_range[TCP_RANGES_MAX], what lies beyond rcv_nxt; sorted, neither touching nor overlapping */
};

/* RFC 9438; windows in bytes.  One stage of congestion avoidance begins with the first ACK that may grow cwnd
 * after a loss, a pause or slow start. */
struct tcp_cubic {
    uint64_t epoch_us; /* when the stage began, pauses not counted; 0: none has */
    uint64_t seen_us;  /* up to where pauses are counted */
    uint32_t w_max;    /* where the curve is flat; 0: wherever the stage begins */
    uint32_t w_prior;  /* cwnd before the last loss */
    uint32_t w_est;    /* what Reno would have by now */
    uint32_t k_ms;     /* when the curve reaches w_max */
};

/* What the last loss took, in case it proves to have been none. */
struct tcp_undo {
    uint32_t cwnd, ssthresh, w_max, w_prior;
    uint32_t una;     /* snd_una as of then */
    uint32_t ts;      /* our timestamp of the first repetition */
    uint16_t repeats; /* not reported as duplicates */
    bool reported;    /* ... and one was */
    bool mixed;       /* their number tells nothing */
};

/* Sizes as in mss.  Good while TCP_CONN_MTU_LOWERED. */
struct tcp_pmtu {
    uint32_t raise_s;   /* when a larger one may be tried */
    uint32_t probe_end; /* of the segment that tries it */
    uint16_t probe;     /* its size; 0: none is out */
    uint16_t next;      /* of the next one */
    uint16_t agreed, failed;
};

/* Whom a connection is with; no padding, hashed and compared as bytes. */
struct tcp_tuple {
    uint8_t remote[16], local[16];
    uint16_t remote_port, local_port;
    uint32_t family;
};

struct net_conn {
    /* line 0: found by, receiving */
    struct tcp_tuple tuple;
    struct tcp *tcp;
    uint32_t rcv_nxt;
    uint32_t rcv_read; /* the user has consumed up to here */
    uint32_t rcv_adv;  /* right edge of the widest window ever announced; never retreats */
    uint32_t last_ack; /* the ACK field we sent last (RFC 7323 4.3: Last.ACK.sent) */
    /* line 1: sending */
    uint32_t snd_una, snd_nxt;
    uint32_t snd_max; /* one past the highest ever sent; snd_nxt falls back below it after a timeout */
    uint32_t snd_end; /* one past the last queued byte */
    uint32_t snd_wnd, snd_wl1, snd_wl2;
    uint32_t snd_wnd_max;
    uint32_t cwnd, ssthresh;
    uint32_t ts_recent;
    uint32_t flags; /* enum tcp_conn_flag */
    uint16_t mss;   /* bytes of TCP options and data that fit one segment: min(peer's MSS, our MTU) */
    uint8_t snd_wscale, rcv_wscale;
    uint8_t state; /* enum tcp_state; the short way asks for it and the next one at once */
    uint8_t range_count;
    uint8_t retries;            /* timeouts without progress */
    uint8_t probes;             /* of the tail, since snd_una moved */
    struct tcp_ring *recv_ring; /* NULL while nothing is stored */
    /* lines 2 and 3: what the sending of data and its acknowledgement touch as well */
    struct tcp_ring *send_ring; /* NULL while nothing is queued */
    struct tcp_board *board;    /* NULL: nothing in flight, TCP_CONN_LONE, or no SACK */
    uint64_t last_send_us;
    uint32_t rto_us, srtt_us, rttvar_us; /* srtt_us == 0: no sample yet */
    uint32_t rtt_min_us;                 /* 0: no sample yet */
    uint32_t rtt_seq, rtt_start_us;      /* low 32 bits: nothing is timed for an hour */
    uint32_t ts_offset;
    uint32_t rcv_since_ack; /* bytes received that no ACK has covered */
    uint16_t rcv_mss;       /* the largest segment received so far */
    uint16_t event_round;
    uint32_t ts_recent_s; /* when ts_recent was taken */
    uint64_t progress_us; /* snd_una last moved, or the flight began */
    uint64_t deadline[TIMER_COUNT];
    struct tcp_link output_link, event_link;
    /* the rest */
    struct wheel_entry timer;
    struct tcp_link room_link;
    void *user;
    uint64_t last_rx_us, challenge_at_us;
    uint32_t recover; /* RFC 6582 */
    uint32_t rcv_fin;
    uint32_t irs, iss;
    uint32_t persist_us; /* present interval between probes */
    uint32_t dsack_start, dsack_end;
    uint32_t tlp_end;
    struct tcp_cubic cubic;
    uint32_t reo_us; /* how much later than expected a segment came that others had overtaken */
    struct tcp_undo undo;
    struct tcp_pmtu pmtu;
    uint8_t keepalives; /* unanswered questions */
    uint8_t dupacks;
    uint8_t events;       /* enum net_event, pending */
    bool peer_delays : 1; /* the probe of a lone segment was needless: the peer had only kept its ACK */
    uint8_t challenge_tokens : 3, cause : 3; /* cause: enum net_cause */
    /* steps beyond the first quarter of rtt_min_us, and how long they last: four bits each */
    uint8_t reo_widen;
    uint8_t cwnd_rest, w_est_rest; /* of cubic: 256ths of a byte */
    bool tlp_lone;                 /* TCP_CONN_TLP_REPEAT: the segment was alone in flight */
};

_Static_assert(offsetof(struct net_conn, snd_una) == 64 && offsetof(struct net_conn, send_ring) == 128,
               "what every segment touches lies in two cache lines");
_Static_assert(offsetof(struct net_conn, timer) <= 296, "... and what data touches beside it in little more");
_Static_assert(sizeof(struct net_conn) <= 448,
               "an idle connection is one record, and with its slots less than 512 bytes");

struct tcp_slot {
    uint32_t tag;  /* the tuple's keyed hash */
    uint32_t conn; /* 0: free; the record's distance, as in a struct tcp_link; in a record_table: index + 1 */
};

/* Records of TCP_RECORD_LEN bytes, each beginning with its struct tcp_tuple. */
struct record_table {
    struct tcp_slot *slots;
    uint32_t slot_mask;
    struct slab records;
};

enum syn_flag {
    SYN_TS = 1 << 0,     /* offered by the peer, and so agreed */
    SYN_SACK = 1 << 1,   /* likewise */
    SYN_WSCALE = 1 << 2, /* likewise */
    SYN_RESENT = 1 << 3, /* the SYN-ACK left more than once: its answer is not timed (Karn) */
};

#define SYN_QUEUES         16 /* one for each number of repetitions, syn_ack_retries being at most 15 */
#define SYN_CHALLENGES_MAX 7  /* of one half-open connection in its whole life (C6) */

/* A connection that is half open.  Lives until its last ACK, its RST, the last repetition, or until the table
 * is full and it is the oldest.  On the stack, queues unset, it also carries what a cookie says. */
struct syn_entry {
    struct tcp_tuple tuple;
    uint32_t irs, iss;
    uint32_t ts_recent;
    uint32_t sent_us;    /* when the SYN-ACK last left by its timer; low 32 bits: entries live minutes */
    uint16_t next, prev; /* in the queue of their tries */
    uint16_t mss;        /* the peer's */
    uint8_t flags : 4;   /* enum syn_flag */
    uint8_t wscale : 4;  /* the peer's */
    uint8_t tries : 4;   /* repetitions of the SYN-ACK */
    uint8_t challenges : 4;
};

_Static_assert(sizeof(struct syn_entry) == TCP_RECORD_LEN, "a SYN costs one cache line");

struct syn_queue {
    uint16_t first, last;
};

struct syn_cache {
    struct record_table table;
    struct syn_queue queue[SYN_QUEUES];
    struct wheel_entry timer; /* armed for the first entry that is due, or before it */
};

/* A connection in TIME-WAIT. */
struct wait_entry {
    struct tcp_tuple tuple;
    uint32_t snd_nxt, rcv_nxt;
    uint32_t ts_recent;
    uint32_t ends_ms; /* low 32 bits of a clock of 1 ms */
    uint64_t next : 22, prev : 22;
    uint64_t wnd : 16; /* as it was announced last */
    uint64_t ts : 1;   /* timestamps were agreed */
    uint64_t challenges : 3;
};

_Static_assert(sizeof(struct wait_entry) == TCP_RECORD_LEN, "TIME-WAIT costs one cache line");

struct wait_table {
    struct record_table table;
    uint32_t first, last;     /* oldest, newest */
    struct wheel_entry timer; /* armed for the first, or before it */
};

struct cookie_jar {
    struct siphash_key secret[2]; /* the present one and the one before it */
    bool used[2];                 /* whether a cookie was given under it */
    uint64_t since_us;            /* when secret[0] came */
};

enum pressure_level { PRESSURE_NONE, PRESSURE_COOKIES, PRESSURE_NARROW, PRESSURE_SHED }; /* tcp_pressure.c */

struct pressure {
    enum pressure_level level; /* as of this turn */
    /* With fewer free buffers than this the level is looked at: half of them, rounded up; of receive buffers always where it was not
     * PRESSURE_NONE. */
    size_t recv_look, send_look;
    uint32_t hand;       /* the record that the sweep looks at next */
    uint32_t slowest;    /* of this sweep so far, a record */
    uint64_t slowest_us; /* ... without progress since then; TCP_NEVER: there is none */
};

struct tcp {
    struct net *net;
    struct tcp_slot *slots;
    uint32_t slot_mask;
    struct flow_key table_key;
    struct siphash_key isn_key, ts_key;
    struct slab conns, recv_buffers, send_buffers;
    /* Of what is unread a window reaches so far now, and by how much a right edge moves at least: tcp_pressure.c. */
    uint32_t window, window_step[NET_IP6 + 1]; /* by family */
    struct slab boards;
    uint32_t board_cap; /* records of a board; power of two */
    struct tcp_link events, outputs, hop_waiters, room_waiters;
    uint16_t event_round; /* what is raised while a round is handed out belongs to the next one */
    bool in_round;
    uint32_t hop_generation; /* as of when hop_waiters were last asked for */
    uint32_t state_count[TCP_STATE_COUNT];
    uint8_t rcv_wscale;
    uint32_t reset_tokens, challenge_tokens; /* per worker */
    uint64_t tokens_at_us;
    struct timer_wheel wheel;
    struct syn_cache halves;
    struct wait_table waits;
    struct pressure pressure;
    struct cookie_jar cookies;
    struct siphash_key port_key; /* RFC 6056 */
    uint32_t port_next;
};

/* One received segment; dies with the frame. */
struct tcp_options {
    bool has_mss, has_wscale, has_ts, sack_permitted;
    bool refused; /* MD5 or AO: no key of ours stands behind it */
    uint8_t wscale;
    uint16_t mss;
    uint32_t tsval, tsecr;
    uint8_t sack_count;
    struct tcp_range sack[TCP_SACK_BLOCKS_MAX]; /* as claimed: nothing is checked yet */
};

struct tcp_segment {
    const struct ip_packet *ip;
    struct tcp_tuple tuple; /* as seen by us: local is the destination */
    uint32_t seq, ack;
    uint16_t wnd;
    uint8_t flags;
    struct span data;
    struct tcp_options options;
};

/* In sequence numbers. */
static inline uint32_t segment_len(const struct tcp_segment *s)
{
    return (uint32_t)s->data.len + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
}

/* --- sequence numbers, modulo 2^32 (RFC 9293 3.4) --- */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_lt(a, b) ? b : a;
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
    return seq_lt(a, b) ? a : b;
}

static inline uint32_t u32_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t u32_max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* --- lists: intrusive --- */
static inline struct tcp_link *link_at(const struct tcp *t, uint32_t words)
{
    return (struct tcp_link *)((uintptr_t)t + (uintptr_t)words * 4);
}

static inline uint32_t link_place(const struct tcp *t, const struct tcp_link *l)
{
    return (uint32_t)(((uintptr_t)l - (uintptr_t)t) / 4);
}

static inline void link_init(const struct tcp *t, struct tcp_link *head)
{
    head->next = head->prev = link_place(t, head);
}

static inline bool link_is_in(const struct tcp_link *l)
{
    return l->next != 0;
}

static inline bool link_empty(const struct tcp *t, const struct tcp_link *head)
{
    return head->next == link_place(t, head);
}

static inline void link_append(const struct tcp *t, struct tcp_link *head, struct tcp_link *l)
{
    l->prev = head->prev;
    l->next = link_place(t, head);
    link_at(t, l->prev)->next = head->prev = link_place(t, l);
}

static inline void link_remove(const struct tcp *t, struct tcp_link *l)
{
    if (!link_is_in(l))
        return;
    link_at(t, l->prev)->next = l->next;
    link_at(t, l->next)->prev = l->prev;
    *l = (struct tcp_link){0, 0};
}

/* Of a list that is not empty. */
static inline struct tcp_link *link_first(const struct tcp *t, const struct tcp_link *head)
{
    return link_at(t, head->next);
}

/* The same, taken out. */
static inline struct tcp_link *link_take(const struct tcp *t, struct tcp_link *head)
{
    struct tcp_link *l = link_at(t, head->next);

    head->next = l->next;
    link_at(t, l->next)->prev = link_place(t, head);
    *l = (struct tcp_link){0, 0};
    return l;
}

#define TCP_CONN_OF(l, member) ((struct net_conn *)(void *)((uint8_t *)(l)-offsetof(struct net_conn, member)))

static inline bool tcp_conn_has(const struct net_conn *c, uint32_t flags)
{
    return (c->flags & flags) != 0;
}

static inline uint64_t tcp_conn_now(const struct net_conn *c)
{
    return c->tcp->net->now_us;
}

/* Bytes queued and not acknowledged (a FIN is not a byte). */
static inline uint32_t tcp_conn_queued(const struct net_conn *c)
{
    return seq_lt(c->snd_una, c->snd_end) ? c->snd_end - c->snd_una : 0;
}

/* In-order bytes that the user has not consumed. */
static inline uint32_t tcp_conn_unread(const struct net_conn *c)
{
    uint32_t unread = c->rcv_nxt - c->rcv_read;

    return UNLIKELY(tcp_conn_has(c, TCP_CONN_FIN_RECEIVED)) ? unread - 1 : unread;
}

/* Only with a receive buffer. */
static inline struct tcp_range *tcp_conn_ranges(const struct net_conn *c)
{
    return (struct tcp_range *)(void *)(c->recv_ring->bytes + c->tcp->net->config.recv_buffer);
}

static inline uint32_t tcp_conn_recv_window(const struct net_conn *c)
{
    return c->rcv_adv - c->rcv_nxt;
}

/* Our SYN is not acknowledged yet. */
static inline bool tcp_conn_is_opening(const struct net_conn *c)
{
    return c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED;
}

/* Bytes of data beside the options that every segment carries. */
static inline uint32_t tcp_conn_segment_max(const struct net_conn *c)
{
    return (uint32_t)c->mss - (tcp_conn_has(c, TCP_CONN_TS) ? TCP_TS_OPTION_LEN : 0);
}

/* --- tcp_output.c --- */
/* Of a connection's turn to send, the long way; returns how many of at most cap (> 0) frames were filled. */
uint16_t MUST_USE tcp_conn_turn_output(struct net_conn *c, struct frame *frames, uint16_t cap);
/* A neighbour has changed. */
void hop_waiters_ask_again(struct tcp *t);

/* --- tcp_options.c --- */
/* false: an option runs over the header's end or names a length below 2 (B3). */
bool MUST_USE options_parse(struct span bytes, struct tcp_options *out);
/* All write whole words at p (room for TCP_OPTIONS_MAX) and return their number of bytes. */
/* Of a SYN or SYN-ACK: MSS, and what e->flags name. */
uint32_t options_write_syn(const struct syn_entry *e, uint16_t mss, uint32_t tsval, uint8_t wscale,
                           uint8_t *p);
uint32_t options_write_timestamps(uint32_t tsval, uint32_t tsecr, uint8_t *p);
/* At most room bytes: SACK blocks that do not fit beside a repeated segment stay away. */
uint32_t options_write(const struct net_conn *c, uint8_t *p, uint32_t room);
/* What options_write will need now. */
uint32_t options_len(const struct net_conn *c, uint32_t room);

/* --- tcp_reassembly.c --- */
/* Stores what of data fits the window and is new.  false: dropped (no buffer, too many gaps), and counted;
 * nothing of the segment was taken. */
bool MUST_USE recv_store(struct net_conn *c, uint32_t seq, struct span data);
/* The ranges as SACK blocks, the newest first; returns how many of at most cap. */
uint32_t recv_sack_blocks(const struct net_conn *c, struct tcp_range *out, uint32_t cap);
/* [start, end) came although it was here already: the next ACK reports it (RFC 2883). */
void recv_duplicate_note(struct net_conn *c, uint32_t start, uint32_t end);

/* --- tcp_record.c --- */
size_t record_table_memory_needed(uint32_t records);
void record_table_init(struct record_table *r, struct arena *a, uint32_t records);
void *record_find(const struct record_table *r, const struct tcp_tuple *tuple, uint32_t hash);
/* Zeroed but for its tuple; NULL when all are in use. */
void *MUST_USE record_new(struct record_table *r, const struct tcp_tuple *tuple, uint32_t hash);
void record_free(struct record_table *r, void *record, uint32_t hash);
void *record_at(const struct record_table *r, uint32_t index);
uint32_t record_index(const struct record_table *r, const void *record);
uint32_t record_count(const struct record_table *r);

/* --- tcp_syn_cache.c --- */
void syn_cache_init(struct tcp *t, struct arena *a);
/* s: an opening SYN for a port that listens (RFC 9293 3.10.7.2).  Data beside it is not taken: it comes again
 * after the handshake.  isn_above: the ISN must lie beyond this (RFC 1122 4.2.2.13). */
void listen_input(struct net *n, const struct tcp_segment *s, const uint32_t *isn_above);
struct syn_entry *syn_cache_find(struct tcp *t, const struct tcp_tuple *tuple);
/* e may be gone afterwards. */
void syn_cache_input(struct net *n, struct syn_entry *e, const struct tcp_segment *s);
/* false: s does not complete a handshake by cookie. */
bool MUST_USE cookie_input(struct net *n, const struct tcp_segment *s);
/* Its wheel entry fired. */
void syn_cache_timer(struct tcp *t);
/* RFC 6528. */
uint32_t tuple_isn(const struct tcp *t, const struct tcp_tuple *tuple);
/* What the SYN s says: the peer's number, MSS and options. */
void syn_entry_fill(struct syn_entry *e, const struct tcp_segment *s);
/* What both ends have offered, and where both streams begin. */
void tcp_conn_agree(struct net_conn *c, const struct syn_entry *e);
void tcp_conn_sequences_begin(struct net_conn *c, const struct syn_entry *e);
uint16_t syn_window(const struct net *n);

/* --- tcp_connect.c --- */
void connect_init(struct tcp *t);
uint32_t connect_options(const struct net_conn *c, uint8_t *p);
/* TIMER_REXMIT of a connection that is opening; c may be dead afterwards. */
void connect_timeout(struct net_conn *c);
/* Any segment in SYN-SENT; c may be dead afterwards. */
void connect_input(struct net_conn *c, const struct tcp_segment *s);
/* A SYN in SYN-RECEIVED. */
void connect_syn_input(struct net_conn *c, const struct tcp_segment *s);
/* Any other acceptable segment in SYN-RECEIVED: true when its ACK made the connection ESTABLISHED. */
bool MUST_USE connect_ack_input(struct net_conn *c, const struct tcp_segment *s);

/* --- tcp_time_wait.c --- */
void time_wait_init(struct tcp *t, struct arena *a);
struct wait_entry *time_wait_find(const struct tcp *t, const struct tcp_tuple *tuple);
/* true: the segment is a SYN that may begin a new connection in place of the old one (RFC 6191); nothing has been
 * done with it. */
bool MUST_USE time_wait_input(struct tcp *t, struct wait_entry *e, const struct tcp_segment *s);
void time_wait_free(struct tcp *t, struct wait_entry *e);
/* Its wheel entry fired. */
void time_wait_timer(struct tcp *t);
/* Both FINs are through.  Sends the ACK that is owed and ends c, which may be dead afterwards. */
void tcp_conn_enter_time_wait(struct net_conn *c);

/* --- tcp_pressure.c --- */
void pressure_init(struct tcp *t);
/* Once per turn; under the worst pressure also a step of the sweep.  Cost: a few divisions, or 64 records. */
void pressure_turn(struct tcp *t);

/* --- tcp_keepalive.c --- */
/* c has become established. */
void keepalive_begin(struct net_conn *c);
/* TIMER_KEEPALIVE; c may be dead afterwards. */
void keepalive_timeout(struct net_conn *c);

/* --- tcp_cookie.c --- */
void cookies_init(struct tcp *t);
/* Sets e->iss; *tsval: the timestamp to be sent, changed in its last bits.  Without timestamps e loses its
 * scale and SACK. */
void cookie_make(struct tcp *t, struct syn_entry *e, uint32_t *tsval);
/* true: s acknowledges a cookie of ours, *e says what was agreed. */
bool MUST_USE cookie_accept(struct tcp *t, const struct tcp_segment *s, struct syn_entry *e);

/* --- tcp_table.c --- */
uint32_t tuple_hash(const struct tcp *t, const struct tcp_tuple *tuple);
uint32_t tuple_ts_offset(const struct tcp *t, const struct tcp_tuple *tuple);
/* The clock of its timestamps. */
uint32_t tuple_ts_now(const struct tcp *t, const struct tcp_tuple *tuple);
struct net_conn *table_find(struct tcp *t, const struct tcp_tuple *tuple);
struct net_conn *table_find_hashed(struct tcp *t, const struct tcp_tuple *tuple, uint32_t hash);
/* In two steps, for a burst: asks memory for what table_find_hashed will look at.  Returns the tuple's hash. */
uint32_t table_expect(const struct tcp *t, const struct tcp_tuple *tuple);
void table_expect_record(const struct tcp *t, uint32_t hash);
/* A zeroed record in the table, state CLOSED; NULL when every record is in use. */
struct net_conn *MUST_USE tcp_conn_new(struct tcp *t, const struct tcp_tuple *tuple);
void tcp_conn_set_state(struct net_conn *c, enum tcp_state state);
/* The connection is over for the wire: out of the table, its timers and send buffer gone.  The record is
 * freed at once, or, with a user, stays in CLOSED with a CLOSED event until net_release.  c may be dead
 * afterwards. */
void tcp_conn_end(struct net_conn *c, enum net_cause cause);
/* Frees the record; only in CLOSED and without a user. */
void tcp_conn_free(struct net_conn *c);

/* --- tcp_input.c --- */
void tuple_set(struct tcp_tuple *t, const struct net_addr *remote, const struct net_addr *local,
               uint16_t remote_port, uint16_t local_port);
bool tcp_port_listens(const struct net *n, uint16_t port);
/* A segment that no connection stands behind, through the queue of stateless answers. */
struct tcp_bare {
    uint32_t seq, ack;
    uint16_t wnd;
    uint8_t flags;
    struct span options; /* whole words */
};
/* false: that queue is full, or the IP half knows no way. */
bool bare_send(struct net *n, const struct tcp_tuple *tuple, const struct tcp_bare *b);
/* One challenge of the worker's budget; false: there is none now. */
bool MUST_USE challenge_token_take(struct tcp *t);
/* RST seq, without ACK, to the peer of the tuple; through the reply queue, within the worker's rate. */
void reset_send(struct net *n, const struct tcp_tuple *tuple, uint32_t seq, uint32_t ack, bool with_ack);
void tcp_conn_reset_send(struct net_conn *c);
/* An answer to a segment that should not have come (RFC 5961): spaced per connection and per worker (C6). */
void tcp_conn_challenge(struct net_conn *c);
/* The answer to a keep-alive: within the rate of the connection alone. */
void tcp_conn_still_here(struct net_conn *c);

/* --- tcp_segment.c --- */
/* c may be dead afterwards. */
void tcp_conn_input(struct net_conn *c, const struct tcp_segment *s);
/* s: what completed the handshake; its window is taken by c->snd_wscale. */
void tcp_conn_become_established(struct net_conn *c, const struct tcp_segment *s);

/* --- tcp_ack.c --- */
/* s->ack is within what was sent.  Moves snd_una, the windows and the timers. */
void ack_input(struct net_conn *c, const struct tcp_segment *s);
uint32_t cwnd_initial(const struct net_conn *c);

/* --- tcp_cubic.c --- */
/* Lets cwnd grow for acked bytes, if it held output back (B17, RFC 7661). */
void cwnd_grow(struct net_conn *c, uint32_t acked);
/* What a loss noticed now is the loss of: bytes in flight, and no more than cwnd. */
uint32_t cwnd_used(const struct net_conn *c);
/* ssthresh for a loss at the window w; cwnd is the caller's. */
void cwnd_loss(struct net_conn *c, uint32_t w);
/* The same for a timeout. */
void cwnd_timeout(struct net_conn *c);

/* --- tcp_scoreboard.c --- */
size_t board_size(const struct net_config *config, uint32_t *cap);
/* c may be TCP_CONN_LONE: whoever looks at what is in flight, but for the short way, calls this first. */
void board_describe(struct net_conn *c);
/* Forgets what is in flight: snd_nxt falls back to snd_una, all goes again from there. */
void board_drop(struct net_conn *c);
/* The peer has everything before ack; ack is above snd_una, which still is the old one.  Returns how many bytes
 * it has not had before. */
uint32_t board_ack(struct net_conn *c, uint32_t ack);
/* The same for [start, end), which lies between snd_una and snd_max.  Only whole segments count. */
uint32_t board_sack(struct net_conn *c, uint32_t start, uint32_t end);
/* RFC 6675 IsLost for every segment never repeated; returns the bytes newly marked. */
uint32_t board_mark_lost(struct net_conn *c);
/* After a timeout: everything that the peer does not have. */
void board_mark_all_lost(struct net_conn *c);
/* RFC 8985 6.2 step 5: marks what was sent long enough before a segment that arrived; returns after how many
 * microseconds the last of what is still in time will be late, 0 when nothing waits. */
uint64_t board_mark_late(struct net_conn *c, uint64_t reo_wnd_us);
/* What was marked lost is on its way after all. */
void board_unmark_lost(struct net_conn *c);
uint32_t board_sacked_segments(const struct net_conn *c);
/* Bytes of the segment that begins at seq; 0: none does. */
uint32_t board_len_at(const struct net_conn *c, uint32_t seq);
/* The first segment in flight. */
void board_head(const struct net_conn *c, uint32_t *start, uint32_t *end);
/* The last; false without a board. */
bool board_tail(const struct net_conn *c, uint32_t *start, uint32_t *end);
/* The first segment marked lost: true, and where it begins and ends. */
bool board_first_lost(const struct net_conn *c, uint32_t *start, uint32_t *end);
/* The last segment that the peer does not have, likewise; false when it was repeated already. */
bool board_last_missing(const struct net_conn *c, uint32_t *start, uint32_t *end);
/* The segment that begins at start becomes two, the first one len bytes long; false: the board is full. */
bool MUST_USE board_split(struct net_conn *c, uint32_t start, uint32_t len);
/* The segment that begins at start leaves again. */
void board_repeat(struct net_conn *c, uint32_t start);

/* --- tcp_recovery.c --- */
/* The cumulative and selective part of an acknowledgement, on a connection with a board; snd_una is still the
 * old one.  Returns the bytes newly delivered. */
uint32_t recovery_take(struct net_conn *c, const struct tcp_segment *s);
/* What follows for recovery and cwnd, when snd_una has moved by acked (0 or more). */
void recovery_follow(struct net_conn *c, uint32_t acked, uint32_t delivered);
/* After segments were marked lost outside an acknowledgement. */
void recovery_consider(struct net_conn *c);
/* How many bytes a repetition may have now. */
uint32_t recovery_room(const struct net_conn *c);

/* A D-SACK outside a flight. */
void recovery_dsack(struct net_conn *c, const struct tcp_segment *s);

/* --- tcp_undo.c --- */
/* A loss was noticed: cwnd, ssthresh and recovery are still as before it. */
void undo_begin(struct net_conn *c);
/* The same for a timeout, which may be one of several in a row. */
void undo_timeout(struct net_conn *c);
/* A segment left again. */
void undo_repeated(struct net_conn *c);
/* The peer reports [start, end) as a duplicate; it is sound. */
void undo_dsack(struct net_conn *c, uint32_t start, uint32_t end);
/* snd_una has moved, and nothing else has followed from it. */
void undo_ack_new(struct net_conn *c, const struct tcp_segment *s);
/* All has: where a timeout left a doubt, new segments may leave (RFC 5682 2.1 step 2b). */
void undo_ask(struct net_conn *c);
/* snd_una has not moved, and other segments arrived. */
void undo_ack_duplicate(struct net_conn *c);
/* s ended a fast recovery. */
void undo_recovered(struct net_conn *c, const struct tcp_segment *s);
/* After every acknowledgement. */
void undo_settle(struct net_conn *c);

/* Gives back what the present recovery took of cwnd. */
void undo_cuts(struct net_conn *c);

/* --- tcp_pmtu.c --- */
/* A router says that the segment at seq was too big for mtu.  true: believed (RFC 5927), and segments are smaller
 * now. */
bool pmtu_too_big(struct net_conn *c, uint32_t seq, uint32_t mtu);
/* A timeout, not counted in retries yet: where it is one too many of a large segment, segments become smaller. */
void pmtu_timeout(struct net_conn *c);
/* ... and as large as before: the timeout was none. */
void pmtu_acquit(struct net_conn *c);
/* Bytes of a segment larger than the others that may leave now, of at most room; 0: none.  Only while
 * TCP_CONN_MTU_LOWERED. */
uint32_t pmtu_probe(struct net_conn *c, uint32_t room);
/* The segment at start leaves again, or the first part of it. */
void pmtu_repeated(struct net_conn *c, uint32_t start);
/* snd_una has moved, while TCP_CONN_MTU_LOWERED. */
void pmtu_acked(struct net_conn *c);

/* --- tcp_rack.c --- */
/* The segment r arrived, for the first time that we hear of it. */
void rack_arrived(struct net_conn *c, const struct tcp_sent *r);
/* Marks what is late by now; what may become late keeps TIMER_REXMIT. */
void rack_detect(struct net_conn *c);
/* A repetition was reported to have been needless: the reordering window widens (RFC 8985 6.2 step 4). */
void rack_widen(struct net_conn *c);
void rack_recovery_ended(struct net_conn *c);
/* TIMER_REXMIT fired for one of the two. */
void rack_timeout(struct net_conn *c);
/* Whether an ACK answers a tail probe, and whether that tells of a loss (RFC 8985 7.4); snd_una is the old one. */
void tlp_answer(struct net_conn *c, const struct tcp_segment *s);

/* --- tcp_timer.c --- */
void tcp_conn_persist_start(struct net_conn *c);
void tcp_conn_persist_stop(struct net_conn *c);
/* An orphan in FIN_WAIT, CLOSING or LAST_ACK ends when it makes no progress for fin_wait_2_ms. */
void tcp_conn_orphan_timer_restart(struct net_conn *c);

#include "dataplane/net/tcp_hot.h"

#endif
