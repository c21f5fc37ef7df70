# The tests: what is built first, and which groups run.  Sourced by ./dev.
# shellcheck shell=bash

verb_test() {
    local long=() names=() argument
    for argument in "$@"; do
        case $argument in
        --long) long=(--long) ;;
        -*) usage "unknown option '$argument'; test knows --long" ;;
        *) names+=("$argument") ;;
        esac
    done
    packages_ensure
    build_debug
    build_release
    [ ${#names[@]} -gt 0 ] || build_clang
    exec /usr/bin/python3 "$top/tests/lib/run.py" "${long[@]}" --build "$top/build/debug" "${names[@]}"
}

verb_check() {
    [ $# = 0 ] || usage "check takes no arguments"
    packages_ensure
    fmt_check
    build_debug
    build_release
    exec /usr/bin/python3 "$top/tests/lib/run.py" --build "$top/build/debug" unit layering
}
