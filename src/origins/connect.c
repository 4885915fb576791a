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
#include "origins/metrics.h"
#include "origins/origin.h"
#include "origins/pool.h"
#include "origins/retry.h"
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

/* metrics( retry( pool( driver, ... ) ) ), or without the pool if one driver serves all threads. */
static int build_stack(struct origin **ret, const struct origin_driver *driver,
                       const struct origin_config *cfg, const struct origin_call *call,
                       char **ret_why)
{
    AUTO_FREE char *name = origin_url_format(cfg->url);
    if (!name)
        return -ENOMEM;
    struct origin *o;
    int err = driver->pooled ? origin_pool_new(&o, driver, cfg, call, ret_why)
                             : driver->connect(&o, cfg, call, ret_why);
    if (err)
        return err;
    struct origin *retry, *top;
    err = origin_retry_new(&retry, o, name, NULL, cfg->metrics);
    if (!err)
        o = retry;
    if (!err)
        err = origin_metrics_new(&top, o, cfg->metrics);
    if (err) {
        origin_close(o);
        return err;
    }
    *ret = top;
    return 0;
}

int origin_connect(struct origin **ret, const struct origin_config *cfg, char **ret_why)
{
    AUTO_FREE char *why = NULL;
    const struct origin_driver *driver = find_driver(cfg->url->scheme);
    int err;
    if (driver) {
        struct origin_call call = {.deadline_ns = cfg->timeout_ns ? cairn_now_ns() + cfg->timeout_ns
                                                                  : CAIRN_NEVER};
        err = build_stack(ret, driver, cfg, &call, &why);
    } else {
        err = -EPROTONOSUPPORT;
        if (asprintf(&why, "%s://: this program was built without such origins", cfg->url->scheme) <
            0)
            why = NULL;
    }
    if (err)
        *ret_why = why ? STEAL(why) : strdup(strerror(-err));
    return err;
}
