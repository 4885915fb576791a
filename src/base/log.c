// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>

static _Atomic int max_level = CAIRN_LOG_INFO;
static atomic_bool use_syslog;

void cairn_log_set_level(enum cairn_log_level level)
{
    atomic_store(&max_level, (int)level);
}

void cairn_log_to_syslog(void)
{
    openlog("cairnfs", LOG_PID, LOG_DAEMON);
    atomic_store(&use_syslog, true);
}

void cairn_log(enum cairn_log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
        return;
    va_list ap;
    va_start(ap, fmt);
    if (atomic_load(&use_syslog)) {
        vsyslog((int)level, fmt, ap);
    } else {
        /* One write per line, so that lines of several threads do not mix. */
        char line[2048];
        int n = snprintf(line, sizeof line, "cairnfs: %s", level <= CAIRN_LOG_ERROR  ? "error: "
                                                           : level == CAIRN_LOG_WARN ? "warning: "
                                                                                     : "");
        int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
        size_t len = (size_t)n + (size_t)(m < 0 ? 0 : m);
        if (len > sizeof line - 2)
            len = sizeof line - 2;
        line[len++] = '\n';
        fwrite(line, 1, len, stderr);
    }
    va_end(ap);
}
