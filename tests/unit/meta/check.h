// SPDX-License-Identifier: Apache-2.0
/* Whether a store is whole: reads all of its records and compares them with each other. */
#pragma once

struct cairn_meta;

/* Each D has its C and the other way round; each name's inode knows the name; each inode's primary
 * name and extra names exist; their number is right; counters equal a recount. */
void check_names(struct cairn_meta *m);
