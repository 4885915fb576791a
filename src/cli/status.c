// SPDX-License-Identifier: Apache-2.0
/* cairnfs status: what one mount, or every mount, tells about itself. */
#include "cli/command.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cli/daemon.h"
#include "cli/mounts.h"
#include "cli/report.h"

/* A daemon answers this from memory. */
#define ANSWER_TIMEOUT_NS (10 * NSEC_PER_SEC)

struct status_options {
    bool json;
};

static const struct cairn_option rows[] = {
    {"json", 'j', NULL, "Print JSON: an object, or without MOUNTPOINT an array of objects.",
     .set = cairn_option_set_flag, .offset = offsetof(struct status_options, json)},
};
static const struct cairn_option_table options = {rows, ARRAY_LEN(rows)};

static void print_json(const json_t *v)
{
    json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
}

static int status_one(const char *path, bool json)
{
    AUTO_FREE char *mountpoint = cairn_mountpoint_path(path);
    json_t *status;

    if (!mountpoint)
        return cairn_complain("'%s': %s", path, strerror(errno));
    int r = cairn_daemon_status(mountpoint, ANSWER_TIMEOUT_NS, &status);
    if (r) {
        AUTO_FREE char *why = cairn_daemon_error(mountpoint, r);
        return cairn_complain("%s", why ? why : strerror(-r));
    }
    if (json)
        print_json(status);
    else
        cairn_report_print(status, stdout);
    json_decref(status);
    return cairn_command_end();
}

/* A mount that does not answer costs one line on stderr, not the others' lines. */
static int status_all(bool json)
{
    struct cairn_mounts mounts;
    int r = cairn_mounts_read(&mounts);
    int failed = 0;
    json_t *array = json_array();

    if (r || !array)
        return cairn_complain("cannot list the mounts: %s", strerror(r ? -r : ENOMEM));
    for (size_t i = 0; i < mounts.count; i++) {
        const struct cairn_mount *m = &mounts.list[i];
        json_t *status;
        if (!cairn_mount_is_ours(m) || cairn_mounts_at(&mounts, m->mountpoint) != m)
            continue;
        r = cairn_daemon_status(m->mountpoint, ANSWER_TIMEOUT_NS, &status);
        if (r) {
            AUTO_FREE char *why = cairn_daemon_error(m->mountpoint, r);
            failed = cairn_complain("%s", why ? why : strerror(-r));
            continue;
        }
        if (!json && !json_array_size(array))
            cairn_report_line(NULL, NULL, stdout);
        if (!json)
            cairn_report_line(m->mountpoint, status, stdout);
        json_array_append_new(array, status);
    }
    if (json)
        print_json(array);
    else if (!json_array_size(array) && !failed)
        puts("Nothing is mounted with cairnfs.");
    json_decref(array);
    cairn_mounts_clear(&mounts);
    r = cairn_command_end();
    return r ? r : failed;
}

static int run(const struct cairn_command *self, int argc, char **argv)
{
    struct status_options o = {0};
    int n;
    int status = cairn_command_parse(self, &o, argc, argv, 0, 1, &n);

    if (status >= 0)
        return status;
    return n ? status_one(argv[0], o.json) : status_all(o.json);
}

const struct cairn_command cairn_command_status = {
    "status", "[MOUNTPOINT]", "Show what a mount, or each mount, does and holds.", &options, run,
};
