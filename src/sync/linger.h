// SPDX-License-Identifier: Apache-2.0
/*
 * Files that lost their name to another while they were open stay readable for a moment after
 * their last close: who has looked the name up just before the change is about to open what it
 * led to then, and would be told that there is no such file, although there always was one.
 */
#pragma once

#include "sync/node.h"

/* The node's last handle is being closed. True: the node lingers, and will be let go of later. */
bool cairn_linger(struct cairn_node *n);
/* Lets go of those whose time is over, or of all. Cheap if there are none. */
void cairn_linger_end(struct cairn_sync *s, bool all);

/* Nobody has the nameless node open any more: its record and what it holds open go. */
void cairn_node_gone(struct cairn_node *n);
