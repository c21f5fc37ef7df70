# Three builds: debug with the sanitizers, release, and clang's opinion.  Sourced by ./dev.
# shellcheck shell=bash

# compiler NAME: through ccache where there is one.
compiler() { if command -v ccache >/dev/null; then say "ccache $1"; else say "$1"; fi; }

# build_one NAME COMPILER MESON_OPTION...
build_one() {
    local name=$1 cc=$2 dir=$top/build/$1 from=$SECONDS
    shift 2
    if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/options" 2>/dev/null)" != "$*" ]; then
        rm -rf "$dir"
        CC=$(compiler "$cc") quietly "$dir.log" meson setup "$dir" "$top" "$@" || die "meson setup of $name failed"
        say "$*" >"$dir/options" # others than these, and it is made anew
    fi
    if ! ninja -C "$dir" >"$dir.log" 2>&1 </dev/null; then
        sed -n '/^FAILED/,$p' "$dir.log" | grep -v '^\[[0-9]*/' | head -n 60 >&2
        die "the $name build failed (all of it: $dir.log)"
    fi
    [ $((SECONDS - from)) -lt 2 ] || say "built $name in $((SECONDS - from)) s"
}

build_debug() { build_one debug gcc -Dbuildtype=debug -Db_sanitize=address,undefined -Dtest_hooks=true; }
build_release() { build_one release gcc -Dbuildtype=release -Db_lto=true -Dtests=false; }
build_clang() { build_one clang clang-14 -Dbuildtype=debugoptimized -Dtest_hooks=true; }
build_fuzz() { build_one fuzz clang-14 -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Dtest_hooks=true -Dfuzz=true; }

# binary NAME: where the program of the build in use is.
build_in_use() { say "${WW_BUILD:-release}"; }
binary() {
    local found
    found=$(find "$top/build/$(build_in_use)" -type f -perm -u+x -name "$1" -print -quit)
    [ -n "$found" ] || die "there is no $1 in build/$(build_in_use)"
    say "$found"
}

build_used() {
    case $(build_in_use) in
    release) build_release ;;
    debug) build_debug ;;
    *) usage "WW_BUILD is 'release' or 'debug'" ;;
    esac
}

verb_build() {
    [ $# = 0 ] || usage "build takes no arguments"
    packages_ensure
    build_debug
    build_release
}

c_files() { git -C "$top" ls-files -co --exclude-standard -- '*.c' '*.h'; }

verb_fmt() {
    [ $# = 0 ] || usage "fmt takes no arguments"
    packages_ensure
    (cd "$top" && c_files | xargs clang-format-14 -i)
}

fmt_check() {
    (cd "$top" && c_files | xargs clang-format-14 --dry-run -Werror) || die "not formatted: ./dev fmt"
}

verb_fuzz() {
    local target=${1:-} seconds=${2:-60} all=() name program
    all=("$top"/tests/fuzz/*_fuzz.c)
    all=("${all[@]##*/}")
    all=("${all[@]%_fuzz.c}")
    if [[ $target =~ ^[0-9]+$ ]]; then
        seconds=$target target=
    fi
    [[ $seconds =~ ^[0-9]+$ ]] || usage "fuzz [TARGET] [SECONDS]: '$seconds' is no number of seconds"
    if [ -n "$target" ]; then
        case " ${all[*]} " in
        *" $target "*) all=("$target") ;;
        *) usage "there is no fuzz target '$target'; did you mean '$(nearest "$target" "${all[@]}")'?" ;;
        esac
    fi
    packages_ensure
    build_fuzz
    for name in "${all[@]}"; do
        program=$top/build/fuzz/tests/fuzz/fuzz_$name
        say "fuzzing $name for $seconds s"
        mkdir -p "$top/build/fuzz/found/$name"
        quietly "$top/build/fuzz/$name.log" "$program" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
            -artifact_prefix="$top/build/fuzz/found/$name-" "$top/build/fuzz/found/$name" \
            "$top/tests/fuzz/corpus/$name" || die "$name found something: build/fuzz/found/$name-*"
        grep -E 'number_of_executed_units' "$top/build/fuzz/$name.log" || true
    done
}

verb_vectors() {
    packages_ensure
    build_used
    exec "$(binary ww-vectors)" "$@"
}
