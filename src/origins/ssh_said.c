// SPDX-License-Identifier: Apache-2.0
#include "origins/ssh_said.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "origins/ssh.h"

static bool has(const char *said, const char *words)
{
    return strstr(said, words) != NULL;
}

/* The last line that is not empty, cut of what the client wraps around it; the caller frees. */
static char *last_line(const char *said)
{
    const char *end = said + strlen(said);
    while (end > said && strchr("\r\n .", end[-1]))
        end--;
    const char *start = end;
    while (start > said && start[-1] != '\n')
        start--;
    if (strncmp(start, "ssh: ", 5) == 0)
        start += 5;
    return strndup(start, (size_t)(end - start));
}

/* The line that has these words; the caller frees. */
static char *line_with(const char *said, const char *words)
{
    const char *start = strstr(said, words);
    while (start && start > said && start[-1] != '\n')
        start--;
    return start ? strndup(start, strcspn(start, "\r\n")) : NULL;
}

static int host_key(const char *said, const struct ssh_question *q, char **ret_why)
{
    const char *file = q->known_hosts ? q->known_hosts : "~/.ssh/known_hosts";
    char port[16] = "";
    if (q->port)
        snprintf(port, sizeof port, "-p %u ", (unsigned)q->port);
    if (has(said, "revoked"))
        return ssh_fail(ret_why, -EKEYREJECTED,
                        "%s: the host's key is marked @revoked in %s: not connecting", q->name,
                        file);
    if (has(said, "HAS CHANGED") || has(said, "has changed"))
        return ssh_fail(ret_why, -EKEYREJECTED,
                        "%s: the host's key HAS CHANGED since it was noted in %s: somebody may be "
                        "in between, or it was replaced (then: ssh-keygen -R)",
                        q->name, file);
    return ssh_fail(ret_why, -EKEYREJECTED,
                    "%s: the host's key is unknown; compare its fingerprint, then note it: "
                    "ssh-keyscan %s%s >> %s",
                    q->name, port, q->host, file);
}

int ssh_said(const char *said, const struct ssh_question *q, int err, char **ret_why)
{
    static const struct {
        const char *words;
        int err;
        const char *line; /* behind the name */
    } known[] = {
        {"Connection refused", -ECONNREFUSED,
         "connection refused; does sshd run there, on this port?"},
        {"No route to host", -EHOSTUNREACH, "no route to this host"},
        {"Could not resolve hostname", -EHOSTUNREACH, "no such host"},
        {"Network is unreachable", -ENETUNREACH, "the network is unreachable"},
        {"Connection timed out", -ETIMEDOUT, "the host does not answer"},
        {"Operation timed out", -ETIMEDOUT, "the host does not answer"},
        {"subsystem request failed", -EOPNOTSUPP, "the server has no sftp subsystem"},
        {"no matching", -EOPNOTSUPP, "client and server have no algorithm in common"},
        {"Too many authentication failures", -EACCES,
         "none of the first keys tried was accepted; name the right one with -o ssh-identity=FILE"},
    };
    if (!*said)
        return err;
    if (has(said, "Host key verification failed") || has(said, "host key is known for") ||
        has(said, "IDENTIFICATION HAS CHANGED"))
        return host_key(said, q, ret_why);
    if (has(said, "Permission denied (")) {
        AUTO_FREE char *bad = line_with(said, "Load key");
        if (bad)
            return ssh_fail(ret_why, -EACCES, "%s: the server accepts none of our keys (%s)",
                            q->name, bad);
        if (!q->identity)
            return ssh_fail(ret_why, -EACCES,
                            "%s: the server accepts none of our keys; name one with -o "
                            "ssh-identity=FILE, or load it into ssh-agent",
                            q->name);
        if (access(q->identity, R_OK) < 0)
            return ssh_fail(ret_why, -EACCES, "%s: the server accepts none of our keys (%s: %s)",
                            q->name, q->identity, strerror(errno));
        return ssh_fail(ret_why, -EACCES,
                        "%s: the server does not accept the key %s, nor one of ssh-agent's (if it "
                        "has a passphrase, load it into ssh-agent)",
                        q->name, q->identity);
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (has(said, known[i].words))
            return ssh_fail(ret_why, known[i].err, "%s: %s", q->name, known[i].line);
    AUTO_FREE char *last = last_line(said);
    bool config = has(said, "onfiguration option");
    return ssh_fail(ret_why, config ? -EINVAL : err, "%s: %s", q->name,
                    last && *last ? last : strerror(-err));
}
