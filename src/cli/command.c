// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"

int cairn_complain(const char *fmt, ...)
{
    va_list ap;

    fputs("cairnfs: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return CAIRN_EXIT_FAILED;
}

static void print_help(const struct cairn_command *cmd)
{
    printf("Usage: cairnfs %s [OPTIONS] %s\n\n%s\n\nOptions:\n", cmd->name, cmd->operands,
           cmd->summary);
    cairn_options_help(cmd->options, stdout);
}

int cairn_command_parse(const struct cairn_command *cmd, void *target, int argc, char **argv,
                        int min, int max, int *ret_operands)
{
    AUTO_FREE char *why = NULL;
    int n;
    int r = cairn_options_parse(cmd->options, target, argc, argv, &n, &why);

    if (r == 1) {
        print_help(cmd);
        return cairn_command_end();
    }
    if (r < 0) {
        cairn_complain("%s", why ? why : strerror(-r));
        return CAIRN_EXIT_USAGE;
    }
    if (n < min || n > max) {
        cairn_complain("%s: usage: cairnfs %s [OPTIONS] %s",
                       n < min ? "too few arguments" : "too many arguments", cmd->name,
                       cmd->operands);
        return CAIRN_EXIT_USAGE;
    }
    *ret_operands = n;
    return -1;
}

int cairn_command_end(void)
{
    if (fflush(stdout) || ferror(stdout))
        return cairn_complain("cannot write the output: %s", strerror(errno));
    return CAIRN_EXIT_OK;
}
