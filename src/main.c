// SPDX-License-Identifier: Apache-2.0
/* The cairnfs program: finds the subcommand. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "cli/command.h"

static const struct cairn_command *const commands[] = {
    &cairn_command_mount,
    &cairn_command_umount,
    &cairn_command_status,
    &cairn_command_chunks,
};

static const struct cairn_command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(name, commands[i]->name))
            return commands[i];
    return NULL;
}

static void print_help(FILE *out)
{
    fputs("Usage: cairnfs COMMAND [OPTIONS] ARGUMENTS\n\n"
          "Mounts far storage as a directory and keeps what is used near.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        int n = fprintf(out, "  %s", commands[i]->name);
        cairn_print_wrapped(out, commands[i]->summary, (unsigned)n, 11);
    }
    fputs("  help     Show this, or with a COMMAND its options (also: COMMAND --help).\n\n"
          "cairnfs --version tells the version. The manual is cairnfs(1).\n",
          out);
}

static int unknown(const char *name)
{
    const char *near = NULL;
    unsigned distance = 3;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        unsigned d = cairn_edit_distance(name, commands[i]->name);
        if (d < distance) {
            near = commands[i]->name;
            distance = d;
        }
    }
    if (near)
        cairn_complain("unknown command '%s' (did you mean '%s'?)", name, near);
    else
        cairn_complain("unknown command '%s'; see: cairnfs help", name);
    return CAIRN_EXIT_USAGE;
}

static int help(const char *name)
{
    const struct cairn_command *cmd = name ? find(name) : NULL;
    char *argv[] = {(char *)(uintptr_t) "help", (char *)(uintptr_t) "--help", NULL};

    if (name && !cmd)
        return unknown(name);
    if (cmd)
        return cmd->run(cmd, 2, argv);
    print_help(stdout);
    return cairn_command_end();
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    const char *called = slash ? slash + 1 : argc ? argv[0] : "cairnfs";

    if (!strcmp(called, "mount.cairnfs") || !strcmp(called, "mount.fuse.cairnfs"))
        return cairn_mount_helper(argc, argv);
    if (argc < 2) {
        print_help(stderr);
        return CAIRN_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
        puts("cairnfs " CAIRNFS_VERSION);
        return cairn_command_end();
    }
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return help(argc > 2 ? argv[2] : NULL);
    const struct cairn_command *cmd = find(name);
    return cmd ? cmd->run(cmd, argc - 1, argv + 1) : unknown(name);
}
