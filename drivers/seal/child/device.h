/* What ww-seal does with a request, by kind of device. */
#ifndef DRIVERS_SEAL_CHILD_DEVICE_H
#define DRIVERS_SEAL_CHILD_DEVICE_H

#include "drivers/seal/device/wire.h"

/* Where an answer goes.  payload: DEVICE_BLOB_MAX bytes of locked pages. */
struct answer {
    struct buf payload;
    char text[DEVICE_TEXT_MAX]; /* for a person */
};

/* Notes the text; returns the status. */
enum device_status MUST_USE __attribute__((format(printf, 3, 4)))
answer_fail(struct answer *a, enum device_status status, const char *format, ...);

/* What the arguments ask for, without anybody on descriptor 3: makes the file of a sealed warm key. */
int MUST_USE warm_key_make(int argc, char **argv);

enum device_status MUST_USE pkcs11_answer(const struct device_request *r, struct answer *a);
enum device_status MUST_USE tpm2_answer(const struct device_request *r, struct answer *a);

#endif
