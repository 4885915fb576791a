// SPDX-License-Identifier: Apache-2.0
/* The subcommands. Each gets its own name as argv[0] and returns the exit status. */
#pragma once

#include "base/options.h"

enum {
    CAIRN_EXIT_OK = 0,
    CAIRN_EXIT_FAILED = 1,
    CAIRN_EXIT_USAGE = 2,
};

struct cairn_command {
    const char *name;
    const char *operands; /* for the usage line */
    const char *summary;  /* one line of the list of commands */
    const struct cairn_option_table *options;
    int (*run)(const struct cairn_command *self, int argc, char **argv);
};

extern const struct cairn_command cairn_command_mount;
extern const struct cairn_command cairn_command_umount;
extern const struct cairn_command cairn_command_status;
extern const struct cairn_command cairn_command_chunks;

/* Called as mount.cairnfs by mount(8), with its arguments and exit statuses. */
int cairn_mount_helper(int argc, char **argv);

/* Prints "cairnfs: ..." on stderr, one line. Returns CAIRN_EXIT_FAILED. */
int cairn_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Parses the options and wants `min` to `max` operands, which are then argv[0...]. Returns
 * -1 to go on, with their number in *ret_operands, else the exit status: help was printed, or an
 * error said on stderr.
 */
int cairn_command_parse(const struct cairn_command *cmd, void *target, int argc, char **argv,
                        int min, int max, int *ret_operands);

/* Flushes stdout. CAIRN_EXIT_OK, or a complaint if something could not be written. */
int cairn_command_end(void);
