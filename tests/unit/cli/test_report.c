// SPDX-License-Identifier: Apache-2.0
/* The status object as text: known things in their units, unknown things by name. */
#include "cli/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char full[] =
    "{'version': '0.1.0', 'pid': 42, 'uptime_s': 3700, 'rss_bytes': 31457280,"
    " 'mountpoint': '/mnt', 'novelty': 7,"
    " 'origin': {'url': 'sftp://h/x', 'state': 'ok', 'caps': ['rename', 'fsync']},"
    " 'options': {'fresh': '5s'},"
    " 'fuse': {'protocol': '7.45', 'max_write': 1048576, 'capabilities': [], 'readahead_kb': 128},"
    " 'cache': {'dir': '/c', 'size_limit': 10737418240, 'stored_bytes': 1610612736,"
    "   'dedup_ratio': 1.25, 'memory_bytes': 1048576},"
    " 'meta': {'inodes': 12, 'deeper': {'still': true}},"
    " 'counters': {'memory.hits': 90, 'disk.hits': 5, 'chunks.misses': 5, 'upload.files': 3,"
    "   'origin.calls': 8, 'fs.jobs': 1, 'unheard.of': 4},"
    " 'ops': {'stat': {'calls': 10, 'errors': 1, 'p50_us': 120, 'p99_us': 900}, 'odd': {}}}";

static json_t *load(const char *text)
{
    char *copy = strdup(text);

    assert_non_null(copy);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    json_t *v = json_loads(copy, 0, NULL);
    free(copy);
    assert_non_null(v);
    return v;
}

static char *report(const char *text)
{
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    json_t *v = load(text);

    assert_non_null(f);
    cairn_report_print(v, f);
    fclose(f);
    json_decref(v);
    return out;
}

/* Is there a line that is `label`, blanks, `value`? */
static void expect_row(const char *out, const char *label, const char *value)
{
    for (const char *p = out; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        const char *s = p + strspn(p, " ");
        if (strncmp(s, label, strlen(label)) != 0 || s[strlen(label)] != ' ')
            continue;
        s += strlen(label);
        s += strspn(s, " ");
        if (!strncmp(s, value, strlen(value)) && (!s[strlen(value)] || s[strlen(value)] == '\n'))
            return;
    }
    fail_msg("no row '%s' '%s' in:\n%s", label, value, out);
}

static void known_values_have_units(void **state)
{
    char *out = report(full);

    expect_row(out, "url", "sftp://h/x");
    expect_row(out, "caps", "rename fsync");
    expect_row(out, "capabilities", "none");
    expect_row(out, "size limit", "10.0 GiB");
    expect_row(out, "stored bytes", "1.5 GiB");
    expect_row(out, "dedup ratio", "1.25");
    expect_row(out, "max write", "1.0 MiB");
    expect_row(out, "uptime s", "61 min");
    expect_row(out, "rss bytes", "30.0 MiB");
    expect_row(out, "pid", "42");
    free(out);
}

static void counters_are_grouped(void **state)
{
    char *out = report(full);

    expect_row(out, "served from the cache", "95.0 %");
    expect_row(out, "memory.hits", "90");
    assert_true(strstr(out, "\nreads\n") < strstr(out, "memory.hits"));
    assert_true(strstr(out, "\nwrites\n") < strstr(out, "upload.files"));
    assert_true(strstr(out, "\norigin calls\n") < strstr(out, "origin.calls"));
    assert_true(strstr(out, "\nother counters\n") < strstr(out, "unheard.of"));
    free(out);
}

static void latencies_are_a_table(void **state)
{
    char *out = report(full);
    const char *row = strstr(out, "  stat ");
    unsigned calls, errors, p50, p99;

    assert_non_null(row);
    assert_int_equal(sscanf(row, " stat %u %u %u %u", &calls, &errors, &p50, &p99), 4);
    assert_true(calls == 10 && errors == 1 && p50 == 120 && p99 == 900);
    free(out);
}

static void the_unknown_is_printed(void **state)
{
    char *out = report(full);

    expect_row(out, "novelty", "7");
    expect_row(out, "deeper.still", "yes");
    expect_row(out, "unheard.of", "4");
    free(out);
}

static void nothing_is_taken_for_granted(void **state)
{
    static const char *const odd[] = {
        "{}",
        "{'origin': 5, 'cache': [], 'counters': 'x', 'ops': {'stat': 3}, 'fuse': null}",
        "{'counters': {'memory.hits': 'many'}, 'cache': {'stored_bytes': -1, 'x': null}}",
        "{'origin': {'caps': [1, null, [2], {'a': 1}]}}",
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        char *out = report(odd[i]);
        assert_non_null(out);
        free(out);
    }
}

static void a_line_tells_the_most(void **state)
{
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    json_t *v = load(full);

    assert_non_null(f);
    cairn_report_line(NULL, NULL, f);
    cairn_report_line("/mnt", v, f);
    fclose(f);
    json_decref(v);
    assert_non_null(strstr(out, "MOUNTPOINT"));
    assert_non_null(strstr(out, "/mnt"));
    assert_non_null(strstr(out, "1.5 GiB"));
    assert_non_null(strstr(out, "95%"));
    assert_non_null(strstr(out, "sftp://h/x"));
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_have_units),      cmocka_unit_test(counters_are_grouped),
        cmocka_unit_test(latencies_are_a_table),        cmocka_unit_test(the_unknown_is_printed),
        cmocka_unit_test(nothing_is_taken_for_granted), cmocka_unit_test(a_line_tells_the_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
