/* Handshakes in slices: established connections wait for one part of a handshake, and not for all of it.
 *
 * A handshake is stepped inside a job of OpenSSL's (ASYNC_start_job: a stack of its own).  Suspending the job makes SSL_accept return,
 * and whoever calls SSL_accept again goes on where it was.  Two suspend it:
 *
 * - we, between those messages that take long to make (ends_slice): tls_handshake says TLS_MORE;
 * - the crypto engine, where it has sent its work away (engine.c): TLS_WAIT.  Called again, it looks whether that is done, and else
 *   suspends once more.  So nothing has to tell us: each waiting connection is stepped again every turn, within a budget, which costs a
 *   tenth of a microsecond where nothing has happened.
 *
 * Only handshakes run in jobs.  A job remembers the arguments of the call that it began with: a suspended read would later write into
 * a request buffer that may be another connection's by then.
 *
 * A job cannot be taken back.  A connection that is freed while its job is suspended stays here, without its bytes, until the job has
 * ended. */
#include "base/log.h"
#include "dataplane/tls/tls_priv.h"

#include <openssl/async.h>
#include <openssl/err.h>
#include <time.h>

#define END_WAITS_MAX 20000 /* of 100 us, for what the engine still does when its worker ends */
#define END_WAIT_NS   100000

/* OpenSSL's jobs are the thread's; only tests have two workers on one. */
static _Thread_local unsigned workers;

bool tls_jobs_begin(struct tls_worker *w)
{
    w->abandoned_end = &w->abandoned;
    if (ASYNC_is_capable() == 0) {
        log_error("this OpenSSL has no asynchronous jobs, in which handshakes are made: use one that was not "
                  "built with no-async");
        return false;
    }
    if (workers == 0 && ASYNC_init_thread(TLS_JOBS_MAX, 0) != 1)
        return false;
    workers++;
    w->has_jobs = true;
    return true;
}

/* ---- slices ---- */

/* The message that was read or made last.  RFC 8446 2: what follows a ClientHello is the key exchange, what follows a Certificate is the
 * signature; and TLS 1.2 signs its key exchange. */
static bool ends_slice(OSSL_HANDSHAKE_STATE state)
{
    switch (state) {
    case TLS_ST_SR_CLNT_HELLO:
    case TLS_ST_SW_SRVR_HELLO:
    case TLS_ST_SW_CERT:
    case TLS_ST_SW_CERT_VRFY:
    case TLS_ST_SR_KEY_EXCH:
        return true;
    default:
        return false;
    }
}

void tls_job_slice(const SSL *ssl, int where, int ret)
{
    struct tls_conn *c = BIO_get_data(SSL_get_rbio(ssl));
    (void)ret;

    if (where != SSL_CB_ACCEPT_LOOP || c->established || !ends_slice(SSL_get_state(ssl)))
        return;
    c->between_slices = true;
    (void)ASYNC_pause_job();
    c->between_slices = false;
}

/* ---- waiting for the engine ---- */

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

/* ---- abandoned ---- */

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

/* The job goes on to the end of input, which the BIO of a connection without bytes is at.  False: the engine still works. */
static bool abandoned_step(struct tls_conn *c)
{
    int what = SSL_get_error(c->ssl, SSL_accept(c->ssl));

    ERR_clear_error();
    if (what != SSL_ERROR_WANT_ASYNC) {
        tls_job_done(c);
        tls_conn_destroy(c);
        return true;
    }
    if (c->between_slices)
        tls_job_done(c);
    else
        tls_job_note(c, what);
    abandoned_push(c->worker, c);
    return c->between_slices;
}

bool tls_jobs_turn(struct tls_worker *w)
{
    const struct tls_conn *first = w->abandoned;

    for (int i = 0; i < TLS_ABANDONED_PER_TURN && w->abandoned != NULL; i++) {
        if (abandoned_step(abandoned_pop(w)))
            return true;
        if (w->abandoned == first)
            break;
    }
    return false;
}

void tls_jobs_end(struct tls_worker *w)
{
    static const struct timespec moment = {0, END_WAIT_NS};

    if (!w->has_jobs)
        return;
    for (int i = 0; i < END_WAITS_MAX && w->abandoned != NULL; i++) {
        if (!tls_jobs_turn(w))
            nanosleep(&moment, NULL);
    }
    if (w->abandoned != NULL)
        log_warn("the crypto engine did not finish what it had begun", F("handshakes", w->jobs));
    if (--workers == 0)
        ASYNC_cleanup_thread();
}
