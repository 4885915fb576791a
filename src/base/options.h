// SPDX-License-Identifier: Apache-2.0
/*
 * Command lines from one table per command: the same rows parse `--name value`, `--name=value`,
 * `-x`, `-x value` and the name=value of an option list, and print the help.
 *
 * '-' and '_' are one letter in names. Errors are one line for the user that names the option and
 * the value (*ret_why, the caller frees it; NULL if memory ran out); the target may then be half
 * set. Pure functions over their arguments; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cairn_option {
    const char *name;  /* long name, written with '-' */
    char letter;       /* short form, 0 = none */
    const char *arg;   /* what the help calls the argument; NULL = a flag */
    const char *help;  /* one or more sentences, no line breaks */
    const char *preset; /* the default as the user would write it; NULL = unset */
    /*
     * Sets the value in `target`. `text` is NULL for a flag. -EINVAL, -ERANGE: the caller words
     * the message, unless *ret_why was set.
     */
    int (*set)(void *target, const struct cairn_option *o, const char *text, char **ret_why);
    size_t offset;     /* of the field in the target, for the setters below */
    uint64_t min, max; /* bounds for those, in bytes, nanoseconds or units; max 0 = none */
};

struct cairn_option_table {
    const struct cairn_option *rows;
    size_t count;
};

/* Setters: the field is uint64_t (size, number), int64_t (duration), bool (flag), char * (text;
 * replaced and freed). */
int cairn_option_set_size(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why);
int cairn_option_set_number(void *target, const struct cairn_option *o, const char *text,
                            char **ret_why);
int cairn_option_set_duration(void *target, const struct cairn_option *o, const char *text,
                              char **ret_why);
int cairn_option_set_flag(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why);
int cairn_option_set_text(void *target, const struct cairn_option *o, const char *text,
                          char **ret_why);

/* NULL if there is none. */
const struct cairn_option *cairn_option_find(const struct cairn_option_table *t, const char *name);

/* Is `a` the option name `b`? */
bool cairn_option_same(const char *a, const char *b);

/* Sets one option. `value` NULL = none was given. -ENOENT: there is no such option, and the
 * message may suggest one; -EINVAL, -ERANGE, -ENOMEM. */
int cairn_option_set(const struct cairn_option_table *t, void *target, const char *name,
                     const char *value, char **ret_why);

/* Sets every preset. The target's fields are zero before. */
int cairn_option_presets(const struct cairn_option_table *t, void *target);

/*
 * Parses argv[1..argc-1]. Operands are moved to argv[0..*ret_operands-1], in order; "--" ends the
 * options, "-" is an operand. Returns 1 as soon as -h or --help is met, 0, or -errno as above.
 */
int cairn_options_parse(const struct cairn_option_table *t, void *target, int argc, char **argv,
                        int *ret_operands, char **ret_why);

/* The options, in at most 80 columns. */
void cairn_options_help(const struct cairn_option_table *t, FILE *out);

/* Prints `text` in lines of at most 80 columns that begin in column `indent`; the cursor is in
 * column `at` of the first. */
void cairn_print_wrapped(FILE *out, const char *text, unsigned at, unsigned indent);

/* printf into a new string; NULL if memory ran out. For ret_why. */
char *cairn_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
