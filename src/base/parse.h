// SPDX-License-Identifier: Apache-2.0
/* Numbers as people write them: sizes and durations. Pure functions, any thread. */
#pragma once

#include <stdint.h>

/*
 * Bytes: "4096", "512MiB", "1.5GiB", "10G". K M G T P E and KiB MiB ... are powers of 1024,
 * KB MB ... powers of 1000, upper or lower case; a fraction needs a unit and is rounded down.
 * -EINVAL for what is no size, -ERANGE for one that does not fit.
 */
int cairn_parse_size(const char *text, uint64_t *ret_bytes);

/*
 * Nanoseconds: "500ms", "5s", "1.5m", "1h", "2d", also us, ns and min; a number without a unit is
 * seconds; "inf" is CAIRN_NEVER. -EINVAL for what is no duration, -ERANGE if it does not fit.
 */
int cairn_parse_duration(const char *text, int64_t *ret_ns);

/* A decimal number without sign. -EINVAL, -ERANGE. */
int cairn_parse_number(const char *text, uint64_t *ret);

/* The changes (insert, delete, replace, swap two neighbours) that make `b` of `a`; '-' and '_' are
 * one letter. Names longer than 63 bytes are at distance UINT32_MAX from any other. */
unsigned cairn_edit_distance(const char *a, const char *b);

/* Writes a number of bytes for people: "0 B", "1023 B", "1.5 MiB". Returns buf. */
#define CAIRN_SIZE_TEXT 24
char *cairn_format_size(char buf[CAIRN_SIZE_TEXT], uint64_t bytes);
