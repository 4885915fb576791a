// SPDX-License-Identifier: Apache-2.0
/* Starts the session of a mount, in this process or in a daemon that is left behind. */
#pragma once

#include "base/config.h"

/*
 * Foreground: serves until the end, logging to stderr; 0 or 1. Otherwise: returns once the daemon
 * serves (0) or has failed (1, its reason said on stderr); it logs to syslog. Signals that would
 * end this process end the daemon as long as it has not answered. No threads may run yet.
 */
int cairn_start(const struct cairn_config *cfg);
