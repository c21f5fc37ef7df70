#include "tests/sim/tcp_script.h"

static void handshake_completes_and_is_told(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).established, 1);
    script_free(t);
}

static void echo_once(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    peer_data(t, 0, 100);
    assert_int_equal(app_events(t), NET_EVENT_READABLE);
    app_read(t, 100);
    app_send(t, 50);
    assert_int_equal(expect_data(t, 0, 50)->ack, peer_seq(t, 100));
    peer_ack(t, 50);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_completes_and_is_told),
        cmocka_unit_test(echo_once),
    };
    return SCRIPT_RUN("tcp_handshake", tests);
}
