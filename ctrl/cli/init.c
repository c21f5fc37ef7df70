/* wwctl init: asks for one thing after the other until the root's slots are enough.  Each answer is one line; an empty one
 * puts the question off.  What is done is done: the next wwctl init goes on from there. */
#include "ctrl/cli/wwctl.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024

struct leading {
    const char *socket;
    FILE *to; /* what is asked and told */
};

/* NULL: ww-ctrl is not there; stderr says so. */
static json_t *call(const struct leading *l, json_t *request)
{
    json_t *reply = link_call(l->socket, request);

    json_decref(request);
    return reply;
}

/* What was refused is told; the question comes again. */
static bool done(const struct leading *l, const json_t *reply)
{
    const json_t *e = json_object_get(reply, "error");

    if (json_is_true(json_object_get(reply, "ok")))
        return true;
    fprintf(l->to, "  refused: %s\n  %s\n", json_string_value(json_object_get(e, "message")),
            json_string_value(json_object_get(e, "next")));
    return false;
}

/* One line without its ends' white space; false at the end of input. */
static bool ask(const struct leading *l, const char *question, char answer[LINE_MAX_LEN])
{
    fprintf(l->to, "%s\n> ", question);
    fflush(l->to);
    if (fgets(answer, LINE_MAX_LEN, stdin) == NULL)
        return false;
    size_t len = strlen(answer);
    while (len > 0 && isspace((unsigned char)answer[len - 1]))
        answer[--len] = '\0';
    size_t skip = strspn(answer, " \t");
    memmove(answer, answer + skip, len - skip + 1);
    return true;
}

/* The first slot that was never opened; NULL: there is none. */
static const json_t *unopened(const json_t *slots)
{
    const json_t *s;
    size_t i;

    json_array_foreach(slots, i, s)
    {
        if (!json_is_true(json_object_get(s, "counts")))
            return s;
    }
    return NULL;
}

/* ---- opening a slot ---- */

/* Shares as they are typed go to ww-ctrl by a file in memory, which is gone after the call. */
static bool take_typed_shares(const struct leading *l, char first[LINE_MAX_LEN], char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "/dev/shm/wwctl-shares.XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

    if (f == NULL) {
        fprintf(stderr, "wwctl: %s: %s\n", path, strerror(errno));
        return false;
    }
    for (bool more = true; more && first[0] != '\0';) {
        fprintf(f, "%s\n", first);
        more = ask(l, "the next line; an empty one when that was all", first);
    }
    memset(first, 0, LINE_MAX_LEN);
    return fclose(f) == 0;
}

static bool verify(const struct leading *l, const json_t *slot, const char *field, const char *path)
{
    json_t *reply = call(l, json_pack("{s:s, s:O, s:s}", "command", "root slots verify", "slot",
                                      json_object_get(slot, "slot"), field, path));
    bool ok = reply != NULL && done(l, reply);

    if (ok)
        fprintf(l->to, "  it opens\n");
    json_decref(reply);
    return ok;
}

static bool remove_slot(const struct leading *l, const json_t *slot)
{
    json_t *reply = call(
        l, json_pack("{s:s, s:O}", "command", "root slots remove", "slot", json_object_get(slot, "slot")));
    bool ok = reply != NULL && done(l, reply);

    json_decref(reply);
    return ok;
}

static bool answer_opens(const struct leading *l, const json_t *slot, bool shares, char answer[LINE_MAX_LEN])
{
    char path[PATH_MAX];

    if (strcmp(answer, "remove") == 0) {
        (void)remove_slot(l, slot);
        return true;
    }
    if (shares && strncasecmp(answer, "wwshare", 7) == 0) {
        if (take_typed_shares(l, answer, path))
            (void)verify(l, slot, "shares_file", path);
        (void)unlink(path);
        return true;
    }
    if (realpath(answer, path) == NULL)
        fprintf(l->to, "  %s: %s\n", answer, strerror(errno));
    else
        (void)verify(l, slot, shares ? "shares_file" : "identity_file", path);
    return true;
}

static bool open_slot(const struct leading *l, const json_t *slot)
{
    const char *kind = json_string_value(json_object_get(slot, "kind"));
    bool shares = strcmp(kind, "shares") == 0;
    char question[512], answer[LINE_MAX_LEN];

    snprintf(question, sizeof question,
             "Slot %lld (%s) was never opened, so nobody knows that it can be.  %s; or \"remove\":",
             (long long)json_integer_value(json_object_get(slot, "slot")), kind,
             shares ? "Type enough of its shares in, from the paper, or name a file with them"
                    : "Name the file with its age identity");
    do {
        if (!ask(l, question, answer))
            return false;
    } while (answer[0] == '\0');
    return answer_opens(l, slot, shares, answer);
}

/* ---- adding a slot ---- */

static bool add_slot(const struct leading *l)
{
    static const char question[] = "An offline slot opens the root key when this machine is gone.  Two are "
                                   "needed, with different holders.\n"
                                   "Give age recipients (age1..., several with commas: any one of them opens "
                                   "it), or paper shares as K/N (2/3):";
    char answer[LINE_MAX_LEN];

    do {
        if (!ask(l, question, answer))
            return false;
    } while (answer[0] == '\0');
    const char *field = strncmp(answer, "age1", 4) == 0 ? "age" : "shares";
    json_t *reply = call(l, json_pack("{s:s, s:s}", "command", "root slots add", field, answer));
    if (reply == NULL)
        return false;
    if (done(l, reply))
        show_slot(reply);
    json_decref(reply);
    return true;
}

static int put_off(const struct leading *l)
{
    fprintf(l->to, "\nNot finished: no key is made before it is.  wwctl init goes on from here.\n");
    return EXIT_REFUSED;
}

/* true: once more around. */
static bool step(const struct leading *l, const json_t *reply, int *rc)
{
    const json_t *root = json_object_get(reply, "root"), *slot = unopened(json_object_get(reply, "slots"));

    show_slots(reply);
    if (json_is_true(json_object_get(root, "enough"))) {
        fprintf(l->to,
                "\nDone: keys can be made.  Keep what opens the offline slots apart, and away from here.\n");
        *rc = EXIT_OK;
        return false;
    }
    fprintf(l->to, "\n");
    if (slot != NULL ? open_slot(l, slot) : add_slot(l))
        return true;
    *rc = put_off(l);
    return false;
}

int init_lead(const char *socket_path, bool json)
{
    struct leading l = {socket_path, stdout};
    int rc = EXIT_OK;
    bool more = true;

    while (more) {
        json_t *reply = call(&l, json_pack("{s:s}", "command", json ? "init" : "root slots list"));

        if (reply == NULL)
            return EXIT_UNREACHABLE;
        if (json) {
            json_dumpf(reply, stdout, JSON_INDENT(1));
            printf("\n");
            more = false;
            rc = json_is_true(json_object_get(reply, "ok")) ? EXIT_OK : EXIT_REFUSED;
        } else {
            more = step(&l, reply, &rc);
        }
        json_decref(reply);
    }
    return rc;
}
