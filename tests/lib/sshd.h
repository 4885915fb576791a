// SPDX-License-Identifier: Apache-2.0
/*
 * A real sshd for C tests: a free port of 127.0.0.1, its own host key and user key, all below one
 * temporary directory. Nothing of it is left after sshd_stop.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct sshd {
    pid_t pid;
    uint16_t port;
    char *dir;         /* the temporary directory */
    char *tree;        /* an empty directory below it, to serve files from */
    char *known_hosts; /* a file that knows the host's key */
    char *identity;    /* a private key that the server accepts */
    char *stranger;    /* one that it doesn't */
};

/*
 * Starts it. `host_key` is a type for ssh-keygen ("ed25519", "ecdsa"), `subsystem` what serves
 * sftp (NULL = internal-sftp), `extra` further lines of sshd_config (may be NULL). Returns NULL
 * and prints why if that fails, e.g. where sshd is not installed.
 */
struct sshd *sshd_start(const char *host_key, const char *subsystem, const char *extra);

/* Ends it and all that serve its connections, waits for them, removes the directory. */
void sshd_stop(struct sshd *s);

/* Sends `sig` to it and to all that serve its connections: SIGSTOP makes it silent. */
void sshd_signal(const struct sshd *s, int sig);

/* Runs a command line (printf-style) with sh; its exit status. */
int sshd_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
