#include "tests/unit/test.h"

#include "drivers/nic/dpdk/spec.h"

static void every_kind_of_device_is_read(void **state)
{
    static const struct {
        const char *text;
        enum spec_kind kind;
        const char *target;
    } cases[] = {
        {"tap:ww0", SPEC_TAP, "ww0"},
        {"virtio-user:/run/ww/vhost.sock", SPEC_VIRTIO_USER, "/run/ww/vhost.sock"},
        {"vhost:/run/ww/vhost.sock", SPEC_VHOST, "/run/ww/vhost.sock"},
        {"af_packet:eth1", SPEC_AF_PACKET, "eth1"},
        {"memif:/run/m", SPEC_MEMIF, "/run/m"},
        {"memif-server:/run/m", SPEC_MEMIF_SERVER, "/run/m"},
        {"pci:0000:01:00.0", SPEC_PCI, "0000:01:00.0"},
        {"loop:a", SPEC_LOOP, "a"},
    };
    struct spec s;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(spec_parse(cases[i].text, &s));
        assert_int_equal(s.kind, cases[i].kind);
        assert_string_equal(s.target, cases[i].target);
    }
}

static void unknown_kind_is_refused(void **state)
{
    struct spec s;

    (void)state;
    assert_false(spec_parse("tun:ww0", &s));
    assert_false(spec_parse("tap", &s));
    assert_false(spec_parse("", &s));
    assert_false(spec_parse("TAP:ww0", &s));
}

static void empty_target_is_refused(void **state)
{
    struct spec s;

    (void)state;
    assert_false(spec_parse("tap:", &s));
    assert_false(spec_parse("memif:", &s));
}

static void interface_name_longer_than_the_kernels_is_refused(void **state)
{
    struct spec s;

    (void)state;
    assert_true(spec_parse("tap:abcdefghijklmno", &s));
    assert_false(spec_parse("tap:abcdefghijklmnop", &s));
}

static void socket_path_longer_than_an_address_holds_is_refused(void **state)
{
    char text[160] = "memif:";
    struct spec s;

    (void)state;
    memset(text + 6, 'p', 107);
    assert_true(spec_parse(text, &s));
    text[6 + 107] = 'p';
    assert_false(spec_parse(text, &s));
}

/* A comma would let a path switch on any option of the driver. */
static void target_that_would_end_a_device_argument_is_refused(void **state)
{
    static const char *const texts[] = {"memif:/a,secret=x", "vhost:/a=b", "tap:a b",
                                        "tap:a\n",           "memif:/[a",  "tap:\xc3\xa4"};
    struct spec s;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(spec_parse(texts[i], &s));
}

static void mac_is_read_in_either_case(void **state)
{
    static const uint8_t want[6] = {0x02, 0xab, 0xCD, 0, 0x10, 0xff};
    uint8_t mac[6];

    (void)state;
    assert_true(spec_mac_parse("02:ab:CD:00:10:fF", mac));
    assert_memory_equal(mac, want, 6);
}

static void mac_prints_as_it_reads(void **state)
{
    char text[18];
    uint8_t mac[6];

    (void)state;
    assert_true(spec_mac_parse("02:ab:cd:00:10:ff", mac));
    spec_mac_print(mac, text);
    assert_string_equal(text, "02:ab:cd:00:10:ff");
}

static void misshapen_mac_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "02:ab:cd:00:10",
                                        "02:ab:cd:00:10:f",
                                        "02:ab:cd:00:10:ff:",
                                        "02-ab-cd-00-10-ff",
                                        "02:ab:cd:00:10:fg",
                                        "+2:ab:cd:00:10:ff"};
    uint8_t mac[6];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(spec_mac_parse(texts[i], mac));
}

static void group_address_is_no_mac_of_ours(void **state)
{
    uint8_t mac[6];

    (void)state;
    assert_false(spec_mac_parse("01:00:5e:00:00:01", mac));
    assert_false(spec_mac_parse("ff:ff:ff:ff:ff:ff", mac));
}

static void zero_address_is_no_mac_of_ours(void **state)
{
    uint8_t mac[6];

    (void)state;
    assert_false(spec_mac_parse("00:00:00:00:00:00", mac));
}

static void our_mac_differs_from_the_kernels_end(void **state)
{
    static const uint8_t kernel[6] = {0x52, 0x54, 0, 1, 2, 3};
    uint8_t ours[6];

    (void)state;
    spec_mac_beside(kernel, ours);
    assert_memory_not_equal(ours, kernel, 6);
}

static void our_mac_beside_another_is_local_and_unicast(void **state)
{
    static const uint8_t kernel[6] = {0x00, 0x54, 0, 1, 2, 3};
    uint8_t ours[6];

    (void)state;
    spec_mac_beside(kernel, ours);
    assert_int_equal(ours[0] & 3, 2);
}

static void derived_mac_is_the_same_at_every_start(void **state)
{
    uint8_t a[6];
    uint8_t b[6];

    (void)state;
    spec_mac_derive("memif:/run/m", a);
    spec_mac_derive("memif:/run/m", b);
    assert_memory_equal(a, b, 6);
    assert_int_equal(a[0] & 3, 2);
}

static void derived_mac_differs_between_devices(void **state)
{
    uint8_t a[6];
    uint8_t b[6];

    (void)state;
    spec_mac_derive("memif:/run/m", a);
    spec_mac_derive("memif:/run/n", b);
    assert_memory_not_equal(a, b, 6);
}

/* Without it the driver takes the interface down, and its addresses with it, at every restart of ours. */
static void tap_outlives_us(void **state)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    struct spec s;
    char args[128];

    (void)state;
    assert_true(spec_parse("tap:ww0", &s));
    assert_true(spec_vdev_args(&s, mac, 1, args, sizeof args));
    assert_string_equal(args, "iface=ww0,mac=02:00:00:00:00:01,persist");
}

static void device_arguments_that_do_not_fit_are_refused(void **state)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    struct spec s;
    char args[16];

    (void)state;
    assert_true(spec_parse("tap:ww0", &s));
    assert_false(spec_vdev_args(&s, mac, 1, args, sizeof args));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_device_is_read),
        cmocka_unit_test(unknown_kind_is_refused),
        cmocka_unit_test(empty_target_is_refused),
        cmocka_unit_test(interface_name_longer_than_the_kernels_is_refused),
        cmocka_unit_test(socket_path_longer_than_an_address_holds_is_refused),
        cmocka_unit_test(target_that_would_end_a_device_argument_is_refused),
        cmocka_unit_test(mac_is_read_in_either_case),
        cmocka_unit_test(mac_prints_as_it_reads),
        cmocka_unit_test(misshapen_mac_is_refused),
        cmocka_unit_test(group_address_is_no_mac_of_ours),
        cmocka_unit_test(zero_address_is_no_mac_of_ours),
        cmocka_unit_test(our_mac_differs_from_the_kernels_end),
        cmocka_unit_test(our_mac_beside_another_is_local_and_unicast),
        cmocka_unit_test(derived_mac_is_the_same_at_every_start),
        cmocka_unit_test(derived_mac_differs_between_devices),
        cmocka_unit_test(tap_outlives_us),
        cmocka_unit_test(device_arguments_that_do_not_fit_are_refused),
    };

    return RUN_TESTS("nic_spec", tests);
}
