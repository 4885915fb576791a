// SPDX-License-Identifier: Apache-2.0
/* ssh_config(5): a table of texts and what they mean for one host. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "origins/ssh_config.h"
#include "unit/origins/tempdir.h"

struct text_case {
    const char *what;
    const char *text;
    const char *hostname, *user;
    unsigned port;
    const char *identities; /* joined by '|'; NULL = not looked at */
};

#define USUAL "/home/me/.ssh/id_ed25519|/home/me/.ssh/id_ecdsa|/home/me/.ssh/id_rsa"

static const struct text_case cases[] = {
    {"nothing", "", "web1", "me", 22, USUAL},
    {"plain", "Host web1\n HostName 10.0.0.7\n User bob\n Port 2222\n", "10.0.0.7", "bob", 2222,
     USUAL},
    {"another host", "Host db1\n HostName 10.0.0.7\n", "web1", "me", 22, USUAL},
    {"before any Host", "Port 7\nHost db1\nPort 8\n", "web1", "me", 7, NULL},
    {"first value wins", "Host web*\nPort 1001\nHost *\nPort 1002\nUser all\n", "web1", "all", 1001,
     NULL},
    {"wildcards", "Host w?b*\nUser q\n", "web1", "q", 22, NULL},
    {"question mark is one", "Host web1?\nUser q\n", "web1", "me", 22, NULL},
    {"several patterns", "Host db1 web1 x\nUser q\n", "web1", "q", 22, NULL},
    {"negation", "Host * !web1\nUser q\n", "web1", "me", 22, NULL},
    {"negation first", "Host !web1 *\nUser q\n", "web1", "me", 22, NULL},
    {"negation of another", "Host !db1 web*\nUser q\n", "web1", "q", 22, NULL},
    {"only a negation", "Host !db1\nUser q\n", "web1", "me", 22, NULL},
    {"equals sign", "Host=web1\nUser=q\nPort = 99\n", "web1", "q", 99, NULL},
    {"quotes", "Host \"web1\"\nIdentityFile \"/k e y\"\n", "web1", "me", 22, "/k e y"},
    {"quoted with equals", "IdentityFile=\"/a b\"\n", "web1", "me", 22, "/a b"},
    {"case", "HOST web1\nuSeR Q\n", "web1", "Q", 22, NULL},
    {"comments", "# User a\n  # User b\nUser c # d\n", "web1", "c", 22, NULL},
    {"carriage returns", "Host web1\r\nUser q\r\n", "web1", "q", 22, NULL},
    {"no newline at the end", "User q", "web1", "q", 22, NULL},
    {"match is skipped", "Match host web1\nUser q\nHost *\nPort 5\n", "web1", "me", 5, NULL},
    {"match all", "Match all\nUser q\n", "web1", "q", 22, NULL},
    {"match exec is skipped", "Match exec \"true\" all\nUser q\n", "web1", "me", 22, NULL},
    {"HostName token", "HostName %h.example.org\n", "web1.example.org", "me", 22, NULL},
    {"HostName percent", "HostName a%%b\n", "a%b", "me", 22, NULL},
    {"tokens", "HostName h2\nUser bob\nIdentityFile %d/%h_%r_%u_%n_%%\n", "h2", "bob", 22,
     "/home/me/h2_bob_me_web1_%"},
    {"tilde", "IdentityFile ~/k\n", "web1", "me", 22, "/home/me/k"},
    {"tilde of another is kept", "IdentityFile ~bob/k\n", "web1", "me", 22, "~bob/k"},
    {"several identities", "Host web1\nIdentityFile /a\nIdentityFile /b\nHost *\nIdentityFile /c\n",
     "web1", "me", 22, "/a|/b|/c"},
    {"no identity", "IdentityFile none\n", "web1", "me", 22, ""},
    {"bad port", "Port 0\nPort 70000\nPort x\nPort 12x\nPort 44\n", "web1", "me", 44, NULL},
    {"empty value", "User\nUser \"\"\nUser q\n", "web1", "q", 22, NULL},
    {"unknown option", "FrobnicateHard yes\nUser q\n", "web1", "q", 22, NULL},
    {"other options", "StrictHostKeyChecking no\nUser q\n", "web1", "q", 22, NULL},
    {"open quote", "User \"q\n", "web1", "q", 22, NULL},
    {"a long line of nothing", "    \t  \n\n\n=\n= =\nUser q\n", "web1", "q", 22, NULL},
};

static const struct ssh_query query = {.host = "web1", .local_user = "me", .home = "/home/me"};

static void join(char **list, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (char **p = list; *p; p++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "|" : "", *p);
}

static void test_table(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct text_case *t = &cases[i];
        struct ssh_config c;
        print_message("%s\n", t->what);
        assert_int_equal(ssh_config_parse(&t->text, 1, &query, NULL, NULL, &c), 0);
        assert_string_equal(c.hostname, t->hostname);
        assert_string_equal(c.user, t->user);
        assert_int_equal(c.port, t->port);
        if (t->identities) {
            char joined[512];
            join(c.identities, joined, sizeof joined);
            assert_string_equal(joined, t->identities);
        }
        ssh_config_clear(&c);
    }
}

static void test_url_wins_over_file(void **state)
{
    const char *text = "User bob\nPort 2222\nIdentityFile /a\nUserKnownHostsFile /b\n";
    struct ssh_query q = query;
    struct ssh_config c;
    q.user = "eve";
    q.port = 77;
    q.identity = "/mine";
    q.known_hosts = "/hosts";
    assert_int_equal(ssh_config_parse(&text, 1, &q, NULL, NULL, &c), 0);
    assert_string_equal(c.user, "eve");
    assert_int_equal(c.port, 77);
    assert_string_equal(c.identities[0], "/mine");
    assert_null(c.identities[1]);
    assert_true(c.identities_given);
    assert_string_equal(c.known_hosts[0], "/hosts");
    assert_null(c.known_hosts[1]);
    ssh_config_clear(&c);
}

static void test_known_hosts_files(void **state)
{
    const char *text =
        "Host web1\nUserKnownHostsFile ~/kh \"/k h\"\nHost *\nUserKnownHostsFile /no\n";
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(&text, 1, &query, NULL, NULL, &c), 0);
    char joined[256];
    join(c.known_hosts, joined, sizeof joined);
    assert_string_equal(joined, "/home/me/kh|/k h");
    ssh_config_clear(&c);
}

static void test_identities_only(void **state)
{
    const char *text = "IdentitiesOnly yes\nIdentitiesOnly no\n";
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(&text, 1, &query, NULL, NULL, &c), 0);
    assert_true(c.identities_only);
    assert_false(c.identities_given);
    ssh_config_clear(&c);
}

static void test_proxy_is_noticed(void **state)
{
    const char *text = "Host web1\nProxyJump bastion\nHost *\nProxyCommand none\n";
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(&text, 1, &query, NULL, NULL, &c), 0);
    assert_string_equal(c.proxy, "bastion");
    ssh_config_clear(&c);
}

static void test_second_text_is_weaker(void **state)
{
    const char *texts[] = {"User first\n", "User second\nPort 5\n"};
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(texts, 2, &query, NULL, NULL, &c), 0);
    assert_string_equal(c.user, "first");
    assert_int_equal(c.port, 5);
    ssh_config_clear(&c);
}

static char **include_itself(void *arg, size_t text, const char *pattern)
{
    char **list = calloc(2, sizeof *list);
    list[0] = strdup(strcmp(pattern, "self") ? "User included\n" : "Include self\nPort 9\n");
    return list;
}

static void test_include_below_a_host_that_fits(void **state)
{
    const char *text = "Host db1\nInclude x\nHost web1\nInclude x\n";
    const char *other = "Host db1\nInclude x\n";
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(&text, 1, &query, include_itself, NULL, &c), 0);
    assert_string_equal(c.user, "included");
    ssh_config_clear(&c);
    assert_int_equal(ssh_config_parse(&other, 1, &query, include_itself, NULL, &c), 0);
    assert_string_equal(c.user, "me");
    ssh_config_clear(&c);
}

static void test_include_of_itself_ends(void **state)
{
    const char *text = "Include self\n";
    struct ssh_config c;
    assert_int_equal(ssh_config_parse(&text, 1, &query, include_itself, NULL, &c), 0);
    assert_int_equal(c.port, 9);
    ssh_config_clear(&c);
}

static void test_files_and_their_includes(void **state)
{
    char *dir = tempdir_new();
    assert_int_equal(mkdir(tempdir_path(dir, ".ssh"), 0700), 0);
    tempdir_write(dir, ".ssh/config", "Include conf.*\nPort 1\nUser last\n");
    tempdir_write(dir, ".ssh/conf.a", "Host web1\nUser a\n");
    tempdir_write(dir, ".ssh/conf.b", "Port 1234\n");
    struct ssh_query q = query;
    struct ssh_config c;
    q.home = dir;
    assert_int_equal(ssh_config_load(NULL, &q, &c), 0);
    assert_string_equal(c.user, "a");
    assert_int_equal(c.port, 1234);
    ssh_config_clear(&c);
    assert_int_equal(ssh_config_load("/dev/null", &q, &c), 0);
    assert_string_equal(c.user, "me");
    ssh_config_clear(&c);
    assert_int_equal(ssh_config_load(tempdir_path(dir, "missing"), &q, &c), -ENOENT);
    tempdir_remove(dir);
}

static void test_patterns(void **state)
{
    assert_true(ssh_patterns_match("a.example.org", "*.example.org"));
    assert_false(ssh_patterns_match("a.example.org", "*.example.com,!*"));
    assert_true(ssh_patterns_match("x", "a,x"));
    assert_false(ssh_patterns_match("x", "x,!x"));
    assert_true(ssh_patterns_match("aXbXc", "a*X*c"));
    assert_false(ssh_patterns_match("abc", "a*d"));
    assert_true(ssh_patterns_match("", "*"));
    assert_false(ssh_patterns_match("x", ""));
    assert_false(ssh_patterns_match("xy", "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_url_wins_over_file),
        cmocka_unit_test(test_known_hosts_files),
        cmocka_unit_test(test_identities_only),
        cmocka_unit_test(test_proxy_is_noticed),
        cmocka_unit_test(test_second_text_is_weaker),
        cmocka_unit_test(test_include_below_a_host_that_fits),
        cmocka_unit_test(test_include_of_itself_ends),
        cmocka_unit_test(test_files_and_their_includes),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
