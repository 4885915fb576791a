// SPDX-License-Identifier: Apache-2.0
/* cairnfs chunks: how a file would be cut, and the ids of its chunks. Memory is constant. */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "cdc/chunkid.h"
#include "cdc/fastcdc.h"

struct chunks_options {
    uint64_t min, avg, max;
    bool json;
};

#define AT(f) .offset = offsetof(struct chunks_options, f)
static const struct cairn_option rows[] = {
    {"min", 0, "SIZE", "Smallest chunk.", "16KiB", cairn_option_set_size, AT(min),
     .min = CAIRN_CDC_MIN_LEAST, .max = CAIRN_CDC_MIN_MOST},
    {"avg", 0, "SIZE", "Chunk size aimed at, a power of two.", "64KiB", cairn_option_set_size,
     AT(avg), .min = CAIRN_CDC_AVG_LEAST, .max = CAIRN_CDC_AVG_MOST},
    {"max", 0, "SIZE", "Largest chunk.", "256KiB", cairn_option_set_size, AT(max),
     .min = CAIRN_CDC_MAX_LEAST, .max = CAIRN_CDC_MAX_MOST},
    {"json", 'j', NULL, "Print a JSON array of objects.", .set = cairn_option_set_flag, AT(json)},
};
static const struct cairn_option_table options = {rows, ARRAY_LEN(rows)};

static void print_chunk(uint64_t off, const uint8_t *data, size_t len, bool json)
{
    struct cairn_chunk_id id = cairn_chunk_id_of(data, len);
    char text[CAIRN_CHUNK_ID_TEXT];

    cairn_chunk_id_format(&id, text);
    if (json)
        printf("%s\n{\"offset\": %" PRIu64 ", \"length\": %zu, \"id\": \"%s\"}", off ? "," : "",
               off, len, text);
    else
        printf("%" PRIu64 " %zu %s\n", off, len, text);
}

/* Reads until the buffer is full or the stream ends. Bytes read, or -errno. */
static ssize_t fill(int fd, uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, buf + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* `buf` holds `size` bytes, more than the largest chunk: a cut needs that much to look at. */
static int cut_stream(int fd, const struct cairn_cdc *cdc, uint8_t *buf, size_t size, bool json)
{
    size_t have = 0;
    uint64_t off = 0;
    bool ended = false;

    while (!ended || have) {
        if (!ended) {
            ssize_t n = fill(fd, buf + have, size - have);
            if (n < 0)
                return (int)n;
            ended = (size_t)n < size - have;
            have += (size_t)n;
        }
        size_t at = 0;
        while (at < have && (ended || have - at >= cdc->params.max_bytes)) {
            size_t len = cairn_cdc_cut(cdc, buf + at, have - at);
            print_chunk(off, buf + at, len, json);
            at += len;
            off += len;
        }
        if (ferror(stdout))
            return 0;
        have -= at;
        memmove(buf, buf + at, have);
    }
    return 0;
}

static int run(const struct cairn_command *self, int argc, char **argv)
{
    struct chunks_options o = {0};
    struct cairn_cdc cdc;
    int n;

    if (cairn_option_presets(&options, &o))
        return cairn_complain("out of memory");
    int status = cairn_command_parse(self, &o, argc, argv, 1, 1, &n);
    if (status >= 0)
        return status;
    const struct cairn_cdc_params params = {(uint32_t)o.min, (uint32_t)o.avg, (uint32_t)o.max};
    if (cairn_cdc_init(&cdc, &params)) {
        cairn_complain("chunk sizes must ascend (min <= avg <= max) and avg be a power of two");
        return CAIRN_EXIT_USAGE;
    }

    bool standard_input = !strcmp(argv[0], "-");
    AUTO_CLOSE int fd = standard_input ? dup(0) : open(argv[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cairn_complain("'%s': %s", argv[0], strerror(errno));
    size_t size = params.max_bytes + MIB;
    AUTO_FREE uint8_t *buf = malloc(size);
    if (!buf)
        return cairn_complain("out of memory");
    if (o.json)
        putchar('[');
    int r = cut_stream(fd, &cdc, buf, size, o.json);
    if (o.json)
        fputs("\n]\n", stdout);
    status = cairn_command_end();
    return r ? cairn_complain("'%s': %s", argv[0], strerror(-r)) : status;
}

const struct cairn_command cairn_command_chunks = {
    "chunks", "FILE", "Print offset, length and id of each chunk of a file (- is stdin).",
    &options, run,
};
