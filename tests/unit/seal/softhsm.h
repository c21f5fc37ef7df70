/* A SoftHSM2 token for tests: label "ww", PIN 1234 in the file "pin", AES keys "one" and "two". */
#ifndef TESTS_UNIT_SEAL_SOFTHSM_H
#define TESTS_UNIT_SEAL_SOFTHSM_H

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"

/* In dir, which is there; sets SOFTHSM2_CONF.  The caller removes dir with all in it. */
void softhsm_make(const char *dir);
/* A file of 0600 in dir. */
void softhsm_write(const char *dir, const char *name, const char *text);
void softhsm_run(const char *dir, const char *command);

#endif
