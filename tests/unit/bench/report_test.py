#!/usr/bin/python3
"""What the comparison makes of its runs: rates, medians, tails with and without hiccups, and when it says nothing."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "bench"))
import tap
import report
import rows


def run(name, system, **more):
    return {"name": name, "system": system, "errors": 0, "retransmits": 0, "drops": 0, "trouble": {}, "ops_per_s": 1000.0, "server_cpu_us_per_op": 10.0,
            "server_busy": 0.5, "p50_us": 50.0, "p99_us": 1000.0, "p999_us": 2000.0} | more


def open_loop(name, system, p999, **more):
    return run(name, system, **({"rate": 4000.0, "clean_p50_us": 40.0, "clean_p99_us": p999 / 2, "clean_p999_us": p999, "left_out": 0.2, "clean_late": 0.0} | more))


def whole(*runs):
    summary = report.medians(list(runs))
    return {"medians": summary, "ratios": report.ratios(summary, {})}


def row(name):
    return next(r for r in rows.loads(False) if r.name == name)


@tap.case
def rates_are_shares_of_what_nginx_did_in_the_same_run():
    did = {("nginx-static", "c64"): 20000, ("nginx-static", "handshakes"): 800, ("wirewrap", "c64"): 90000}
    tap.equal(row("open70").rates(lambda *what: did[what]), ["--rate", "14000"])
    tap.equal(row("open70ours").rates(lambda *what: did[what]), ["--rate", "63000"])
    tap.equal(row("beside_handshakes").rates(lambda *what: did[what]), ["--rate", "3000", "--background", "320"])
    tap.equal(row("c64").rates(lambda *what: did[what]), [])


@tap.case
def a_quick_run_has_all_systems_once_and_else_the_two_that_ratios_are_made_of():
    quick = {r.name: r.who for r in rows.loads(True)}
    tap.equal(quick["c64"], rows.ALL)
    tap.equal(quick["c1000"], rows.PAIR)
    tap.equal(quick["mixed64"], ["wirewrap"])


@tap.case
def systems_without_an_aim_have_fewer_rounds():
    tap.equal([row("c64").rounds_of(s) for s in rows.ALL], [5, 3, 5, 3])
    tap.equal(row("c100000").rounds_of("wirewrap"), 2)


@tap.case
def no_more_than_a_thousand_handshakes_a_second_are_asked():
    tap.equal(row("beside_handshakes").rates(lambda *_: 3000), ["--rate", "450", "--background", "1000"])


@tap.case
def the_ratio_of_tails_is_the_one_without_hiccups_and_the_raw_one_stands_beside_it():
    ratios = whole(open_loop("open70", "wirewrap", 100.0), open_loop("open70", "nginx-static", 400.0, p999_us=4000.0))["ratios"]
    tap.equal(ratios["wirewrap_over_nginx_static_p999_open70"], 0.25)
    tap.equal(ratios["wirewrap_over_nginx_static_p999_open70_raw"], 0.5)


@tap.case
def a_row_whose_generator_was_behind_says_nothing_of_the_server():
    for sick in ({"clean_late": 0.02}, {"left_out": 0.8}, {"background_rate": 300.0, "background_done": 700, "seconds": 3.0}):
        result = whole(open_loop("open70", "wirewrap", 100.0), open_loop("open70", "nginx-static", 400.0, **sick))
        tap.check("wirewrap_over_nginx_static_p999_open70" not in result["ratios"], sick)
        tap.equal(report.unsaid(result), ["wirewrap_over_nginx_static_p999_open70"])
        tap.check(report.doubtful(result["medians"][1]) and report.notes(result["medians"][1]).startswith(report.doubtful(result["medians"][1])[0]), sick)
    tap.equal(report.doubtful(open_loop("open70", "wirewrap", 100.0, background_rate=300.0, background_done=890, seconds=3.0)), [])
    tap.equal(report.unsaid(whole(run("c64", "wirewrap"))), [])


@tap.case
def tails_beside_handshakes_are_held_against_the_baseline_and_two_handshakes():
    def over(p999):
        return whole(open_loop("beside", "wirewrap", 200.0),
                     open_loop("beside_handshakes", "wirewrap", p999, handshake_us=400.0, handshake_step_max_us=3000.0))["ratios"]
    tap.equal(over(1000.0)["wirewrap_p999_beside_handshakes_over_bound"], 1.0)
    tap.equal(over(1500.0)["wirewrap_p999_beside_handshakes_over_bound"], 1.5)
    tap.equal(over(1500.0)["wirewrap_handshake_step_max_us"], 3000.0)


@tap.case
def a_bound_that_cannot_be_told_is_named():
    result = whole(open_loop("beside", "wirewrap", 200.0),
                   open_loop("beside_handshakes", "wirewrap", 900.0, handshake_us=400.0, handshake_step_max_us=3000.0, background_rate=300.0, background_done=100,
                             seconds=3.0))
    tap.equal(report.unsaid(result), ["wirewrap_p999_beside_handshakes_over_bound"])
    tap.check("33 of 300 handshakes/s made" in report.notes(result["medians"][1]), report.notes(result["medians"][1]))


@tap.case
def rows_in_which_the_server_was_short_of_its_core_are_named():
    tap.equal(report.starved(whole(run("c64", "wirewrap", worker_on_core=0.7), run("c10", "wirewrap", worker_on_core=0.99), run("c10", "nginx-static"))), ["c64"])


@tap.case
def a_figure_is_the_median_of_its_rounds_and_trouble_the_worst():
    rounds = [open_loop("beside", "wirewrap", p, drops=d, trouble={"x": d}) for p, d in ((300.0, 0), (100.0, 7), (200.0, 1))]
    entry = report.medians(rounds)[0]
    tap.equal(entry["clean_p999_us"], 200.0)
    tap.equal(entry["clean_p999_us_spread"], [100.0, 300.0])
    tap.equal((entry["drops"], entry["trouble"]), (7, {"x": 7}))


@tap.case
def what_a_core_can_do_is_said_for_this_machine_and_for_the_one_of_the_aim():
    ratios = whole(run("c64", "wirewrap", ops_per_s=90000.0), run("c64", "nginx-static", server_cpu_us_per_op=24.8))["ratios"]
    tap.equal(ratios["wirewrap_ops_per_s_c64"], 90000)
    tap.equal(ratios["wirewrap_ops_per_s_c64_by_cpu"], 100000)
    tap.equal(ratios["wirewrap_ops_per_s_c64_by_cpu_where_nginx_takes_12us"], 200000)


if __name__ == "__main__":
    tap.run()
