#!/usr/bin/python3
"""hardening_test.py ROOT: the programs of the release have in them what meson.build asks of the compiler and the linker.  An option can be
lost without a word between the two, as -fzero-call-used-regs is where the whole is optimised at the link."""
import os
import re
import subprocess
import sys
import tempfile

root = os.path.abspath(sys.argv[1])
sys.path.insert(0, f"{root}/tests/lib")
import tap

RELEASE = f"{root}/build/release"
PROGRAMS = ("dataplane/ww-dataplane", "ctrl/ww-ctrl", "ctrl/cli/wwctl", "drivers/seal/child/ww-seal")
CLEARED_MIN = 0.7  # of the returns: seven are of start-up code of libc's, in a program of thirty, too


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def returns_that_clear_registers(program):
    """The share of returns with a register cleared right before them."""
    code = [line.split("\t", 1)[1].strip() for line in output("objdump", "-d", "--no-show-raw-insn", program).splitlines() if "\t" in line]
    ends = [before for before, line in zip(code, code[1:]) if line.startswith("ret")]
    return sum(re.fullmatch(r"xor +(%\w+),\1", before) is not None for before in ends) / max(1, len(ends))


def clears_registers(program):
    return returns_that_clear_registers(program) >= CLEARED_MIN


def guards_its_stack(program):
    return "__stack_chk_fail" in output("objdump", "-T", program)


def has_landing_pads(program):
    """Where it is entered from elsewhere; start-up code of libc's without them keeps the note of it out of every program."""
    return "endbr64" in output("objdump", "-d", "--no-show-raw-insn", "--disassemble=main", program)


def binds_at_once_and_is_read_only_then(program):
    dynamic, segments = output("readelf", "-d", program), output("readelf", "-lW", program)
    return "NOW" in dynamic and "GNU_RELRO" in segments


def lies_anywhere(program):
    return re.search(r"Type: +DYN", output("readelf", "-h", program)) is not None


def has_no_code_on_the_stack(program):
    return re.search(r"GNU_STACK.* RW +0x", output("readelf", "-lW", program)) is not None


QUALITIES = (clears_registers, guards_its_stack, has_landing_pads, binds_at_once_and_is_read_only_then, lies_anywhere, has_no_code_on_the_stack)


def of_every_program(quality):
    def holds():
        for program in PROGRAMS:
            path = f"{RELEASE}/{program}"
            if not os.path.exists(path):
                raise tap.Skip(f"there is no {path}: ./dev build makes it")
            tap.check(quality(path), f"{program}: not so")
    holds.__name__ = f"every_program_{quality.__name__}"
    return holds


for one in QUALITIES:
    tap.case(of_every_program(one))


@tap.case
def a_program_built_with_none_of_it_has_none_of_it():
    with tempfile.TemporaryDirectory() as folder:
        source, program = f"{folder}/soft.c", f"{folder}/soft"
        with open(source, "w", encoding="ascii") as f:
            f.write("#include <string.h>\nint main(int c, char **v) { char b[64]; strncpy(b, v[c - 1], 63); return b[c]; }\n")
        subprocess.run(["gcc", "-O1", "-no-pie", "-fno-stack-protector", "-fcf-protection=none", "-Wl,-z,norelro,-z,lazy,-z,execstack",
                        source, "-o", program], check=True, stderr=subprocess.DEVNULL)
        for quality in QUALITIES:
            tap.check(not quality(program), f"{quality.__name__} is said of it")


tap.run()
