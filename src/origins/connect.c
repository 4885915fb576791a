// SPDX-License-Identifier: Apache-2.0
/*
 * From a URL to a stack of origins. The body of build_stack() reads like the picture in origin.h;
 * the table of drivers says which of them this program was built with.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/origin.h"
#include "origins/url.h"

static const struct origin_driver *const drivers[] = {
    &origin_driver_file,
#ifdef CAIRNFS_HAVE_SFTP
    &origin_driver_sftp,
#endif
};

static const struct origin_driver *find_driver(const char *scheme)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (!strcmp(drivers[i]->scheme, scheme))
            return drivers[i];
    return NULL;
}

int origin_connect(struct origin **ret, const struct origin_config *cfg, char **ret_why)
{
    *ret_why = NULL;
    const struct origin_driver *driver = find_driver(cfg->url->scheme);
    if (!driver) {
        if (asprintf(ret_why, "%s://: this program was built without such origins",
                     cfg->url->scheme) < 0)
            *ret_why = NULL;
        return -EPROTONOSUPPORT;
    }
    struct origin_call call = {.deadline_ns = cfg->timeout_ns ? cairn_now_ns() + cfg->timeout_ns
                                                              : CAIRN_NEVER};
    return driver->connect(ret, cfg, &call, ret_why);
}
