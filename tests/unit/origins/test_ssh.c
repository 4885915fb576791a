// SPDX-License-Identifier: Apache-2.0
/* Connecting with SSH: who is let in, whose key is believed, where the root is, what users read. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/url.h"
#include "unit/origins/sftp_fixture.h"
#include "unit/origins/tempdir.h"

/* Connects, checks the error and that the user is told `words` in one line. */
static void refused(const struct origin_config *cfg, int expected, const char *words)
{
    struct origin *o = NULL;
    char *why = NULL;
    struct origin_call c = sftp_call_for(20 * NSEC_PER_SEC);
    int err = origin_driver_sftp.connect(&o, cfg, &c, &why);
    print_message("%s\n", why ? why : "(nothing)");
    assert_int_equal(err, expected);
    assert_null(o);
    assert_non_null(why);
    assert_null(strchr(why, '\n'));
    assert_non_null(strstr(why, words));
    free(why);
}

static struct origin *accepted(const struct origin_config *cfg)
{
    struct origin *o = NULL;
    char *why = NULL;
    struct origin_call c = sftp_call_for(20 * NSEC_PER_SEC);
    int err = origin_driver_sftp.connect(&o, cfg, &c, &why);
    if (err)
        print_message("%s\n", why);
    assert_int_equal(err, 0);
    assert_null(why);
    return o;
}

static struct origin_config config(struct sftp_fixture *f)
{
    return *sftp_fixture_config(f->sshd, f->sshd->tree);
}

static char *in_dir(struct sftp_fixture *f, const char *name)
{
    static char text[4][512];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof text[0], "%s/%s", f->sshd->dir, name);
    return t;
}

static void test_unknown_host_key(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_known_hosts = in_dir(f, "no_such_file");
    char words[64];
    snprintf(words, sizeof words, "ssh-keyscan -p %u 127.0.0.1 >> ", (unsigned)f->sshd->port);
    refused(&cfg, -EKEYREJECTED, words);
}

static void test_changed_host_key(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_known_hosts = in_dir(f, "changed");
    assert_int_equal(sshd_run("echo \"[127.0.0.1]:%u $(cut -d' ' -f1,2 %s.pub)\" >%s",
                              (unsigned)f->sshd->port, f->sshd->stranger, cfg.ssh_known_hosts),
                     0);
    refused(&cfg, -EKEYREJECTED, "HAS CHANGED");
}

static void test_revoked_host_key(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_known_hosts = in_dir(f, "revoked");
    assert_int_equal(sshd_run("(cat %s; echo \"@revoked * $(cut -d' ' -f1,2 %s)\") >%s",
                              f->sshd->known_hosts, in_dir(f, "host.pub"), cfg.ssh_known_hosts),
                     0);
    refused(&cfg, -EKEYREJECTED, "@revoked");
}

static void test_hashed_known_hosts(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_known_hosts = in_dir(f, "hashed");
    assert_int_equal(sshd_run("cp %s %s && ssh-keygen -q -H -f %s 2>/dev/null && ! grep -q 127 %s",
                              f->sshd->known_hosts, cfg.ssh_known_hosts, cfg.ssh_known_hosts,
                              cfg.ssh_known_hosts),
                     0);
    origin_close(accepted(&cfg));
}

static void test_known_hosts_with_patterns_and_nonsense(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_known_hosts = in_dir(f, "patterns");
    assert_int_equal(
        sshd_run("(echo '# comment'; echo; echo nonsense; echo '@cert-authority * x y';"
                 " echo 'h ssh-frob AAAA'; echo \"!10.*,[127.0.0.*]:* $(cut -d' ' -f1,2 %s)\") >%s",
                 in_dir(f, "host.pub"), cfg.ssh_known_hosts),
        0);
    origin_close(accepted(&cfg));
    assert_int_equal(sshd_run("echo \"![127.*,[127.0.0.*]:* $(cut -d' ' -f1,2 %s)\" >%s",
                              in_dir(f, "host.pub"), cfg.ssh_known_hosts),
                     0);
    refused(&cfg, -EKEYREJECTED, "unknown");
}

static void test_known_key_type_is_asked_for(void **state)
{
    struct sftp_fixture *f = *state;
    char extra[600];
    /* The server has both types, the user knows the one that we like less. */
    snprintf(extra, sizeof extra, "HostKey %s", in_dir(f, "host"));
    struct sshd *two = sshd_start("ecdsa", NULL, extra);
    assert_non_null(two);
    origin_close(sftp_fixture_connect(two));
    sshd_stop(two);
}

static void test_wrong_user_key(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_identity = f->sshd->stranger;
    refused(&cfg, -EACCES, f->sshd->stranger);
    cfg.ssh_identity = in_dir(f, "no_key_here");
    refused(&cfg, -EACCES, "No such file");
}

static void test_key_with_a_passphrase(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_identity = in_dir(f, "locked");
    assert_int_equal(sshd_run("rm -f %s; ssh-keygen -q -t ed25519 -N secret -f %s",
                              cfg.ssh_identity, cfg.ssh_identity),
                     0);
    refused(&cfg, -EACCES, "load it into ssh-agent");
}

static void test_key_types(void **state)
{
    struct sftp_fixture *f = *state;
    static const char *const types[] = {"ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521 -m PEM"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct origin_config cfg = config(f);
        cfg.ssh_identity = in_dir(f, "typed");
        assert_int_equal(sshd_run("rm -f %s; ssh-keygen -q -t %s -N '' -f %s && cat %s.pub >>%s",
                                  cfg.ssh_identity, types[i], cfg.ssh_identity, cfg.ssh_identity,
                                  in_dir(f, "authorized_keys")),
                         0);
        origin_close(accepted(&cfg));
    }
}

/* Starts an agent that holds the keys of these files; its pid. */
static pid_t start_agent(struct sftp_fixture *f, const char *keys)
{
    char *sock = in_dir(f, "agent"), *pid_file = in_dir(f, "agent_pid");
    unlink(sock);
    assert_int_equal(sshd_run("ssh-agent -a %s | sed -n 's/.*AGENT_PID=\\([0-9]*\\).*/\\1/p' >%s",
                              sock, pid_file),
                     0);
    setenv("SSH_AUTH_SOCK", sock, 1);
    int pid = 0;
    FILE *p = fopen(pid_file, "r");
    assert_int_equal(fscanf(p, "%d", &pid), 1);
    fclose(p);
    assert_int_equal(sshd_run("ssh-add -q %s 2>/dev/null", keys), 0);
    return pid;
}

static void stop_agent(pid_t pid)
{
    kill(pid, SIGCONT);
    kill(pid, SIGTERM);
    unsetenv("SSH_AUTH_SOCK");
}

static void test_agent(void **state)
{
    struct sftp_fixture *f = *state;
    char keys[1024];
    snprintf(keys, sizeof keys, "%s %s", f->sshd->stranger, f->sshd->identity);
    pid_t agent = start_agent(f, keys);
    struct origin_config cfg = config(f);
    cfg.ssh_identity = in_dir(f, "no_key_here");
    struct origin *o = accepted(&cfg);
    stop_agent(agent);
    origin_close(o);
}

static void test_agent_with_rsa_key(void **state)
{
    struct sftp_fixture *f = *state;
    char *key = in_dir(f, "rsa");
    assert_int_equal(sshd_run("rm -f %s; ssh-keygen -q -t rsa -b 3072 -N '' -f %s &&"
                              " cat %s.pub >>%s",
                              key, key, key, in_dir(f, "authorized_keys")),
                     0);
    pid_t agent = start_agent(f, key);
    struct origin_config cfg = config(f);
    cfg.ssh_identity = in_dir(f, "no_key_here");
    struct origin *o = accepted(&cfg);
    stop_agent(agent);
    origin_close(o);
}

static void test_identities_only_leaves_other_agent_keys_out(void **state)
{
    struct sftp_fixture *f = *state;
    pid_t agent = start_agent(f, f->sshd->identity);
    struct origin_config cfg = config(f);
    cfg.ssh_config = in_dir(f, "only");
    cfg.ssh_identity = f->sshd->stranger;
    assert_int_equal(sshd_run("echo IdentitiesOnly yes >%s", cfg.ssh_config), 0);
    refused(&cfg, -EACCES, f->sshd->stranger);
    cfg.ssh_identity = f->sshd->identity;
    struct origin *o = accepted(&cfg);
    stop_agent(agent);
    origin_close(o);
}

struct connect_job {
    const struct origin_config *cfg;
};

static int connect_once(void *arg, const struct origin_call *c)
{
    struct connect_job *j = arg;
    struct origin *o = NULL;
    char *why = NULL;
    int err = origin_driver_sftp.connect(&o, j->cfg, c, &why);
    free(why);
    if (!err)
        origin_close(o);
    return err;
}

static void test_silent_agent_does_not_hang(void **state)
{
    struct sftp_fixture *f = *state;
    pid_t agent = start_agent(f, f->sshd->identity);
    struct origin_config cfg = config(f);
    struct connect_job j = {&cfg};
    kill(agent, SIGSTOP);
    struct origin_call c = sftp_call_for(1500 * NSEC_PER_MSEC);
    int err = connect_once(&j, &c);
    stop_agent(agent);
    assert_int_equal(err, -ETIMEDOUT);
}

static void test_refused_port(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    struct origin_url url = *cfg.url;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    /* Bound and not listening: nobody else gets this port meanwhile. */
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    url.port = ntohs(a.sin_port);
    cfg.url = &url;
    char words[32];
    snprintf(words, sizeof words, "127.0.0.1:%u", (unsigned)url.port);
    refused(&cfg, -ECONNREFUSED, words);
}

static void test_host_without_address(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    struct origin_url url = *cfg.url;
    char host[] = "no-such-host.invalid";
    url.host = host;
    cfg.url = &url;
    refused(&cfg, -EHOSTUNREACH, "no-such-host.invalid:");
}

static void test_silent_server_while_connecting(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    struct connect_job j = {&cfg};
    int64_t took;
    sshd_signal(f->sshd, SIGSTOP); /* the kernel still accepts for it */
    int64_t start = cairn_now_ns();
    struct origin_call c = sftp_call_for(200 * NSEC_PER_MSEC);
    int late = connect_once(&j, &c);
    int64_t waited = cairn_now_ns() - start;
    int cancelled = sftp_cancel_while(connect_once, &j, &took);
    sshd_signal(f->sshd, SIGCONT);
    assert_int_equal(late, -ETIMEDOUT);
    assert_true(waited < 2 * NSEC_PER_SEC);
    assert_int_equal(cancelled, -EINTR);
    assert_true(took < NSEC_PER_SEC);
}

static void test_config_file_names_the_host(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    struct origin_url url = *cfg.url;
    char host[] = "myserver";
    url.host = host;
    url.port = 0;
    cfg.url = &url;
    cfg.ssh_config = in_dir(f, "config");
    cfg.ssh_identity = NULL;
    cfg.ssh_known_hosts = NULL;
    assert_int_equal(
        sshd_run("printf 'Host my*\\n HostName 127.0.0.1\\n Port %u\\n IdentityFile %s\\n"
                 " UserKnownHostsFile %s\\n StrictHostKeyChecking no\\n' >%s",
                 (unsigned)f->sshd->port, f->sshd->identity, f->sshd->known_hosts, cfg.ssh_config),
        0);
    origin_close(accepted(&cfg));
    /* Asked not to be strict, it still is. */
    cfg.ssh_known_hosts = in_dir(f, "no_such_file");
    refused(&cfg, -EKEYREJECTED, "unknown");
}

static void test_missing_config_file(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = config(f);
    cfg.ssh_config = in_dir(f, "no_such_file");
    refused(&cfg, -ENOENT, cfg.ssh_config);
}

static void test_root_is_the_login_directory(void **state)
{
    struct sftp_fixture *f = *state;
    static const char *const paths[] = {"", "/~", "/~/"};
    struct stat home;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct origin_config cfg = *sftp_fixture_config(f->sshd, paths[i]);
        struct origin *o = accepted(&cfg);
        struct origin_stat st;
        assert_int_equal(origin_stat(o, &sftp_endless, "", &st), 0);
        assert_true(S_ISDIR(st.mode));
        if (getuid() == 0 && stat("/root", &home) == 0) {
            assert_int_equal(st.mode, home.st_mode);
            assert_true(st.mtime_ns / NSEC_PER_SEC == home.st_mtim.tv_sec);
        }
        origin_close(o);
    }
}

static void test_root_of_the_server(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = *sftp_fixture_config(f->sshd, "/");
    struct origin *o = accepted(&cfg);
    struct origin_stat st;
    assert_int_equal(origin_stat(o, &sftp_endless, "", &st), 0);
    assert_true(S_ISDIR(st.mode));
    assert_int_equal(origin_stat(o, &sftp_endless, f->sshd->tree + 1, &st), 0);
    assert_true(S_ISDIR(st.mode));
    origin_close(o);
}

static void test_root_may_be_reached_through_a_symlink(void **state)
{
    struct sftp_fixture *f = *state;
    assert_int_equal(
        sshd_run("ln -sfn %s %s && touch %s/x", f->sshd->tree, in_dir(f, "link"), f->sshd->tree),
        0);
    struct origin_config cfg = *sftp_fixture_config(f->sshd, in_dir(f, "link"));
    struct origin *o = accepted(&cfg);
    struct origin_stat st;
    assert_int_equal(origin_stat(o, &sftp_endless, "x", &st), 0);
    origin_close(o);
}

static void test_root_must_be_a_directory(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_config cfg = *sftp_fixture_config(f->sshd, in_dir(f, "no_such_dir"));
    refused(&cfg, -ENOENT, "no such directory");
    cfg = *sftp_fixture_config(f->sshd, in_dir(f, "host.pub"));
    refused(&cfg, -ENOTDIR, "not a directory");
}

static void test_server_that_speaks_nonsense(void **state)
{
    struct sftp_fixture *f = *state;
    static const struct {
        const char *subsystem;
        int err;
    } servers[] = {
        {"/bin/cat", -EBADMSG},     /* our own question comes back */
        {"/bin/true", -ECONNRESET}, /* ends at once */
        {"/usr/bin/yes", -EBADMSG}, /* a login script's chatter, and a packet of 2 GB */
    };
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        struct sshd *s = sshd_start("ed25519", servers[i].subsystem, NULL);
        assert_non_null(s);
        struct origin_config cfg = *sftp_fixture_config(s, "/");
        refused(&cfg, servers[i].err, "SFTP version 3");
        sshd_stop(s);
    }
    assert_true(origin_usable(f->o));
}

static void test_server_without_sftp(void **state)
{
    struct sshd *s = sshd_start("ed25519", "/bin/false\nSubsystem other internal-sftp", NULL);
    assert_non_null(s);
    struct origin_config cfg = *sftp_fixture_config(s, "/");
    refused(&cfg, -ECONNRESET, "SFTP version 3");
    sshd_stop(s);
}

static void test_umask_of_the_server_is_undone(void **state)
{
    struct sshd *s = sshd_start("ed25519", "internal-sftp -u 0077", NULL);
    assert_non_null(s);
    struct origin *o = sftp_fixture_connect(s);
    struct stat st;
    assert_int_equal(origin_mkdir(o, &sftp_endless, "d", 0755), 0);
    assert_int_equal(origin_mknod(o, &sftp_endless, "d/a", S_IFREG | 0664, 0), 0);
    assert_int_equal(origin_mknod(o, &sftp_endless, "d/b", S_IFREG | 0664, 0), 0);
    assert_int_equal(stat(sftp_tree_path(s, "d"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    assert_int_equal(stat(sftp_tree_path(s, "d/b"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0664);
    origin_close(o);
    sshd_stop(s);
}

static void test_server_that_refuses_requests(void **state)
{
    /* An administrator may forbid extensions: what is not offered is not promised. */
    struct sshd *s = sshd_start("ed25519",
                                "internal-sftp -P posix-rename,copy-data,fsync,hardlink,"
                                "lsetstat,limits,statvfs",
                                NULL);
    assert_non_null(s);
    struct origin *o = sftp_fixture_connect(s);
    struct origin_file *file;
    AUTO_FREE uint8_t *buf = malloc(300000);
    assert_false(origin_can(o, ORIGIN_ATOMIC_RENAME) || origin_can(o, ORIGIN_COPY_RANGE) ||
                 origin_can(o, ORIGIN_FSYNC) || origin_can(o, ORIGIN_HARD_LINKS));
    assert_int_equal(origin_mknod(o, &sftp_endless, "a", S_IFREG | 0644, 0), 0);
    assert_int_equal(origin_mknod(o, &sftp_endless, "b", S_IFREG | 0644, 0), 0);
    assert_int_equal(origin_rename(o, &sftp_endless, "a", "b", 0), -EEXIST);
    assert_int_equal(origin_rename(o, &sftp_endless, "a", "c", 0), 0);
    assert_int_equal(origin_link(o, &sftp_endless, "b", "d"), -EOPNOTSUPP);
    struct origin_attr mode = {.mask = ORIGIN_SET_MODE, .mode = 0600};
    assert_int_equal(origin_setattr(o, &sftp_endless, "b", &mode), 0);
    assert_int_equal(origin_symlink(o, &sftp_endless, "b", "l"), 0);
    assert_int_equal(origin_setattr(o, &sftp_endless, "l", &mode), -EOPNOTSUPP);
    struct statvfs st;
    assert_int_equal(origin_statfs(o, &sftp_endless, &st), -EOPNOTSUPP);
    sftp_fill(buf, 300000, 0);
    assert_int_equal(origin_open(o, &sftp_endless, "b", 2, 0, &file, NULL), 0);
    assert_int_equal(origin_pwrite(file, &sftp_endless, buf, 300000, 0), 0);
    memset(buf, 0, 300000);
    assert_int_equal(origin_pread(file, &sftp_endless, buf, 300000, 0, NULL), 300000);
    origin_close_file(file);
    origin_close(o);
    sshd_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_host_key),
        cmocka_unit_test(test_changed_host_key),
        cmocka_unit_test(test_revoked_host_key),
        cmocka_unit_test(test_hashed_known_hosts),
        cmocka_unit_test(test_known_hosts_with_patterns_and_nonsense),
        cmocka_unit_test(test_known_key_type_is_asked_for),
        cmocka_unit_test(test_wrong_user_key),
        cmocka_unit_test(test_key_with_a_passphrase),
        cmocka_unit_test(test_key_types),
        cmocka_unit_test(test_agent),
        cmocka_unit_test(test_agent_with_rsa_key),
        cmocka_unit_test(test_identities_only_leaves_other_agent_keys_out),
        cmocka_unit_test(test_silent_agent_does_not_hang),
        cmocka_unit_test(test_refused_port),
        cmocka_unit_test(test_host_without_address),
        cmocka_unit_test(test_silent_server_while_connecting),
        cmocka_unit_test(test_config_file_names_the_host),
        cmocka_unit_test(test_missing_config_file),
        cmocka_unit_test(test_root_is_the_login_directory),
        cmocka_unit_test(test_root_of_the_server),
        cmocka_unit_test(test_root_may_be_reached_through_a_symlink),
        cmocka_unit_test(test_root_must_be_a_directory),
        cmocka_unit_test(test_server_that_speaks_nonsense),
        cmocka_unit_test(test_server_without_sftp),
        cmocka_unit_test(test_umask_of_the_server_is_undone),
        cmocka_unit_test(test_server_that_refuses_requests),
    };
    return cmocka_run_group_tests(tests, sftp_fixture_setup, sftp_fixture_teardown);
}
