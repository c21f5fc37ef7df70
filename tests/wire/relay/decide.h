/* What is done to each frame of one direction: drawn from a seed, or read back from a trace.
 *
 * The decision about frame n of a direction depends on the seed, the direction and n alone (a burst: on those
 * before it), never on time or on the other direction.  Frames are counted from 1, those that `only` passes over
 * are not. */
#ifndef TESTS_WIRE_RELAY_DECIDE_H
#define TESTS_WIRE_RELAY_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LISTED_MAX 64

enum only { ONLY_TCP, ONLY_ALL, ONLY_IP, ONLY_UDP, ONLY_ICMP, ONLY_DATA, ONLY_SYN, ONLY_FIN };

/* Chances in parts per million of the counted frames, times in microseconds. */
struct impairments {
    enum only
        only; /* which frames are counted and impaired; data, syn, fin: TCP segments with that in them */
    uint32_t loss, burst, duplicate, reorder, corrupt, truncate, spike;
    uint32_t burst_len;          /* frames lost from where a burst begins */
    uint32_t reorder_us;         /* a frame is late by up to this, so that others overtake it */
    uint32_t spike_us;           /* the whole direction stands still, in order */
    uint32_t delay_us;           /* of every counted frame */
    uint32_t mtu;                /* IP packets above are dropped; 0: none */
    bool ptb;                    /* ... and their sender is told */
    uint32_t listed[LISTED_MAX]; /* frames lost by their number */
    uint32_t listed_count;
};

enum loss { LOSS_NONE, LOSS_CHANCE, LOSS_BURST, LOSS_LISTED };

struct decision {
    enum loss lose;
    bool twice;
    uint32_t late_us, stall_us;
    uint32_t cut;     /* bytes left of the frame; 0: all */
    uint32_t flip_at; /* the byte to which flip (if not 0) is exclusive-ored */
    uint8_t flip;
};

struct decider {
    uint64_t seed;
    uint32_t burst_left;
    struct impairments want;
    bool replaying;
    struct decision *recorded; /* of frame i + 1; owned */
    uint32_t recorded_count;
};

/* "loss=1,reorder=2,reorder_us=3000,only=tcp,drop=4/9": chances in percent.  NULL, or what is wrong with it. */
const char *impairments_parse(const char *text, struct impairments *out);

/* Frame number n (1..) of len bytes. */
struct decision decide(struct decider *d, uint32_t n, uint32_t len);

void decision_write(FILE *to, const char *direction, uint32_t n, uint64_t us, uint32_t len,
                    const struct decision *d);
/* Takes every line of that direction into d and makes it replay; false: not a trace, or no memory. */
bool decider_replay(struct decider *d, FILE *from, const char *direction);

#endif
