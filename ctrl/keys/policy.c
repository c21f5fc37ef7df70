/* How: libyaml's document tree, walked once; every node carries its mark, so every refusal has a place. */
#include "ctrl/keys/policy.h"

#include "base/check.h"
#include "ctrl/lib/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { CALLERS, REASONS, MISSING, UNKNOWN, DENY, NAME_COUNT };
static const char *const names[NAME_COUNT] = {"callers", "reasons", "allow_missing_reason",
                                              "allow_unknown_reason", "deny_status"};

/* ---- parsing ---- */

struct parse {
    yaml_document_t doc;
    struct policy policy;
    bool missing_given, reasons_are_all;
    bool missing, unknown;
    struct refusal *why;
};

static const char next_step[] = "see docs/OPERATIONS.md, \"Policy files\"; nothing was changed";

static bool bad(struct parse *p, const yaml_node_t *node, const char *what)
{
    return refuse(p->why, "bad_policy", next_step, "line %zu, column %zu: %s", node->start_mark.line + 1,
                  node->start_mark.column + 1, what);
}

static bool bad_word(struct parse *p, const yaml_node_t *node, const char *what, const char *const *words,
                     size_t count)
{
    struct span w = {0};
    char text[256];

    if (node->type == YAML_SCALAR_NODE)
        w = span_of(node->data.scalar.value, node->data.scalar.length);
    snprintf(text, sizeof text, "%s \"%.*s\"; did you mean \"%s\"?", what, (int)(w.len < 64 ? w.len : 64),
             w.len == 0 ? "" : (const char *)w.ptr, nearest_word(w, words, count));
    return bad(p, node, text);
}

static struct span scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return span_of(NULL, 0);
    return span_of(node->data.scalar.value, node->data.scalar.length);
}

static bool is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool take_bool(struct parse *p, const yaml_node_t *node, bool *out)
{
    *out = span_is(scalar(node), "true");
    if (!is_plain(node) || (!*out && !span_is(scalar(node), "false")))
        return bad(p, node, "must be true or false");
    return true;
}

/* What Google sends is an ASCII address; anything else could only ever be a mistake or a look-alike. */
static bool caller_ok(struct span s)
{
    bool at = false;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f)
            return false;
        if (s.ptr[i] == '@' && (at || i == 0 || i == s.len - 1))
            return false;
        at |= s.ptr[i] == '@';
    }
    return at && s.len <= EKM_CALLER_MAX;
}

static bool take_caller(struct parse *p, const yaml_node_t *node)
{
    struct span s = scalar(node);
    struct policy *out = &p->policy;

    if (!caller_ok(s))
        return bad(p, node, "a caller is an e-mail address of at most 254 ASCII characters");
    for (uint8_t i = 0; i < out->caller_count; i++) {
        if (span_is(s, out->callers[i]))
            return bad(p, node, "this caller is already listed");
    }
    if (out->caller_count == EKM_CALLERS_PER_KEY)
        return bad(p, node, "more than 64 callers");
    char *copy = calloc(1, s.len + 1);
    CHECK(copy != NULL);
    memcpy(copy, s.ptr, s.len);
    out->callers[out->caller_count++] = copy;
    return true;
}

static bool take_reason(struct parse *p, const yaml_node_t *node)
{
    for (unsigned i = 0; i <= ACCESS_REASON_LAST; i++) {
        if (!span_is(scalar(node), access_reason_names[i]))
            continue;
        if ((p->policy.reasons & 1u << i) != 0)
            return bad(p, node, "this reason is already listed");
        p->policy.reasons |= 1u << i;
        return true;
    }
    return bad_word(p, node, "unknown reason", access_reason_names, ACCESS_REASON_LAST + 1);
}

static bool take_list(struct parse *p, const yaml_node_t *node,
                      bool (*take)(struct parse *, const yaml_node_t *), const char *what)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return bad(p, node, what);
    for (const yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        if (!take(p, yaml_document_get_node(&p->doc, *i)))
            return false;
    }
    return true;
}

static bool take_reasons(struct parse *p, const yaml_node_t *node)
{
    p->reasons_are_all = span_is(scalar(node), "all");
    p->policy.reasons = 0;
    if (p->reasons_are_all) {
        p->policy.reasons = ACCESS_REASONS_ALL & ~ACCESS_REASON_ABSENT_BIT;
        return true;
    }
    return take_list(p, node, take_reason, "must be \"all\" or a list of reason names");
}

static bool take_deny(struct parse *p, const yaml_node_t *node)
{
    bool is_400 = span_is(scalar(node), "400");

    if (!is_plain(node) || (!is_400 && !span_is(scalar(node), "403")))
        return bad(p, node, "must be 403 or 400");
    p->policy.deny_status = is_400 ? 400 : 403;
    return true;
}

static bool take_pair(struct parse *p, size_t name, const yaml_node_t *value)
{
    switch (name) {
    case CALLERS:
        return take_list(p, value, take_caller, "must be a list of e-mail addresses");
    case REASONS:
        return take_reasons(p, value);
    case MISSING:
        p->missing_given = true;
        return take_bool(p, value, &p->missing);
    case UNKNOWN:
        return take_bool(p, value, &p->unknown);
    default:
        return take_deny(p, value);
    }
}

static bool take_mapping(struct parse *p, const yaml_node_t *root)
{
    bool seen[NAME_COUNT] = {false};

    for (const yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top; i++) {
        const yaml_node_t *key = yaml_document_get_node(&p->doc, i->key);
        size_t name = 0;

        while (name < NAME_COUNT && !span_is(scalar(key), names[name]))
            name++;
        if (name == NAME_COUNT)
            return bad_word(p, key, "unknown name", names, NAME_COUNT);
        if (seen[name])
            return bad(p, key, "this name is given twice");
        seen[name] = true;
        if (!take_pair(p, name, yaml_document_get_node(&p->doc, i->value)))
            return false;
    }
    return seen[CALLERS] || bad(p, root, "\"callers\" is missing; to let nobody in, write callers: []");
}

static void settle_reasons(struct parse *p)
{
    if (p->missing_given ? p->missing : p->reasons_are_all)
        p->policy.reasons |= ACCESS_REASON_ABSENT_BIT;
    if (p->unknown)
        p->policy.reasons |= ACCESS_REASON_UNKNOWN_BIT;
}

static bool take_document(struct parse *p)
{
    const yaml_node_t *root = yaml_document_get_root_node(&p->doc);

    policy_default(&p->policy);
    p->policy.reasons = ACCESS_REASONS_ALL & ~ACCESS_REASON_ABSENT_BIT;
    p->reasons_are_all = true;
    if (root == NULL)
        return refuse(p->why, "bad_policy", next_step, "line 1, column 1: the file is empty");
    if (root->type != YAML_MAPPING_NODE)
        return bad(p, root, "must be a mapping with callers, reasons ...");
    if (!take_mapping(p, root))
        return false;
    settle_reasons(p);
    return true;
}

static bool load_document(struct parse *p, struct span text)
{
    yaml_parser_t parser;

    if (text.len > POLICY_FILE_MAX || yaml_parser_initialize(&parser) != 1)
        return refuse(p->why, "bad_policy", next_step, "longer than %d bytes", POLICY_FILE_MAX);
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    bool ok = yaml_parser_load(&parser, &p->doc) == 1;
    if (!ok)
        refuse(p->why, "bad_policy", next_step, "line %zu, column %zu: %s", parser.problem_mark.line + 1,
               parser.problem_mark.column + 1, parser.problem == NULL ? "not YAML" : parser.problem);
    yaml_parser_delete(&parser);
    return ok;
}

bool policy_parse(struct span text, struct policy *out, struct refusal *why)
{
    struct parse p = {.why = why};

    if (!load_document(&p, text))
        return false;
    bool ok = take_document(&p);
    yaml_document_delete(&p.doc);
    if (!ok)
        policy_free(&p.policy);
    else
        *out = p.policy;
    return ok;
}

bool policy_has_caller(const struct policy *p, const char *caller)
{
    for (uint8_t i = 0; i < p->caller_count; i++) {
        if (strcmp(p->callers[i], caller) == 0)
            return true;
    }
    return false;
}

bool policy_takes_away(const struct policy *from, const struct policy *to)
{
    for (uint8_t i = 0; i < from->caller_count; i++) {
        if (!policy_has_caller(to, from->callers[i]))
            return true;
    }
    return from->caller_count != 0 && (from->reasons & ~to->reasons) != 0;
}
