// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

const struct cairn_counter_info cairn_counter_info[CAIRN_COUNTER_COUNT] = {
#define X(id, name, help) [CAIRN_##id] = {name, help},
    CAIRN_COUNTERS(X)
#undef X
};
