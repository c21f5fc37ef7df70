/* The device text of dpdk.h, taken apart.  Pure. */
#ifndef DRIVERS_NIC_DPDK_SPEC_H
#define DRIVERS_NIC_DPDK_SPEC_H

#include "base/span.h"

#define SPEC_TARGET_CAP 108 /* sun_path, the longest of all targets */

enum spec_kind {
    SPEC_TAP,
    SPEC_VIRTIO_USER,
    SPEC_VHOST,
    SPEC_AF_PACKET,
    SPEC_MEMIF,
    SPEC_MEMIF_SERVER,
    SPEC_PCI,
    SPEC_LOOP
};

struct spec {
    enum spec_kind kind;
    char target[SPEC_TARGET_CAP];
};

/* false: unknown kind, empty or overlong target, or a character that would end a device argument early. */
bool MUST_USE spec_parse(const char *text, struct spec *out);

/* "02:00:00:00:00:01"; false for another form, the zero address or a group address. */
bool MUST_USE spec_mac_parse(const char *text, uint8_t mac[6]);
void spec_mac_print(const uint8_t mac[6], char out[18]);

/* A locally administered address which is always the same for the same text: peers keep their neighbour entry
 * across a restart of ours. */
void spec_mac_derive(const char *text, uint8_t mac[6]);
/* Ours on a wire whose other end has that one: never equal to it, always the same. */
void spec_mac_beside(const uint8_t other[6], uint8_t mac[6]);

/* The arguments of a virtual device, without its name: "iface=ww0,mac=...,persist".  mac: ours (for TAP: the
 * kernel end's).  false: SPEC_PCI, or cap too small. */
bool MUST_USE spec_vdev_args(const struct spec *s, const uint8_t mac[6], uint16_t queue_count, char *out,
                             size_t cap);
/* "net_tap" ... : the driver, NULL for SPEC_PCI. */
const char *spec_driver(enum spec_kind kind);

#endif
