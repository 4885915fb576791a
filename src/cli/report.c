// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/options.h"
#include "base/parse.h"
#include "base/util.h"

enum { VALUE_COLUMN = 26, TEXT_MAX = 128 };

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);

    return n >= t && !strcmp(s + n - t, tail);
}

static void print_label(const char *label, FILE *out)
{
    int n = fprintf(out, "  %s", label);

    fprintf(out, "%*s", n < VALUE_COLUMN ? VALUE_COLUMN - n : 1, "");
}

static void format_duration(char buf[TEXT_MAX], double seconds)
{
    uint64_t s = (uint64_t)seconds;

    if (s < 120)
        snprintf(buf, TEXT_MAX, "%" PRIu64 " s", s);
    else if (s < 7200)
        snprintf(buf, TEXT_MAX, "%" PRIu64 " min", s / 60);
    else if (s < 48 * 3600)
        snprintf(buf, TEXT_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(buf, TEXT_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

/* A scalar, in the unit that its name tells. */
static void format_scalar(char buf[TEXT_MAX], const char *key, const json_t *v)
{
    char size[CAIRN_SIZE_TEXT];

    if (json_is_integer(v) && json_integer_value(v) >= 0 &&
        (ends_with(key, "bytes") || ends_with(key, "size_limit") ||
         ends_with(key, "memory_limit") || ends_with(key, "max_write")))
        snprintf(buf, TEXT_MAX, "%s", cairn_format_size(size, (uint64_t)json_integer_value(v)));
    else if (json_is_number(v) && ends_with(key, "uptime_s"))
        format_duration(buf, json_number_value(v));
    else if (json_is_integer(v))
        snprintf(buf, TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        snprintf(buf, TEXT_MAX, "%.2f", json_real_value(v));
    else
        snprintf(buf, TEXT_MAX, "%s", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "-");
}

static void print_list(const json_t *list, FILE *out)
{
    size_t i;
    json_t *item;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return;
    json_array_foreach(list, i, item)
    {
        char buf[TEXT_MAX];
        if (!json_is_string(item))
            format_scalar(buf, "", item);
        fprintf(f, "%s%s", i ? " " : "", json_is_string(item) ? json_string_value(item) : buf);
    }
    if (!fclose(f))
        cairn_print_wrapped(out, len ? text : "none", VALUE_COLUMN, VALUE_COLUMN);
    free(text);
}

/* One row of a group; tables inside tables are flattened to "outer.inner". */
static void print_row(const char *key, const json_t *v, FILE *out)
{
    if (json_is_object(v)) {
        const char *inner;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)v, inner, value)
        {
            AUTO_FREE char *name = cairn_text("%s.%s", key, inner);
            if (name)
                print_row(name, value, out);
        }
        return;
    }
    AUTO_FREE char *label = strdup(key);
    for (char *p = label; p && *p; p++)
        if (*p == '_')
            *p = ' ';
    print_label(label ? label : key, out);
    if (json_is_array(v)) {
        print_list(v, out);
    } else if (json_is_string(v)) {
        fprintf(out, "%s\n", json_string_value(v));
    } else {
        char buf[TEXT_MAX];
        format_scalar(buf, key, v);
        fprintf(out, "%s\n", buf);
    }
}

static void print_group(const char *title, const json_t *group, FILE *out)
{
    const char *key;
    json_t *v;

    if (!json_is_object(group) || !json_object_size(group))
        return;
    fprintf(out, "\n%s\n", title);
    json_object_foreach((json_t *)(uintptr_t)group, key, v) print_row(key, v, out);
}

static json_int_t counter(const json_t *status, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(status, "counters"), name));
}

/* How much of what was read came from a tier, in percent; -1 if nothing was read. */
static double hit_rate(const json_t *status)
{
    double hits = (double)(counter(status, "memory.hits") + counter(status, "disk.hits"));
    double all = hits + (double)counter(status, "chunks.misses");

    return all > 0 ? 100 * hits / all : -1;
}

/* The counters whose names begin with one of the prefixes; with none, those of no other group. */
static const struct counter_group {
    const char *title;
    const char *prefixes[5];
} counter_groups[] = {
    {"reads", {"memory.", "disk.", "chunks.", "fetch."}},
    {"writes", {"upload.", "journal.", "write."}},
    {"origin calls", {"origin."}},
    {"operations", {"fs."}},
    {"other counters", {NULL}},
};

static size_t group_of(const char *name)
{
    size_t g = 0;

    for (; counter_groups[g].prefixes[0]; g++)
        for (const char *const *p = counter_groups[g].prefixes; *p; p++)
            if (!strncmp(name, *p, strlen(*p)))
                return g;
    return g;
}

static void print_counters(const json_t *status, FILE *out)
{
    json_t *counters = json_object_get(status, "counters");

    for (size_t g = 0; g < ARRAY_LEN(counter_groups); g++) {
        const char *key;
        json_t *v;
        bool titled = false;
        json_object_foreach(counters, key, v)
        {
            if (group_of(key) != g)
                continue;
            if (!titled)
                fprintf(out, "\n%s\n", counter_groups[g].title);
            if (!titled && g == 0 && hit_rate(status) >= 0) {
                print_label("served from the cache", out);
                fprintf(out, "%.1f %%\n", hit_rate(status));
            }
            titled = true;
            print_row(key, v, out);
        }
    }
}

static void print_ops(const json_t *ops, FILE *out)
{
    const char *name;
    json_t *op;

    if (!json_is_object(ops) || !json_object_size(ops))
        return;
    fprintf(out, "\n%-24s %10s %8s %12s %12s\n", "latencies", "calls", "errors", "p50 us",
            "p99 us");
    json_object_foreach((json_t *)(uintptr_t)ops, name, op)
    {
        fprintf(out, "  %-22s", name);
        static const char *const columns[] = {"calls", "errors", "p50_us", "p99_us"};
        static const int widths[] = {10, 8, 12, 12};
        for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
            const json_t *v = json_object_get(op, columns[i]);
            if (json_is_number(v))
                fprintf(out, " %*.0f", widths[i], json_number_value(v));
            else
                fprintf(out, " %*s", widths[i], "-");
        }
        fputc('\n', out);
    }
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "?";
}

void cairn_report_print(const json_t *status, FILE *out)
{
    /* In the order of what one wants to know first; the object's other tables follow. */
    static const char *const tables[] = {"origin", "cache", "meta"};
    static const char *const last[] = {"fuse", "options"};
    const char *key;
    json_t *v;

    fprintf(out, "%s on %s\n", text_of(json_object_get(status, "origin"), "url"),
            text_of(status, "mountpoint"));
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        print_group(tables[i], json_object_get(status, tables[i]), out);
    print_counters(status, out);
    print_ops(json_object_get(status, "ops"), out);
    json_object_foreach((json_t *)(uintptr_t)status, key, v)
    {
        bool known = !strcmp(key, "counters") || !strcmp(key, "ops");
        for (size_t i = 0; i < ARRAY_LEN(tables); i++)
            known |= !strcmp(key, tables[i]);
        for (size_t i = 0; i < ARRAY_LEN(last); i++)
            known |= !strcmp(key, last[i]);
        if (!known)
            print_group(key, v, out);
    }
    for (size_t i = 0; i < ARRAY_LEN(last); i++)
        print_group(last[i], json_object_get(status, last[i]), out);

    fputs("\ndaemon\n", out);
    json_object_foreach((json_t *)(uintptr_t)status, key, v)
    {
        if (!json_is_object(v) && strcmp(key, "mountpoint") != 0)
            print_row(key, v, out);
    }
}

void cairn_report_line(const char *mountpoint, const json_t *status, FILE *out)
{
    if (!status) {
        fprintf(out, "%-24s %-8s %10s %10s %6s  %s\n", "MOUNTPOINT", "STATE", "DISK", "MEMORY",
                "HITS", "ORIGIN");
        return;
    }
    const json_t *cache = json_object_get(status, "cache");
    const json_t *origin = json_object_get(status, "origin");
    char disk[TEXT_MAX], memory[TEXT_MAX], rate[TEXT_MAX] = "-";
    double percent = hit_rate(status);

    format_scalar(disk, "bytes", json_object_get(cache, "stored_bytes"));
    format_scalar(memory, "bytes", json_object_get(cache, "memory_bytes"));
    if (percent >= 0)
        snprintf(rate, sizeof rate, "%.0f%%", percent);
    fprintf(out, "%-24s %-8s %10s %10s %6s  %s\n", mountpoint, text_of(origin, "state"), disk,
            memory, rate, text_of(origin, "url"));
}
