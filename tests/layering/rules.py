"""The rules of the house, each a function: the root of a tree (and a built ww-ctrl) in, a list of violations out."""
import fnmatch
import functools
import os
import re
import subprocess

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)
PRODUCT = ("base/", "proto/", "drivers/", "dataplane/", "ctrl/")

# What each part may include of ours, besides its own folder.  Earlier entries win.
MAY_INCLUDE = [
    ("base/", ()),
    ("proto/", ("base/",)),
    ("drivers/nic/bridge/", ("base/", "proto/", "drivers/nic/")),
    ("drivers/nic/", ("base/", "proto/", "drivers/nic/")),
    ("drivers/crypto/", ("base/", "proto/", "drivers/crypto/")),
    ("drivers/seal/device/", ("base/", "drivers/seal/device/")),
    ("drivers/seal/", ("base/", "proto/", "drivers/seal/", "drivers/crypto/mbedtls/")),
    ("dataplane/", ("base/", "proto/", "drivers/nic/", "drivers/crypto/", "drivers/seal/device/", "dataplane/")),
    ("ctrl/", ("base/", "proto/", "drivers/seal/", "drivers/crypto/mbedtls/", "ctrl/")),
]

# The order in which a request meets the rooms of the dataplane; http is proto/http.
ROOMS = ["net", "tls", "ekm", "keys"]

# The rooms of ctrl from the top; the files of ctrl/ itself ("") put those below them together, and admin acts on the whole.
# cli is a program of its own; so is what puts sockets on the loop, which knows all.
CTRL_ROOMS = ["admin", "", "operators", "backup", "audit", "root", "keys", "trust", "store", "fetch", "lib"]
CTRL_PROCESS = ("ctrl/main.c", "ctrl/server.c", "ctrl/admin_server.c", "ctrl/ctl_server.c")

# Which folders and files may name the headers of a library.
LIBRARY_HEADERS = {
    "DPDK": (re.compile(r"^(rte_|bus_\w+_driver|ethdev_)"),
             ("drivers/nic/dpdk/", "drivers/nic/bridge/", "dataplane/main.c")),
    "OpenSSL": (re.compile(r"^openssl/"), ("drivers/crypto/", "dataplane/tls/")),
    "libipsec-mb": (re.compile(r"^intel-ipsec-mb"), ("drivers/crypto/aead.c", "drivers/crypto/record_cipher.c")),
    "mbedTLS": (re.compile(r"^(mbedtls|psa)/"), ("drivers/crypto/mbedtls/", "drivers/seal/", "ctrl/")),
    "libcurl": (re.compile(r"^curl/"), ("ctrl/fetch/",)),
    "devices": (re.compile(r"^(p11-kit|tss2)/"), ("drivers/seal/child/",)),
}

README_LABELS = ["", "Not here", "Door", "Called by", "Includes", "Invariant", "Limits", "Sources", "Test", "Read first"]
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}*])/(wo" r"rk|ro" r"ot|ho" r"me|far" r"m)/")


@functools.lru_cache(maxsize=None)
def files(root):
    out = subprocess.check_output(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], text=True)
    return [f for f in sorted(set(out.splitlines())) if os.path.isfile(f"{root}/{f}")]


@functools.lru_cache(maxsize=None)
def text(root, path):
    with open(f"{root}/{path}", encoding="utf-8", errors="replace") as f:
        return f.read()


def c_files(root):
    return [f for f in files(root) if f.endswith((".c", ".h")) and f.startswith(PRODUCT)]


def includes(root, path):
    return INCLUDE.findall(text(root, path))


def ours(path):
    return path.startswith(PRODUCT)


def room(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "dataplane" and len(parts) > 2 else None


def includes_point_one_way(root, _):
    bad = []
    for path in c_files(root):
        own = os.path.dirname(path) + "/"
        allowed = next(may for prefix, may in MAY_INCLUDE if path.startswith(prefix))
        bad += [f"{path} includes {i}" for i in includes(root, path)
                if ours(i) and not i.startswith(own) and not i.startswith(allowed)]
    return bad


def a_dataplane_room_includes_only_rooms_further_down(root, _):
    bad = []
    for path in c_files(root):
        own = room(path)
        for i in includes(root, path):
            other = room(i)
            if own is None or not i.startswith("dataplane/") or other == own:
                continue
            if other is None or ROOMS.index(other) < ROOMS.index(own):
                bad.append(f"{path} includes {i}")
    return bad


def ctrl_room(path):
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else ""


def a_ctrl_room_includes_only_rooms_further_down(root, _):
    bad = []
    for path in c_files(root):
        if not path.startswith("ctrl/") or path in CTRL_PROCESS:
            continue
        own = ctrl_room(path)
        further_down = {own, "lib"} if own == "cli" else set(CTRL_ROOMS[CTRL_ROOMS.index(own):])
        bad += [f"{path} includes {i}" for i in includes(root, path)
                if i.startswith("ctrl/") and ctrl_room(i) not in further_down]
    return bad


def only_the_worker_knows_all_rooms(root, _):
    bad = []
    for path in c_files(root):
        known = {room(i) for i in includes(root, path)} - {None}
        if known == set(ROOMS) and path not in ("dataplane/worker.c", "dataplane/worker.h"):
            bad.append(f"{path} includes the doors of all rooms")
    return bad


def a_room_is_entered_by_its_door(root, _):
    """Files outside a room include only ROOM/ROOM.h of it."""
    bad = []
    for path in c_files(root):
        for i in includes(root, path):
            other = room(i)
            if other and other != room(path) and i != f"dataplane/{other}/{other}.h":
                bad.append(f"{path} includes {i}")
    return bad


def ctrl_never_includes_the_dataplane(root, _):
    return [f"{path} includes {i}" for path in c_files(root) if path.startswith("ctrl/")
            for i in includes(root, path) if i.startswith("dataplane/")]


def library_stays_in_its_place(library, root):
    header, places = LIBRARY_HEADERS[library]
    return [f"{path} includes {i}" for path in c_files(root) if not path.startswith(places)
            for i in includes(root, path) if header.match(i)]


def dpdk_headers_stay_in_the_nic_drivers_and_main(root, _):
    return library_stays_in_its_place("DPDK", root)


def openssl_headers_stay_in_crypto_and_tls(root, _):
    return library_stays_in_its_place("OpenSSL", root)


def mbedtls_headers_stay_in_ctrl_and_seal(root, _):
    return library_stays_in_its_place("mbedTLS", root)


def device_headers_stay_in_the_child(root, _):
    return library_stays_in_its_place("devices", root)


def secret_bytes_are_reached_only_by_the_listed_files(root, _):
    listed = text(root, "tests/layering/secret_users.txt").split()
    users = [f for f in c_files(root) if "base/secret_priv.h" in includes(root, f)]
    bad = [f"{f} is not listed" for f in users if f not in listed]
    bad += [f"{f} is listed and does not include base/secret_priv.h" for f in listed if f not in users]
    if listed != sorted(set(listed)):
        bad.append("the list is not sorted, or names a file twice")
    return bad


def the_field_of_a_secret_span_is_named_nowhere_else(root, _):
    field = re.compile(r"\bsecret_ptr_\b")
    return [f"{f} names secret_ptr_" for f in c_files(root)
            if field.search(text(root, f)) and f not in ("base/span.h", "base/secret_priv.h")]


def ww_ctrl_holds_no_symbol_of_the_dataplane(_, ctrl):
    names = subprocess.check_output(["nm", ctrl], text=True)
    return [f"ww-ctrl has the symbol {s}" for s in re.findall(r"\b((?:tls_|keys_|ekm_|net_|SSL_|EVP_)\w+)$", names, re.M)]


def every_folder_with_sources_has_a_readme_of_ten_lines(root, _):
    folders = {os.path.dirname(f) for f in files(root) if f.endswith((".c", ".h", ".sh", ".py"))}
    bad = []
    for folder in sorted(folders - {""}):
        path = f"{folder}/README.md"
        if path not in files(root):
            bad.append(f"{path} is missing")
            continue
        lines = text(root, path).rstrip("\n").split("\n")
        if len(lines) != 10:
            bad.append(f"{path} has {len(lines)} lines")
        bad += [f"{path}: line {n + 1} does not begin with '{label}'" for n, (label, line)
                in enumerate(zip(README_LABELS, lines)) if not line.startswith(label)]
    return bad


def mentions(root, pattern):
    return [f"{f}: {m[0]}" for f in files(root) if not f.startswith("tests/fuzz/corpus/")
            for m in [pattern.search(text(root, f))] if m]


# Each behaviour of docs/TCP.md, and a test case: what makes one in C, in C for both families, and in Python.
BEHAVIOURS = [f"{kind}{n}" for kind, last in (("B", 37), ("C", 17), ("D", 20), ("L", 9)) for n in range(1, last + 1)]
CASE = re.compile(r"^(?:static )?void ([a-z]\w+)\(void \*\*|^[A-Z_]+\(([a-z]\w+)[,)]|^ *def (\w+)\(|^ *claim\(\"(\w+)\"", re.M)


def cases(root):
    """Names of test cases; which of them run is the compilers' matter: an unused function is an error."""
    found = set()
    for f in files(root):
        if f.startswith("tests/") and f.endswith((".c", ".py")) and not f.startswith("tests/lib/"):
            found.update(next(g for g in m.groups() if g).lower() for m in CASE.finditer(text(root, f)))
    return found


def behaviour_rows(root):
    """(ids, the tests that the row names, its result)."""
    for line in text(root, "docs/TCP.md").splitlines():
        cells = [c.strip() for c in line.strip("|").split(" | ")]
        if re.match(r"\| [BCDL]\d+\b", line):
            yield cells[0].strip("| ").split(", "), cells[-2], cells[-1].strip("| ")


def every_behaviour_has_one_row_and_a_case_of_its_name(root, _):
    rows, known, bad = list(behaviour_rows(root)), cases(root), []
    for name in BEHAVIOURS:
        count = sum(name in ids for ids, _, _ in rows)
        if count != 1:
            bad.append(f"docs/TCP.md: {count} rows for {name}")
        if not any(case.startswith(f"{name.lower()}_") for case in known):
            bad.append(f"tests: no case is named after {name}")
    return bad


def programs(root):
    """Names under which meson knows the test programs, and those of their files."""
    names = set()
    for f in files(root):
        if f.startswith("tests/") and f.endswith((".c", ".py")):
            stem = os.path.basename(f).rsplit(".", 1)[0].removesuffix("_test")
            names |= {os.path.basename(f), stem, f"{f.split('/')[1]}_{stem}"}
    return names


def every_test_that_a_behaviour_names_exists(root, _):
    known, paths, bad = cases(root), programs(root), []
    for ids, tests, result in behaviour_rows(root):
        if not result:
            bad.append(f"docs/TCP.md: {ids[0]} has no result")
        tests = re.sub(r"\([^)]*\)|`[^`]*`", "", tests)
        for name in re.findall(r"[\w/]+\.(?:c|py)\b|[A-Za-z]\w*_\w*\*?", tests):
            exists = os.path.basename(name) in paths or fnmatch.filter(known, name.lower())
            if not exists:
                bad.append(f"docs/TCP.md: {ids[0]} names {name}, which is no test")
    return bad


def nothing_is_marked_as_unfinished(root, _):
    return mentions(root, UNFINISHED)


def no_path_of_a_machine_is_in_the_tree(root, _):
    return mentions(root, MACHINE_PATH)


def the_shell_scripts_pass_shellcheck(root, _):
    done = subprocess.run(["shellcheck", "-x", "dev"], cwd=root, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode else []
