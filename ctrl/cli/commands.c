#include "ctrl/cli/wwctl.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct option_spec path_only[] = {
    {"PATH", "path", OPTION_TEXT, true, "the key's path, e.g. v0/team/key"}};
static const struct option_spec key_create[] = {
    {"PATH", "path", OPTION_TEXT, true, "the new key's path: what Cloud KMS will call after the host name"},
    {"--algorithm", "algorithm", OPTION_TEXT, false, "symmetric (the default, and the only one)"}};
static const struct option_spec key_switch[] = {
    {"PATH", "path", OPTION_TEXT, true, "the key's path"},
    {"--version", "version", OPTION_NUMBER, false, "this version only; without it, the key as a whole"}};
static const struct option_spec key_rotate[] = {
    {"PATH", "path", OPTION_TEXT, true, "the key's path"},
    {"--period", "period_s", OPTION_DURATION, false,
     "nothing now, but whenever the newest version is that old: 1d..3650d; 0s: by hand only"},
    {"--file", "wrapped", OPTION_BYTES, false,
     "of a private key's path: the next one, wrapped as for key import"}};
static const struct option_spec key_destroy[] = {
    {"PATH", "path", OPTION_TEXT, true, "the key's path"},
    {"--version", "version", OPTION_NUMBER, false,
     "this version only, not the primary; without it, the whole key"},
    {"--after", "after_s", OPTION_DURATION, false,
     "how long it can still be restored: 1d..120d; without it 30d, or what was set before if that is "
     "longer"}};
static const struct option_spec key_import[] = {
    {"PATH", "path", OPTION_TEXT, true, "the new key's path"},
    {"--file", "wrapped", OPTION_BYTES, true,
     "the key under the import key: RSA-OAEP-SHA256 and AES-KWP (docs/OPERATIONS.md)"},
    {"--algorithm", "algorithm", OPTION_TEXT, false,
     "symmetric (an AES-256 key, the default); or of a private key in PKCS#8, as Cloud KMS names it, such as "
     "EC_SIGN_P256_SHA256"}};
static const struct option_spec policy_set[] = {
    {"PATH", "path", OPTION_TEXT, true, "the key's path"},
    {"--file", "text", OPTION_FILE, true, "policy file, YAML or JSON; - reads standard input"}};
static const struct option_spec slots_add[] = {
    {"--passphrase-file", "new_passphrase_file", OPTION_PATH, false,
     "online: a passphrase in a file, or credential:NAME"},
    {"--pkcs11", "module", OPTION_PATH, false, "online: a PKCS#11 token; the module's path"},
    {"--token", "token", OPTION_TEXT, false, "of it: the token's label"},
    {"--key", "key", OPTION_TEXT, false, "of it: the label of an AES key"},
    {"--pin", "pin", OPTION_PATH, false, "of it: the file that holds the PIN, or credential:NAME"},
    {"--mechanism", "mechanism", OPTION_TEXT, false, "of it: wrap (CKM_AES_KEY_WRAP, the default) or gcm"},
    {"--tpm2", "tcti", OPTION_TEXT, false, "online: this machine's TPM, such as device:/dev/tpmrm0"},
    {"--pcrs", "pcrs", OPTION_TEXT, false, "of it: PCRs that must be as they are now, such as 7,11"},
    {"--age", "age", OPTION_TEXT, false, "offline: age recipients with commas, any one of whom opens it"},
    {"--identity", "identity_file", OPTION_PATH, false, "of it: an identity, so that it is opened at once"},
    {"--shares", "shares", OPTION_TEXT, false, "offline: K/N paper shares, any K of the N open it"}};
static const struct option_spec slots_verify[] = {
    {"SLOT", "slot", OPTION_NUMBER, true, "its number"},
    {"--identity", "identity_file", OPTION_PATH, false, "age: a file with the identity"},
    {"--shares-file", "shares_file", OPTION_PATH, false, "shares: a file with enough of them"},
    {"--passphrase-file", "passphrase_file", OPTION_PATH, false,
     "passphrase: another file than seal.passphrase_file"}};
static const struct option_spec slots_rotate[] = {{"SLOT", "slot", OPTION_NUMBER, true, "its number"},
                                                  {"--passphrase-file", "new_passphrase_file", OPTION_PATH,
                                                   false, "passphrase: the file with the new one"}};
static const struct option_spec slot_only[] = {{"SLOT", "slot", OPTION_NUMBER, true, "its number"}};
static const struct option_spec dev_token[] = {
    {"--email", "email", OPTION_TEXT, true, "the caller's address"},
    {"--audience", "audience", OPTION_TEXT, true, "as in auth.audiences of the configuration"},
    {"--expires", "expires_s", OPTION_DURATION, false,
     "how long it is valid: 90s, 15m, 1h (the default), 7d; -1h has expired"},
    {"--claim", "claims", OPTION_CLAIM, false,
     "k=v: adds or replaces a claim (v is JSON or text; null takes it away); repeatable"},
    {"--algorithm", "es256", OPTION_ALGORITHM, false, "RS256 (the default, as Google signs) or ES256"}};
static const struct option_spec sink_only[] = {
    {"--sink", "sink", OPTION_TEXT, false, "this sink only; without it, all of them"}};
static const struct option_spec sink_adopt[] = {
    {"--sink", "sink", OPTION_TEXT, true, "the one; what another host put there until now is given up"}};
static const struct option_spec drill_prove[] = {
    {"--proof", "proof", OPTION_TEXT, true, "what ww-ctrl --drill printed as \"proof\""}};
static const struct option_spec approval_id[] = {{"ID", "id", OPTION_TEXT, true, "of the request"}};
static const struct option_spec approval_sign[] = {
    {"ID", "id", OPTION_TEXT, true, "of the request"},
    {"--signing-key", "key", OPTION_TEXT, true, "the approver's private key: a file, PEM, P-256"}};
static const struct option_spec approval_submit[] = {
    {"ID", "id", OPTION_TEXT, true, "of the request"},
    {"--signature", "signature", OPTION_TEXT, true, "as wwctl approval sign prints it"}};
static const struct option_spec audit_tail[] = {
    {"--count", "count", OPTION_NUMBER, false, "how many entries, 20 without it"}};

const struct command commands[] = {
    {"status", "what ww-ctrl and the dataplane are doing", NULL, 0, show_status},
    {"key create", "make a key with its first version", key_create, COUNT(key_create), show_key},
    {"key list", "all keys", NULL, 0, show_key_list},
    {"key show", "one key and its versions", path_only, COUNT(path_only), show_key},
    {"key rotate", "add a version, which wraps from now on; older ones still unwrap", key_rotate,
     COUNT(key_rotate), show_key},
    {"key enable", "let a key, or one version, serve again", key_switch, COUNT(key_switch), show_key},
    {"key disable", "stop a key, or one version, from serving; returns once no worker can still use it",
     key_switch, COUNT(key_switch), show_key},
    {"key import", "make a key of material from elsewhere, wrapped under the import key", key_import,
     COUNT(key_import), show_key},
    {"key import-key", "print the public key under which material to be imported is wrapped; valid 3 days",
     NULL, 0, show_import_key},
    {"key destroy", "schedule the destruction of a key, or of one version; until then it can be restored",
     key_destroy, COUNT(key_destroy), show_key},
    {"key restore", "take a scheduled destruction back; what is restored is disabled", key_switch,
     COUNT(key_switch), show_key},
    {"init", "lead through what a new store needs before keys can be made", NULL, 0, NULL},
    {"root slots list", "what opens the root key, and whether it is enough", NULL, 0, show_slots},
    {"root slots add", "one more slot that opens the root key", slots_add, COUNT(slots_add), show_slot},
    {"root slots verify", "open a slot, so that it counts", slots_verify, COUNT(slots_verify), show_slot},
    {"root slots rotate", "seal a slot anew", slots_rotate, COUNT(slots_rotate), show_slot},
    {"root slots remove", "take a slot out", slot_only, COUNT(slot_only), show_slots},
    {"root rotate", "make a new root key; everything in the store is sealed anew under it", NULL, 0,
     show_slots},
    {"policy show", "who may use a key, and for which reasons", path_only, COUNT(path_only), show_policy},
    {"policy set", "replace a key's policy by a file", policy_set, COUNT(policy_set), show_policy},
    {"dataplane stats", "the dataplane's counters", NULL, 0, show_counters},
    {"audit tail", "the last audit records", audit_tail, COUNT(audit_tail), show_audit},
    {"backup status", "which sink holds what, and when it was last seen to restore", NULL, 0, show_backup},
    {"backup list", "the backup files in the sinks", sink_only, COUNT(sink_only), show_backup_list},
    {"backup run", "make a full backup now, in every sink", NULL, 0, show_backup},
    {"backup now", "the same", NULL, 0, show_backup},
    {"backup adopt", "go on in a sink that holds another history of this store, too", sink_adopt,
     COUNT(sink_adopt), show_backup},
    {"backup verify", "the same as drill", sink_only, COUNT(sink_only), show_backup},
    {"drill offline-root", "what to do to show that an offline slot opens a backup", NULL, 0, show_challenge},
    {"drill prove", "the answer to what drill offline-root asked", drill_prove, COUNT(drill_prove),
     show_backup},
    {"drill", "restore the newest backup of each sink in a folder that goes away, and open every key",
     sink_only, COUNT(sink_only), show_backup},
    {"audit acts", "the last acts of operators, and whether the admin log is whole", audit_tail,
     COUNT(audit_tail), show_acts},
    {"approval request", "ask for a change that needs signatures: the change's own words follow", NULL, 0,
     NULL},
    {"approval list", "changes that wait for signatures", NULL, 0, show_approvals},
    {"approval show", "what one of them is, in the words that are signed", approval_id, COUNT(approval_id),
     show_approval},
    {"approval sign", "show that, and sign it here; ww-ctrl never sees the key", approval_sign,
     COUNT(approval_sign), NULL},
    {"approval submit", "hand in a signature; the last one carries the change out", approval_submit,
     COUNT(approval_submit), show_submitted},
    {"approval withdraw", "take a request back", approval_id, COUNT(approval_id), show_approval},
    {"cert list", "the server certificate in effect", NULL, 0, show_certificates},
    {"upgrade status", "at which level of formats the store is, and what a commit would change", NULL, 0,
     show_upgrade},
    {"upgrade commit", "go to the newest level; versions before this one read the store no more", NULL, 0,
     show_upgrade},
    {"store compact", "replace the store's changes so far by one anchor; done by itself when there are many",
     NULL, 0, show_upgrade},
    {"reload", "read JWKS files, certificate and the auth and tls parts of the configuration again", NULL, 0,
     show_reload},
    {"dev token", "mint an ID token (only where ww-ctrl runs with --dev)", dev_token, COUNT(dev_token),
     show_token},
    {"completion", "print the completion for bash", NULL, 0, NULL},
    {"man", "print the man page", NULL, 0, NULL},
};
const size_t command_count = COUNT(commands);
