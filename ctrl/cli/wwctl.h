/* The parts of wwctl: what can be said (commands.c), how it reaches ww-ctrl (link.c), how it is shown (show.c). */
#ifndef CTRL_CLI_WWCTL_H
#define CTRL_CLI_WWCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3, EXIT_PENDING = 4 };

#define SOCKET_DEFAULT "/run/wirewrap/admin.sock"

/* An option of a command, or (name without dashes) its positional argument. */
struct option_spec {
    const char *name;  /* "--version", or "PATH" */
    const char *field; /* of the request */
    enum {
        OPTION_TEXT,
        OPTION_NUMBER,
        OPTION_DURATION,
        OPTION_FILE,
        OPTION_PATH, /* which ww-ctrl reads, or credential:NAME: made absolute */
        OPTION_BYTES,
        OPTION_CLAIM,
        OPTION_ALGORITHM
    } kind;
    bool needed;
    const char *help;
};

struct command {
    const char *name; /* "key create" */
    const char *help;
    const struct option_spec *options;
    size_t option_count;
    void (*show)(const json_t *reply); /* NULL: one of wwctl's own (main.c) */
};

extern const struct command commands[];
extern const size_t command_count;

/* Sends one request, waits for one reply; NULL: unreachable, and stderr says why and what to do. */
json_t *link_call(const char *socket_path, const json_t *request);

/* Another machine's ww-ctrl instead, from now on. */
struct remote {
    const char *address; /* HOST:PORT; NULL = the local socket */
    const char *cert, *key, *ca, *server_name;
};
void link_remote(const struct remote *r);
json_t *link_tls_call(const struct remote *r, const json_t *request);

/* Prints the statement of the request on standard error and its signature on standard output; an exit code. */
int sign_approval(const char *socket_path, const char *id, const char *key_file, bool as_json);

void docs_completion(void);
void docs_man(void);

void show_status(const json_t *r);
void show_key(const json_t *r);
void show_import_key(const json_t *r);
void show_key_list(const json_t *r);
void show_policy(const json_t *r);
void show_counters(const json_t *r);
void show_token(const json_t *r);
void show_audit(const json_t *r);
void show_certificates(const json_t *r);
void show_reload(const json_t *r);
void show_backup(const json_t *r);
void show_backup_list(const json_t *r);
void show_challenge(const json_t *r);
void show_acts(const json_t *r);
void show_approvals(const json_t *r);
void show_approval(const json_t *r);
void show_submitted(const json_t *r);
void show_upgrade(const json_t *r);
void show_slots(const json_t *r);
void show_slot(const json_t *r);

/* wwctl init: leads through the slots that are missing, by questions on standard output and lines of standard input. */
int init_lead(const char *socket_path, bool json);

#endif
