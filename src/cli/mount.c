// SPDX-License-Identifier: Apache-2.0
/* cairnfs mount, and the same as mount(8)'s helper: checks what can be told early, then starts. */
#include "cli/command.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/config.h"
#include "base/util.h"
#include "cli/mounts.h"
#include "cli/start.h"
#include "origins/url.h"

/* mount(8) knows these from its helpers. */
enum { HELPER_USAGE = 1, HELPER_FAILED = 32 };

static int replace(char **field, char *text)
{
    if (!text)
        return cairn_complain("out of memory");
    free(*field);
    *field = text;
    return 0;
}

/* The origin's canonical text: it must not depend on the current directory any more. */
static int check_origin(struct cairn_config *cfg)
{
    struct origin_url *url;
    AUTO_FREE char *why = NULL;
    int r = origin_url_parse(cfg->origin, &url, &why);

    if (r)
        return cairn_complain("%s", why ? why : strerror(-r));
    r = replace(&cfg->origin, origin_url_format(url));
    AUTO_FREE char *dir = strcmp(url->scheme, "file") ? NULL : realpath(url->path, NULL);
    origin_url_free(url);
    if (r || !dir)
        return r;
    /* A mount inside its own origin contains itself; one that covers its origin hides it. */
    if (cairn_path_within(cfg->mountpoint, dir))
        return cairn_complain("the mountpoint '%s' lies in the origin '%s': a mount cannot contain"
                              " itself",
                              cfg->mountpoint, dir);
    if (cairn_path_within(dir, cfg->mountpoint))
        return cairn_complain("the origin '%s' lies in the mountpoint '%s', which would hide it",
                              dir, cfg->mountpoint);
    return 0;
}

static int check_mountpoint(struct cairn_config *cfg)
{
    struct cairn_mounts mounts;
    struct stat st;
    AUTO_FREE char *given = cfg->mountpoint;

    cfg->mountpoint = cairn_mountpoint_path(given);
    if (!cfg->mountpoint)
        return errno == ENOENT ? cairn_complain("the mountpoint '%s' does not exist", given)
                               : cairn_complain("the mountpoint '%s': %s", given, strerror(errno));
    if (!cairn_mounts_read(&mounts)) {
        const struct cairn_mount *m = cairn_mounts_at(&mounts, cfg->mountpoint);
        bool ours = cairn_mount_is_ours(m);
        if (ours)
            cairn_complain("'%s' is already a mount of %s; first: cairnfs umount %s",
                           cfg->mountpoint, m->source, cfg->mountpoint);
        cairn_mounts_clear(&mounts);
        if (ours)
            return CAIRN_EXIT_FAILED;
    }
    if (stat(cfg->mountpoint, &st))
        return errno == ENOTCONN
                   ? cairn_complain("the mountpoint '%s' carries a dead mount; first: umount -l %s",
                                    cfg->mountpoint, cfg->mountpoint)
                   : cairn_complain("the mountpoint '%s': %s", cfg->mountpoint, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return cairn_complain("the mountpoint '%s' is not a directory", cfg->mountpoint);
    if (geteuid() != 0 && access(cfg->mountpoint, W_OK))
        return cairn_complain("the mountpoint '%s': you need write permission to mount there",
                              cfg->mountpoint);
    return 0;
}

/* fusermount3 would refuse it too, after everything else has been set up. */
static int check_allow_other(const struct cairn_config *cfg)
{
    FILE *f;
    char line[256];
    bool allowed = geteuid() == 0;

    if (!cfg->allow_other || allowed || !(f = fopen("/etc/fuse.conf", "re")))
        return 0;
    while (!allowed && fgets(line, sizeof line, f)) {
        line[strcspn(line, " \t\r\n")] = '\0';
        allowed = !strcmp(line, "user_allow_other");
    }
    fclose(f);
    return allowed ? 0
                   : cairn_complain("option 'allow-other': /etc/fuse.conf does not have the line"
                                    " user_allow_other");
}

static int check(struct cairn_config *cfg)
{
    int r = check_mountpoint(cfg);

    if (!r)
        r = check_origin(cfg);
    if (!r)
        r = check_allow_other(cfg);
    if (!r && cairn_path_within(cfg->cache_dir, cfg->mountpoint))
        r = cairn_complain("the cache '%s' lies in the mountpoint '%s'", cfg->cache_dir,
                           cfg->mountpoint);
    if (!r && access("/dev/fuse", F_OK))
        r = cairn_complain("/dev/fuse is missing: load the kernel's module with: modprobe fuse");
    return r;
}

static int take_operands(struct cairn_config *cfg, char **operands)
{
    int r = replace(&cfg->origin, strdup(operands[0]));

    return r ? r : replace(&cfg->mountpoint, strdup(operands[1]));
}

static int run(const struct cairn_command *self, int argc, char **argv)
{
    struct cairn_config cfg;
    AUTO_FREE char *why = NULL;
    int n, status;

    if (cairn_config_init(&cfg)) {
        status = cairn_complain("out of memory");
    } else if ((status = cairn_command_parse(self, &cfg, argc, argv, 2, 2, &n)) < 0) {
        if (cairn_config_finish(&cfg, &why)) {
            cairn_complain("%s", why ? why : "out of memory");
            status = CAIRN_EXIT_USAGE;
        } else {
            status = take_operands(&cfg, argv);
            if (!status)
                status = check(&cfg);
            if (!status)
                status = cairn_start(&cfg);
        }
    }
    cairn_config_clear(&cfg);
    return status;
}

const struct cairn_command cairn_command_mount = {
    "mount",
    "ORIGIN MOUNTPOINT",
    "Mount an origin: a directory, sftp://[USER@]HOST[:PORT]/PATH or file:///PATH.",
    &cairn_config_options,
    run,
};

/* --- mount.cairnfs ORIGIN DIR [-sfnvrwN] [-o OPTIONS] [-t TYPE] --- */

struct helper {
    struct cairn_config cfg;
    bool fake;
};

static int set_sloppy(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    ((struct helper *)target)->cfg.sloppy = true;
    return 0;
}

static int set_list(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    return cairn_config_set_list(&((struct helper *)target)->cfg, text, ret_why);
}

static int set_access(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    ((struct helper *)target)->cfg.read_only = o->letter == 'r';
    return 0;
}

static int set_nothing(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    return 0;
}

static const struct cairn_option helper_rows[] = {
    {"options", 'o', "LIST", "Options, see mount.cairnfs(8).", .set = set_list},
    {"sloppy", 's', NULL, "Ignore options that are not known.", .set = set_sloppy},
    {"fake", 'f', NULL, "Check everything, mount nothing.", .set = cairn_option_set_flag,
     .offset = offsetof(struct helper, fake)},
    {"no-mtab", 'n', NULL, "Ignored: there is no mtab to write.", .set = set_nothing},
    {"verbose", 'v', NULL, "Ignored.", .set = set_nothing},
    {"read-only", 'r', NULL, "Mount read-only.", .set = set_access},
    {"rw", 'w', NULL, "Mount for reading and writing.", .set = set_access},
    {"namespace", 'N', "NS", "Ignored: mount(8) has changed to it.", .set = set_nothing},
    {"types", 't', "TYPE", "Ignored.", .set = set_nothing},
};

static const struct cairn_option_table helper_options = {helper_rows, ARRAY_LEN(helper_rows)};

static int run_helper(struct helper *h, int argc, char **argv)
{
    AUTO_FREE char *why = NULL;
    int n = 0;
    int r = cairn_options_parse(&helper_options, h, argc, argv, &n, &why);

    if (r == 1 || (!r && n != 2)) {
        fputs("Usage: mount.cairnfs ORIGIN MOUNTPOINT [-sfnvrw] [-o OPTIONS]\n",
              r == 1 ? stdout : stderr);
        return r == 1 ? CAIRN_EXIT_OK : HELPER_USAGE;
    }
    if (!r)
        r = cairn_config_finish(&h->cfg, &why);
    if (r) {
        cairn_complain("%s", why ? why : strerror(-r));
        return HELPER_USAGE;
    }
    if (take_operands(&h->cfg, argv) || check(&h->cfg))
        return HELPER_FAILED;
    if (!h->fake && cairn_start(&h->cfg))
        return HELPER_FAILED;
    return CAIRN_EXIT_OK;
}

int cairn_mount_helper(int argc, char **argv)
{
    struct helper h = {0};
    int status = cairn_config_init(&h.cfg) ? HELPER_FAILED : run_helper(&h, argc, argv);

    cairn_config_clear(&h.cfg);
    return status;
}
