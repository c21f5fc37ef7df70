# The two guided tours: run stays in the foreground, demo walks through a key's life.  Sourced by ./dev.
# shellcheck shell=bash

verb_run() {
    state_options "$@"
    packages_ensure
    state_up
    trap 'say ""; say "stopping"; state_stop; exit 0' INT TERM
    run_hello
    while supervisor_alive; do
        run_status
        sleep 1 &
        wait $! || true
    done
    die "the supervisor is gone; its log is $state/supervisor.log"
}

run_hello() {
    cat <<HELLO

Wirewrap serves.  Paste this into another terminal to wrap a data key:

  . $state/env && ip netns exec \$WW_NETNS curl --resolve "\$WW_RESOLVE" --cacert \$WW_CA -H "Authorization: Bearer \$WW_TOKEN" -H 'Content-Type: application/json' -d '{"plaintext":"aGVsbG8="}' \$WW_URL/\$WW_KEY_PATH:wrap

  configuration  $state/wirewrap.yaml
  audit records  $state/audit
  logs           $state/ctrl.log, $state/dataplane.log
  wwctl          $(binary wwctl) --admin $state/admin.sock status

Ctrl-C stops it.
HELLO
}

# One line that is written over itself on a terminal, and now and then elsewhere.
run_status() {
    local line
    line=$(ctl dataplane stats --json 2>/dev/null | /usr/bin/python3 -c '
import json, sys
counters = json.load(sys.stdin)["counters"]
show = [("wraps", "ekm_wrap_ok"), ("unwraps", "ekm_unwrap_ok"), ("requests", "http_requests"), ("handshakes", "tls_handshake_ok")]
print("   ".join(f"{name} {counters.get(key, 0)}" for name, key in show))' 2>/dev/null) || line="ww-ctrl does not answer"
    if [ -t 1 ]; then
        printf '\r\033[K%s  %s' "$(date +%T)" "$line"
    elif [ $((SECONDS % 10)) = 0 ]; then
        say "$(date +%T)  $line"
    fi
}

# demo_step TEXT COMMAND...: one step, printed and checked.
demo_step() {
    local text=$1
    shift
    if "$@" >"$state/step.log" 2>&1; then
        printf '  ok    %s\n' "$text"
    else
        printf '  WRONG %s\n' "$text"
        cat "$state/step.log" >&2
        demo_wrong=$((demo_wrong + 1))
    fi
}

# field NAME: the string of that name in the JSON object on stdin.
field() { /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

demo_wrap() { # FILE: wraps the demo's data key into FILE
    local answer
    answer=$(api "$demo_key:wrap" "{\"plaintext\":\"$demo_plaintext\",\"additionalAuthenticatedData\":\"Y29udGV4dA==\"}")
    echo "$answer"
    [ "${answer##*$'\n'}" = 200 ] && head -n 1 <<<"$answer" | field wrappedBlob >"$1"
}

demo_unwrap_answer() { # FILE [AAD]
    api "$demo_key:unwrap" "{\"wrappedBlob\":\"$(cat "$1")\",\"additionalAuthenticatedData\":\"${2:-Y29udGV4dA==}\"}"
}

demo_unwrap() { # FILE: unwraps to what was wrapped
    local answer
    answer=$(demo_unwrap_answer "$1")
    echo "$answer"
    [ "${answer##*$'\n'}" = 200 ] && [ "$(head -n 1 <<<"$answer" | field plaintext)" = "$demo_plaintext" ]
}

demo_refused() { # STATUS GRPC_CODE COMMAND...
    local status=$1 code=$2 answer
    shift 2
    answer=$("$@")
    echo "$answer"
    [ "${answer##*$'\n'}" = "$status" ] && [ "$(head -n 1 <<<"$answer" | field code)" = "$code" ]
}

# Bytes 4..11 of a blob name the key version that wrapped it.
demo_versions_differ() { [ "$(base64 -d "$1" | head -c 12 | hex)" != "$(base64 -d "$2" | head -c 12 | hex)" ]; }
hex() { od -An -v -tx1 | tr -d ' \n'; }

verb_demo() {
    local folder
    [ $# = 0 ] || usage "demo takes no arguments"
    packages_ensure
    folder=$(mktemp -d "${TMPDIR:-/tmp}/wirewrap-demo.XXXXXX")
    state_options --state "$folder"
    trap 'state_stop; rm -rf "$state"' EXIT
    state_up
    demo_wrong=0
    demo_plaintext=$(head -c 32 /dev/urandom | base64 -w0)
    say "Wirewrap serves in $state with the key $demo_key"
    demo_step "wrap a 32-byte data key" demo_wrap "$state/one"
    demo_step "unwrap it: the same 32 bytes" demo_unwrap "$state/one"
    demo_step "unwrap it for another context: refused, 400" demo_refused 400 3 demo_unwrap_answer "$state/one" b3RoZXI=
    demo_step "rotate the key" ctl key rotate "$demo_key"
    demo_step "wrap again" demo_wrap "$state/two"
    demo_step "the second blob names a new key version" demo_versions_differ "$state/one" "$state/two"
    demo_step "the first blob still unwraps" demo_unwrap "$state/one"
    demo_step "the second blob unwraps" demo_unwrap "$state/two"
    demo_step "disable the key" ctl key disable "$demo_key"
    demo_step "unwrap is refused at once: 400 FAILED_PRECONDITION" demo_refused 400 9 demo_unwrap_answer "$state/one"
    demo_step "enable it again" ctl key enable "$demo_key"
    demo_step "unwrap works again" demo_unwrap "$state/one"
    [ "$demo_wrong" = 0 ] || die "$demo_wrong steps were wrong"
    say "every step was right"
}
