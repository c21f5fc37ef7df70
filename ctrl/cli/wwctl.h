/* The parts of wwctl: what can be said (commands.c), how it reaches ww-ctrl (link.c), how it is shown (show.c). */
#ifndef CTRL_CLI_WWCTL_H
#define CTRL_CLI_WWCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

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
    void (*show)(const json_t *reply); /* NULL: init, which is a conversation (init.c) */
};

extern const struct command commands[];
extern const size_t command_count;

/* Sends one request, waits for one reply; NULL: unreachable, and stderr says why and what to do. */
json_t *link_call(const char *socket_path, const json_t *request);

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
void show_slots(const json_t *r);
void show_slot(const json_t *r);

/* wwctl init: leads through the slots that are missing, by questions on standard output and lines of standard input. */
int init_lead(const char *socket_path, bool json);

#endif
