/* ww-ctrl --config FILE [--dev | --init | --restore SOURCE | --drill SOURCE] [--identity FILE] [--shares FILE] */
#include "base/check.h"
#include "base/forbid.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/rescue.h"
#include "ctrl/server.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TICK_MS 100

static const char usage_text[] =
    "usage: ww-ctrl --config FILE [--dev | --init | --restore SOURCE | --drill SOURCE] [--identity FILE] "
    "[--shares FILE]\n"
    "\n"
    "The control daemon of Wirewrap: keeps the keys, pushes them to ww-dataplane, writes the audit, answers "
    "wwctl.\n"
    "\n"
    "  --config FILE  wirewrap.yaml (docs/OPERATIONS.md)\n"
    "  --init         make a new store when ctrl.state_dir holds none\n"
    "  --dev          development machine: as --init, and a token issuer (wwctl dev token), a certificate "
    "and a\n"
    "                 passphrase are made when they are not there.  Never in production.\n"
    "  --identity FILE, --shares FILE\n"
    "                 an age identity, paper shares: open the root key with them where no other slot does\n"
    "  --restore SOURCE\n"
    "                 make the store from backups in a directory, or in the sink of that name, where there "
    "is no store\n"
    "  --drill SOURCE try that, keep nothing, print what came of it\n"
    "  --store ID     of several stores' backups, those of the one whose file names begin with ww-ID\n"
    "  --challenge C  (--drill) answer what wwctl drill offline-root asked\n";

struct process {
    uv_loop_t loop;
    struct daemon daemon;
    struct admin_server *admin;
    struct ctl_server *ctl;
    uv_timer_t tick;
    uv_poll_t backup;
    uv_signal_t signals[3];
};

static int usage(const char *what)
{
    if (what != NULL)
        fprintf(stderr, "ww-ctrl: %s\n", what);
    fputs(usage_text, what == NULL ? stdout : stderr);
    return what == NULL ? 0 : 2;
}

/* sd_notify(3) without its library. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof addr.sun_path)
        return;
    memcpy(addr.sun_path, path, strlen(path));
    if (addr.sun_path[0] == '@')
        addr.sun_path[0] = '\0';
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, len) < 0)
        log_warn("the service manager was not told", F("errno", errno));
    close(fd);
}

static void on_tick(uv_timer_t *t)
{
    struct process *p = t->data;

    daemon_tick(&p->daemon, uv_now(&p->loop));
    admin_server_progress(p->admin);
}

static void on_backup(uv_poll_t *h, int status, int events)
{
    struct process *p = h->data;

    (void)status;
    (void)events;
    daemon_backup_step(&p->daemon, uv_now(&p->loop));
}

static void on_progress(void *ctx)
{
    struct process *p = ctx;

    if (p->admin != NULL)
        admin_server_progress(p->admin);
}

static void reload(struct process *p)
{
    struct refusal why;

    if (daemon_reload(&p->daemon, false, &why))
        log_info("reloaded", F("epoch", custody_epoch(p->daemon.custody)));
    else
        log_error("reload refused; what was read last stays", F("why", why.text), F("next", why.next));
}

static void stop(struct process *p)
{
    notify("STOPPING=1");
    log_info("stopping");
    admin_server_close(p->admin);
    ctl_server_close(p->ctl);
    p->admin = NULL;
    p->ctl = NULL;
    uv_timer_stop(&p->tick);
    uv_close((uv_handle_t *)&p->tick, NULL);
    uv_poll_stop(&p->backup);
    uv_close((uv_handle_t *)&p->backup, NULL);
    for (size_t i = 0; i < sizeof p->signals / sizeof p->signals[0]; i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct process *p = s->data;

    if (number == SIGHUP)
        reload(p);
    else if (p->admin != NULL)
        stop(p);
}

static void loop_start(struct process *p)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    CHECK(uv_timer_init(&p->loop, &p->tick) == 0);
    p->tick.data = p;
    CHECK(uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS) == 0);
    CHECK(uv_poll_init(&p->loop, &p->backup, backup_fd(p->daemon.backup)) == 0);
    p->backup.data = p;
    CHECK(uv_poll_start(&p->backup, UV_READABLE, on_backup) == 0);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        CHECK(uv_signal_init(&p->loop, &p->signals[i]) == 0);
        p->signals[i].data = p;
        CHECK(uv_signal_start(&p->signals[i], on_signal, numbers[i]) == 0);
    }
}

static int fail(const struct refusal *why)
{
    log_error("ww-ctrl does not start", F("code", why->code), F("why", why->text), F("next", why->next));
    return 1;
}

static int serve(struct process *p)
{
    struct refusal why = {{0}, {0}, {0}};

    p->daemon.progress = on_progress;
    p->daemon.progress_ctx = p;
    p->ctl = ctl_server_open(&p->loop, &p->daemon, &why);
    p->admin = p->ctl == NULL ? NULL : admin_server_open(&p->loop, &p->daemon, &why);
    if (p->admin == NULL) {
        ctl_server_close(p->ctl);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        return fail(&why);
    }
    loop_start(p);
    notify("READY=1");
    log_info("ww-ctrl ready", F("admin", p->daemon.config.ctrl.admin_socket),
             F("ctl", p->daemon.config.ctrl.ctl_socket), F("epoch", custody_epoch(p->daemon.custody)),
             F("dev", p->daemon.options.dev));
    uv_run(&p->loop, UV_RUN_DEFAULT);
    return 0;
}

/* Everything of ours stays in RAM; where the limit does not allow it, key pages are locked one by one anyway. */
static void lock_memory(void)
{
    if (!secret_process_lock())
        log_warn("memory is not locked as a whole; raise LimitMEMLOCK", F("errno", errno));
}

/* Paper shares are told once, in JSON: what jansson lets go of is wiped. */
static void wipe_and_free(void *p)
{
    if (p != NULL)
        secret_wipe(p, malloc_usable_size(p));
    free(p);
}

static int run(const struct daemon_options *o)
{
    static struct process p;
    struct refusal why = {{0}, {0}, {0}};
    int rc;

    signal(SIGPIPE, SIG_IGN);
    json_set_alloc_funcs(malloc, wipe_and_free);
    umask(077);
    CHECK(uv_loop_init(&p.loop) == 0);
    if (daemon_open(&p.daemon, o, &why)) {
        lock_memory();
        if (!forbid_calls(false)) /* it starts ww-fetch and ww-seal */
            log_warn("system calls that nobody needs are not forbidden", F("errno", errno));
        rc = serve(&p);
    } else {
        rc = fail(&why);
    }
    daemon_close(&p.daemon);
    CHECK(uv_loop_close(&p.loop) == 0);
    return rc;
}

static int rescue(const struct daemon_options *o, const struct rescue *r)
{
    static struct daemon d;
    struct refusal why = {{0}, {0}, {0}};

    signal(SIGPIPE, SIG_IGN);
    umask(077);
    int rc = daemon_configure(&d, o, &why) ? rescue_run(&d, r) : fail(&why);
    daemon_close(&d);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"dev", no_argument, NULL, 'd'},
                                            {"init", no_argument, NULL, 'i'},
                                            {"identity", required_argument, NULL, 'a'},
                                            {"shares", required_argument, NULL, 's'},
                                            {"restore", required_argument, NULL, 'r'},
                                            {"drill", required_argument, NULL, 't'},
                                            {"store", required_argument, NULL, 'o'},
                                            {"challenge", required_argument, NULL, 'x'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct daemon_options o = {0};
    struct rescue r = {0};
    int opt;

    secret_process_harden();
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o.config_file = optarg;
            break;
        case 'd':
            o.dev = true;
            break;
        case 'i':
            o.init = true;
            break;
        case 'a':
            o.identity_file = optarg;
            break;
        case 's':
            o.shares_file = optarg;
            break;
        case 'r':
        case 't':
            r.source = optarg;
            r.drill = opt == 't';
            break;
        case 'o':
            r.store = optarg;
            break;
        case 'x':
            r.challenge = optarg;
            break;
        case 'h':
            return usage(NULL);
        default:
            return usage("unknown option");
        }
    }
    if (o.config_file == NULL || optind != argc)
        return usage("--config FILE is needed, and nothing else");
    return r.source != NULL ? rescue(&o, &r) : run(&o);
}
