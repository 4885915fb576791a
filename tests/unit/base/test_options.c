// SPDX-License-Identifier: Apache-2.0
/* The command line parser over a small table. */
#include "base/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"

struct target {
    bool quiet;
    bool loud;
    char *name;
    uint64_t size;
    uint64_t count;
};

static const struct cairn_option rows[] = {
    {"quiet", 'q', NULL, "Say nothing.", NULL, cairn_option_set_flag,
     offsetof(struct target, quiet), 0, 0},
    {"loud", 'l', NULL, "Say all.", NULL, cairn_option_set_flag, offsetof(struct target, loud), 0,
     0},
    {"full-name", 'n', "NAME", "What it is called.", NULL, cairn_option_set_text,
     offsetof(struct target, name), 0, 0},
    {"size", 0, "SIZE", "How large it is, in words that are long enough to need a second line.",
     "1KiB", cairn_option_set_size, offsetof(struct target, size), 16, 4096},
    {"count", 'c', "N", "How many.", "3", cairn_option_set_number, offsetof(struct target, count),
     1, 9},
};
static const struct cairn_option_table table = {rows, ARRAY_LEN(rows)};

struct parsed {
    struct target t;
    int result;
    int operands;
    char *argv[16];
    char *why;
};

static void parse(struct parsed *p, const char *const *words)
{
    int argc = 0;

    memset(p, 0, sizeof *p);
    p->operands = -1;
    p->argv[argc++] = (char *)(uintptr_t) "program";
    while (words[argc - 1]) {
        p->argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    assert_int_equal(cairn_option_presets(&table, &p->t), 0);
    p->result = cairn_options_parse(&table, &p->t, argc, p->argv, &p->operands, &p->why);
}

static void clear(struct parsed *p)
{
    free(p->t.name);
    free(p->why);
}

#define PARSE(...) parse(&p, (const char *[]){__VA_ARGS__, NULL})

static void presets_are_set(void **state)
{
    struct parsed p;

    parse(&p, (const char *[]){NULL});
    assert_int_equal(p.result, 0);
    assert_int_equal(p.operands, 0);
    assert_int_equal(p.t.size, 1024);
    assert_int_equal(p.t.count, 3);
    clear(&p);
}

static void all_forms_of_options_are_read(void **state)
{
    struct parsed p;

    PARSE("--quiet", "--full-name", "x y", "--size=2K", "-c5", "from", "-l", "to");
    assert_int_equal(p.result, 0);
    assert_true(p.t.quiet && p.t.loud);
    assert_string_equal(p.t.name, "x y");
    assert_int_equal(p.t.size, 2048);
    assert_int_equal(p.t.count, 5);
    assert_int_equal(p.operands, 2);
    assert_string_equal(p.argv[0], "from");
    assert_string_equal(p.argv[1], "to");
    clear(&p);

    PARSE("-qln", "z", "--full_name=y");
    assert_int_equal(p.result, 0);
    assert_true(p.t.quiet && p.t.loud);
    assert_string_equal(p.t.name, "y");
    clear(&p);
}

static void two_dashes_end_the_options(void **state)
{
    struct parsed p;

    PARSE("-", "--", "--quiet", "-q", "--");
    assert_int_equal(p.result, 0);
    assert_false(p.t.quiet);
    assert_int_equal(p.operands, 4);
    assert_string_equal(p.argv[0], "-");
    assert_string_equal(p.argv[1], "--quiet");
    assert_string_equal(p.argv[3], "--");
    clear(&p);
}

static void help_is_asked_for(void **state)
{
    struct parsed p;

    PARSE("--quiet", "--help", "--nonsense");
    assert_int_equal(p.result, 1);
    clear(&p);
    PARSE("-qh");
    assert_int_equal(p.result, 1);
    clear(&p);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *word, *next;
        int error;
        const char *why;
    } cases[] = {
        {"--qiuet", NULL, -ENOENT, "unknown option 'qiuet' (did you mean 'quiet'?)"},
        {"--fullname", NULL, -ENOENT, "unknown option 'fullname' (did you mean 'full-name'?)"},
        {"--zzzzzz=5", NULL, -ENOENT, "unknown option 'zzzzzz'"},
        {"-x", NULL, -ENOENT, "unknown option '-x'"},
        {"--quiet=yes", NULL, -EINVAL, "option 'quiet' takes no value (got 'yes')"},
        {"--size", NULL, -EINVAL, "option 'size' needs a value (SIZE)"},
        {"-c", NULL, -EINVAL, "option 'count' needs a value (N)"},
        {"--full-name", "", -EINVAL, "option 'full-name': '' is not valid"},
        {"--size", "1KX", -EINVAL, "option 'size': '1KX' is not a size (such as 512MiB or 10GiB)"},
        {"--size", "1M", -ERANGE, "option 'size': '1M' is out of range (16 B to 4.0 KiB)"},
        {"--size", "15", -ERANGE, "option 'size': '15' is out of range (16 B to 4.0 KiB)"},
        {"--size", "99999999999G", -ERANGE,
         "option 'size': '99999999999G' is out of range (16 B to 4.0 KiB)"},
        {"--count", "ten", -EINVAL, "option 'count': 'ten' is not a number"},
        {"--count", "10", -ERANGE, "option 'count': '10' is out of range (1 to 9)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p;
        PARSE(cases[i].word, cases[i].next);
        assert_int_equal(p.result, cases[i].error);
        assert_non_null(p.why);
        assert_string_equal(p.why, cases[i].why);
        assert_int_equal(p.operands, -1);
        clear(&p);
    }
}

static void help_fits_80_columns(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    cairn_options_help(&table, f);
    fclose(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_non_null(strstr(text, rows[i].name));
    assert_non_null(strstr(text, "Default: 1KiB."));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_set),
        cmocka_unit_test(all_forms_of_options_are_read),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_is_asked_for),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(help_fits_80_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
