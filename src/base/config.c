// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"

#ifdef CAIRN_HAVE_ZSTD
#define COMPRESS_ARG "none|zstd[:LEVEL]"
#else
#define COMPRESS_ARG "none"
#endif

static int set_fresh(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    struct cairn_config *cfg = target;
    int r = cairn_option_set_duration(target, o, text, ret_why);

    if (!r)
        cfg->fresh_set = true;
    return r;
}

static int set_compress(void *target, const struct cairn_option *o, const char *text,
                        char **ret_why)
{
    struct cairn_config *cfg = target;

    if (!strcmp(text, "none")) {
        cfg->zstd_level = 0;
        return 0;
    }
#ifdef CAIRN_HAVE_ZSTD
    uint64_t level = 1;
    if (!strncmp(text, "zstd", 4) && (!text[4] || text[4] == ':')) {
        if (!text[4] || (!cairn_parse_number(text + 5, &level) && level >= 1 && level <= 19)) {
            cfg->zstd_level = (int)level;
            return 0;
        }
    }
    *ret_why =
        cairn_text("option '%s': '%s' is not one of none, zstd, zstd:1 to zstd:19", o->name, text);
#else
    *ret_why = cairn_text("option '%s': '%s': this build can only store chunks as they are (none)",
                          o->name, text);
#endif
    return -EINVAL;
}

static int set_idmap(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    struct cairn_config *cfg = target;
    bool user = !strcmp(text, "user");

    if (!user && strcmp(text, "none")) {
        *ret_why = cairn_text("option '%s': '%s' is not one of none, user", o->name, text);
        return -EINVAL;
    }
    cfg->idmap_user = user;
    return 0;
}

static int set_log_level(void *target, const struct cairn_option *o, const char *text,
                         char **ret_why)
{
    static const struct {
        const char *name;
        enum cairn_log_level level;
    } levels[] = {
        {"error", CAIRN_LOG_ERROR},
        {"warn", CAIRN_LOG_WARN},
        {"info", CAIRN_LOG_INFO},
        {"debug", CAIRN_LOG_DEBUG},
    };
    struct cairn_config *cfg = target;

    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (!strcmp(text, levels[i].name)) {
            cfg->log_level = levels[i].level;
            return 0;
        }
    }
    *ret_why =
        cairn_text("option '%s': '%s' is not one of error, warn, info, debug", o->name, text);
    return -EINVAL;
}

static int set_debug(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    struct cairn_config *cfg = target;

    cfg->log_level = CAIRN_LOG_DEBUG;
    return 0;
}

static int set_list(void *target, const struct cairn_option *o, const char *text, char **ret_why)
{
    return cairn_config_set_list(target, text, ret_why);
}

#define AT(f) .offset = offsetof(struct cairn_config, f)

static const struct cairn_option rows[] = {
    {"options", 'o', "LIST", "Options as name=value,name,... like mount(8) passes them.",
     .set = set_list},
    {"foreground", 'f', NULL, "Stay in the foreground and log to stderr.",
     .set = cairn_option_set_flag, AT(foreground)},
    {"ro", 'r', NULL, "Mount read-only.", .set = cairn_option_set_flag, AT(read_only)},
    {"allow-other", 0, NULL, "Let other users than the mounting one use the mount.",
     .set = cairn_option_set_flag, AT(allow_other)},
    {"cache", 0, "DIR",
     "Where the disk tier lives. Default: /var/cache/cairnfs for root, else"
     " $XDG_CACHE_HOME/cairnfs or ~/.cache/cairnfs.",
     .set = cairn_option_set_text, AT(cache_dir)},
    {"cache-size", 0, "SIZE", "Most bytes that the disk tier may occupy.", "10GiB",
     cairn_option_set_size, AT(cache_bytes), .min = MIB, .max = UINT64_MAX / 2},
    {"memory", 0, "SIZE", "Most bytes of chunks kept in memory.", "256MiB", cairn_option_set_size,
     AT(memory_bytes), .min = MIB, .max = UINT64_MAX / 2},
    {"fresh", 0, "TIME",
     "How long names, attributes and contents are believed before the origin is asked again;"
     " 0 asks each time, inf never does.",
     "5s", .set = set_fresh, AT(fresh_ns)},
    {"timeout", 0, "TIME", "Longest time that one operation may wait for the origin.", "30s",
     cairn_option_set_duration, AT(timeout_ns), .min = 100 * NSEC_PER_MSEC,
     .max = 86400 * NSEC_PER_SEC},
    {"connections", 0, "N", "Most connections to the origin. Default: as suits its protocol.",
     .set = cairn_option_set_number, AT(connections), .min = 1, .max = 64},
    {"compress", 0, COMPRESS_ARG, "How chunks are stored in the disk tier.", "none",
     .set = set_compress},
    {"chunk-min", 0, "SIZE", "Smallest chunk.", "16KiB", cairn_option_set_size, AT(chunk_min),
     .min = 64, .max = MIB},
    {"chunk-avg", 0, "SIZE", "Chunk size aimed at, a power of two.", "64KiB", cairn_option_set_size,
     AT(chunk_avg), .min = 256, .max = 4 * MIB},
    {"chunk-max", 0, "SIZE", "Largest chunk.", "256KiB", cairn_option_set_size, AT(chunk_max),
     .min = 1024, .max = 16 * MIB},
    {"ssh-config", 0, "FILE", "Read this instead of ~/.ssh/config.", .set = cairn_option_set_text,
     AT(ssh_config)},
    {"ssh-known-hosts", 0, "FILE", "Trust the host keys in this file only.",
     .set = cairn_option_set_text, AT(ssh_known_hosts)},
    {"ssh-identity", 0, "FILE", "Log in with this private key.", .set = cairn_option_set_text,
     AT(ssh_identity)},
    {"idmap", 0, "none|user",
     "user: show files of the user logged in at the origin as those of the user who mounts.",
     "none", .set = set_idmap},
    {"log-level", 0, "LEVEL", "What is logged: error, warn, info or debug.", "info",
     .set = set_log_level},
    {"debug", 'd', NULL, "The same as --log-level debug.", .set = set_debug},
};

const struct cairn_option_table cairn_config_options = {rows, ARRAY_LEN(rows)};

/*
 * Words of mount(8) and fstab(5) that are not ours. Those with a group go on to the kernel, the
 * last of a group wins. The atime words are among the ignored because FUSE leaves access times to
 * the filesystem; noatime is kept as libfuse knows it.
 */
enum word_group { SUID, DEV, EXEC, SYNC, ATIME, DIRSYNC, IGNORED, WRITABLE };

static const struct {
    const char *word;
    enum word_group group;
} mount_words[] = {
    {"suid", SUID},
    {"nosuid", SUID},
    {"dev", DEV},
    {"nodev", DEV},
    {"exec", EXEC},
    {"noexec", EXEC},
    {"sync", SYNC},
    {"async", SYNC},
    {"atime", ATIME},
    {"noatime", ATIME},
    {"dirsync", DIRSYNC},
    {"rw", WRITABLE},
    {"defaults", IGNORED},
    {"default_permissions", IGNORED}, /* they are always checked */
    {"auto", IGNORED},
    {"noauto", IGNORED},
    {"user", IGNORED},
    {"nouser", IGNORED},
    {"users", IGNORED},
    {"owner", IGNORED},
    {"group", IGNORED},
    {"nofail", IGNORED},
    {"_netdev", IGNORED},
    {"relatime", IGNORED},
    {"norelatime", IGNORED},
    {"strictatime", IGNORED},
    {"nostrictatime", IGNORED},
    {"diratime", IGNORED},
    {"nodiratime", IGNORED},
    {"lazytime", IGNORED},
    {"nolazytime", IGNORED},
    {"silent", IGNORED},
    {"loud", IGNORED},
    {"mand", IGNORED},
    {"nomand", IGNORED},
    {"iversion", IGNORED},
    {"noiversion", IGNORED},
};

_Static_assert((int)IGNORED == (int)CAIRN_KERNEL_WORDS,
               "one slot for each group that the kernel knows");

static bool has_prefix(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

/* True if the word was one of mount(8)'s. */
static bool set_mount_word(struct cairn_config *cfg, const char *word)
{
    if (has_prefix(word, "x-") || has_prefix(word, "X-") || has_prefix(word, "comment=") ||
        has_prefix(word, "user=") || has_prefix(word, "uhelper="))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(mount_words); i++) {
        if (strcmp(word, mount_words[i].word))
            continue;
        if (mount_words[i].group < IGNORED)
            cfg->kernel_words[mount_words[i].group] = mount_words[i].word;
        else if (mount_words[i].group == WRITABLE)
            cfg->read_only = false;
        return true;
    }
    return false;
}

static int set_item(struct cairn_config *cfg, char *item, char **ret_why)
{
    if (set_mount_word(cfg, item))
        return 0;
    if (!strcmp(item, "remount")) {
        *ret_why = cairn_text("a mounted origin cannot be remounted: unmount it, then mount again");
        return -EINVAL;
    }
    char *eq = strchr(item, '=');
    if (eq)
        *eq = '\0';
    /* A list inside the list would only hide what is set. */
    if (cairn_option_same(item, "options")) {
        *ret_why = cairn_text("unknown option 'options'");
        return -ENOENT;
    }
    char *why = NULL;
    int r = cairn_option_set(&cairn_config_options, cfg, item, eq ? eq + 1 : NULL, &why);
    if (r == -ENOENT && cfg->sloppy) {
        free(why);
        return 0;
    }
    if (r)
        *ret_why = why;
    return r;
}

int cairn_config_set_list(struct cairn_config *cfg, const char *list, char **ret_why)
{
    AUTO_FREE char *item = malloc(strlen(list) + 1);
    size_t n = 0;

    if (!item)
        return -ENOMEM;
    for (const char *s = list;; s++) {
        if (*s == '\\' && s[1]) {
            item[n++] = *++s;
        } else if (*s && *s != ',') {
            item[n++] = *s;
        } else {
            item[n] = '\0';
            int r = n ? set_item(cfg, item, ret_why) : 0;
            if (r || !*s)
                return r;
            n = 0;
        }
    }
}

int cairn_config_init(struct cairn_config *cfg)
{
    memset(cfg, 0, sizeof *cfg);
    int r = cairn_option_presets(&cairn_config_options, cfg);
    cfg->fresh_set = false;
    return r;
}

void cairn_config_clear(struct cairn_config *cfg)
{
    free(cfg->origin);
    free(cfg->mountpoint);
    free(cfg->cache_dir);
    free(cfg->ssh_config);
    free(cfg->ssh_known_hosts);
    free(cfg->ssh_identity);
    free(cfg->kernel_opts);
    memset(cfg, 0, sizeof *cfg);
}

static int default_cache(struct cairn_config *cfg, char **ret_why)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (geteuid() == 0) {
        cfg->cache_dir = strdup("/var/cache/cairnfs");
    } else if (xdg && *xdg == '/') {
        cfg->cache_dir = cairn_text("%s/cairnfs", xdg);
    } else if (home && *home == '/') {
        cfg->cache_dir = cairn_text("%s/.cache/cairnfs", home);
    } else {
        *ret_why = cairn_text("option 'cache' is needed: neither XDG_CACHE_HOME nor HOME is set");
        return -EINVAL;
    }
    return cfg->cache_dir ? 0 : -ENOMEM;
}

/* The daemon changes to "/", so relative paths must not outlive the start. */
static int make_absolute(char **path, char **ret_why)
{
    const char *home = getenv("HOME");
    char *full;

    if (!*path || **path == '/')
        return 0;
    if (has_prefix(*path, "~/") && home) {
        full = cairn_text("%s%s", home, *path + 1);
    } else {
        AUTO_FREE char *cwd = getcwd(NULL, 0);
        if (!cwd) {
            *ret_why =
                cairn_text("the path '%s' is relative and there is no current directory", *path);
            return -EINVAL;
        }
        full = cairn_text("%s/%s", cwd, *path);
    }
    if (!full)
        return -ENOMEM;
    free(*path);
    *path = full;
    return 0;
}

static int join_kernel_words(struct cairn_config *cfg)
{
    size_t len = 1;

    for (size_t i = 0; i < CAIRN_KERNEL_WORDS; i++)
        if (cfg->kernel_words[i])
            len += strlen(cfg->kernel_words[i]) + 1;
    char *s = calloc(1, len);
    if (!s)
        return -ENOMEM;
    for (size_t i = 0; i < CAIRN_KERNEL_WORDS; i++) {
        if (!cfg->kernel_words[i])
            continue;
        if (*s)
            strcat(s, ",");
        strcat(s, cfg->kernel_words[i]);
    }
    free(cfg->kernel_opts);
    cfg->kernel_opts = s;
    return 0;
}

int cairn_config_finish(struct cairn_config *cfg, char **ret_why)
{
    char **const paths[] = {&cfg->cache_dir, &cfg->ssh_config, &cfg->ssh_known_hosts,
                            &cfg->ssh_identity};

    if (cfg->chunk_min > cfg->chunk_avg || cfg->chunk_avg > cfg->chunk_max) {
        *ret_why =
            cairn_text("options 'chunk-min', 'chunk-avg', 'chunk-max': %llu, %llu, %llu are"
                       " not in ascending order",
                       (unsigned long long)cfg->chunk_min, (unsigned long long)cfg->chunk_avg,
                       (unsigned long long)cfg->chunk_max);
        return -EINVAL;
    }
    if (cfg->chunk_avg & (cfg->chunk_avg - 1)) {
        *ret_why = cairn_text("option 'chunk-avg': %llu is not a power of two",
                              (unsigned long long)cfg->chunk_avg);
        return -EINVAL;
    }
    if (!cfg->cache_dir) {
        int r = default_cache(cfg, ret_why);
        if (r)
            return r;
    }
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int r = make_absolute(paths[i], ret_why);
        if (r)
            return r;
    }
    return join_kernel_words(cfg);
}
