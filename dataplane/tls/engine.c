/* crypto.engine: private-key operations that go on elsewhere, while the worker serves other connections.
 *
 * A handshake is stepped inside a job of OpenSSL's (ASYNC_start_job: a stack of its own).  Where the engine has sent its work away it
 * suspends the job, SSL_accept returns, and whoever calls SSL_accept again goes on where it was; the engine looks whether its work is
 * done, and else suspends once more.  So nothing has to tell us: each waiting connection is stepped again every turn, within a budget,
 * which costs a tenth of a microsecond where nothing has happened.
 *
 * Only handshakes run in jobs.  A job remembers the arguments of the call that it began with: a suspended read would later write into
 * a request buffer that may be another connection's by then.
 *
 * A job cannot be taken back.  A connection that is freed while it waits stays here, without its bytes, until the engine is done. */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are, but they are what some devices come with */
#include "base/log.h"
#include "dataplane/tls/tls_priv.h"

#include <openssl/async.h>
#include <openssl/crypto.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATH_CAP           512
#define WHY_CAP            1024
#define END_WAITS_MAX      20000 /* of 100 us, for what the engine still does when its worker ends */
#define END_WAIT_NS        100000
#define ENGINE_METHODS     (ENGINE_METHOD_RSA | ENGINE_METHOD_EC | ENGINE_METHOD_PKEY_METHS)
#define SHARED_OBJECT_TAIL ".so"

struct tls_engine {
    OSSL_PROVIDER *provider; /* this worker's; NULL: the process's engine */
};

/* ---- finding it ---- */

static void path_write(char path[PATH_CAP], const char *folder, const char *name)
{
    const char *tail = strstr(name, SHARED_OBJECT_TAIL) == NULL ? SHARED_OBJECT_TAIL : "";

    if (name[0] == '/')
        snprintf(path, PATH_CAP, "%s", name);
    else
        snprintf(path, PATH_CAP, "%s/%s%s", folder, name, tail);
}

/* "/usr/lib/.../qatprovider.so" -> "qatprovider": what algorithms of the provider say of themselves ("provider=qatprovider"). */
static void name_write(char name[PATH_CAP], const char *path)
{
    const char *last = strrchr(path, '/');

    snprintf(name, PATH_CAP, "%s", last != NULL ? last + 1 : path);
    char *tail = strstr(name, SHARED_OBJECT_TAIL);
    if (tail != NULL)
        *tail = '\0';
}

static bool prefer(OSSL_LIB_CTX *lib, const char *path)
{
    char name[PATH_CAP], query[PATH_CAP + 16];

    name_write(name, path);
    snprintf(query, sizeof query, "?provider=%s", name);
    return EVP_set_default_properties(lib, query) == 1;
}

/* An engine is the process's, and the default for every key in it: the first worker opens it, and it stays. */
static bool engine_open(const char *path)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static ENGINE *opened;

    pthread_mutex_lock(&lock);
    ENGINE *e = opened == NULL ? ENGINE_by_id("dynamic") : NULL;
    if (e != NULL && ENGINE_ctrl_cmd_string(e, "SO_PATH", path, 0) == 1 &&
        ENGINE_ctrl_cmd_string(e, "LOAD", NULL, 0) == 1 && ENGINE_init(e) == 1 &&
        ENGINE_set_default(e, ENGINE_METHODS) == 1)
        opened = e;
    else
        ENGINE_free(e);
    bool open = opened != NULL;
    pthread_mutex_unlock(&lock);
    return open;
}

static void first_error(char *out, size_t cap)
{
    unsigned long err = ERR_peek_error();
    const char *data = NULL;

    (void)ERR_peek_error_data(&data, NULL);
    if (data != NULL && data[0] != '\0')
        snprintf(out, cap, "%s", data);
    else
        snprintf(out, cap, "%s", err == 0 ? "no reason was given" : ERR_reason_error_string(err));
    ERR_clear_error();
}

static void close_it(struct tls_engine *e)
{
    if (e->provider != NULL)
        OSSL_PROVIDER_unload(e->provider);
    e->provider = NULL;
}

static bool open_it(OSSL_LIB_CTX *lib, const char *name, struct tls_engine *out, char *why, size_t cap)
{
    char provider[PATH_CAP], engine[PATH_CAP], first[256], second[256];

    ERR_clear_error();
    path_write(provider, OPENSSL_info(OPENSSL_INFO_MODULES_DIR), name);
    path_write(engine, OPENSSL_info(OPENSSL_INFO_ENGINES_DIR), name);
    *out = (struct tls_engine){0};
    if (ASYNC_is_capable() == 0) {
        snprintf(why, cap, "crypto.engine: this OpenSSL has no asynchronous jobs; leave crypto.engine empty");
        return false;
    }
    out->provider = OSSL_PROVIDER_load(lib, provider);
    if (out->provider != NULL && prefer(lib, provider))
        return true;
    close_it(out);
    first_error(first, sizeof first);
    if (engine_open(engine))
        return true;
    first_error(second, sizeof second);
    snprintf(why, cap,
             "crypto.engine: \"%s\" cannot be used; looked for a provider %s (%s) and an engine %s (%s); "
             "install it there, give the "
             "absolute path of its shared object, or leave crypto.engine empty",
             name, provider, first, engine, second);
    return false;
}

bool tls_engine_check(const char *name, char *why, size_t cap)
{
    struct tls_engine e;
    OSSL_LIB_CTX *lib;
    bool found;

    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    lib = OSSL_LIB_CTX_new();
    snprintf(why, cap, "crypto.engine: out of memory");
    found = lib != NULL && open_it(lib, name, &e, why, cap);
    if (found)
        close_it(&e);
    OSSL_LIB_CTX_free(lib);
    ERR_clear_error();
    return found;
}

bool tls_engine_use(struct tls_worker *w, const char *name)
{
    struct tls_engine *e = calloc(1, sizeof *e);
    char why[WHY_CAP] = "crypto.engine: out of memory";

    if (e == NULL || !open_it(w->lib, name, e, why, sizeof why)) {
        log_error("the crypto engine cannot be used", F("why", why));
        free(e);
        return false;
    }
    w->engine = e;
    w->abandoned_end = &w->abandoned;
    if (ASYNC_init_thread(TLS_JOBS_MAX, 0) != 1) {
        log_error("the crypto engine cannot be used: OpenSSL has no memory for jobs", F("engine", name));
        ERR_clear_error();
        return false;
    }
    log_info("private-key operations of handshakes are the crypto engine's", F("engine", name),
             F("kind", e->provider != NULL ? "provider" : "engine"));
    ERR_clear_error();
    return true;
}

/* ---- jobs ---- */

void tls_job_note(struct tls_conn *c, int what)
{
    if (c->waits)
        return;
    c->waits = true;
    c->worker->jobs++;
    count(c->worker->counters, what == SSL_ERROR_WANT_ASYNC ? REASON_TLS_JOB_PAUSED : REASON_TLS_JOB_LIMIT);
}

void tls_job_done(struct tls_conn *c)
{
    if (!c->waits)
        return;
    c->waits = false;
    c->worker->jobs--;
}

uint32_t tls_jobs_waiting(const struct tls_worker *w)
{
    return w->jobs;
}

static void abandoned_push(struct tls_worker *w, struct tls_conn *c)
{
    c->abandoned_next = NULL;
    *w->abandoned_end = c;
    w->abandoned_end = &c->abandoned_next;
}

static struct tls_conn *abandoned_pop(struct tls_worker *w)
{
    struct tls_conn *c = w->abandoned;

    w->abandoned = c->abandoned_next;
    if (w->abandoned == NULL)
        w->abandoned_end = &w->abandoned;
    return c;
}

void tls_job_abandon(struct tls_conn *c)
{
    c->io = NULL;
    c->io_arg = NULL;
    count(c->worker->counters, REASON_TLS_JOB_ABANDONED);
    abandoned_push(c->worker, c);
}

/* The job goes on to the end of input, which the BIO of a connection without bytes is at. */
static bool has_ended(struct tls_conn *c)
{
    int ret = SSL_accept(c->ssl);
    int what = SSL_get_error(c->ssl, ret);

    ERR_clear_error();
    return what != SSL_ERROR_WANT_ASYNC;
}

void tls_jobs_turn(struct tls_worker *w)
{
    struct tls_conn *first_again = NULL;

    for (int i = 0; i < TLS_ABANDONED_PER_TURN && w->abandoned != NULL && w->abandoned != first_again; i++) {
        struct tls_conn *c = abandoned_pop(w);
        if (has_ended(c)) {
            tls_job_done(c);
            tls_conn_destroy(c);
            continue;
        }
        first_again = first_again == NULL ? c : first_again;
        abandoned_push(w, c);
    }
}

void tls_jobs_end(struct tls_worker *w)
{
    static const struct timespec moment = {0, END_WAIT_NS};

    if (w->engine == NULL)
        return;
    for (int i = 0; i < END_WAITS_MAX && w->abandoned != NULL; i++) {
        tls_jobs_turn(w);
        if (w->abandoned != NULL)
            nanosleep(&moment, NULL);
    }
    if (w->abandoned != NULL)
        log_warn("the crypto engine did not finish what it had begun", F("handshakes", w->jobs));
    ASYNC_cleanup_thread();
}

void tls_engine_free(struct tls_worker *w)
{
    if (w->engine == NULL)
        return;
    close_it(w->engine);
    free(w->engine);
    w->engine = NULL;
}
