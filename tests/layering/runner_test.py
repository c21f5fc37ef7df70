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
