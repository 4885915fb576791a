// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"

#include <stdarg.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

char *cairn_text(const char *fmt, ...)
{
    char *s;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return s;
}

static void *field(void *target, const struct cairn_option *o)
{
    return (char *)target + o->offset;
}

static int in_bounds(const struct cairn_option *o, uint64_t v)
{
    return v < o->min || (o->max && v > o->max) ? -ERANGE : 0;
}

int cairn_option_set_size(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why)
{
    uint64_t v;
    int r = cairn_parse_size(text, &v);

    if (r == -EINVAL)
        *ret_why =
            cairn_text("option '%s': '%s' is not a size (such as 512MiB or 10GiB)", o->name, text);
    if (!r)
        r = in_bounds(o, v);
    if (r == -ERANGE) {
        char lo[CAIRN_SIZE_TEXT], hi[CAIRN_SIZE_TEXT];
        *ret_why = cairn_text("option '%s': '%s' is out of range (%s to %s)", o->name, text,
                              cairn_format_size(lo, o->min),
                              cairn_format_size(hi, o->max ? o->max : UINT64_MAX));
    }
    if (!r)
        *(uint64_t *)field(target, o) = v;
    return r;
}

int cairn_option_set_number(void *target, const struct cairn_option *o, const char *text,
                            char **ret_why)
{
    uint64_t v;
    int r = cairn_parse_number(text, &v);

    if (r == -EINVAL)
        *ret_why = cairn_text("option '%s': '%s' is not a number", o->name, text);
    if (!r)
        r = in_bounds(o, v);
    if (r == -ERANGE)
        *ret_why = cairn_text("option '%s': '%s' is out of range (%llu to %llu)", o->name, text,
                              (unsigned long long)o->min,
                              (unsigned long long)(o->max ? o->max : UINT64_MAX));
    if (!r)
        *(uint64_t *)field(target, o) = v;
    return r;
}

int cairn_option_set_duration(void *target, const struct cairn_option *o, const char *text,
                              char **ret_why)
{
    int64_t v;
    int r = cairn_parse_duration(text, &v);

    if (r == -EINVAL)
        *ret_why = cairn_text("option '%s': '%s' is not a duration (such as 500ms, 5s or 2m)",
                              o->name, text);
    if (!r)
        r = in_bounds(o, (uint64_t)v);
    if (r == -ERANGE && o->max)
        *ret_why = cairn_text("option '%s': '%s' is out of range (%gs to %gs)", o->name, text,
                              (double)o->min / 1e9, (double)o->max / 1e9);
    if (!r)
        *(int64_t *)field(target, o) = v;
    return r;
}

int cairn_option_set_flag(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why)
{
    *(bool *)field(target, o) = true;
    return 0;
}

int cairn_option_set_text(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why)
{
    char **f = field(target, o);

    if (!*text)
        return -EINVAL;
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*f);
    *f = copy;
    return 0;
}

bool cairn_option_same(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '_' || *a == '-') && (*b == '_' || *b == '-')))
            return false;
    return *a == *b;
}

const struct cairn_option *cairn_option_find(const struct cairn_option_table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (cairn_option_same(name, t->rows[i].name))
            return &t->rows[i];
    return NULL;
}

/* A name near enough to be what was meant, or NULL. */
static const char *nearest(const struct cairn_option_table *t, const char *name)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)strlen(name) / 3 + 1;

    for (size_t i = 0; i < t->count; i++) {
        unsigned d = cairn_edit_distance(name, t->rows[i].name);
        if (d < best_distance || (d == best_distance && !best)) {
            best = t->rows[i].name;
            best_distance = d;
        }
    }
    return best;
}

static int set_row(const struct cairn_option *o, void *target, const char *value, char **ret_why)
{
    char *why = NULL;

    if (o->arg && !value) {
        *ret_why = cairn_text("option '%s' needs a value (%s)", o->name, o->arg);
        return -EINVAL;
    }
    if (!o->arg && value) {
        *ret_why = cairn_text("option '%s' takes no value (got '%s')", o->name, value);
        return -EINVAL;
    }
    int r = o->set(target, o, value, &why);
    if (!r)
        return 0;
    if (!why && r == -ERANGE)
        why = cairn_text("option '%s': '%s' is out of range", o->name, value);
    else if (!why && r == -EINVAL)
        why = cairn_text("option '%s': '%s' is not valid", o->name, value ? value : "");
    *ret_why = why;
    return r;
}

static int unknown(const struct cairn_option_table *t, const char *name, char **ret_why)
{
    const char *near = nearest(t, name);

    *ret_why = near ? cairn_text("unknown option '%s' (did you mean '%s'?)", name, near)
                    : cairn_text("unknown option '%s'", name);
    return -ENOENT;
}

int cairn_option_set(const struct cairn_option_table *t, void *target, const char *name,
                     const char *value, char **ret_why)
{
    const struct cairn_option *o = cairn_option_find(t, name);

    return o ? set_row(o, target, value, ret_why) : unknown(t, name, ret_why);
}

int cairn_option_presets(const struct cairn_option_table *t, void *target)
{
    for (size_t i = 0; i < t->count; i++) {
        AUTO_FREE char *why = NULL;
        const struct cairn_option *o = &t->rows[i];
        if (!o->preset)
            continue;
        int r = o->set(target, o, o->preset, &why);
        if (r)
            return r;
    }
    return 0;
}

static int parse_long(const struct cairn_option_table *t, void *target, int argc, char **argv,
                      int *i, char **ret_why)
{
    const char *text = argv[*i] + 2;
    const char *eq = strchr(text, '=');
    AUTO_FREE char *name = eq ? strndup(text, (size_t)(eq - text)) : strdup(text);

    if (!name)
        return -ENOMEM;
    if (!strcmp(name, "help"))
        return 1;
    const struct cairn_option *o = cairn_option_find(t, name);
    if (!o)
        return unknown(t, name, ret_why);
    if (eq)
        return set_row(o, target, eq + 1, ret_why);
    return set_row(o, target, o->arg && *i + 1 < argc ? argv[++*i] : NULL, ret_why);
}

/* A word of letters: "-fd", and "-ovalue" or "-o value". */
static int parse_letters(const struct cairn_option_table *t, void *target, int argc, char **argv,
                         int *i, char **ret_why)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct cairn_option *o = NULL;
        if (*p == 'h')
            return 1;
        for (size_t k = 0; k < t->count && !o; k++)
            if (t->rows[k].letter == *p)
                o = &t->rows[k];
        if (!o) {
            *ret_why = cairn_text("unknown option '-%c'", *p);
            return -ENOENT;
        }
        if (o->arg) {
            const char *value = p[1] ? p + 1 : *i + 1 < argc ? argv[++*i] : NULL;
            return set_row(o, target, value, ret_why);
        }
        int r = set_row(o, target, NULL, ret_why);
        if (r)
            return r;
    }
    return 0;
}

int cairn_options_parse(const struct cairn_option_table *t, void *target, int argc, char **argv,
                        int *ret_operands, char **ret_why)
{
    int operands = 0;
    bool only_operands = false;

    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        int r = 0;
        if (only_operands || word[0] != '-' || !word[1])
            argv[operands++] = word;
        else if (!strcmp(word, "--"))
            only_operands = true;
        else if (word[1] == '-')
            r = parse_long(t, target, argc, argv, &i, ret_why);
        else
            r = parse_letters(t, target, argc, argv, &i, ret_why);
        if (r)
            return r;
    }
    *ret_operands = operands;
    return 0;
}

void cairn_print_wrapped(FILE *out, const char *text, unsigned at, unsigned indent)
{
    unsigned column = at;
    bool first = true;

    while (*text) {
        size_t len = strcspn(text, " ");
        if (!first && column + 1 + len > HELP_WIDTH) {
            fputc('\n', out);
            column = 0;
            first = true;
        }
        if (first && column < indent) {
            fprintf(out, "%*s", (int)(indent - column), "");
            column = indent;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, len, out);
        column += (unsigned)len;
        first = false;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void help_row(const struct cairn_option *o, FILE *out)
{
    AUTO_FREE char *help =
        o->preset ? cairn_text("%s Default: %s.", o->help, o->preset) : strdup(o->help);
    char letter[8] = "    ";

    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int n = fprintf(out, "  %s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    if (n >= HELP_COLUMN) {
        fputc('\n', out);
        n = 0;
    }
    cairn_print_wrapped(out, help ? help : o->help, (unsigned)n, HELP_COLUMN);
}

void cairn_options_help(const struct cairn_option_table *t, FILE *out)
{
    for (size_t i = 0; i < t->count; i++)
        help_row(&t->rows[i], out);
    fprintf(out, "  -h, --help%*sShow this help.\n", HELP_COLUMN - 12, "");
}
