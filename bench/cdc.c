// SPDX-License-Identifier: Apache-2.0
/*
 * How fast does one thread chunk and name bytes that are in memory?
 *
 *     bench-cdc [MiB]         that much random data, 256 by default
 *     bench-cdc FILE          the bytes of a file
 *
 * The median of seven rounds, in GB/s (10^9): memcpy as the yardstick of the machine, then each
 * stage alone and together, the way reads and write-back do it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "cdc/chunkid.h"
#include "cdc/fastcdc.h"

enum { ROUNDS = 7, READ_SIZE = 131072 };

struct input {
    struct cairn_cdc cdc;
    uint8_t *data;
    uint8_t *copy; /* as long, for memcpy */
    size_t len;
};

/* Returns something of the result, the same in each round, so that no work can be left out. */
typedef uint64_t stage_fn(const struct input *in);

static uint64_t copy(const struct input *in)
{
    memcpy(in->copy, in->data, in->len);
    return in->copy[in->len / 2];
}

static uint64_t hash(const struct input *in)
{
    uint64_t sum = 0;

    for (size_t off = 0; off < in->len; off += in->cdc.params.avg_bytes) {
        struct cairn_chunk_id id =
            cairn_chunk_id_of(in->data + off, min_u64(in->cdc.params.avg_bytes, in->len - off));
        sum += cairn_chunk_id_hash(&id);
    }
    return sum;
}

static uint64_t cut(const struct input *in)
{
    uint64_t count = 0;

    for (size_t off = 0; off < in->len; count++)
        off += cairn_cdc_cut(&in->cdc, in->data + off, in->len - off);
    return count;
}

static uint64_t cut_and_hash(const struct input *in)
{
    uint64_t sum = 0;

    for (size_t off = 0; off < in->len;) {
        size_t n = cairn_cdc_cut(&in->cdc, in->data + off, in->len - off);
        struct cairn_chunk_id id = cairn_chunk_id_of(in->data + off, n);
        sum += cairn_chunk_id_hash(&id);
        off += n;
    }
    return sum;
}

static uint64_t feed(const struct input *in)
{
    struct cairn_chunker c;
    uint64_t end, count = 0;

    cairn_chunker_init(&c, &in->cdc, 0);
    for (size_t off = 0; off < in->len; off += READ_SIZE) {
        const uint8_t *p = in->data + off;
        size_t n = min_u64(READ_SIZE, in->len - off);
        while (cairn_chunker_feed(&c, &p, &n, &end))
            count++;
    }
    return count + cairn_chunker_finish(&c, &end);
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void run(const char *name, stage_fn *stage, const struct input *in)
{
    int64_t ns[ROUNDS];
    uint64_t result = 0;

    for (int i = 0; i < ROUNDS; i++) {
        int64_t begin = cairn_now_ns();
        uint64_t got = stage(in);
        ns[i] = cairn_now_ns() - begin;
        if (i > 0 && got != result) {
            fprintf(stderr, "bench-cdc: %s: two rounds, two results\n", name);
            abort();
        }
        result = got;
    }
    qsort(ns, ROUNDS, sizeof(ns[0]), compare_ns);
    printf("%-20s %6.2f GB/s\n", name,
           (double)in->len / (double)max_u64(1, (uint64_t)ns[ROUNDS / 2]));
}

static int make_room(struct input *in, size_t len)
{
    in->len = len;
    in->data = malloc(len);
    in->copy = malloc(len);
    return in->data && in->copy ? 0 : -ENOMEM;
}

static int fill_random(struct input *in, size_t len)
{
    int r = make_room(in, len);
    uint64_t x = 1;

    if (r < 0)
        return r;
    for (size_t i = 0; i < len; i += sizeof(x)) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(in->data + i, &x, min_u64(sizeof(x), len - i));
    }
    return 0;
}

static int fill_from_file(struct input *in, const char *path)
{
    struct stat st;
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return -EINVAL;
    int r = make_room(in, (size_t)st.st_size);
    if (r < 0)
        return r;
    for (size_t done = 0; done < in->len;) {
        ssize_t n = read(fd, in->data + done, in->len - done);
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct cairn_cdc_params params = CAIRN_CDC_DEFAULT;
    struct input in = {0};
    char *end = NULL;
    unsigned long mib = argc > 1 ? strtoul(argv[1], &end, 10) : 256;
    int r;

    if (end && *end)
        r = fill_from_file(&in, argv[1]);
    else
        r = mib > 0 && mib < 1048576 ? fill_random(&in, mib * MIB) : -EINVAL;
    if (r == 0)
        r = cairn_cdc_init(&in.cdc, &params);
    if (r < 0) {
        fprintf(stderr, "bench-cdc: %s: %s\n", argc > 1 ? argv[1] : "random", strerror(-r));
    } else {
        memset(in.copy, 1, in.len);
        printf("%zu bytes, %" PRIu64 " chunks\n", in.len, cut(&in));
        run("memcpy", copy, &in);
        run("xxh3-128", hash, &in);
        run("cut", cut, &in);
        run("cut + xxh3-128", cut_and_hash, &in);
        run("cut, fed by 128 KiB", feed, &in);
    }
    free(in.data);
    free(in.copy);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
