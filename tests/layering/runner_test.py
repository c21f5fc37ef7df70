#!/usr/bin/python3
"""The runner itself: what counts as passed, failed and skipped."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import run
import tap


def outcome(output, status="ended with 0"):
    o = run.Outcome({"name": "x", "group": "unit"}, output, status, 0.0)
    return len(o.passed), len(o.failed), len(o.skipped)


def program(*command, timeout=30):
    return run.run_one({"name": "x", "group": "unit", "cmd": command, "env": {}, "workdir": None, "build": "/", "timeout": timeout})


@tap.case
def cases_are_counted_one_by_one():
    tap.equal(outcome("1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c\n", "ended with 1"), (2, 1, 0))


@tap.case
def several_plans_of_one_program_add_up():
    tap.equal(outcome("1..1\nok 1 - a\n1..1\nok 1 - b\n"), (2, 0, 0))


@tap.case
def a_skipped_case_is_not_passed_and_keeps_its_reason():
    o = run.Outcome({}, "1..1\nok 1 - a # SKIP no device\n", "ended with 0", 0.0)
    tap.equal((o.passed, o.failed, o.skipped), ([], [], [("a", "no device")]))


@tap.case
def a_program_skipped_as_a_whole_is_skipped():
    tap.equal(outcome("1..0 # SKIP not here\n"), (0, 0, 1))


@tap.case
def a_program_that_prints_no_case_has_failed():
    tap.equal(outcome("hello\n"), (0, 1, 0))


@tap.case
def a_program_that_prints_fewer_cases_than_planned_has_failed():
    tap.equal(outcome("1..3\nok 1 - a\n"), (1, 1, 0))


@tap.case
def a_program_that_dies_after_its_cases_passed_has_failed():
    tap.equal(outcome("1..1\nok 1 - a\n", "ended with -6"), (1, 1, 0))


def failed_in(group, output="1..1\nnot ok 1 - a\n"):
    return run.Outcome({"name": "x", "group": group}, output, "ended with 1", 0.0)


@tap.case
def only_what_has_a_kernel_for_a_peer_gets_a_second_try():
    tried = [g for g in run.GROUPS if run.deserves_second_try(failed_in(g), [])]
    tap.equal(tried, ["wire", "virtio", "e2e"])


@tap.case
def a_sanitizer_is_believed_at_once():
    for line in ("==1==ERROR: AddressSanitizer: heap-use-after-free", "x.c:1:2: runtime error: shift", "==1==ERROR: LeakSanitizer: leaks"):
        tap.equal(run.deserves_second_try(failed_in("wire", f"{line}\n1..1\nnot ok 1 - a\n"), []), False, line)


@tap.case
def the_fourth_program_that_fails_gets_no_second_try():
    others = [failed_in("wire") for _ in range(run.SECOND_TRIES)]
    tap.equal((bool(run.deserves_second_try(failed_in("e2e"), others[1:])), run.deserves_second_try(failed_in("e2e"), others)), (True, False))


@tap.case
def what_passes_at_the_second_try_is_unstable_and_what_fails_again_has_failed():
    first = failed_in("e2e")
    first.test.update(cmd=["echo", "ok 1 - a"], env={}, workdir=None, build="/", timeout=30)
    second = run.second_try(first)
    tap.equal((second.failed, second.unstable), ([], ["a"]))
    first.test.update(cmd=["echo", "not ok 1 - a"])
    second = run.second_try(first)
    tap.equal((second.failed, second.unstable), (["a"], []))


@tap.case
def a_failed_case_and_its_exit_status_are_one_failure():
    tap.equal(outcome("1..1\nnot ok 1 - a\n", "ended with 1"), (0, 1, 0))


@tap.case
def words_that_begin_with_ok_are_no_cases():
    tap.equal(outcome("okay\n# ok 1 - a\n1..1\nok 1 - a\n"), (1, 0, 0))


@tap.case
def a_real_program_is_run_and_counted():
    o = program("printf", "1..1\nok 1 - said\n")
    tap.equal((o.passed, o.failed), (["said"], []))


@tap.case
def a_program_that_hangs_is_ended_and_has_failed():
    o = program("sh", "-c", "echo 1..1; echo ok 1 - a; exec sleep 600", timeout=1 / run.PATIENCE)
    tap.equal((o.passed, o.failed), (["a"], ["did not end within 1.0 s"]))


if __name__ == "__main__":
    tap.run()
