# Words for the terminal.  Sourced by ./dev.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
die() { printf 'dev: %s\n' "$*" >&2; exit 1; }
usage() { printf 'dev: %s\n' "$*" >&2; exit 2; }

# nearest WORD CANDIDATE...: the candidate with the smallest edit distance.
nearest() {
    printf '%s\n' "$@" | awk '
        function min(a, b) { return a < b ? a : b }
        function distance(s, t,    i, j, d) {
            for (i = 0; i <= length(s); i++) d[i, 0] = i
            for (j = 0; j <= length(t); j++) d[0, j] = j
            for (i = 1; i <= length(s); i++)
                for (j = 1; j <= length(t); j++)
                    d[i, j] = min(min(d[i-1, j], d[i, j-1]) + 1, d[i-1, j-1] + (substr(s, i, 1) != substr(t, j, 1)))
            return d[length(s), length(t)]
        }
        NR == 1 { word = $0; best = 1000; next }
        { n = distance(word, $0); if (n < best) { best = n; near = $0 } }
        END { print near }'
}

# quietly LOG COMMAND...: runs it with its output in LOG; on failure shows the end of LOG and fails.
quietly() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null && return 0
    tail -n 60 "$log" >&2
    return 1
}
