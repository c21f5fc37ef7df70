#include "ctrl/lib/nearest.h"

#define WORD_MAX 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct span cut(struct span s)
{
    s.len = least(s.len, WORD_MAX);
    return s;
}

/* Levenshtein's, one row at a time. */
static size_t distance(struct span a, struct span b)
{
    size_t row[WORD_MAX + 1];

    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];

            row[j] = least(least(row[j], row[j - 1]) + 1, diagonal + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1));
            diagonal = above;
        }
    }
    return row[b.len];
}

const char *nearest_word(struct span word, const char *const *words, size_t count)
{
    const char *best = words[0];
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(cut(word), cut(span_str(words[i])));

        if (d < best_distance) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}
