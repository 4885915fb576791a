// SPDX-License-Identifier: Apache-2.0
/*
 * The table of the gear hash: one random number for each value of a byte.
 *
 * Entry b is the first 8 bytes, read big-endian, of the MD5 of 64 bytes of value b, as in the
 * authors' own program. To make it again:
 *     for b in range(256): print(hashlib.md5(bytes([b]) * 64).hexdigest()[:16])
 * The paper's second table, of the same numbers shifted left, is a shift in the loop here.
 */
#pragma once

#include <stdint.h>

extern const uint64_t cairn_gear[256];
