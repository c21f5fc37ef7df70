/* The configuration file.  What is refused names a line of the file in words fit for a terminal; what is taken
 * has what is required, within its limits. */
#include "base/check.h"
#include "proto/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct config_error *err, const uint8_t *data, size_t size)
{
    size_t lines = 1;

    /* YAML 1.1 has line ends of its own beside LF: CR, NEL, LS, PS. */
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r' || data[i] >= 0x80;
    CHECK(err->line >= 1 && err->line <= lines + 1);
    CHECK(err->text[0] != 0 && memchr(err->text, 0, sizeof err->text) != NULL);
}

static void check_text(const char *text, size_t cap, bool may_be_empty)
{
    CHECK(memchr(text, 0, cap) != NULL);
    CHECK(may_be_empty || text[0] != 0);
}

static void check_config(const struct config *c)
{
    check_text(c->nic.device, sizeof c->nic.device, false);
    check_text(c->nic.mac, sizeof c->nic.mac, true);
    check_text(c->dataplane.idle, sizeof c->dataplane.idle, false);
    check_text(c->ctrl.state_dir, sizeof c->ctrl.state_dir, false);
    check_text(c->ctrl.ctl_socket, sizeof c->ctrl.ctl_socket, false);
    check_text(c->ctrl.admin_socket, sizeof c->ctrl.admin_socket, false);
    check_text(c->ctrl.audit_dir, sizeof c->ctrl.audit_dir, false);
    check_text(c->seal.passphrase_file, sizeof c->seal.passphrase_file, true);
    check_text(c->seal.device_program, sizeof c->seal.device_program, true);
    check_text(c->tls.certificate_file, sizeof c->tls.certificate_file, false);
    check_text(c->tls.key_file, sizeof c->tls.key_file, false);
    CHECK(c->net.address_count >= 1 && c->net.address_count <= CONFIG_ADDRESSES_MAX);
    CHECK(c->net.route_count <= CONFIG_ROUTES_MAX);
    CHECK(c->dataplane.workers >= 1 && c->dataplane.workers <= c->nic.queues);
    CHECK(c->dataplane.core_count == 0 || c->dataplane.core_count == c->dataplane.workers);
    CHECK(c->auth.audience_count >= 1 && c->auth.audience_count <= AUDIENCES_MAX);
    CHECK(c->auth.issuer_count <= ISSUERS_MAX);
    for (uint16_t i = 0; i < c->net.address_count; i++)
        check_text(c->net.addresses[i], sizeof c->net.addresses[i], false);
    for (uint16_t i = 0; i < c->auth.issuer_count; i++)
        check_text(c->auth.issuers[i].iss, CONFIG_TEXT_CAP, false);
    for (uint16_t i = 0; i < c->auth.audience_count; i++)
        check_text(c->auth.audiences[i], CONFIG_TEXT_CAP, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    struct config_error err;

    if (config_parse(span_of(data, size), &config, &err))
        check_config(&config);
    else
        check_error(&err, data, size);
    return 0;
}
