#!/usr/bin/python3
"""wwctl without a ww-ctrl: man page, completion, help, and what it says to words that it does not know."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "lib"))
import tap

WWCTL, ROOT = sys.argv[1], sys.argv[2]


def wwctl(*arguments):
    return subprocess.run([WWCTL, "--admin", "/nowhere", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if not k.startswith("WW")})


def commands():
    lines = wwctl("--help").stdout.split("\n\n")[1].splitlines()
    return [line[2:].split("  ")[0] for line in lines]


def complete(*words):
    script = wwctl("completion").stdout + f'COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _wwctl; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    tap.equal(done.stderr, "")
    return done.stdout.split()


@tap.case
def the_man_page_is_that_of_the_command_table():
    with open(f"{ROOT}/docs/wwctl.1") as f:
        tap.check(f.read() == wwctl("man").stdout, "docs/wwctl.1 is not what `wwctl man` prints: build-debug/ctrl/cli/wwctl man >docs/wwctl.1")


@tap.case
def every_command_is_in_the_operators_manual():
    with open(f"{ROOT}/docs/OPERATIONS.md") as f:
        text = f.read()
    def told(command):
        noun, _, verb = command.rpartition(" ")
        return f"`{command}" in text or (f"`{noun}" in text and f"\\|{verb}" in text)
    tap.equal([c for c in commands() if not told(c)], [])


@tap.case
def every_command_has_help_and_every_option_says_what_it_is():
    for c in commands():
        done = wwctl("help", *c.split())
        tap.equal(done.returncode, 0, c)
        tap.check(done.stdout.startswith(f"usage: wwctl {c}"), done.stdout)


@tap.case
def completion_knows_nouns_verbs_and_options():
    tap.check({"status", "key", "policy", "approval"} <= set(complete("wwctl", "")), complete("wwctl", ""))
    tap.check({"create", "destroy", "rotate"} <= set(complete("wwctl", "key", "")), complete("wwctl", "key", ""))
    tap.equal(complete("wwctl", "--json", "key", "cre"), ["create"])
    tap.check({"--after", "--version", "--json"} <= set(complete("wwctl", "key", "destroy", "v0/a", "--")), "")


@tap.case
def a_mistyped_option_is_told_from_one_that_lacks_its_value():
    done = wwctl("status", "--jsn")
    tap.equal(done.returncode, 2)
    tap.check("no option --jsn; did you mean --json?" in done.stderr, done.stderr)
    tap.check("a value is missing after --after" in wwctl("key", "destroy", "v0/a", "--after").stderr, "")


@tap.case
def help_is_help():
    tap.equal((wwctl("help").returncode, wwctl("help").stdout), (0, wwctl("--help").stdout))
    tap.check("did you mean" in wwctl("keys").stderr, wwctl("keys").stderr)


@tap.case
def a_remote_without_an_authority_is_refused_before_anything_is_sent():
    done = wwctl("--remote", "127.0.0.1:1", "status")
    tap.equal(done.returncode, 3)
    tap.check("--ca" in done.stderr, done.stderr)


if __name__ == "__main__":
    tap.run()
