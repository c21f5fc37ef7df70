# Measurements.  Sourced by ./dev.
# shellcheck shell=bash

verb_bench() {
    packages_ensure
    if [ "${1:-}" = --budget ]; then
        [ $# = 1 ] || usage "bench --budget takes nothing else"
        exec "$top/bench/instructions" --budget
    fi
    if [ "${1:-}" = --micro ]; then
        shift
        exec "$top/bench/micro/run" "$@"
    fi
    build_release
    exec /usr/bin/python3 "$top/bench/run.py" "$@"
}
