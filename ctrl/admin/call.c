#include "ctrl/admin/call.h"

#include "base/check.h"
#include "ctrl/lib/clock.h"

#include <stdio.h>

const char *call_text(struct call *c, const char *name)
{
    const json_t *v = json_object_get(c->request, name);

    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
        return json_string_value(v);
    refuse(&c->why, "bad_request", "wwctl and ww-ctrl must be of one version",
           "\"%s\" must be given, as text", name);
    return NULL;
}

bool call_text_if(struct call *c, const char *name, const char **out)
{
    *out = NULL;
    if (json_object_get(c->request, name) == NULL)
        return true;
    *out = call_text(c, name);
    return *out != NULL;
}

bool call_number(struct call *c, const char *name, int64_t fallback, int64_t min, int64_t max, int64_t *out)
{
    const json_t *v = json_object_get(c->request, name);

    *out = fallback;
    if (v == NULL)
        return true;
    *out = (int64_t)json_integer_value(v);
    if (!json_is_integer(v) || *out < min || *out > max)
        return refuse(&c->why, "bad_request", "give a number in that range", "\"%s\" must be %lld..%lld",
                      name, (long long)min, (long long)max);
    return true;
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

bool call_hex(struct call *c, const char *name, uint8_t *out, size_t cap, size_t *len)
{
    const char *text = call_text(c, name);

    for (*len = 0; text != NULL && text[0] != '\0'; text += 2, ++*len) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || *len == cap)
            return refuse(&c->why, "bad_import", "see docs/OPERATIONS.md, \"Importing a key\"",
                          "\"%s\" must be at most %zu bytes in hexadecimal", name, cap);
        out[*len] = (uint8_t)(high << 4 | low);
    }
    return text != NULL;
}

json_t *time_json(int64_t unix_s)
{
    char text[CLOCK_TEXT_CAP];

    clock_text(unix_s, text);
    return json_string(text);
}

json_t *when_json(int64_t unix_s)
{
    return unix_s == 0 ? json_null() : time_json(unix_s);
}

json_t *hex_json(const uint8_t *p, size_t len)
{
    char text[2 * 32 + 1];

    CHECK(len <= 32);
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    return json_string(text);
}

json_t *refusal_json(const struct refusal *why, enum admin_exit code)
{
    return json_pack("{s:b, s:i, s:{s:s, s:s, s:s}}", "ok", 0, "exit", (int)code, "error", "code", why->code,
                     "message", why->text, "next", why->next);
}
