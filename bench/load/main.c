/* ww-bench: asks an EKM server, or any server with the same door, for wraps and unwraps, and says what it saw.  One thread on one core. */
#include "bench/load/load.h"

#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define TOKENS_MAX 1024

struct options {
    struct transport_config target;
    const char *device; /* NULL = kernel sockets */
    struct plan_config plan;
    struct load_config load;
    const char *ca, *name, *system;
    int cpu;
};

static const char help_text[] =
    "usage: ww-bench --target ADDRESS --token-file FILE [OPTION...]\n"
    "  --target ADDRESS       server, IPv4 or IPv6          --port N              443\n"
    "  --source ADDRESS       ours; may be repeated         --host NAME           ekm.wirewrap.test\n"
    "  --ca FILE              authority of its certificate; without it any certificate will do\n"
    "  --token-file FILE      bearer tokens, one a line     --bad-tokens SHARE    0..1, must be answered "
    "401\n"
    "  --key PATH             v0/demo/key; with %u in it and\n"
    "  --keys N               for N of them                 --zipf EXPONENT       popularity; 0 = uniform\n"
    "  --unwraps SHARE        0..1 of the requests          --plaintext BYTES     32\n"
    "  --connections N        1..100000                     --inflight N          closed loop; default all, "
    "at most 1024\n"
    "  --rate R               open loop, requests a second  --handshakes          each request on its own "
    "connection\n"
    "  --background R         such requests a second beside the load, counted apart\n"
    "  --seconds S            measured                      --warmup S            before that\n"
    "  --static               the server answers anything with 200 and the same few bytes\n"
    "  --device TEXT          our own TCP over a DPDK port (vhost:SOCKET ...) instead of kernel sockets\n"
    "  --cpu N                run there                     --seed N\n"
    "  --server-cpu N         open loop: watch that core for times when nobody had it\n"
    "  --name TEXT --system TEXT   go into the result        --announce            \"begin\" and \"end\" on "
    "stdout\n"
    "  --wait                 \"ready\" on stdout when all is connected; goes on after a line on stdin\n"
    "  --quiet                no progress line\n"
    "The result is one JSON object on stdout.\n";

enum option_key {
    O_TARGET = 256,
    O_PORT,
    O_SOURCE,
    O_HOST,
    O_CA,
    O_TOKENS,
    O_BAD,
    O_KEY,
    O_KEYS,
    O_ZIPF,
    O_UNWRAPS,
    O_PLAINTEXT,
    O_CONNECTIONS,
    O_INFLIGHT,
    O_RATE,
    O_HANDSHAKES,
    O_BACKGROUND,
    O_SECONDS,
    O_WARMUP,
    O_STATIC,
    O_CPU,
    O_SEED,
    O_NAME,
    O_SYSTEM,
    O_ANNOUNCE,
    O_QUIET,
    O_WAIT,
    O_DEVICE,
    O_SERVER_CPU,
    O_HELP
};

static const struct option option_names[] = {
    {"target", 1, NULL, O_TARGET},
    {"port", 1, NULL, O_PORT},
    {"source", 1, NULL, O_SOURCE},
    {"host", 1, NULL, O_HOST},
    {"ca", 1, NULL, O_CA},
    {"token-file", 1, NULL, O_TOKENS},
    {"bad-tokens", 1, NULL, O_BAD},
    {"key", 1, NULL, O_KEY},
    {"keys", 1, NULL, O_KEYS},
    {"zipf", 1, NULL, O_ZIPF},
    {"unwraps", 1, NULL, O_UNWRAPS},
    {"plaintext", 1, NULL, O_PLAINTEXT},
    {"connections", 1, NULL, O_CONNECTIONS},
    {"inflight", 1, NULL, O_INFLIGHT},
    {"rate", 1, NULL, O_RATE},
    {"handshakes", 0, NULL, O_HANDSHAKES},
    {"background", 1, NULL, O_BACKGROUND},
    {"seconds", 1, NULL, O_SECONDS},
    {"warmup", 1, NULL, O_WARMUP},
    {"static", 0, NULL, O_STATIC},
    {"cpu", 1, NULL, O_CPU},
    {"seed", 1, NULL, O_SEED},
    {"name", 1, NULL, O_NAME},
    {"system", 1, NULL, O_SYSTEM},
    {"announce", 0, NULL, O_ANNOUNCE},
    {"quiet", 0, NULL, O_QUIET},
    {"wait", 0, NULL, O_WAIT},
    {"device", 1, NULL, O_DEVICE},
    {"server-cpu", 1, NULL, O_SERVER_CPU},
    {"help", 0, NULL, O_HELP},
    {NULL, 0, NULL, 0},
};

static double number(const char *text, double low, double high)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || *end != '\0' || !(n >= low && n <= high)) {
        fprintf(stderr, "ww-bench: '%s' is not a number from %g to %g\n", text, low, high);
        exit(2);
    }
    return n;
}

static uint32_t whole(const char *text, double low, double high)
{
    return (uint32_t)number(text, low, high);
}

static void tokens_load(const char *path, struct plan_config *c)
{
    static char *tokens[TOKENS_MAX];
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "r");

    if (f == NULL) {
        fprintf(stderr, "ww-bench: cannot read %s\n", path);
        exit(2);
    }
    c->tokens = tokens;
    while (c->token_count < TOKENS_MAX && getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '\0')
            tokens[c->token_count++] = strdup(line);
    }
    free(line);
    fclose(f);
}

static void option_take(struct options *o, int key, const char *value)
{
    switch ((enum option_key)key) {
    case O_TARGET:
        o->target.address = value;
        break;
    case O_PORT:
        o->target.port = (uint16_t)whole(value, 1, 65535);
        break;
    case O_SOURCE:
        if (o->target.source_count < TRANSPORT_SOURCES_MAX)
            o->target.sources[o->target.source_count++] = value;
        break;
    case O_HOST:
        o->plan.host = value;
        break;
    case O_CA:
        o->ca = value;
        break;
    case O_TOKENS:
        tokens_load(value, &o->plan);
        break;
    case O_BAD:
        o->plan.bad_token_share = number(value, 0, 1);
        break;
    case O_KEY:
        o->plan.key = value;
        break;
    case O_KEYS:
        o->plan.key_count = whole(value, 1, 1e7);
        break;
    case O_ZIPF:
        o->plan.zipf = number(value, 0, 10);
        break;
    case O_UNWRAPS:
        o->plan.unwrap_share = number(value, 0, 1);
        break;
    case O_PLAINTEXT:
        o->plan.plaintext_len = whole(value, 12, 510);
        break;
    case O_CONNECTIONS:
        o->load.connections = whole(value, 1, 100000);
        break;
    case O_INFLIGHT:
        o->load.inflight = whole(value, 1, 100000);
        break;
    case O_RATE:
        o->load.rate = number(value, 0, 1e8);
        break;
    case O_HANDSHAKES:
        o->load.one_shot = true;
        break;
    case O_BACKGROUND:
        o->load.background = number(value, 0, 1e6);
        break;
    case O_SECONDS:
        o->load.seconds = number(value, 0.1, 86400);
        break;
    case O_WARMUP:
        o->load.warmup_s = number(value, 0, 3600);
        break;
    case O_STATIC:
        o->plan.static_reply = true;
        break;
    case O_CPU:
        o->cpu = (int)whole(value, 0, 4095);
        break;
    case O_SERVER_CPU:
        o->load.server_cpu = (int)whole(value, 0, 4095);
        break;
    case O_SEED:
        o->load.seed = o->plan.seed = whole(value, 0, 4e9);
        break;
    case O_NAME:
        o->name = value;
        break;
    case O_SYSTEM:
        o->system = value;
        break;
    case O_ANNOUNCE:
        o->load.announce = true;
        break;
    case O_DEVICE:
        o->device = value;
        break;
    case O_WAIT:
        o->load.wait = true;
        break;
    case O_QUIET:
        o->load.quiet = true;
        break;
    case O_HELP:
        fputs(help_text, stdout);
        exit(0);
    }
}

static void options_read(struct options *o, int argc, char **argv)
{
    int key;

    *o = (struct options){
        .target = {.port = 443},
        .plan = {.host = "ekm.wirewrap.test",
                 .key = "v0/demo/key",
                 .key_count = 1,
                 .plaintext_len = 32,
                 .seed = 1},
        .load = {.connections = 64, .warmup_s = 0.5, .seconds = 2, .seed = 1, .server_cpu = -1},
        .name = "run",
        .system = "wirewrap",
        .cpu = -1,
    };
    while ((key = getopt_long(argc, argv, "", option_names, NULL)) != -1) {
        if (key == '?')
            exit(2);
        option_take(o, key, optarg);
    }
    if (o->target.address == NULL || optind != argc) {
        fputs(help_text, stderr);
        exit(2);
    }
    if (o->load.inflight == 0 || o->load.inflight > o->load.connections)
        o->load.inflight = o->load.connections < 1024 ? o->load.connections : 1024;
}

static void process_prepare(const struct options *o)
{
    struct rlimit files = {o->load.connections + 4096, o->load.connections + 4096};
    cpu_set_t set;

    signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* ns: what is due is sent in time */
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (o->cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)o->cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fprintf(stderr, "ww-bench: cannot run on core %d\n", o->cpu);
}

static double us(const struct hist *h, double q)
{
    return (double)hist_quantile(h, q) / 1000;
}

static void percentiles_print(const struct hist *h)
{
    static const double at[] = {0.1,   0.25,  0.5,    0.75,   0.9,     0.95, 0.99,
                                0.995, 0.999, 0.9995, 0.9999, 0.99999, 1};

    printf("\"percentiles_us\":[");
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        printf("%s[%.10g,%.3f]", i == 0 ? "" : ",", at[i], us(h, at[i]));
    printf("]");
}

static void open_loop_print(const struct load_result *r)
{
    const struct hist *h = &r->clean.latency;

    printf("\"clean_p50_us\":%.3f,\"clean_p99_us\":%.3f,\"clean_p999_us\":%.3f,\"clean_max_us\":%.3f,\"left_"
           "out\":%.4f,"
           "\"hiccups\":%llu,\"server_hiccups\":%llu,\"server_watched\":%s,\"late\":%.5f,\"clean_late\":%.5f,"
           "\"not_kept\":%llu,",
           us(h, 0.5), us(h, 0.99), us(h, 0.999), (double)h->max / 1000, r->clean.left_out,
           (unsigned long long)r->hiccups, (unsigned long long)r->server_hiccups,
           r->watched ? "true" : "false", r->sent == 0 ? 0 : (double)r->late / (double)r->sent,
           h->count == 0 ? 0 : (double)r->clean.late / (double)h->count, (unsigned long long)r->lost);
}

static void shakes_print(const struct load_result *r)
{
    if (r->shakes > 0)
        printf("\"client_shake_us\":%.3f,", (double)r->shake_ns / (double)r->shakes / 1000);
}

static void result_print(const struct options *o, const struct session_env *env, const struct load_result *r)
{
    const struct hist *h = &r->latency;

    printf(
        "{\"name\":\"%s\",\"system\":\"%s\",\"connections\":%u,\"loop\":\"%s\",\"handshake_per_request\":%s,"
        "\"rate\":%.6g,\"seconds\":%.3f,\"done\":%llu,\"ops_per_s\":%.1f,\"errors\":%llu,\"unfinished\":%llu,"
        "\"first_error\":\"%s\",\"mean_us\":%.3f,\"p50_us\":%.3f,\"p90_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":"
        "%.3f,"
        "\"max_us\":%.3f,\"bytes_in\":%llu,\"bytes_out\":%llu,\"ramp_s\":%.3f,\"client_retransmits\":%llu,"
        "\"client_drops\":%llu,",
        o->name, o->system, o->load.connections, o->load.rate > 0 ? "open" : "closed",
        o->load.one_shot ? "true" : "false", o->load.rate, r->seconds, (unsigned long long)r->done,
        (double)r->done / r->seconds, (unsigned long long)r->errors, (unsigned long long)r->unfinished,
        env->first_error == NULL ? "" : env->first_error,
        h->count == 0 ? 0 : (double)h->sum / (double)h->count / 1000, us(h, 0.5), us(h, 0.9), us(h, 0.99),
        us(h, 0.999), (double)h->max / 1000, (unsigned long long)r->bytes_in,
        (unsigned long long)r->bytes_out, r->ramp_s, (unsigned long long)r->again,
        (unsigned long long)r->dropped);
    if (o->load.background > 0)
        printf("\"background_rate\":%.6g,\"background_done\":%llu,\"background_errors\":%llu,\"background_"
               "p50_us\":%.3f,"
               "\"background_p99_us\":%.3f,",
               o->load.background, (unsigned long long)r->background_done,
               (unsigned long long)r->background_errors, us(&r->background_latency, 0.5),
               us(&r->background_latency, 0.99));
    if (o->load.rate > 0)
        open_loop_print(r);
    shakes_print(r);
    percentiles_print(h);
    puts("}");
}

int main(int argc, char **argv)
{
    static struct options o;
    static struct load_result result;
    struct session_env env = {0};

    options_read(&o, argc, argv);
    process_prepare(&o);
    o.target.streams_max = o.load.connections + 1024;
    env.plan = plan_new(&o.plan);
    env.host = o.plan.host;
    env.tls = session_tls_new(o.ca, o.load.connections > 2000);
    env.bio = session_bio_new();
    env.transport =
        o.device != NULL ? stack_transport_new(o.device, &o.target) : kernel_transport_new(&o.target);
    if (env.plan == NULL || env.tls == NULL || env.bio == NULL || env.transport == NULL)
        return 2;
    if (!load_run(&env, &o.load, &result))
        return 1;
    result_print(&o, &env, &result);
    env.transport->ops->free(env.transport);
    SSL_CTX_free(env.tls);
    BIO_meth_free(env.bio);
    plan_free(env.plan);
    return 0;
}
