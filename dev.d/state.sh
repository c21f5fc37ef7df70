# One running Wirewrap is one state folder: configuration, store, logs, env.  Sourced by ./dev.
# shellcheck shell=bash

demo_host=ekm.wirewrap.test
demo_key=v0/demo/key
demo_caller=service-100200300400@gcp-sa-ekms.iam.gserviceaccount.com

# state_options ARG...: sets state, nic, workers.
state_options() {
    state=.run nic=tap workers=1
    while [ $# -gt 0 ]; do
        case $1 in
        --state | --nic | --workers) [ -n "${2:-}" ] || usage "$1 needs a value; ./dev help shows which" ;;&
        --state) state=$2 ;;
        --nic) nic=$2 ;;
        --workers) workers=$2 ;;
        *) usage "unknown option '$1'; did you mean '$(nearest "$1" --state --nic --workers)'?" ;;
        esac
        shift 2
    done
    [ "$nic" = tap ] || [ "$nic" = virtio ] || usage "--nic is 'tap' or 'virtio', not '$nic'"
    [[ $workers =~ ^[0-9]+$ ]] && [ "$workers" -ge 1 ] && [ "$workers" -le 16 ] || usage "--workers is a number from 1 to 16, not '$workers'"
    if [ "$state" = .run ]; then state=$top/.run; else state=$(realpath -m "$state"); fi
    netns=ww-$(printf %s "$state" | sha256sum | cut -c1-8)
}

supervisor_alive() {
    local pid started
    [ -f "$state/supervisor.pid" ] || return 1
    read -r pid started <"$state/supervisor.pid"
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$started" ]
}

supervisor_pid() { cut -d' ' -f1 "$state/supervisor.pid"; }
in_netns() { ip netns exec "$netns" "$@"; }
ctl() { "$(binary wwctl)" --admin "$state/admin.sock" "$@"; }

# A namespace of our own: the kernel sits on one end of a TAP device, Wirewrap's stack on the other.
netns_make() {
    netns_remove
    ip netns add "$netns"
    ip -n "$netns" link set lo up
    in_netns sysctl -qw net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
    ip -n "$netns" tuntap add dev ww0 mode tap multi_queue
    # A burst of strangers must not push out the segments of others before we have seen them: 500 frames are the default.
    ip -n "$netns" link set ww0 txqueuelen 10000 up
    # Nor is a neighbour that does not answer for three seconds, the default, gone: its machine stands still.
    local family
    for family in ipv4 ipv6; do
        in_netns sysctl -qw net.$family.neigh.ww0.mcast_solicit=60 net.$family.neigh.ww0.ucast_solicit=60
    done
    ip -n "$netns" addr add 192.0.2.1/24 dev ww0
    ip -n "$netns" addr add 2001:db8:57::1/64 dev ww0 nodad
    # A program in the dataplane's place serves on kernel sockets.
    [ -z "${WW_DATAPLANE:-}" ] || ip -n "$netns" addr add 192.0.2.2/32 dev lo
    mkdir -p "/etc/netns/$netns"
    printf '127.0.0.1 localhost\n192.0.2.2 %s\n2001:db8:57::2 %s\n' $demo_host $demo_host >"/etc/netns/$netns/hosts"
}

netns_remove() {
    if [ -e "/run/netns/$netns" ]; then ip netns del "$netns"; fi
    rm -rf "/etc/netns/$netns"
}

# A small authority and one certificate for the demo's host name.
certificate_make() {
    local authority=$state/ca
    openssl ecparam -name prime256v1 -genkey -noout -out "$authority.key"
    openssl req -x509 -new -key "$authority.key" -sha256 -days 3650 -subj "/CN=Wirewrap development CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -out "$authority.pem"
    certificate_issue "$state/server"
}

# certificate_issue NAME: NAME.key and NAME.pem, signed by the state's authority.
certificate_issue() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$demo_host" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$state/ca.pem" -CAkey "$state/ca.key" -CAcreateserial -sha256 -days 825 -extfile <(
        printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n' $demo_host
    ) -out "$1.pem"
    rm -f "$1.csr"
}

# WW_IDLE, WW_CORES and WW_CONNECTIONS are for measurements; WW_DATAPLANE is another program in the dataplane's place, WW_CTRL (a path) in ctrl's.
# DIR/issuers.yaml, if somebody put it there, becomes auth.issuers; DIR/dataplane.yaml goes into dataplane, DIR/ctrl.yaml into ctrl.
config_write() {
    local device=tap:ww0
    [ "$nic" = tap ] || device=virtio-user:$state/vhost.sock
    cat >"$state/wirewrap.yaml" <<YAML
# Written by ./dev up, anew each time.
nic:
  device: $device
  mac: 02:57:57:00:00:02
  queues: $workers
  hugepages: false
net:
  addresses: [192.0.2.2/24, 2001:db8:57::2/64]
  routes:
    - {dst: 0.0.0.0/0, via: 192.0.2.1}
    - {dst: "::/0", via: "2001:db8:57::1"}
  port: 443
  connections_max: ${WW_CONNECTIONS:-4096}
dataplane:
  workers: $workers
  idle: ${WW_IDLE:-sleep}
  cores: [${WW_CORES:-}]
$([ ! -f "$state/dataplane.yaml" ] || sed 's/^/  /' "$state/dataplane.yaml")
ctrl:
  state_dir: $state/store
  ctl_socket: $state/ctl.sock
  admin_socket: $state/admin.sock
  audit_dir: $state/audit
$([ ! -f "$state/ctrl.yaml" ] || sed 's/^/  /' "$state/ctrl.yaml")
seal:
  passphrase_file: $state/passphrase
tls:
  certificate_file: $state/server.pem
  key_file: $state/server.key
auth:
  audiences: [https://$demo_host]
YAML
    [ ! -f "$state/issuers.yaml" ] || { echo "  issuers:"; sed 's/^/    /' "$state/issuers.yaml"; } >>"$state/wirewrap.yaml"
    [ ! -f "$state/more.yaml" ] || cat "$state/more.yaml" >>"$state/wirewrap.yaml"
}

# Everything on disk that the two processes need to start.
state_prepare() {
    umask 077
    mkdir -p "$state" "$state/store" "$state/audit"
    [ -f "$state/passphrase" ] || head -c 32 /dev/urandom | base64 -w0 >"$state/passphrase"
    [ -f "$state/server.pem" ] || quietly "$state/certificate.log" certificate_make || die "no certificate could be made"
    rm -f "$state/env" "$state/env.static" "$state/supervisor.pid" "$state"/*.sock
    config_write
    processes_write
}

processes_write() {
    STATE=$state NETNS=$netns NIC=$nic WORKERS=$workers CTRL=${WW_CTRL:-$(binary ww-ctrl)} DATAPLANE=$(binary "${WW_DATAPLANE:-ww-dataplane}") BRIDGE=$(bridge_if_needed) \
        /usr/bin/python3 - <<'PY' >"$state/processes.json"
import json, os
e = os.environ
config = ["--config", e["STATE"] + "/wirewrap.yaml"]
inside = ["ip", "netns", "exec", e["NETNS"]]
processes = [{"name": "ctrl", "argv": [e["CTRL"], *config, "--dev"]}]
if e["NIC"] == "virtio":
    processes.append({"name": "bridge", "argv": inside + [e["BRIDGE"], "--vhost", e["STATE"] + "/vhost.sock", "--tap", "ww0", "--queues", e["WORKERS"]]})
processes.append({"name": "dataplane", "argv": inside + [e["DATAPLANE"], *config]})
print(json.dumps(processes, indent=1))
PY
}

bridge_if_needed() { [ "$nic" = tap ] || binary ww-bridge; }

supervisor_start() {
    setsid --fork /usr/bin/python3 "$top/dev.d/supervise.py" "$state" </dev/null >>"$state/supervisor.log" 2>&1
    wait_for 120 supervisor_alive || state_fail "the supervisor did not start"
}

# wait_for SECONDS COMMAND...
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.1
    done
}

state_fail() {
    local log
    for log in "$state"/{supervisor,ctrl,bridge,dataplane}.log; do
        [ -s "$log" ] && { printf -- '--- %s\n' "$log"; tail -n 20 "$log"; } >&2
    done
    state_stop
    die "$*"
}

state_stop() {
    local pid
    if supervisor_alive; then
        pid=$(supervisor_pid)
        kill "$pid"
        wait_for 200 supervisor_gone || { kill -9 "$pid"; sleep 0.2; }
    fi
    rm -f "$state/supervisor.pid" "$state/env" "$state/env.static" "$state"/*.sock
    netns_remove
}
supervisor_gone() { ! supervisor_alive; }

# The demo's key and policy, once; a token, each time.
demo_key_make() {
    ctl key show $demo_key >/dev/null 2>&1 && return 0
    ctl key create $demo_key
    policy_write $demo_caller >"$state/policy.json"
    ctl policy set $demo_key --file "$state/policy.json"
}

# policy_write CALLER...: who may use a key; every access reason.
policy_write() {
    local callers
    callers=$(printf '"%s",' "$@")
    printf '{"callers": [%s], "reasons": "all"}\n' "${callers%,}"
}

token_mint() { ctl dev token --email $demo_caller --audience https://$demo_host --expires 24h; }

env_write() {
    local token
    token=$(token_mint) || return 1
    cat >"$state/env.static.new" <<ENV
WW_NETNS=$netns
WW_URL=https://$demo_host:443
WW_RESOLVE=$demo_host:443:192.0.2.2,[2001:db8:57::2]
WW_ADDR=192.0.2.2
WW_ADDR6=2001:db8:57::2
WW_CA=$state/ca.pem
WW_KEY_PATH=$demo_key
WW_TOKEN=$token
WW_ADMIN=$state/admin.sock
ENV
    mv "$state/env.static.new" "$state/env.static"
    kill -USR1 "$(supervisor_pid)"
    wait_for 120 test -f "$state/env"
}

# api PATH:VERB JSON [CURL_OPTION...]: one request as the demo caller; body to stdout, then the status on a line of its own.
api() {
    local path=$1 body=$2 token
    shift 2
    token=$(sed -n 's/^WW_TOKEN=//p' "$state/env")
    in_netns curl -sS -m 30 --resolve "$demo_host:443:192.0.2.2" --cacert "$state/ca.pem" -H "Authorization: Bearer $token" \
        -H 'Content-Type: application/json' -w '\n%{http_code}\n' -d "$body" "$@" "https://$demo_host:443/$path"
}
wrap_works() { [ "$(api "$demo_key:wrap" '{"plaintext":"aGVsbG8="}' | tail -n 1)" = 200 ]; }

state_up() {
    supervisor_alive && die "already up: $state (./dev down --state $state)"
    trap 'state_stop; exit 130' INT TERM
    build_used
    state_prepare
    netns_make
    supervisor_start
    wait_for 120 ctl status || state_fail "ww-ctrl did not answer within 120 s"
    quietly "$state/demo-key.log" demo_key_make || state_fail "the demo key could not be made"
    env_write || state_fail "no token could be minted"
    wait_for 120 wrap_works || state_fail "no wrap succeeded within 120 s"
}

verb_up() {
    state_options "$@"
    packages_ensure
    state_up
    say "serving; everything else is in $state/env"
}

verb_down() {
    state_options "$@"
    state_stop
    say "down: $state"
}
