"""Programs of bench/ under callgrind: built as a release is, with the test hooks that make the worker repeatable."""
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = f"{TOP}/build/bench"
OPTIONS = ["-Dbuildtype=release", "-Db_lto=true", "-Ddebug=true", "-Dtest_hooks=true"]
TURN = "rig_turn"  # of the simulator's rig: worker_turn and nothing else


def build(*targets, folder=BUILD):
    if not os.path.exists(f"{folder}/build.ninja"):
        compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
        subprocess.run(["meson", "setup", folder, TOP, *OPTIONS], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, CC=compiler))
    done = subprocess.run(["ninja", "-C", folder, *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout[-4000:])


def count(argv, out, toggle=None, whole=False):
    """{(object, source file, function): instructions}.  Every symbol is bound at the start.  What is counted begins where the program says so
    (CALLGRIND_START_INSTRUMENTATION; until then it runs several times faster), with whole at its start; toggle: and only inside that function."""
    options = ["--tool=callgrind", f"--callgrind-out-file={out}", f"--instr-atstart={'yes' if whole else 'no'}"]
    if toggle:
        options += ["--collect-atstart=no", f"--toggle-collect={toggle}"]
    done = subprocess.run(["valgrind", *options, *argv], env=dict(os.environ, LD_BIND_NOW="1"), check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} under callgrind: {done.stdout[-2000:]}")
    return self_costs(out)


def self_costs(path):
    """Calls not followed.  Callgrind's format: names are numbered at first mention; what was inlined from another file
    belongs to that file (fi, fe), since whole rooms become part of their callers when the program is linked; but what came from a header
    of the system's belongs to the code around it."""
    names, costs = {"ob": {}, "fl": {}, "fn": {}}, {}
    where, skip = {"ob": "?", "fl": "?", "fn": "?"}, False
    with open(path, encoding="utf-8") as f:
        for line in f:
            named = re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?", line)
            if named:
                kind = {"fi": "fl", "fe": "fl"}.get(named[2], named[2])
                if named[4]:
                    names[kind][named[3]] = named[4]
                if not named[1] and not (kind == "fl" and names[kind][named[3]].startswith("/usr/")):
                    where[kind] = names[kind][named[3]]
            elif line.startswith("calls="):
                skip = True
            elif re.match(r"[+\-*\d]", line):
                if not skip:
                    key = (os.path.basename(where["ob"]), where["fl"], where["fn"])
                    costs[key] = costs.get(key, 0) + int(line.split()[1])
                skip = False
    return costs
