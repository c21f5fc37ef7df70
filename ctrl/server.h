/* The sockets of ww-ctrl on the loop: the admin socket for wwctl, the remote admin door (TLS), where there is one, and
 * the ctl socket for the dataplane.
 *
 * The Unix sockets let in root and the daemon's own user (SO_PEERCRED), and the admin socket those whom the
 * configuration names by uid.  A peer that sends garbage, too
 * much or nothing is dropped and counted; none of it reaches another connection. */
#ifndef CTRL_SERVER_H
#define CTRL_SERVER_H

#include "ctrl/daemon.h"

#include <uv.h>

#define ADMIN_CONNECTIONS_MAX 64
#define ADMIN_REMOTE_MAX      16
#define ADMIN_HANDSHAKE_MS    10000
#define ADMIN_IDLE_MS         60000

struct admin_server;
struct ctl_server;

/* Removes what an earlier daemon left at path (this one holds the store, so that one is gone) and listens. */
int server_listen(const char *path, struct refusal *why);
/* Root or ourselves. */
bool server_peer_ok(int fd);

struct admin_server *MUST_USE admin_server_open(uv_loop_t *loop, struct daemon *d, struct refusal *why);
void admin_server_close(struct admin_server *s);
/* The dataplane's state changed, or time went by: answers what waits, ends what idles. */
void admin_server_progress(struct admin_server *s);

struct ctl_server *MUST_USE ctl_server_open(uv_loop_t *loop, struct daemon *d, struct refusal *why);
void ctl_server_close(struct ctl_server *s);

#endif
