/* What ww-ctrl does instead of serving: making a store again from a backup, or trying whether it could.
 *
 *     ww-ctrl --config FILE --restore SOURCE [--identity FILE | --shares FILE] [--store ID]
 *     ww-ctrl --config FILE --drill SOURCE [--identity FILE | --shares FILE] [--challenge TEXT]
 *
 * SOURCE is a directory of backup files or the name of a sink.  --restore leaves a store where there is none: with the
 * offline slots of the backup and a fresh one of this host's passphrase.  --drill does the same in a folder that goes away,
 * prints one JSON object, and touches nothing else.  Without an identity a drill is what ww-ctrl itself starts: the outer
 * layer is opened by backup.drill_identity_file, the root key by this host's online slots. */
#ifndef CTRL_RESCUE_H
#define CTRL_RESCUE_H

#include "ctrl/daemon.h"

struct rescue {
    const char *source;
    bool drill;
    const char *store;     /* or NULL: see restore_source */
    const char *challenge; /* or NULL: its proof is printed */
};

/* d: configured (daemon_configure), not open.  The exit status. */
int rescue_run(struct daemon *d, const struct rescue *r);

#endif
