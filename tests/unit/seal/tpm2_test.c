/* Slots of kind tpm2 through ww-seal, with swtpm for a TPM, in a network namespace of the test's own. */
#include "drivers/seal/seal.h"
#include "tests/unit/test.h"

#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#define TCTI    "swtpm:host=127.0.0.1,port=2321"
#define OTHER   "swtpm:host=127.0.0.1,port=2331"
#define PCR     16 /* for debugging: not what the machine's start leaves behind */
#define PCR_BIT (1u << PCR)

struct rig {
    struct mbed_rng *rng;
    struct seal_device device;
    struct seal_tpm2 t;
    uint8_t bytes[SEAL_SLOT_MAX];
    struct buf slot;
    uint8_t srk[SEAL_SRK_LEN];
    char err[DEVICE_TEXT_MAX];
};

/* All cases share one TPM, and each makes slots of its own in it. */
static char folder[64];
static pid_t tpm, other_tpm;

static const uint8_t root[SEAL_SRK_LEN] = "the root key of a test, 32 bytes";
static const uint8_t zero[SEAL_SRK_LEN];

static void own_network(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    int fd;

    assert_int_equal(unshare(CLONE_NEWNET), 0);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &lo), 0);
    lo.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

/* swtpm goes into the background when it listens; this process is then its parent. */
static pid_t start_tpm(const char *name, unsigned port)
{
    char line[512], pid[32];

    snprintf(line, sizeof line,
             "mkdir -p %s/%s && swtpm socket --tpm2 --daemon --tpmstate dir=%s/%s --server type=tcp,port=%u "
             "--ctrl "
             "type=tcp,port=%u --flags not-need-init,startup-clear --pid file=%s/%s.pid",
             folder, name, folder, name, port, port + 1, folder, name);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, "%s/%s.pid", folder, name);
    FILE *f = fopen(line, "r");
    assert_non_null(f);
    assert_non_null(fgets(pid, sizeof pid, f));
    fclose(f);
    return (pid_t)strtol(pid, NULL, 10);
}

static void stop_tpm(pid_t pid)
{
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int group_setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ww-tpm-test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    assert_int_equal(setenv("TSS2_LOG", "all+NONE", 1), 0);
    own_network();
    tpm = start_tpm("one", 2321);
    other_tpm = start_tpm("two", 2331);
    return 0;
}

static int group_teardown(void **state)
{
    char line[128];

    (void)state;
    stop_tpm(tpm);
    stop_tpm(other_tpm);
    snprintf(line, sizeof line, "rm -r %s", folder);
    return system(line);
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);

    assert_non_null(g);
    g->rng = mbed_rng_new();
    assert_non_null(g->rng);
    g->device = (struct seal_device){WW_SEAL, 60000};
    g->t = (struct seal_tpm2){TCTI, 0};
    g->slot = (struct buf){g->bytes, 0, sizeof g->bytes};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static enum seal_status create(struct rig *g)
{
    return seal_tpm2_create(g->rng, &g->device, 5, 7, &g->t, root, &g->slot, g->err, sizeof g->err);
}

static void make(struct rig *g, uint32_t pcrs)
{
    g->t.pcrs = pcrs;
    if (create(g) != SEAL_OK)
        fail_msg("not made: %s", g->err);
}

static enum seal_status open_slot(struct rig *g)
{
    return seal_device_open(&g->device, buf_span(&g->slot), 7, g->srk, g->err, sizeof g->err);
}

static void expect_open(struct rig *g)
{
    if (open_slot(g) != SEAL_OK)
        fail_msg("not opened: %s", g->err);
    assert_memory_equal(g->srk, root, sizeof root);
}

static void expect_refusal(struct rig *g, enum seal_status got, const char *says)
{
    assert_int_equal(got, SEAL_DEVICE);
    assert_memory_equal(g->srk, zero, sizeof zero);
    if (strstr(g->err, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", g->err, says);
}

static void mend_sum(struct rig *g)
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(span_of(g->bytes, g->slot.len - 8), digest);
    memcpy(g->bytes + g->slot.len - 8, digest, 8);
}

/* What firmware does when it loads another program than the last time. */
static void extend_pcr(void)
{
    TPML_DIGEST_VALUES values = {.count = 1, .digests = {{.hashAlg = TPM2_ALG_SHA256}}};
    TSS2_TCTI_CONTEXT *tcti = NULL;
    ESYS_CONTEXT *esys = NULL;

    assert_int_equal(Tss2_TctiLdr_Initialize(TCTI, &tcti), 0);
    assert_int_equal(Esys_Initialize(&esys, tcti, NULL), 0);
    assert_int_equal(
        Esys_PCR_Extend(esys, ESYS_TR_PCR0 + PCR, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &values), 0);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

static void a_slot_without_pcrs_opens_in_any_state_of_the_machine(void **state)
{
    struct rig *g = *state;

    make(g, 0);
    expect_open(g);
    extend_pcr();
    expect_open(g);
}

static void a_slot_with_pcrs_opens_while_they_are_the_same(void **state)
{
    struct rig *g = *state;

    make(g, PCR_BIT | 1u << 7 | 1);
    expect_open(g);
    expect_open(g);
}

static void a_changed_pcr_is_named(void **state)
{
    struct rig *g = *state;

    make(g, PCR_BIT | 1u << 7);
    extend_pcr();
    expect_refusal(g, open_slot(g), "PCRs 0x010080 are not what they were");
}

static void a_pcr_that_is_not_named_may_change(void **state)
{
    struct rig *g = *state;

    make(g, 1u << 7);
    extend_pcr();
    expect_open(g);
}

static void a_slot_opens_after_the_machine_was_restarted(void **state)
{
    struct rig *g = *state;

    make(g, 1u << 7);
    stop_tpm(tpm);
    tpm = start_tpm("one", 2321);
    expect_open(g);
}

static void another_tpm_does_not_open_it(void **state)
{
    struct rig *g = *state;

    make(g, 0);
    uint8_t *port = memmem(g->bytes, g->slot.len, "port=2321", 9);
    assert_non_null(port);
    memcpy(port, "port=2331", 9);
    mend_sum(g);
    expect_refusal(g, open_slot(g), "this TPM did not make this slot");
}

static void the_policy_in_the_slot_does_not_loosen_the_one_in_the_tpm(void **state)
{
    struct rig *g = *state;

    make(g, PCR_BIT);
    extend_pcr();
    g->bytes[8 + 1] ^= 1; /* PCR 16 of the mask: now none are named */
    mend_sum(g);
    expect_refusal(g, open_slot(g), "the TPM does not open the slot");
}

static void what_a_slot_says_is_bound_to_it(void **state)
{
    struct rig *g = *state;

    make(g, 0);
    g->bytes[2] ^= 1; /* its number */
    mend_sum(g);
    assert_int_equal(open_slot(g), SEAL_CORRUPT);
    assert_memory_equal(g->srk, zero, sizeof zero);
}

static void a_missing_tpm_is_named(void **state)
{
    struct rig *g = *state;

    g->t.tcti = "swtpm:host=127.0.0.1,port=9";
    expect_refusal(g, create(g), "no TPM at swtpm:host=127.0.0.1,port=9");
}

static void libraries_that_a_slot_names_are_not_loaded(void **state)
{
    struct rig *g = *state;

    g->t.tcti = "/tmp/libtss2-tcti-mine.so:x";
    expect_refusal(g, create(g), "a TPM is named as");
    g->t.tcti = "cmd:id";
    expect_refusal(g, create(g), "a TPM is named as");
}

static void parameters_out_of_range_never_reach_the_child(void **state)
{
    struct rig *g = *state;

    g->device.program = "/nonexistent/ww-seal";
    g->t.pcrs = 1u << 24;
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
    g->t = (struct seal_tpm2){"", 0};
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
}

static void nothing_stays_in_the_tpm(void **state)
{
    struct rig *g = *state;

    /* A TPM has room for three objects and as many sessions. */
    for (int i = 0; i < 5; i++) {
        make(g, PCR_BIT);
        expect_open(g);
    }
}

static void a_slot_says_which_device_without_being_opened(void **state)
{
    struct rig *g = *state;
    struct seal_slot_info info;

    make(g, PCR_BIT);
    assert_int_equal(seal_slot_info(buf_span(&g->slot), &info), SEAL_OK);
    assert_int_equal(info.kind, SEAL_KIND_TPM2);
    assert_string_equal(info.device, TCTI " PCRs 0x010000");
    assert_string_equal(seal_kind_text(info.kind), "tpm2");
    assert_false(seal_kind_is_offline(info.kind));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_slot_without_pcrs_opens_in_any_state_of_the_machine),
        CASE(a_slot_with_pcrs_opens_while_they_are_the_same),
        CASE(a_changed_pcr_is_named),
        CASE(a_pcr_that_is_not_named_may_change),
        CASE(a_slot_opens_after_the_machine_was_restarted),
        CASE(another_tpm_does_not_open_it),
        CASE(the_policy_in_the_slot_does_not_loosen_the_one_in_the_tpm),
        CASE(what_a_slot_says_is_bound_to_it),
        CASE(a_missing_tpm_is_named),
        CASE(libraries_that_a_slot_names_are_not_loaded),
        CASE(parameters_out_of_range_never_reach_the_child),
        CASE(nothing_stays_in_the_tpm),
        CASE(a_slot_says_which_device_without_being_opened),
    };

    return cmocka_run_group_tests_name("seal tpm2", tests, group_setup, group_teardown);
}
