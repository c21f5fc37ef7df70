#include "ctrl/backup/branch.h"

#include "ctrl/lib/file.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

const struct backup_name *branch_find(const struct backup_name *names, size_t count,
                                      enum branch_kin (*kin)(void *ctx, const struct backup_name *n),
                                      void *ctx, int64_t adopted_unix_s)
{
    const struct backup_name *found = NULL;
    int64_t ours_since = INT64_MAX;

    for (size_t i = 0; i < count; i++) {
        if (names[i].made_unix_s < ours_since && kin(ctx, &names[i]) == BRANCH_OURS)
            ours_since = names[i].made_unix_s;
    }
    for (size_t i = 0; i < count; i++) {
        const struct backup_name *n = &names[i];
        enum branch_kin k = kin(ctx, n);
        bool other = k == BRANCH_AHEAD || (k == BRANCH_OTHER && n->made_unix_s > ours_since);

        if (other && n->made_unix_s > adopted_unix_s &&
            (found == NULL || n->made_unix_s > found->made_unix_s))
            found = n;
    }
    return found;
}

static void path_of(const char *folder, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/adopted.json", folder);
}

static json_t *load(const char *folder)
{
    char path[PATH_MAX];

    path_of(folder, path);
    json_t *all = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(all))
        return all;
    json_decref(all);
    return json_object();
}

int64_t branch_adopted(const char *folder, const char *sink)
{
    json_t *all = load(folder);
    int64_t at = json_integer_value(json_object_get(all, sink));

    json_decref(all);
    return at;
}

bool branch_adopt(const char *folder, const char *sink, int64_t unix_s, struct refusal *why)
{
    char path[PATH_MAX];
    json_t *all = load(folder);

    path_of(folder, path);
    json_object_set_new(all, sink, json_integer((json_int_t)unix_s));
    char *text = json_dumps(all, JSON_SORT_KEYS | JSON_INDENT(1));
    bool ok = text != NULL && file_write(path, span_str(text), why);
    free(text);
    json_decref(all);
    return ok;
}
