/* crypto.engine: private-key operations that go on elsewhere, while the worker serves other connections (jobs.c). */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are, but they are what some devices come with */
#include "base/log.h"
#include "dataplane/tls/tls_priv.h"

#include <openssl/crypto.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_CAP           512
#define WHY_CAP            1024
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
    log_info("private-key operations of handshakes are the crypto engine's", F("engine", name),
             F("kind", e->provider != NULL ? "provider" : "engine"));
    ERR_clear_error();
    return true;
}

void tls_engine_free(struct tls_worker *w)
{
    if (w->engine == NULL)
        return;
    close_it(w->engine);
    free(w->engine);
    w->engine = NULL;
}
