// SPDX-License-Identifier: Apache-2.0
/* The options of a mount, as the command line and mount(8) give them. */
#include "base/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"

static int init(void **state)
{
    struct cairn_config *cfg = malloc(sizeof *cfg);

    *state = cfg;
    return !cfg || cairn_config_init(cfg);
}

static int clear(void **state)
{
    cairn_config_clear(*state);
    free(*state);
    return 0;
}

static void set(struct cairn_config *cfg, const char *list)
{
    char *why = NULL;
    int r = cairn_config_set_list(cfg, list, &why);

    if (r)
        fail_msg("%s: %s", list, why ? why : "?");
}

static void finish(struct cairn_config *cfg)
{
    char *why = NULL;
    int r = cairn_config_finish(cfg, &why);

    if (r)
        fail_msg("%s", why ? why : "?");
}

static void refuse(struct cairn_config *cfg, const char *list, int error, const char *expected)
{
    char *why = NULL;

    assert_int_equal(cairn_config_set_list(cfg, list, &why), error);
    assert_non_null(why);
    assert_string_equal(why, expected);
    free(why);
}

static void defaults_are_those_of_the_manual(void **state)
{
    struct cairn_config *cfg = *state;

    assert_true(cfg->cache_bytes == 10 * GIB);
    assert_true(cfg->memory_bytes == 256 * MIB);
    assert_true(cfg->fresh_ns == 5 * NSEC_PER_SEC);
    assert_false(cfg->fresh_set);
    assert_true(cfg->timeout_ns == 30 * NSEC_PER_SEC);
    assert_int_equal(cfg->connections, 0);
    assert_int_equal(cfg->zstd_level, 0);
    assert_int_equal(cfg->chunk_min, 16384);
    assert_int_equal(cfg->chunk_avg, 65536);
    assert_int_equal(cfg->chunk_max, 262144);
    assert_int_equal(cfg->log_level, CAIRN_LOG_INFO);
    assert_false(cfg->read_only || cfg->allow_other || cfg->foreground || cfg->idmap_user);
}

static void a_list_sets_options(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "ro,allow_other,cache=/c,cache_size=1.5GiB,memory=64M,,fresh=inf,timeout=500ms,"
             "connections=3,idmap=user,log-level=warn,ssh-identity=/k");
    assert_true(cfg->read_only && cfg->allow_other && cfg->idmap_user && cfg->fresh_set);
    assert_string_equal(cfg->cache_dir, "/c");
    assert_true(cfg->cache_bytes == GIB + GIB / 2);
    assert_true(cfg->memory_bytes == 64 * MIB);
    assert_true(cfg->fresh_ns == CAIRN_NEVER);
    assert_true(cfg->timeout_ns == 500 * NSEC_PER_MSEC);
    assert_int_equal(cfg->connections, 3);
    assert_int_equal(cfg->log_level, CAIRN_LOG_WARN);
    assert_string_equal(cfg->ssh_identity, "/k");
    finish(cfg);
    assert_string_equal(cfg->kernel_opts, "");
}

static void fresh_zero_is_the_users_word(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "fresh=0");
    assert_true(cfg->fresh_set);
    assert_true(cfg->fresh_ns == 0);
}

static void a_backslash_keeps_commas(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "cache=/a\\,b\\\\c=d,ro");
    assert_string_equal(cfg->cache_dir, "/a,b\\c=d");
    assert_true(cfg->read_only);
}

static void words_of_fstab_are_accepted(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "rw,defaults,auto,noauto,user,user=joe,users,nofail,_netdev,x-systemd.automount,"
             "x-gvfs-show,comment=mine,relatime,nodiratime,strictatime,silent");
    finish(cfg);
    assert_string_equal(cfg->kernel_opts, "");
    assert_false(cfg->read_only);
}

static void words_of_the_kernel_are_gathered(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "nodev,nosuid,noexec,noatime,sync,dirsync");
    set(cfg, "exec");
    finish(cfg);
    assert_string_equal(cfg->kernel_opts, "nosuid,nodev,exec,sync,noatime,dirsync");
}

static void the_last_of_ro_and_rw_wins(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "ro,rw");
    assert_false(cfg->read_only);
    set(cfg, "rw,ro");
    assert_true(cfg->read_only);
}

static void unknown_names_get_advice(void **state)
{
    struct cairn_config *cfg = *state;

    refuse(cfg, "cahce=/x", -ENOENT, "unknown option 'cahce' (did you mean 'cache'?)");
    refuse(cfg, "ro,allow-others", -ENOENT,
           "unknown option 'allow-others' (did you mean 'allow-other'?)");
    refuse(cfg, "qwertyuiop", -ENOENT, "unknown option 'qwertyuiop'");
    refuse(cfg, "options=ro", -ENOENT, "unknown option 'options'");
}

static void bad_values_are_named(void **state)
{
    struct cairn_config *cfg = *state;

    refuse(cfg, "cache-size=lots", -EINVAL,
           "option 'cache-size': 'lots' is not a size (such as 512MiB or 10GiB)");
    refuse(cfg, "fresh=soon", -EINVAL,
           "option 'fresh': 'soon' is not a duration (such as 500ms, 5s or 2m)");
    refuse(cfg, "timeout=0", -ERANGE, "option 'timeout': '0' is out of range (0.1s to 86400s)");
    refuse(cfg, "fresh=999999999999h", -ERANGE, "option 'fresh': '999999999999h' is out of range");
    refuse(cfg, "idmap=root", -EINVAL, "option 'idmap': 'root' is not one of none, user");
    refuse(cfg, "log-level=loud", -EINVAL,
           "option 'log-level': 'loud' is not one of error, warn, info, debug");
    refuse(cfg, "ro=1", -EINVAL, "option 'ro' takes no value (got '1')");
    refuse(cfg, "cache", -EINVAL, "option 'cache' needs a value (DIR)");
    refuse(cfg, "remount,ro", -EINVAL,
           "a mounted origin cannot be remounted: unmount it, then mount again");
}

static void sloppy_ignores_only_unknown_names(void **state)
{
    struct cairn_config *cfg = *state;

    cfg->sloppy = true;
    set(cfg, "qwerty,asdf=3,ro");
    assert_true(cfg->read_only);
    refuse(cfg, "idmap=root", -EINVAL, "option 'idmap': 'root' is not one of none, user");
}

static void compression_is_chosen(void **state)
{
    struct cairn_config *cfg = *state;

    set(cfg, "compress=none");
    assert_int_equal(cfg->zstd_level, 0);
#ifdef CAIRN_HAVE_ZSTD
    set(cfg, "compress=zstd");
    assert_int_equal(cfg->zstd_level, 1);
    set(cfg, "compress=zstd:19");
    assert_int_equal(cfg->zstd_level, 19);
    const char *why = "option 'compress': '%s' is not one of none, zstd, zstd:1 to zstd:19";
    static const char *const bad[] = {"zstd:", "zstd:0", "zstd:20", "zstd3", "gzip", ""};
#else
    const char *why =
        "option 'compress': '%s': this build can only store chunks as they are (none)";
    static const char *const bad[] = {"zstd", "zstd:1", "gzip"};
#endif
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO_FREE char *list = cairn_text("compress=%s", bad[i]);
        char expected[200];
        const char *at = strstr(why, "%s");
        snprintf(expected, sizeof expected, "%.*s%s%s", (int)(at - why), why, bad[i], at + 2);
        refuse(cfg, list, -EINVAL, expected);
    }
}

static void chunk_sizes_must_ascend(void **state)
{
    struct cairn_config *cfg = *state;
    char *why = NULL;

    set(cfg, "chunk-min=64KiB,chunk-avg=32KiB,cache=/c");
    assert_int_equal(cairn_config_finish(cfg, &why), -EINVAL);
    assert_string_equal(why, "options 'chunk-min', 'chunk-avg', 'chunk-max': 65536, 32768, 262144"
                             " are not in ascending order");
    free(why);
    why = NULL;
    set(cfg, "chunk-min=1KiB,chunk-avg=33000");
    assert_int_equal(cairn_config_finish(cfg, &why), -EINVAL);
    assert_string_equal(why, "option 'chunk-avg': 33000 is not a power of two");
    free(why);
}

static void paths_become_absolute(void **state)
{
    struct cairn_config *cfg = *state;
    AUTO_FREE char *cwd = getcwd(NULL, 0);
    AUTO_FREE char *cache = cairn_text("%s/c", cwd);

    setenv("HOME", "/h", 1);
    set(cfg, "cache=c,ssh-config=~/x,ssh-known-hosts=/k");
    finish(cfg);
    assert_string_equal(cfg->cache_dir, cache);
    assert_string_equal(cfg->ssh_config, "/h/x");
    assert_string_equal(cfg->ssh_known_hosts, "/k");
}

static void the_cache_has_a_place(void **state)
{
    struct cairn_config *cfg = *state;

    setenv("HOME", "/h", 1);
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    finish(cfg);
    assert_string_equal(cfg->cache_dir, geteuid() == 0 ? "/var/cache/cairnfs" : "/xdg/cairnfs");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, init, clear)
    const struct CMUnitTest tests[] = {
        T(defaults_are_those_of_the_manual),
        T(a_list_sets_options),
        T(fresh_zero_is_the_users_word),
        T(a_backslash_keeps_commas),
        T(words_of_fstab_are_accepted),
        T(words_of_the_kernel_are_gathered),
        T(the_last_of_ro_and_rw_wins),
        T(unknown_names_get_advice),
        T(bad_values_are_named),
        T(sloppy_ignores_only_unknown_names),
        T(compression_is_chosen),
        T(chunk_sizes_must_ascend),
        T(paths_become_absolute),
        T(the_cache_has_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
