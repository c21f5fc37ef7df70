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
    DEBIAN_FRONTEND=noninteractive quietly "$log" apt-get install -y --no-install-recommends "${missing[@]}" ||
        die "apt-get install failed (all of it: $log)"
}
