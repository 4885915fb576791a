// SPDX-License-Identifier: Apache-2.0
#include "base/parse.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/util.h"

/* Holds a fraction below 10^9 times any unit. */
__extension__ typedef unsigned __int128 wide_t;

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"K", 1ULL << 10},
    {"KiB", 1ULL << 10},
    {"KB", 1000ULL},
    {"M", 1ULL << 20},
    {"MiB", 1ULL << 20},
    {"MB", 1000000ULL},
    {"G", 1ULL << 30},
    {"GiB", 1ULL << 30},
    {"GB", 1000000000ULL},
    {"T", 1ULL << 40},
    {"TiB", 1ULL << 40},
    {"TB", 1000000000000ULL},
    {"P", 1ULL << 50},
    {"PiB", 1ULL << 50},
    {"PB", 1000000000000000ULL},
    {"E", 1ULL << 60},
    {"EiB", 1ULL << 60},
    {"EB", 1000000000000000000ULL},
};

static const struct unit duration_units[] = {
    {"", 1000000000ULL},      {"ns", 1},
    {"us", 1000ULL},          {"ms", 1000000ULL},
    {"s", 1000000000ULL},     {"m", 60000000000ULL},
    {"min", 60000000000ULL},  {"h", 3600000000000ULL},
    {"d", 86400000000000ULL},
};

/* Digits up to the first other character. */
static int parse_digits(const char **p, uint64_t *ret)
{
    const char *s = *p;
    uint64_t v = 0;

    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    for (; isdigit((unsigned char)*s); s++) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return -ERANGE;
    }
    *p = s;
    *ret = v;
    return 0;
}

/* number[.fraction]unit in the smallest unit, rounded down. */
static int parse_scaled(const char *text, const struct unit *units, size_t count, bool exact_case,
                        uint64_t *ret)
{
    const char *s = text;
    uint64_t whole, frac = 0, scale = 1;
    int r = parse_digits(&s, &whole);

    if (r)
        return r;
    if (*s == '.') {
        s++;
        if (!isdigit((unsigned char)*s))
            return -EINVAL;
        for (; isdigit((unsigned char)*s); s++) {
            /* Beyond nine digits nothing changes that anyone can mean. */
            if (scale < 1000000000ULL) {
                frac = frac * 10 + (uint64_t)(*s - '0');
                scale *= 10;
            }
        }
    }

    const struct unit *u = NULL;
    for (size_t i = 0; i < count && !u; i++)
        if (exact_case ? !strcmp(units[i].name, s) : !strcasecmp(units[i].name, s))
            u = &units[i];
    if (!u || (scale > 1 && u->factor == 1))
        return -EINVAL;

    uint64_t v;
    if (__builtin_mul_overflow(whole, u->factor, &v))
        return -ERANGE;
    uint64_t part = (uint64_t)((wide_t)frac * u->factor / scale);
    if (__builtin_add_overflow(v, part, &v))
        return -ERANGE;
    *ret = v;
    return 0;
}

int cairn_parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse_scaled(text, size_units, ARRAY_LEN(size_units), false, ret_bytes);
}

int cairn_parse_duration(const char *text, int64_t *ret_ns)
{
    uint64_t ns;

    if (!strcmp(text, "inf")) {
        *ret_ns = CAIRN_NEVER;
        return 0;
    }
    int r = parse_scaled(text, duration_units, ARRAY_LEN(duration_units), true, &ns);
    if (r)
        return r;
    if (ns >= (uint64_t)CAIRN_NEVER)
        return -ERANGE;
    *ret_ns = (int64_t)ns;
    return 0;
}

int cairn_parse_number(const char *text, uint64_t *ret)
{
    const char *s = text;
    uint64_t v;
    int r = parse_digits(&s, &v);

    if (r)
        return r;
    if (*s)
        return -EINVAL;
    *ret = v;
    return 0;
}

static char fold(char c)
{
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

/* Optimal string alignment: three rows of the dynamic programming table suffice. */
unsigned cairn_edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t la = strlen(a), lb = strlen(b);
    unsigned rows[3][MAX];

    if (la >= MAX || lb >= MAX)
        return strcmp(a, b) ? UINT32_MAX : 0;
    for (unsigned j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned *cur = rows[i % 3], *prev = rows[(i + 2) % 3], *prev2 = rows[(i + 1) % 3];
        cur[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            unsigned d = prev[j - 1] + !same;
            if (prev[j] + 1 < d)
                d = prev[j] + 1;
            if (cur[j - 1] + 1 < d)
                d = cur[j - 1] + 1;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]) && prev2[j - 2] + 1 < d)
                d = prev2[j - 2] + 1;
            cur[j] = d;
        }
    }
    return rows[la % 3][lb];
}

char *cairn_format_size(char buf[CAIRN_SIZE_TEXT], uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;

    if (bytes < 1024) {
        snprintf(buf, CAIRN_SIZE_TEXT, "%llu B", (unsigned long long)bytes);
        return buf;
    }
    /* 1023.96 would round to "1024.0": that is one of the next unit. */
    while (v >= 1023.95 && u + 1 < ARRAY_LEN(names)) {
        v /= 1024;
        u++;
    }
    snprintf(buf, CAIRN_SIZE_TEXT, "%.1f %s", v, names[u]);
    return buf;
}
