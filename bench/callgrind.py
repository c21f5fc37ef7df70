"""Programs of bench/ under callgrind: built as a release is, with the test hooks that make the worker repeatable."""
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = f"{TOP}/build/bench"
OPTIONS = ["-Dbuildtype=release", "-Db_lto=true", "-Ddebug=true", "-Dtest_hooks=true"]
ROOMS = [("dataplane/net/", "net"), ("dataplane/tls/", "tls"), ("dataplane/ekm/", "ekm"), ("dataplane/keys/", "keys"),
         ("drivers/crypto/", "crypto"), ("dataplane/", "worker"), ("proto/", "proto"), ("base/", "base")]
TURN = "rig_turn"  # of the simulator's rig: worker_turn and nothing else


def room_of(source):
    """The tree may stand elsewhere: a compiler cache keeps the paths of where it compiled first."""
    path = os.path.normpath(source)
    return next((room for lead, room in ROOMS if f"/{lead}" in f"/{path}" and "/tests/" not in f"/{path}"), "rig")


def library(obj):
    return re.sub(r"\.so.*", "", obj)


def options_of(folder):
    try:
        with open(f"{folder}/options", encoding="utf-8") as f:
            return f.read().split("\n")
    except FileNotFoundError:
        return None


def build(*targets, folder=BUILD):
    if not os.path.exists(f"{folder}/build.ninja") or options_of(folder) != OPTIONS:
        shutil.rmtree(folder, ignore_errors=True)
        compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
        subprocess.run(["meson", "setup", folder, TOP, *OPTIONS], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, CC=compiler))
        with open(f"{folder}/options", "w", encoding="utf-8") as f:
            f.write("\n".join(OPTIONS))
    done = subprocess.run(["ninja", "-C", folder, *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout[-4000:])


def run(argv, out, toggle=None, whole=False, more=()):
    """Leaves what was collected in the file out.  Every symbol is bound at the start.  What is counted begins where the program says so
    (CALLGRIND_START_INSTRUMENTATION; until then it runs several times faster), with whole at its start; toggle: and only inside that function."""
    options = ["--tool=callgrind", f"--callgrind-out-file={out}", f"--instr-atstart={'yes' if whole else 'no'}", *more]
    if toggle:
        options += ["--collect-atstart=no", f"--toggle-collect={toggle}"]
    done = subprocess.run(["valgrind", *options, *argv], env=dict(os.environ, LD_BIND_NOW="1"), check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} under callgrind: {done.stdout[-2000:]}")


def count(argv, out, toggle=None, whole=False):
    """{(object, source file, function): instructions}"""
    run(argv, out, toggle, whole)
    return self_costs(out)


def self_costs(path, events=("Ir",)):
    """The sum of these events, calls not followed.  Callgrind's format: names are numbered at first mention; what was inlined from another file
    belongs to that file (fi, fe), since whole rooms become part of their callers when the program is linked; but what came from a header
    of the system's belongs to the code around it."""
    names, costs = {"ob": {}, "fl": {}, "fn": {}}, {}
    where, skip, columns = {"ob": "?", "fl": "?", "fn": "?"}, False, []
    with open(path, encoding="utf-8") as f:
        for line in f:
            named = re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?", line)
            if named:
                kind = {"fi": "fl", "fe": "fl"}.get(named[2], named[2])
                if named[4]:
                    names[kind][named[3]] = named[4]
                if not named[1] and not (kind == "fl" and names[kind][named[3]].startswith("/usr/")):
                    where[kind] = names[kind][named[3]]
            elif line.startswith("events:"):
                columns = [i for i, e in enumerate(line.split()) if e in events]
            elif line.startswith("calls="):
                skip = True
            elif re.match(r"[+\-*\d]", line):
                if not skip:
                    key, figures = (os.path.basename(where["ob"]), where["fl"], where["fn"]), line.split()
                    costs[key] = costs.get(key, 0) + sum(int(figures[i]) for i in columns if i < len(figures))
                skip = False
    return costs
