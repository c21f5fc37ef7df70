/* wwctl NOUN VERB [ARGUMENT...] */
#include "ctrl/cli/wwctl.h"
#include "ctrl/lib/nearest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  (128 * 1024)
#define BYTES_MAX 4096 /* as the text says */

struct line {
    const char *socket;
    bool json, help, dry, ask;
    struct remote remote;
    int word_count; /* what is neither an option nor its value */
    char *words[12];
    int option_count;
    char *options[64]; /* name, value, name, value ... */
};

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* ---- help ---- */

static void help_all(FILE *to)
{
    fprintf(to, "usage: wwctl [--admin SOCKET | --remote HOST:PORT] [--json] [--dry-run] COMMAND\n\n");
    for (size_t i = 0; i < command_count; i++)
        fprintf(to, "  %-18s  %s\n", commands[i].name, commands[i].help);
    fprintf(
        to,
        "\n"
        "  --admin SOCKET  ww-ctrl's admin socket; without it $WW_ADMIN, then " SOCKET_DEFAULT "\n"
        "  --remote H:P    ww-ctrl on another machine; with --cert, --key, --ca, --server-name (wwctl man)\n"
        "  --json          one JSON object on standard output (docs/OPERATIONS.md)\n"
        "  --dry-run       a change is checked and shown, and not made\n"
        "  --help          after a command: its options\n\n"
        "exit: 0 done, 1 refused, 2 wrong usage, 3 ww-ctrl or the dataplane did not answer, 4 waits for "
        "approvers\n");
}

static void help_one(FILE *to, const struct command *c)
{
    fprintf(to, "usage: wwctl %s", c->name);
    for (size_t i = 0; i < c->option_count; i++) {
        const struct option_spec *o = &c->options[i];

        if (o->name[0] != '-')
            fprintf(to, " %s", o->name);
        else
            fprintf(to, o->needed ? " %s VALUE" : " [%s VALUE]", o->name);
    }
    fprintf(to, "\n\n%s\n", c->help);
    for (size_t i = 0; i < c->option_count; i++)
        fprintf(to, "  %-12s  %s\n", c->options[i].name, c->options[i].help);
}

static int wrong(const char *what, const char *more)
{
    fprintf(stderr, "wwctl: %s%s\n", what, more);
    return EXIT_USAGE;
}

/* ---- the line ---- */

static const char *const globals[] = {"--admin",       "--remote", "--cert", "--key",    "--ca",
                                      "--server-name", "--json",   "--help", "--dry-run"};
#define GLOBAL_COUNT (sizeof globals / sizeof globals[0])

static bool is_option(const char *name)
{
    for (size_t i = 0; i < GLOBAL_COUNT; i++) {
        if (strcmp(globals[i], name) == 0)
            return true;
    }
    for (size_t i = 0; i < command_count; i++) {
        for (size_t j = 0; j < commands[i].option_count; j++) {
            if (strcmp(commands[i].options[j].name, name) == 0)
                return true;
        }
    }
    return false;
}

/* Before its value is looked for: what is no option has none. */
static int no_such_option(const char *name)
{
    const char *all[256];
    size_t count = 0;

    for (size_t i = 0; i < GLOBAL_COUNT; i++)
        all[count++] = globals[i];
    for (size_t i = 0; i < command_count; i++) {
        for (size_t j = 0; j < commands[i].option_count && count < 256; j++) {
            if (commands[i].options[j].name[0] == '-')
                all[count++] = commands[i].options[j].name;
        }
    }
    fprintf(stderr, "wwctl: there is no option %s; did you mean %s?\n", name,
            nearest_word(span_str(name), all, count));
    return EXIT_USAGE;
}

static int split(int argc, char **argv, struct line *out)
{
    for (int i = 1; i < argc; i++) {
        char *a = argv[i];

        if (strcmp(a, "--json") == 0) {
            out->json = true;
        } else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            out->help = true;
        } else if (strcmp(a, "--dry-run") == 0) {
            out->dry = true;
        } else if (!starts(a, "--")) {
            if (out->word_count == 12)
                return wrong("too many arguments, beginning with ", a);
            out->words[out->word_count++] = a;
        } else if (!is_option(a)) {
            return no_such_option(a);
        } else if (i + 1 == argc) {
            return wrong("a value is missing after ", a);
        } else if (strcmp(a, "--admin") == 0) {
            out->socket = argv[++i];
        } else if (out->option_count == 64) {
            return wrong("too many options, beginning with ", a);
        } else {
            out->options[out->option_count++] = a;
            out->options[out->option_count++] = argv[++i];
        }
    }
    return EXIT_OK;
}

/* How many words of the line are the command's name; 0: it is another. */
static int words_of(const struct command *c, const struct line *l)
{
    const char *at = c->name;

    for (int n = 0;; n++) {
        size_t len = strcspn(at, " ");

        if (n == l->word_count || strlen(l->words[n]) != len || strncmp(l->words[n], at, len) != 0)
            return 0;
        if (at[len] == '\0')
            return n + 1;
        at += len + 1;
    }
}

/* The command whose words the line begins with; *used of them. */
static const struct command *find_command(const struct line *l, int *used)
{
    for (size_t i = 0; i < command_count; i++) {
        *used = words_of(&commands[i], l);
        if (*used != 0)
            return &commands[i];
    }
    return NULL;
}

static int unknown_command(const struct line *l)
{
    const char *names[128];
    char said[256];

    for (size_t i = 0; i < command_count; i++)
        names[i] = commands[i].name;
    size_t len = 0;
    for (int i = 0; i < l->word_count && i < (strcmp(l->words[0], "root") == 0 ? 3 : 2) && len < sizeof said;
         i++)
        len += (size_t)snprintf(said + len, sizeof said - len, "%s%s", i == 0 ? "" : " ", l->words[i]);
    fprintf(stderr,
            "wwctl: there is no command \"%s\"; did you mean \"wwctl %s\"?\n  all of them: wwctl --help\n",
            said, nearest_word(span_str(said), names, command_count));
    return EXIT_USAGE;
}

/* ---- values ---- */

static bool duration_value(const char *text, long long *seconds)
{
    static const struct {
        char unit;
        long long seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;

    errno = 0;
    long long n = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (end != text && errno == 0 && end[0] == units[i].unit && end[1] == '\0' && n > -100000000 &&
            n < 100000000) {
            *seconds = n * units[i].seconds;
            return true;
        }
    }
    return false;
}

static json_t *file_value(const char *name)
{
    static char text[FILE_MAX + 1];
    FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    size_t len = f == NULL ? 0 : fread(text, 1, sizeof text, f);

    if (f == NULL || ferror(f) != 0) {
        fprintf(stderr, "wwctl: cannot read %s: %s\n", name, strerror(errno));
        return NULL;
    }
    if (f != stdin)
        fclose(f);
    if (len > FILE_MAX)
        fprintf(stderr, "wwctl: %s is longer than %d bytes\n", name, FILE_MAX);
    json_t *value = len > FILE_MAX ? NULL : json_stringn(text, len);
    if (value == NULL && len <= FILE_MAX)
        fprintf(stderr, "wwctl: %s is not UTF-8 text\n", name);
    return value;
}

/* Any bytes, as hexadecimal. */
static json_t *bytes_value(const char *name)
{
    static uint8_t bytes[BYTES_MAX + 1];
    char hex[2 * BYTES_MAX + 1];
    FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    size_t len = f == NULL ? 0 : fread(bytes, 1, sizeof bytes, f);

    if (f == NULL || ferror(f) != 0 || len > BYTES_MAX || len == 0) {
        fprintf(stderr, "wwctl: cannot take %s: %s\n", name,
                f == NULL || ferror(f) != 0 ? strerror(errno) : "it must have 1..4096 bytes");
        return NULL;
    }
    if (f != stdin)
        fclose(f);
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    return json_string(hex);
}

/* What ww-ctrl reads itself: it may stand in another directory. */
static json_t *path_value(const char *name)
{
    char path[PATH_MAX];

    if (starts(name, "credential:") || name[0] == '/')
        return json_string(name);
    if (realpath(name, path) != NULL)
        return json_string(path);
    fprintf(stderr, "wwctl: %s: %s\n", name, strerror(errno));
    return NULL;
}

/* k=v into the claims so far; v that is JSON is taken as such, else as text. */
static json_t *claim_value(json_t *claims, const char *text)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        wrong("--claim wants name=value, not ", text);
        return NULL;
    }
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    json_t *all = claims == NULL ? json_object() : json_incref(claims);
    json_object_set_new(all, name, value != NULL ? value : json_string(equals + 1));
    return all;
}

/* NULL: stderr has said what is wrong. */
static json_t *value_of(const struct option_spec *o, const char *text, json_t *before)
{
    long long n;
    char *end;

    switch (o->kind) {
    case OPTION_TEXT:
        break;
    case OPTION_NUMBER:
        errno = 0;
        n = strtoll(text, &end, 10);
        if (errno == 0 && end != text && *end == '\0')
            return json_integer(n);
        fprintf(stderr, "wwctl: %s wants a number, not \"%s\"\n", o->name, text);
        return NULL;
    case OPTION_DURATION:
        if (duration_value(text, &n))
            return json_integer(n);
        fprintf(stderr, "wwctl: %s wants a duration such as 90s, 15m, 1h or 7d, not \"%s\"\n", o->name, text);
        return NULL;
    case OPTION_FILE:
        return file_value(text);
    case OPTION_PATH:
        return path_value(text);
    case OPTION_BYTES:
        return bytes_value(text);
    case OPTION_CLAIM:
        return claim_value(before, text);
    case OPTION_ALGORITHM:
        if (strcmp(text, "RS256") == 0 || strcmp(text, "ES256") == 0)
            return json_boolean(text[0] == 'E');
        fprintf(stderr, "wwctl: %s is RS256 or ES256, not \"%s\"\n", o->name, text);
        return NULL;
    }
    json_t *s = json_string(text);
    if (s == NULL)
        fprintf(stderr, "wwctl: %s is not UTF-8 text\n", o->name);
    return s;
}

/* ---- the request ---- */

static const struct option_spec *find_option(const struct command *c, const char *name)
{
    for (size_t i = 0; i < c->option_count; i++) {
        if (strcmp(c->options[i].name, name) == 0)
            return &c->options[i];
    }
    return NULL;
}

static int unknown_option(const struct command *c, const char *name)
{
    const char *names[16 + GLOBAL_COUNT];
    size_t count = 0;

    for (size_t i = 0; i < GLOBAL_COUNT; i++)
        names[count++] = globals[i];
    for (size_t i = 0; i < c->option_count && count < sizeof names / sizeof names[0]; i++) {
        if (c->options[i].name[0] == '-')
            names[count++] = c->options[i].name;
    }
    fprintf(stderr, "wwctl: \"wwctl %s\" has no option %s; did you mean %s?\n", c->name, name,
            nearest_word(span_str(name), names, count));
    return EXIT_USAGE;
}

/* What every command takes; a command's own option of that name comes first. */
static void take_globals(const struct command *c, struct line *l)
{
    const struct {
        const char *name;
        const char **to;
    } known[] = {{"--remote", &l->remote.address},
                 {"--cert", &l->remote.cert},
                 {"--key", &l->remote.key},
                 {"--ca", &l->remote.ca},
                 {"--server-name", &l->remote.server_name}};
    int left = 0;

    for (int i = 0; i < l->option_count; i += 2) {
        const char **to = NULL;

        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
            if (strcmp(known[k].name, l->options[i]) == 0 && find_option(c, l->options[i]) == NULL)
                to = known[k].to;
        }
        if (to != NULL) {
            *to = l->options[i + 1];
            continue;
        }
        l->options[left++] = l->options[i];
        l->options[left++] = l->options[i + 1];
    }
    l->option_count = left;
    link_remote(&l->remote);
}

static int add_options(const struct command *c, const struct line *l, json_t *request)
{
    for (int i = 0; i < l->option_count; i += 2) {
        const struct option_spec *o = find_option(c, l->options[i]);

        if (o == NULL)
            return unknown_option(c, l->options[i]);
        json_t *before = json_object_get(request, o->field);
        if (before != NULL && o->kind != OPTION_CLAIM)
            return wrong("given twice: ", o->name);
        json_t *v = value_of(o, l->options[i + 1], before);
        if (v == NULL)
            return EXIT_USAGE;
        json_object_set_new(request, o->field, v);
    }
    return EXIT_OK;
}

static int add_words(const struct command *c, const struct line *l, int used, json_t *request)
{
    for (size_t i = 0; i < c->option_count; i++) {
        const struct option_spec *o = &c->options[i];

        if (o->name[0] == '-' || used == l->word_count)
            continue;
        json_t *v = value_of(o, l->words[used++], NULL);
        if (v == NULL)
            return EXIT_USAGE;
        json_object_set_new(request, o->field, v);
    }
    if (used < l->word_count)
        return wrong("one argument too many: ", l->words[used]);
    for (size_t i = 0; i < c->option_count; i++) {
        if (c->options[i].needed && json_object_get(request, c->options[i].field) == NULL) {
            fprintf(stderr, "wwctl: %s is missing\n", c->options[i].name);
            help_one(stderr, c);
            return EXIT_USAGE;
        }
    }
    return EXIT_OK;
}

/* ---- the reply ---- */

static int show_refusal(const json_t *reply)
{
    const json_t *e = json_object_get(reply, "error");
    const char *message = json_string_value(json_object_get(e, "message"));
    const char *next = json_string_value(json_object_get(e, "next"));

    fprintf(stderr, "wwctl: %s\n", message == NULL ? "refused" : message);
    if (next != NULL && next[0] != '\0')
        fprintf(stderr, "  %s\n", next);
    json_int_t code = json_integer_value(json_object_get(reply, "exit"));
    return code == 0 ? EXIT_REFUSED : (int)code;
}

static int show_reply(const struct command *c, const struct line *l, const json_t *reply)
{
    bool ok = json_is_true(json_object_get(reply, "ok"));

    if (l->json) {
        json_dumpf(reply, stdout, JSON_INDENT(1));
        printf("\n");
    }
    if (!ok)
        return show_refusal(reply);
    if (!l->json)
        c->show(reply);
    return EXIT_OK;
}

/* The request, checked; NULL: stderr says what is wrong. */
static json_t *request_of(const struct command *c, const struct line *l, int used)
{
    json_t *request = json_pack("{s:s}", "command", c->name);

    if (l->dry)
        json_object_set_new(request, "dry_run", json_true());
    if (l->ask)
        json_object_set_new(request, "approval", json_string("request"));
    if (add_options(c, l, request) == EXIT_OK && add_words(c, l, used, request) == EXIT_OK)
        return request;
    json_decref(request);
    return NULL;
}

static int run(const struct command *c, const struct line *l, int used)
{
    json_t *request = request_of(c, l, used);

    if (request == NULL)
        return EXIT_USAGE;
    json_t *reply = link_call(l->socket, request);
    int rc = reply == NULL ? EXIT_UNREACHABLE : show_reply(c, l, reply);
    json_decref(reply);
    json_decref(request);
    return rc;
}

static int run_sign(const struct command *c, const struct line *l, int used)
{
    json_t *request = request_of(c, l, used);

    if (request == NULL)
        return EXIT_USAGE;
    int rc = sign_approval(l->socket, json_string_value(json_object_get(request, "id")),
                           json_string_value(json_object_get(request, "key")), l->json);
    json_decref(request);
    return rc;
}

/* What wwctl does by itself, or in more than one question and answer. */
static int run_own(const struct command *c, const struct line *l, int used)
{
    if (strcmp(c->name, "approval sign") == 0)
        return run_sign(c, l, used);
    if (l->word_count != used || l->option_count != 0 || l->dry)
        return wrong("nothing more may follow ", c->name);
    if (strcmp(c->name, "init") == 0)
        return init_lead(l->socket, l->json);
    if (strcmp(c->name, "completion") == 0)
        docs_completion();
    else if (strcmp(c->name, "man") == 0)
        docs_man();
    else
        return wrong("the change's own words must follow: wwctl approval request key destroy PATH", "");
    return EXIT_OK;
}

static void shift_words(struct line *l, int count)
{
    l->word_count -= count;
    memmove(l->words, l->words + count, (size_t)l->word_count * sizeof l->words[0]);
}

static bool begins(const struct line *l, const char *first, const char *second)
{
    return l->word_count > 1 && strcmp(l->words[0], first) == 0 && strcmp(l->words[1], second) == 0;
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *v = getenv(name);

    return v == NULL || v[0] == '\0' ? otherwise : v;
}

int main(int argc, char **argv)
{
    struct line l = {.socket = from_environment("WW_ADMIN", SOCKET_DEFAULT),
                     .remote = {from_environment("WWCTL_REMOTE", NULL), from_environment("WWCTL_CERT", NULL),
                                from_environment("WWCTL_KEY", NULL), from_environment("WWCTL_CA", NULL),
                                NULL}};
    int used = 0;
    int rc = split(argc, argv, &l);

    if (rc != EXIT_OK)
        return rc;
    if (l.word_count > 0 && strcmp(l.words[0], "help") == 0) {
        l.help = true;
        shift_words(&l, 1);
    }
    if (l.word_count == 0) {
        help_all(l.help ? stdout : stderr);
        return l.help ? EXIT_OK : EXIT_USAGE;
    }
    if (begins(&l, "approval", "request") && l.word_count > 2) {
        l.ask = true;
        shift_words(&l, 2);
    }
    const struct command *c = find_command(&l, &used);
    if (c == NULL)
        return unknown_command(&l);
    if (l.help) {
        help_one(stdout, c);
        return EXIT_OK;
    }
    take_globals(c, &l);
    return c->show == NULL ? run_own(c, &l, used) : run(c, &l, used);
}
