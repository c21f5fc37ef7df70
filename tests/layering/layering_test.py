#!/usr/bin/python3
"""layering_test.py ROOT WW_CTRL: every rule holds in the tree, and every rule notices a violation planted in a copy of it."""
import os
import shutil
import subprocess
import sys
import tempfile

root = os.path.abspath(sys.argv[1])
sys.path.insert(0, f"{root}/tests/lib")
sys.path.insert(0, f"{root}/tests/layering")
import rules
import tap

ctrl = sys.argv[2]

# One violation per rule: the file it is written to (appended if it exists), and what is written.
PLANTS = {
    rules.includes_point_one_way: ("base/arena.c", '#include "proto/json.h"\n'),
    rules.a_dataplane_room_includes_only_rooms_further_down: ("dataplane/keys/planted.c", '#include "dataplane/net/net.h"\n'),
    rules.only_the_worker_knows_all_rooms: ("dataplane/planted.c", "".join(
        f'#include "dataplane/{r}/{r}.h"\n' for r in rules.ROOMS)),
    rules.a_room_is_entered_by_its_door: ("dataplane/ekm/planted.c", '#include "dataplane/keys/table.h"\n'),
    rules.a_ctrl_room_includes_only_rooms_further_down: ("ctrl/store/planted.c", '#include "ctrl/keys/record.h"\n'),
    rules.ctrl_never_includes_the_dataplane: ("ctrl/planted.c", '#include "dataplane/keys/keys.h"\n'),
    rules.dpdk_headers_stay_in_the_nic_drivers_and_main: ("dataplane/worker.c", "#include <rte_mbuf.h>\n"),
    rules.openssl_headers_stay_in_crypto_and_tls: ("ctrl/planted.c", "#include <openssl/evp.h>\n"),
    rules.mbedtls_headers_stay_in_ctrl_and_seal: ("dataplane/ekm/planted.c", "#include <mbedtls/gcm.h>\n"),
    rules.device_headers_stay_in_the_child: ("drivers/seal/planted.c", "#include <tss2/tss2_esys.h>\n"),
    rules.secret_bytes_are_reached_only_by_the_listed_files: ("base/log.c", '#include "base/secret_priv.h"\n'),
    rules.the_field_of_a_secret_span_is_named_nowhere_else: ("base/log.c", "/* s.secret_ptr_ */\n"),
    rules.ww_ctrl_holds_no_symbol_of_the_dataplane: ("planted.c", "int keys_planted(void) { return 0; }\nint main(void) { return 0; }\n"),
    rules.every_folder_with_sources_has_a_readme_of_ten_lines: ("proto/planted/planted.c", "\n"),
    rules.every_behaviour_has_one_row_and_a_case_of_its_name: ("docs/TCP.md", "| B1 | planted | b1_* | done |\n"),
    rules.every_test_that_a_behaviour_names_exists: ("docs/TCP.md", "| C1 | planted | c1_what_no_test_claims | done |\n"),
    rules.nothing_is_marked_as_unfinished: ("proto/planted.c", "/* TO" + "DO */\n"),
    rules.no_path_of_a_machine_is_in_the_tree: ("proto/planted.c", '"/ho' + 'me/someone/x"\n'),
    rules.the_shell_scripts_pass_shellcheck: ("dev", "unquoted=$(ls $1)\n"),
}


def planted_copy(folder, path, content):
    for f in rules.files(root):
        os.makedirs(os.path.dirname(f"{folder}/{f}"), exist_ok=True)
        shutil.copy(f"{root}/{f}", f"{folder}/{f}")
    os.makedirs(os.path.dirname(f"{folder}/{path}"), exist_ok=True)
    with open(f"{folder}/{path}", "a") as out:
        out.write(content)
    subprocess.run(["git", "init", "-q", folder], check=True)


def holds(rule):
    def case():
        violations = rule(root, ctrl)
        tap.check(not violations, "\n" + "\n".join(violations))
    case.__name__ = rule.__name__
    tap.case(case)


def can_fail(rule):
    def case():
        before = set(rule(root, ctrl))
        with tempfile.TemporaryDirectory(prefix="wirewrap-layering.") as folder:
            planted_copy(folder, *PLANTS[rule])
            program = ctrl
            if rule is rules.ww_ctrl_holds_no_symbol_of_the_dataplane:
                program = f"{folder}/planted"
                subprocess.run(["cc", "-o", program, f"{folder}/planted.c"], check=True)
            tap.check(set(rule(folder, program)) - before, f"{rule.__name__} does not notice {PLANTS[rule]}")
    case.__name__ = f"{rule.__name__}: a planted violation is noticed"
    tap.case(case)


if __name__ == "__main__":
    for a_rule in PLANTS:
        holds(a_rule)
        can_fail(a_rule)
    tap.run()
