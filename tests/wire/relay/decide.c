#include "tests/wire/relay/decide.h"

#include <stdlib.h>
#include <string.h>

#define PPM            1000000u
#define ETH_HEADER_LEN 14

static const char *const only_names[] = {"tcp", "all", "ip", "udp", "icmp", "data", "syn", "fin"};
static const char *const loss_names[] = {"", "chance", "burst", "listed"};

/* ---- the text of what is wanted ---- */

static bool parse_only(const char *value, struct impairments *out)
{
    for (size_t i = 0; i < sizeof only_names / sizeof only_names[0]; i++)
        if (strcmp(value, only_names[i]) == 0) {
            out->only = (enum only)i;
            return true;
        }
    return false;
}

static bool parse_listed(const char *value, struct impairments *out)
{
    char *end;

    for (;; value = end + 1) {
        unsigned long n = strtoul(value, &end, 10);
        if (end == value || n == 0 || n > UINT32_MAX || out->listed_count == LISTED_MAX)
            return false;
        out->listed[out->listed_count++] = (uint32_t)n;
        if (*end == '\0')
            return true;
        if (*end != '/')
            return false;
    }
}

static bool parse_percent(const char *value, uint32_t *ppm)
{
    char *end;
    double percent = strtod(value, &end);

    *ppm = percent >= 0 && percent <= 100 ? (uint32_t)(percent * (PPM / 100.0) + 0.5) : 0;
    return end != value && *end == '\0' && *ppm > 0;
}

static bool parse_number(const char *value, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    *out = (uint32_t)n;
    return end != value && *end == '\0' && n > 0 && n <= 60000000;
}

static bool parse_one(const char *name, const char *value, struct impairments *out)
{
    const struct {
        const char *name;
        uint32_t *to;
    } chances[] = {{"loss", &out->loss},       {"burst", &out->burst},     {"dup", &out->duplicate},
                   {"reorder", &out->reorder}, {"corrupt", &out->corrupt}, {"truncate", &out->truncate},
                   {"spike", &out->spike}},
      numbers[] = {{"burst_len", &out->burst_len},
                   {"reorder_us", &out->reorder_us},
                   {"spike_us", &out->spike_us},
                   {"delay_us", &out->delay_us},
                   {"mtu", &out->mtu}};
    uint32_t one = 0;

    for (size_t i = 0; i < sizeof chances / sizeof chances[0]; i++)
        if (strcmp(name, chances[i].name) == 0)
            return parse_percent(value, chances[i].to);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strcmp(name, numbers[i].name) == 0)
            return parse_number(value, numbers[i].to);
    if (strcmp(name, "only") == 0)
        return parse_only(value, out);
    if (strcmp(name, "drop") == 0)
        return parse_listed(value, out);
    if (strcmp(name, "ptb") == 0)
        return out->ptb = parse_number(value, &one) && one == 1;
    return false;
}

const char *impairments_parse(const char *text, struct impairments *out)
{
    static char one[512];
    const char *at = text;

    *out = (struct impairments){.burst_len = 4, .reorder_us = 2000, .spike_us = 300000};
    while (*at != '\0') {
        size_t len = strcspn(at, ",");
        if (len >= sizeof one)
            return "an entry that is too long";
        memcpy(one, at, len);
        one[len] = '\0';
        char *value = strchr(one, '=');
        if (value == NULL)
            return one;
        *value = '\0';
        if (!parse_one(one, value + 1, out)) {
            *value = '=';
            return one;
        }
        at += len + (at[len] == ',');
    }
    return out->ptb && out->mtu == 0 ? "ptb without mtu" : NULL;
}

/* ---- drawing ---- */

/* splitmix64; a stream of its own for every frame. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t draw_below(uint64_t *state, uint32_t below)
{
    return (uint32_t)((draw(state) >> 32) * below >> 32);
}

/* Draws even when the chance is zero: one impairment more does not shift the others. */
static bool happens(uint64_t *state, uint32_t ppm)
{
    return draw_below(state, PPM) < ppm;
}

static bool is_listed(const struct impairments *want, uint32_t n)
{
    for (uint32_t i = 0; i < want->listed_count; i++)
        if (want->listed[i] == n)
            return true;
    return false;
}

static enum loss decide_loss(struct decider *d, uint64_t *state, uint32_t n)
{
    bool alone = happens(state, d->want.loss), begins = happens(state, d->want.burst);

    if (begins && d->burst_left == 0)
        d->burst_left = d->want.burst_len;
    if (is_listed(&d->want, n))
        return LOSS_LISTED;
    if (d->burst_left > 0) {
        d->burst_left--;
        return LOSS_BURST;
    }
    return alone ? LOSS_CHANCE : LOSS_NONE;
}

/* Damage lies behind the Ethernet header and within one byte: the Internet checksum finds every such change. */
static void decide_damage(const struct impairments *want, uint64_t *state, uint32_t len, struct decision *out)
{
    bool cut = happens(state, want->truncate), flip = happens(state, want->corrupt);
    uint32_t room = len - ETH_HEADER_LEN;
    uint32_t left = ETH_HEADER_LEN + draw_below(state, room), at = ETH_HEADER_LEN + draw_below(state, room);
    uint8_t bits = (uint8_t)(1 + draw_below(state, 255));

    if (cut && room > 0)
        out->cut = left;
    if (flip && room > 0 && out->cut == 0) {
        out->flip_at = at;
        out->flip = bits;
    }
}

static struct decision decide_replayed(const struct decider *d, uint32_t n, uint32_t len)
{
    struct decision out = n <= d->recorded_count ? d->recorded[n - 1] : (struct decision){0};

    if (out.cut >= len)
        out.cut = 0;
    if (out.flip_at >= len)
        out.flip = 0;
    return out;
}

struct decision decide(struct decider *d, uint32_t n, uint32_t len)
{
    uint64_t state = d->seed ^ (n * UINT64_C(0xd1342543de82ef95));
    struct decision out = {0};

    if (d->replaying)
        return decide_replayed(d, n, len);
    (void)draw(&state);
    out.lose = decide_loss(d, &state, n);
    out.twice = happens(&state, d->want.duplicate);
    bool late = happens(&state, d->want.reorder), stall = happens(&state, d->want.spike);
    uint32_t lateness = 1 + draw_below(&state, d->want.reorder_us);
    decide_damage(&d->want, &state, len, &out);
    out.late_us = late ? lateness : 0;
    out.stall_us = stall ? d->want.spike_us : 0;
    return out.lose != LOSS_NONE ? (struct decision){.lose = out.lose} : out;
}

/* ---- the trace ---- */

#define LINE_FORMAT                                                                                          \
    "{\"dir\":\"%s\",\"n\":%u,\"us\":%llu,\"len\":%u,\"lose\":\"%s\",\"twice\":%d,\"late_us\":%u,"           \
    "\"stall_us\":%u,\"cut\":%u,\"flip_at\":%u,\"flip\":%u}\n"
#define LINE_SCAN                                                                                            \
    "{\"dir\":\"%7[a-z]\",\"n\":%u,\"us\":%*u,\"len\":%*u,\"lose\":\"%15[a-z\"],\"twice\":%d,\"late_us\":%"  \
    "u,"                                                                                                     \
    "\"stall_us\":%u,\"cut\":%u,\"flip_at\":%u,\"flip\":%u}"

void decision_write(FILE *to, const char *direction, uint32_t n, uint64_t us, uint32_t len,
                    const struct decision *d)
{
    fprintf(to, LINE_FORMAT, direction, n, (unsigned long long)us, len, loss_names[d->lose], d->twice,
            d->late_us, d->stall_us, d->cut, d->flip_at, d->flip);
}

/* false: the line is something else. */
static bool decision_read(const char *line, char direction[8], uint32_t *n, struct decision *out)
{
    char lose[16];
    int twice;
    unsigned int flip;

    /* The closing quote is part of what is read, so that no loss, an empty name, is read as well. */
    if (sscanf(line, LINE_SCAN, direction, n, lose, &twice, &out->late_us, &out->stall_us, &out->cut,
               &out->flip_at, &flip) != 9)
        return false;
    lose[strcspn(lose, "\"")] = '\0';
    out->twice = twice != 0;
    out->flip = (uint8_t)flip;
    for (size_t i = 0; i < sizeof loss_names / sizeof loss_names[0]; i++)
        if (strcmp(lose, loss_names[i]) == 0) {
            out->lose = (enum loss)i;
            return true;
        }
    return false;
}

static bool record(struct decider *d, uint32_t n, const struct decision *one)
{
    if (n == 0 || n > 100000000)
        return false;
    if (n > d->recorded_count) {
        struct decision *more = reallocarray(d->recorded, n, sizeof *more);
        if (more == NULL)
            return false;
        memset(more + d->recorded_count, 0, (n - d->recorded_count) * sizeof *more);
        d->recorded = more;
        d->recorded_count = n;
    }
    d->recorded[n - 1] = *one;
    return true;
}

bool decider_replay(struct decider *d, FILE *from, const char *direction)
{
    char line[1024], of[8];
    uint32_t n;
    bool any = false;

    d->replaying = true;
    while (fgets(line, sizeof line, from) != NULL) {
        struct decision one = {0};
        if (!decision_read(line, of, &n, &one))
            continue;
        any = true;
        if (strcmp(of, direction) == 0 && !record(d, n, &one))
            return false;
    }
    return any;
}
