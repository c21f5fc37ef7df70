/* Asking ww-seal: starts it, gives it one request, takes its reply, sees it end. */
#ifndef DRIVERS_SEAL_DEVICE_H
#define DRIVERS_SEAL_DEVICE_H

#include "drivers/seal/device/wire.h"

struct seal_device {
    const char *program; /* path of ww-seal */
    unsigned timeout_ms;
};

/* payload: DEVICE_BLOB_MAX bytes of room, in locked pages where it is a secret.  Blocks until there is an answer or
 * the time is over; the child is gone then.  err: why, and what to do, unless DEVICE_OK. */
enum device_status MUST_USE device_ask(const struct seal_device *d, const struct device_request *r,
                                       struct buf *payload, char *err, size_t err_cap);

#endif
