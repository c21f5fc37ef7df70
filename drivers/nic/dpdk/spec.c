#include "drivers/nic/dpdk/spec.h"

#include <stdio.h>

static const struct {
    const char *prefix;
    const char *driver;
    size_t target_max;
} kinds[] = {
    [SPEC_TAP] = {"tap:", "net_tap", 15}, /* IFNAMSIZ - 1 */
    [SPEC_VIRTIO_USER] = {"virtio-user:", "net_virtio_user", SPEC_TARGET_CAP - 1},
    [SPEC_VHOST] = {"vhost:", "net_vhost", SPEC_TARGET_CAP - 1},
    [SPEC_AF_PACKET] = {"af_packet:", "net_af_packet", 15},
    [SPEC_MEMIF] = {"memif:", "net_memif", SPEC_TARGET_CAP - 1},
    [SPEC_MEMIF_SERVER] = {"memif-server:", "net_memif", SPEC_TARGET_CAP - 1},
    [SPEC_PCI] = {"pci:", NULL, 12},
    [SPEC_LOOP] = {"loop:", "net_ring", 15},
};

#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

/* The EAL splits device arguments at commas, '=' and brackets: a path with one of them cannot be said. */
static bool target_is_plain(const char *target)
{
    for (const char *c = target; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr(",=[]\"\\", *c) != NULL)
            return false;
    return true;
}

bool spec_parse(const char *text, struct spec *out)
{
    for (size_t k = 0; k < KIND_COUNT; k++) {
        size_t prefix_len = strlen(kinds[k].prefix);
        if (strncmp(text, kinds[k].prefix, prefix_len) != 0)
            continue;
        const char *target = text + prefix_len;
        size_t len = strlen(target);
        if (len == 0 || len > kinds[k].target_max || !target_is_plain(target))
            return false;
        out->kind = (enum spec_kind)k;
        memcpy(out->target, target, len + 1);
        return true;
    }
    return false;
}

const char *spec_driver(enum spec_kind kind)
{
    return kinds[kind].driver;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool spec_mac_parse(const char *text, uint8_t mac[6])
{
    static const uint8_t zero[6];

    if (strlen(text) != 17)
        return false;
    for (size_t i = 0; i < 6; i++) {
        int high = hex_digit(text[3 * i]);
        int low = hex_digit(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return (mac[0] & 1) == 0 && memcmp(mac, zero, 6) != 0;
}

void spec_mac_print(const uint8_t mac[6], char out[18])
{
    snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* FNV-1a: spreads names, guards nothing. */
void spec_mac_derive(const char *text, uint8_t mac[6])
{
    uint32_t h = 2166136261U;

    for (const char *c = text; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619U;
    mac[0] = 0x02;
    mac[1] = 'W';
    mac[2] = (uint8_t)(h >> 24);
    mac[3] = (uint8_t)(h >> 16);
    mac[4] = (uint8_t)(h >> 8);
    mac[5] = (uint8_t)h;
}

void spec_mac_beside(const uint8_t other[6], uint8_t mac[6])
{
    memcpy(mac, other, 6);
    mac[0] = (uint8_t)((mac[0] | 2) & ~1);
    mac[5] ^= 1;
}

bool spec_vdev_args(const struct spec *s, const uint8_t mac[6], uint16_t queue_count, char *out, size_t cap)
{
    char m[18];
    int len = -1;

    spec_mac_print(mac, m);
    switch (s->kind) {
    case SPEC_TAP:
        /* persist: the driver leaves the interface up, with its addresses, when we end */
        len = snprintf(out, cap, "iface=%s,mac=%s,persist", s->target, m);
        break;
    case SPEC_VIRTIO_USER:
        len = snprintf(out, cap, "path=%s,queues=%u,queue_size=512,mac=%s", s->target, queue_count, m);
        break;
    case SPEC_VHOST:
        len = snprintf(out, cap, "iface=%s,queues=%u,client=0", s->target, queue_count);
        break;
    case SPEC_AF_PACKET:
        len = snprintf(out, cap, "iface=%s,qpairs=%u", s->target, queue_count);
        break;
    case SPEC_MEMIF:
    case SPEC_MEMIF_SERVER:
        len = snprintf(out, cap, "role=%s,id=0,socket=%s,socket-abstract=no,mac=%s",
                       s->kind == SPEC_MEMIF ? "client" : "server", s->target, m);
        break;
    case SPEC_LOOP:
        len = snprintf(out, cap, "%s", "");
        break;
    case SPEC_PCI:
        break;
    }
    return len >= 0 && (size_t)len < cap;
}
