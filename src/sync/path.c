// SPDX-License-Identifier: Apache-2.0
#include "sync/path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

int cairn_path_of_name(struct cairn_sync *s, uint64_t parent, const char *name, char **ret)
{
    if (strlen(name) > CAIRN_NAME_MAX || strlen(name) > s->info->name_max)
        return -ENAMETOOLONG;
    AUTO_FREE char *dir = NULL;
    int err = cairn_meta_path(s->meta, parent, &dir);
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    if (asprintf(ret, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
        return -ENOMEM;
    return 0;
}

int cairn_path_resolve(struct cairn_sync *s, const char *path, uint64_t *ret_ino)
{
    uint64_t ino = CAIRN_ROOT_INO;
    while (*path) {
        size_t len = strcspn(path, "/");
        char name[CAIRN_NAME_MAX + 1];
        if (len > CAIRN_NAME_MAX)
            return -ENOENT;
        memcpy(name, path, len);
        name[len] = 0;
        int err = cairn_meta_lookup(s->meta, ino, name, &ino);
        if (err)
            return err;
        path += len;
        if (*path)
            path++;
    }
    *ret_ino = ino;
    return 0;
}
