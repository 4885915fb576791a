// SPDX-License-Identifier: Apache-2.0
/*
 * What one mount was asked to be. Every option stands once, in the table of config.c, from which
 * `--name value`, `-o name=value`, the help and the test of the manual come.
 *
 * Filled once before the mount starts, then only read: any thread may.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/options.h"

enum { CAIRN_KERNEL_WORDS = 6 };

/* Strings are owned; paths are absolute once cairn_config_finish has succeeded. */
struct cairn_config {
    char *origin;           /* URL or path, as given */
    char *mountpoint;
    bool foreground;
    bool read_only;
    bool allow_other;
    char *cache_dir;
    uint64_t cache_bytes;   /* most bytes of the disk tier */
    uint64_t memory_bytes;  /* most bytes of chunks in the memory tier */
    int64_t fresh_ns;       /* 0 = ask each time, CAIRN_NEVER = the origin never changes */
    bool fresh_set;         /* fresh_ns is the user's word, not the default */
    int64_t timeout_ns;     /* of one operation at the origin */
    uint64_t connections;   /* most connections to the origin; 0 = the protocol's default */
    int zstd_level;         /* 0 = chunks are stored raw */
    uint64_t chunk_min;     /* bytes; min <= avg <= max */
    uint64_t chunk_avg;
    uint64_t chunk_max;
    char *ssh_config;       /* NULL = the usual files, also below */
    char *ssh_known_hosts;
    char *ssh_identity;
    bool idmap_user;        /* show the login user's files as the mounting user's */
    enum cairn_log_level log_level;
    char *kernel_opts;      /* for the kernel's mount: "nosuid,noexec", "" if none; by _finish */
    const char *kernel_words[CAIRN_KERNEL_WORDS]; /* while parsing */
    bool sloppy;            /* unknown names in an option list are ignored */
};

/* The options of a mount; the target is a struct cairn_config. */
extern const struct cairn_option_table cairn_config_options;

/* The defaults. 0 or -ENOMEM; clear it in either case. */
int cairn_config_init(struct cairn_config *cfg);
void cairn_config_clear(struct cairn_config *cfg);

/*
 * An option list as mount(8) hands it over: "name=value,flag,...". A backslash makes the next
 * character a plain one. Besides the table's names it knows the words of mount(8) and fstab(5):
 * those that the kernel must know are gathered, the others are ignored. Errors as in options.h.
 */
int cairn_config_set_list(struct cairn_config *cfg, const char *list, char **ret_why);

/* After the last option: fills what depends on others, makes paths absolute ("~/" is the home
 * directory), checks what belongs together. 0, -EINVAL or -ENOMEM. */
int cairn_config_finish(struct cairn_config *cfg, char **ret_why);
