# What Debian has to bring.  Sourced by ./dev.
# shellcheck shell=bash

packages_missing() {
    local wanted
    mapfile -t wanted <"$top/packages.txt"
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
        awk '$2 == "installed" { have[$1] = 1 } END { while ((getline p < list) > 0) if (!(p in have)) print p }' \
            list="$top/packages.txt"
}

# Installs what is missing from packages.txt, and nothing when nothing is.
packages_ensure() {
    local missing log=$top/build/packages.log
    mapfile -t missing < <(packages_missing)
    [ ${#missing[@]} = 0 ] && return 0
    [ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them: ${missing[*]}"
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    quietly "$log" apt-get update || die "apt-get update failed"
    services_hold
    DEBIAN_FRONTEND=noninteractive quietly "$log" apt-get install -y --no-install-recommends "${missing[@]}" ||
        { services_release; die "apt-get install failed (all of it: $log)"; }
    services_release
    services_disable "${missing[@]}"
}

# Some packages bring a server that would start at once: the word of policy-rc.d (invoke-rc.d(8)) holds it back.  A policy that is
# there already stays as it is.
services_hold() {
    services_held=
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    services_held=yes
}
services_release() { [ -z "$services_held" ] || rm -f /usr/sbin/policy-rc.d; }

# And not at the next boot either: ./dev bench starts them itself.
services_disable() {
    local package
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        case $package in
        nginx-light) systemctl disable nginx >/dev/null 2>&1 || true ;;
        haproxy) systemctl disable haproxy >/dev/null 2>&1 || true ;;
        esac
    done
}
