# Measurements.  Sourced by ./dev.
# shellcheck shell=bash

verb_bench() {
    packages_ensure
    build_release
    exec /usr/bin/python3 "$top/bench/run.py" "$@"
}
