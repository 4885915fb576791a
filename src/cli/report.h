// SPDX-License-Identifier: Apache-2.0
/* The daemon's status object as text for people. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* Everything in the object, in groups; what this version does not know is printed by its name. */
void cairn_report_print(const json_t *status, FILE *out);

/* One line per mount; the heading comes from `status` NULL. */
void cairn_report_line(const char *mountpoint, const json_t *status, FILE *out);
