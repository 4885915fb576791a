// SPDX-License-Identifier: Apache-2.0
/*
 * Logging: one line per event, "key=value" details, levels as in syslog.
 *
 * The sink is the process's (stderr, or syslog once a daemon has detached). Any thread may log.
 * Secrets never go here. An event is logged once, where it is decided what it means; inner
 * layers return -errno.
 */
#pragma once

enum cairn_log_level {
    CAIRN_LOG_ERROR = 3,
    CAIRN_LOG_WARN = 4,
    CAIRN_LOG_INFO = 6,
    CAIRN_LOG_DEBUG = 7,
};

/* Events above `level` are dropped; default CAIRN_LOG_INFO. */
void cairn_log_set_level(enum cairn_log_level level);

/* Sends what follows to syslog (facility daemon, ident "cairnfs") instead of stderr. */
void cairn_log_to_syslog(void);

/* printf-style, without a trailing newline. */
void cairn_log(enum cairn_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) cairn_log(CAIRN_LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  cairn_log(CAIRN_LOG_WARN, __VA_ARGS__)
#define log_info(...)  cairn_log(CAIRN_LOG_INFO, __VA_ARGS__)
#define log_debug(...) cairn_log(CAIRN_LOG_DEBUG, __VA_ARGS__)
