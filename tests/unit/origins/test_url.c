// SPDX-License-Identifier: Apache-2.0
/* Origin URLs: what is understood, what is refused and how, and that formatting goes round. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "origins/url.h"

struct good {
    const char *text;
    const char *scheme, *user, *host;
    unsigned port;
    const char *path;
    const char *canonical;
};

static const struct good good[] = {
    {"/srv/x", "file", NULL, NULL, 0, "/srv/x", "file:///srv/x"},
    {"/", "file", NULL, NULL, 0, "/", "file:///"},
    {"//srv//x/.//", "file", NULL, NULL, 0, "/srv/x", "file:///srv/x"},
    {"/srv/100% a?b#c", "file", NULL, NULL, 0, "/srv/100% a?b#c", "file:///srv/100%25%20a%3Fb%23c"},
    {"/a/b:c", "file", NULL, NULL, 0, "/a/b:c", "file:///a/b:c"},
    {"file:///srv/x", "file", NULL, NULL, 0, "/srv/x", "file:///srv/x"},
    {"FILE://localhost/srv/x/", "file", NULL, NULL, 0, "/srv/x", "file:///srv/x"},
    {"file:///a%20b%25", "file", NULL, NULL, 0, "/a b%", "file:///a%20b%25"},
    {"file:///%e4%ff", "file", NULL, NULL, 0, "/\xe4\xff", "file:///%E4%FF"},
    {"sftp://host", "sftp", NULL, "host", 0, "/", "sftp://host/"},
    {"sftp://host/", "sftp", NULL, "host", 0, "/", "sftp://host/"},
    {"sftp://Ex-1.Example.COM/a", "sftp", NULL, "ex-1.example.com", 0, "/a",
     "sftp://ex-1.example.com/a"},
    {"sftp://joe@host:2222/x/y/", "sftp", "joe", "host", 2222, "/x/y", "sftp://joe@host:2222/x/y"},
    {"sftp://j%40o%3Ae@host/~/x", "sftp", "j@o:e", "host", 0, "/~/x", "sftp://j%40o%3Ae@host/~/x"},
    {"sftp://[::1]/x", "sftp", NULL, "::1", 0, "/x", "sftp://[::1]/x"},
    {"sftp://joe@[FE80::1%25eth0]:22/x", "sftp", "joe", "fe80::1%eth0", 22, "/x",
     "sftp://joe@[fe80::1%25eth0]:22/x"},
    {"sftp://127.0.0.1:65535/", "sftp", NULL, "127.0.0.1", 65535, "/", "sftp://127.0.0.1:65535/"},
    {"sftp://h/a/../b", "sftp", NULL, "h", 0, "/a/../b", "sftp://h/a/../b"},
};

static void same(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void check_good(const char *text, const struct good *g)
{
    struct origin_url *u;
    AUTO_FREE char *why = NULL;
    int err = origin_url_parse(text, &u, &why);
    if (err)
        fail_msg("%s: %s", text, why);
    same(u->scheme, g->scheme);
    same(u->user, g->user);
    same(u->host, g->host);
    assert_int_equal(u->port, g->port);
    same(u->path, g->path);
    AUTO_FREE char *canonical = origin_url_format(u);
    same(canonical, g->canonical);
    origin_url_free(u);
}

static void test_parses_every_form(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        check_good(good[i].text, &good[i]);
}

static void test_canonical_text_parses_to_itself(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        check_good(good[i].canonical, &good[i]);
}

static void test_relative_path_begins_at_the_current_directory(void **state)
{
    AUTO_FREE char *cwd = getcwd(NULL, 0);
    AUTO_FREE char *want = NULL;
    assert_true(asprintf(&want, "%s/a/b", strcmp(cwd, "/") ? cwd : "") > 0);
    struct origin_url *u;
    AUTO_FREE char *why = NULL;
    assert_int_equal(origin_url_parse("a/./b/", &u, &why), 0);
    assert_string_equal(u->path, want);
    assert_string_equal(u->scheme, "file");
    origin_url_free(u);
}

/* Each refusal, with a piece of what it has to tell. */
static const struct {
    const char *text, *hint;
} bad[] = {
    {"", "empty"},
    {"gopher://x/y", "file://, sftp://"},
    {"sftp:host/x", "sftp://"},
    {"file:/x", "file://"},
    {"joe@host:/x", "sftp://joe@host/path"},
    {"host:x", "./host:x"},
    {"file://host/x", "three slashes"},
    {"file://", "path is missing"},
    {"sftp:///x", "host is missing"},
    {"sftp://@h/x", "user name"},
    {"sftp://-oProxyCommand=x/x", "host"},
    {"sftp://-h/x", "'-'"},
    {"sftp://-u@h/x", "user name"},
    {"sftp://h:0/x", "1 to 65535"},
    {"sftp://h:65536/x", "1 to 65535"},
    {"sftp://h:99999999999999999999/x", "1 to 65535"},
    {"sftp://h:/x", "1 to 65535"},
    {"sftp://h:2x/x", "1 to 65535"},
    {"sftp://h: 2/x", "1 to 65535"},
    {"sftp://::1/x", "brackets"},
    {"sftp://[::1/x", "']'"},
    {"sftp://[::g]/x", "IPv6"},
    {"sftp://[::1]22/x", "may follow"},
    {"sftp://a b/x", "host name"},
    {"sftp://h/%", "two hex digits"},
    {"sftp://h/%4", "two hex digits"},
    {"sftp://h/%zz", "two hex digits"},
    {"sftp://h/a%00b", "%00"},
    {"sftp://h/a%2fb", "%2F"},
    {"sftp://h/a?b", "%3F"},
    {"sftp://h/a#b", "%23"},
};

static void test_refuses_with_a_hint_in_one_line(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct origin_url *u = NULL;
        AUTO_FREE char *why = NULL;
        int err = origin_url_parse(bad[i].text, &u, &why);
        if (err != -EINVAL || !why || !strstr(why, bad[i].hint) || strchr(why, '\n'))
            fail_msg("'%s': %d, '%s' lacks '%s'", bad[i].text, err, why ? why : "", bad[i].hint);
        assert_null(u);
    }
}

static void test_a_password_is_refused_and_not_repeated(void **state)
{
    struct origin_url *u = NULL;
    AUTO_FREE char *why = NULL;
    assert_int_equal(origin_url_parse("sftp://joe:hunter2@h/x", &u, &why), -EINVAL);
    assert_non_null(strstr(why, "sftp://joe@h"));
    assert_null(strstr(why, "hunter2"));
}

static void test_any_path_goes_round(void **state)
{
    const char *env = getenv("CAIRN_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)getpid();
    print_message("CAIRN_SEED=%u\n", seed);
    for (int i = 0; i < 2000; i++) {
        char path[64];
        size_t n = 1 + (size_t)rand_r(&seed) % 60;
        path[0] = '/';
        for (size_t k = 1; k < n; k++)
            path[k] = (char)(1 + rand_r(&seed) % 255);
        path[n] = '\0';
        struct origin_url *u, *v;
        AUTO_FREE char *why = NULL;
        assert_int_equal(origin_url_parse(path, &u, &why), 0);
        AUTO_FREE char *text = origin_url_format(u);
        assert_int_equal(origin_url_parse(text, &v, &why), 0);
        assert_string_equal(u->path, v->path);
        origin_url_free(u);
        origin_url_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parses_every_form),
        cmocka_unit_test(test_canonical_text_parses_to_itself),
        cmocka_unit_test(test_relative_path_begins_at_the_current_directory),
        cmocka_unit_test(test_refuses_with_a_hint_in_one_line),
        cmocka_unit_test(test_a_password_is_refused_and_not_repeated),
        cmocka_unit_test(test_any_path_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
