// SPDX-License-Identifier: Apache-2.0
/*
 * The SFTP driver against a server that OpenSSH is not: replies in any order, short ones, bytes in
 * any portions, and lies. The server lives in this program, behind the functions of ssh.h; a seed
 * decides all (CAIRN_SEED replays one).
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "origins/origin.h"
#include "origins/sftp_wire.h"
#include "origins/ssh.h"
#include "origins/url.h"

#define MAX_REPLIES 512
#define FILE_BYTES  700001u

enum lie {
    LIE_NONE,
    LIE_MORE_DATA,  /* than was asked for */
    LIE_UNKNOWN_ID, /* one that falls on the same place as a known one */
    LIE_HUGE_PACKET,
    LIE_TINY_PACKET,
    LIE_STRING_LENGTH, /* inside a packet, beyond its end */
    LIE_WRONG_TYPE,
    LIE_NO_DATA, /* DATA of length 0 */
    LIE_HANDLE,  /* of more than 256 bytes */
    LIE_ENTRIES, /* four billion in one page */
    LIE_NAMES,   /* "../x", "a/b", "", with NUL */
    LIE_NOISE,   /* random bytes */
    LIES,
};

struct reply {
    uint8_t *bytes;
    size_t len;
};

/* Takes the place of struct ssh: a connection to the server below. */
struct ssh {
    uint64_t rng;
    uint8_t in[2 * MIB]; /* requests, as far as they have come */
    size_t in_len;
    struct reply waiting[MAX_REPLIES];
    size_t waiting_count;
    uint8_t *out; /* the reply that is on its way */
    size_t out_pos, out_len;
    uint8_t file[FILE_BYTES + 1 * MIB];
    size_t size;
    bool shuffled; /* replies to READ and WRITE come in any order, and reads come short */
    enum lie lie;
    bool opened; /* lies begin after the connection is made */
    unsigned pages;
    int open_handles;
};

static struct ssh *server; /* of the test that runs */

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return next_random(&server->rng) % n;
}

static void enqueue(struct sftp_writer *w)
{
    sftp_packet_end(w);
    assert_false(w->overflow);
    assert_true(server->waiting_count < MAX_REPLIES);
    server->waiting[server->waiting_count++] = (struct reply){w->buf, w->len};
}

static struct sftp_writer packet(uint8_t type, uint32_t id, size_t room)
{
    struct sftp_writer w = {.buf = malloc(room + 64), .cap = room + 64};
    sftp_packet_begin(&w, type);
    sftp_put_u32(&w, id);
    return w;
}

static void reply_status(uint32_t id, uint32_t status)
{
    struct sftp_writer w = packet(SFTP_STATUS, id, 0);
    sftp_put_u32(&w, status);
    sftp_put_cstring(&w, "");
    sftp_put_cstring(&w, "");
    enqueue(&w);
}

static void reply_attrs(uint32_t id, uint32_t mode)
{
    struct sftp_attrs a = {.flags = 15, .permissions = mode, .size = server->size};
    struct sftp_writer w = packet(SFTP_ATTRS, id, 64);
    sftp_put_attrs(&w, &a);
    enqueue(&w);
}

static void reply_string(uint8_t type, uint32_t id, const char *text)
{
    struct sftp_writer w = packet(type, id, strlen(text) + 64);
    if (type == SFTP_NAME)
        sftp_put_u32(&w, 1);
    sftp_put_cstring(&w, text);
    if (type == SFTP_NAME) {
        sftp_put_cstring(&w, text);
        sftp_put_u32(&w, 0);
    }
    enqueue(&w);
}

static void reply_page(uint32_t id)
{
    static const char *const good[] = {".", "..", "a", "b"};
    struct sftp_writer w = packet(SFTP_NAME, id, 1024);
    if (server->pages++) {
        free(w.buf);
        reply_status(id, SFTP_FX_EOF);
        return;
    }
    bool lies = server->lie == LIE_NAMES;
    sftp_put_u32(&w, ARRAY_LEN(good) + (lies ? 4 : 0));
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        sftp_put_cstring(&w, good[i]);
        sftp_put_cstring(&w, "long");
        sftp_put_u32(&w, 0);
    }
    for (size_t i = 0; lies && i < 4; i++) {
        static const char *const bad[] = {"../x", "a/b", "", "n\0l"};
        sftp_put_string(&w, bad[i], i == 3 ? 3 : strlen(bad[i]));
        sftp_put_cstring(&w, "long");
        sftp_put_u32(&w, 0);
    }
    enqueue(&w);
}

static void reply_read(uint32_t id, uint64_t off, uint32_t len)
{
    if (off >= server->size) {
        reply_status(id, SFTP_FX_EOF);
        return;
    }
    size_t n = min_u64(len, server->size - off);
    if (server->shuffled && n > 1 && below(3) == 0)
        n = 1 + below(n - 1);
    struct sftp_writer w = packet(SFTP_DATA, id, n);
    sftp_put_string(&w, server->file + off, n);
    enqueue(&w);
}

/* One of the lies, in place of an answer. */
static bool reply_lie(uint32_t id, uint8_t type, uint32_t len)
{
    struct sftp_writer w;
    switch (server->lie) {
    case LIE_MORE_DATA:
        if (type != SFTP_READ)
            return false;
        w = packet(SFTP_DATA, id, len + 1);
        sftp_put_string(&w, server->file, len + 1);
        break;
    case LIE_UNKNOWN_ID:
        w = packet(SFTP_ATTRS, id + 256, 64);
        sftp_put_u32(&w, 0);
        break;
    case LIE_HUGE_PACKET:
        w = packet(SFTP_ATTRS, id, 64);
        enqueue(&w);
        memset(w.buf, 0xff, 4);
        return true;
    case LIE_TINY_PACKET:
        w = packet(SFTP_STATUS, id, 64);
        enqueue(&w);
        memcpy(w.buf, "\0\0\0\1", 4);
        return true;
    case LIE_STRING_LENGTH:
        w = packet(type == SFTP_READ ? SFTP_DATA : SFTP_HANDLE, id, 64);
        sftp_put_u32(&w, 0xfffffff0u);
        sftp_put_u64(&w, 0);
        break;
    case LIE_WRONG_TYPE:
        w = packet(type == SFTP_LSTAT ? SFTP_HANDLE : SFTP_ATTRS, id, 64);
        sftp_put_u32(&w, 0);
        break;
    case LIE_NO_DATA:
        if (type != SFTP_READ)
            return false;
        w = packet(SFTP_DATA, id, 64);
        sftp_put_u32(&w, 0);
        break;
    case LIE_HANDLE:
        if (type != SFTP_OPEN && type != SFTP_OPENDIR)
            return false;
        w = packet(SFTP_HANDLE, id, 300);
        sftp_put_string(&w, server->file, 257);
        break;
    case LIE_ENTRIES:
        if (type != SFTP_READDIR)
            return false;
        w = packet(SFTP_NAME, id, 64);
        sftp_put_u32(&w, 0xffffffffu);
        sftp_put_u64(&w, 0);
        break;
    case LIE_NOISE:
        w = packet((uint8_t)(101 + below(5)), id, 64);
        for (size_t i = below(60); i-- > 0;)
            sftp_put_u8(&w, below(2) ? (uint8_t)below(4) : (uint8_t)below(256));
        break;
    default:
        return false;
    }
    enqueue(&w);
    return true;
}

static void serve_write(uint32_t id, struct sftp_reader *r)
{
    size_t n;
    uint64_t off = sftp_get_u64(r);
    const uint8_t *data = sftp_get_string(r, &n);
    assert_true(off <= sizeof server->file && n <= sizeof server->file - off);
    memcpy(server->file + off, data, n);
    server->size = max_u64(server->size, off + n);
    reply_status(id, SFTP_FX_OK);
}

static void serve(uint8_t type, struct sftp_reader *r)
{
    uint32_t id = sftp_get_u32(r);
    size_t n;
    if (type == SFTP_INIT) {
        struct sftp_writer w = packet(SFTP_VERSION, 3, 0);
        enqueue(&w);
        return;
    }
    const uint8_t *path = sftp_get_string(r, &n);
    bool in_root = n >= 5 && !memcmp(path, "/root", 5);
    uint64_t off = type == SFTP_READ ? sftp_get_u64(r) : 0;
    uint32_t len = type == SFTP_READ ? sftp_get_u32(r) : 0;
    if (server->opened && reply_lie(id, type, len))
        return;
    switch (type) {
    case SFTP_STAT:
    case SFTP_LSTAT:
        reply_attrs(id, in_root && n > 5 && path[6] == 'f' ? S_IFREG | 0644 : S_IFDIR | 0755);
        break;
    case SFTP_FSTAT:
        reply_attrs(id, S_IFREG | 0644);
        break;
    case SFTP_REALPATH:
        reply_string(SFTP_NAME, id, "/root");
        break;
    case SFTP_OPEN:
    case SFTP_OPENDIR:
        server->open_handles++;
        server->pages = 0;
        reply_string(SFTP_HANDLE, id, "h");
        break;
    case SFTP_CLOSE:
        server->open_handles--;
        reply_status(id, SFTP_FX_OK);
        break;
    case SFTP_READ:
        reply_read(id, off, len);
        break;
    case SFTP_WRITE:
        serve_write(id, r);
        break;
    case SFTP_READDIR:
        reply_page(id);
        break;
    default:
        reply_status(id, SFTP_FX_OP_UNSUPPORTED);
    }
}

static void serve_all(void)
{
    while (server->in_len >= 5) {
        struct sftp_reader r = {.p = server->in, .left = server->in_len};
        uint32_t len = sftp_get_u32(&r);
        if (len > server->in_len - 4)
            return;
        struct sftp_reader body = {.p = server->in + 5, .left = len - 1};
        serve(server->in[4], &body);
        memmove(server->in, server->in + 4 + len, server->in_len - 4 - len);
        server->in_len -= 4 + len;
    }
}

/* --- what the driver takes for SSH ------------------------------------------------------------ */

int ssh_connect(struct ssh **ret, const struct origin_config *cfg, const char *subsystem,
                char **ret_why)
{
    *ret = server;
    return 0;
}

int ssh_explain(struct ssh *s, int err, char **ret_why)
{
    return err;
}

int ssh_fail(char **ret_why, int err, const char *fmt, ...)
{
    return err;
}

void ssh_close(struct ssh *s)
{
}

const char *ssh_name(const struct ssh *s)
{
    return "fake";
}

/* Which of the waiting replies goes next: any, but the attributes of a file not before its reads.
 */
static size_t pick(void)
{
    size_t at = server->shuffled ? below(server->waiting_count) : 0;
    return server->waiting[at].bytes[4] == SFTP_DATA || server->waiting[at].bytes[4] == SFTP_STATUS
               ? at
               : 0;
}

ssize_t ssh_read(struct ssh *s, void *buf, size_t len)
{
    if (s->out_pos == s->out_len) {
        free(s->out);
        s->out = NULL;
        s->out_pos = s->out_len = 0;
        serve_all();
        if (!s->waiting_count || below(8) == 0)
            return -EAGAIN;
        size_t at = pick();
        s->out = s->waiting[at].bytes;
        s->out_len = s->waiting[at].len;
        s->waiting_count--;
        memmove(&s->waiting[at], &s->waiting[at + 1],
                (s->waiting_count - at) * sizeof s->waiting[0]);
    }
    size_t n = min_u64(len, s->out_len - s->out_pos);
    if (n > 1 && below(2))
        n = 1 + below(n);
    memcpy(buf, s->out + s->out_pos, n);
    s->out_pos += n;
    return (ssize_t)n;
}

ssize_t ssh_write(struct ssh *s, const void *buf, size_t len)
{
    size_t n = min_u64(len, sizeof s->in - s->in_len);
    if (n > 1 && below(4) == 0)
        n = 1 + below(n);
    if (n == 0 || below(8) == 0) {
        serve_all();
        return -EAGAIN;
    }
    memcpy(s->in + s->in_len, buf, n);
    s->in_len += n;
    return (ssize_t)n;
}

int ssh_wait(struct ssh *s, const struct origin_call *c)
{
    int err;
    return origin_call_ended(c, &err) ? err : 0;
}

bool ssh_is_alive(struct ssh *s)
{
    return true;
}

/* --- tests ------------------------------------------------------------------------------------ */

static const struct origin_call *call_soon(void)
{
    static struct origin_call c;
    c = (struct origin_call){.deadline_ns = cairn_now_ns() + 20 * NSEC_PER_SEC};
    return &c;
}

static int setup(void **state)
{
    const char *given = getenv("CAIRN_SEED");
    server = calloc(1, sizeof *server);
    server->rng = given ? strtoull(given, NULL, 0) : (uint64_t)cairn_now_ns();
    print_message("CAIRN_SEED=%llu\n", (unsigned long long)server->rng);
    for (size_t i = 0; i < sizeof server->file; i++)
        server->file[i] = (uint8_t)(i * 2654435761u >> 11);
    server->size = FILE_BYTES;
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < server->waiting_count; i++)
        free(server->waiting[i].bytes);
    free(server->out);
    free(server);
    return 0;
}

static struct origin *connect_fake(void)
{
    char path[] = "/root", host[] = "fake";
    struct origin_url url = {.path = path, .host = host};
    struct origin_config cfg = {.url = &url};
    struct origin *o = NULL;
    char *why = NULL;
    assert_int_equal(origin_driver_sftp.connect(&o, &cfg, call_soon(), &why), 0);
    server->opened = true;
    return o;
}

static void test_reads_in_any_order_and_short(void **state)
{
    struct origin *o = connect_fake();
    struct origin_file *f;
    struct origin_stat st;
    AUTO_FREE uint8_t *buf = malloc(FILE_BYTES + 100);
    server->shuffled = true;
    assert_int_equal(origin_open(o, call_soon(), "f", O_RDWR, 0, &f, &st), 0);
    for (int i = 0; i < 60; i++) {
        uint64_t off = i ? below(FILE_BYTES + 10) : 0;
        size_t len = i ? below(FILE_BYTES + 100 - off) : FILE_BYTES + 100;
        size_t expected = off < FILE_BYTES ? min_u64(len, FILE_BYTES - off) : 0;
        memset(buf, 0x5a, FILE_BYTES + 100);
        assert_int_equal(origin_pread(f, call_soon(), buf, len, off, &st), expected);
        assert_memory_equal(buf, server->file + off, expected);
        if (expected < len)
            assert_int_equal(st.size, FILE_BYTES);
    }
    origin_close_file(f);
    assert_true(origin_usable(o));
    origin_close(o);
}

static void test_writes_answered_in_any_order(void **state)
{
    struct origin *o = connect_fake();
    struct origin_file *f;
    AUTO_FREE uint8_t *buf = malloc(FILE_BYTES);
    server->shuffled = true;
    for (size_t i = 0; i < FILE_BYTES; i++)
        buf[i] = (uint8_t)(i * 40503u >> 7);
    assert_int_equal(origin_open(o, call_soon(), "f", O_RDWR, 0, &f, NULL), 0);
    assert_int_equal(origin_pwrite(f, call_soon(), buf, FILE_BYTES, 1000), 0);
    assert_memory_equal(server->file + 1000, buf, FILE_BYTES);
    origin_close_file(f);
    origin_close(o);
}

static void test_handles_are_all_given_back(void **state)
{
    struct origin *o = connect_fake();
    struct origin_file *f[700];
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        assert_int_equal(origin_open(o, call_soon(), "f", O_RDONLY, 0, &f[i], NULL), 0);
    assert_int_equal(server->open_handles, ARRAY_LEN(f));
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        origin_close_file(f[i]);
    for (int i = 0; i < 1000 && server->open_handles; i++)
        assert_int_equal(origin_health(o, call_soon()), 0);
    assert_int_equal(server->open_handles, 0);
    origin_close(o);
}

struct names {
    size_t count;
};

static int count_names(void *arg, const struct origin_entry *entries, size_t count)
{
    struct names *n = arg;
    for (size_t i = 0; i < count; i++)
        assert_true(!strcmp(entries[i].name, "a") || !strcmp(entries[i].name, "b"));
    n->count += count;
    return 0;
}

static void test_impossible_names_are_left_out(void **state)
{
    struct origin *o = connect_fake();
    struct names n = {0};
    server->lie = LIE_NAMES;
    assert_int_equal(origin_list(o, call_soon(), "", count_names, &n), 0);
    assert_int_equal(n.count, 2);
    origin_close(o);
}

/* After one lie of this kind: an error, no crash; what was promised to be untouched is. */
static void lie_once(enum lie lie, int expected)
{
    struct origin *o = connect_fake();
    struct origin_file *f = NULL;
    struct origin_stat st = {.size = 4711};
    struct names n = {0};
    uint8_t buf[5000], guard[64];
    memset(guard, 0x5a, sizeof guard);
    int err = origin_open(o, call_soon(), "f", O_RDONLY, 0, &f, NULL);
    assert_int_equal(err, 0);
    server->lie = lie;
    int stat_err = origin_stat(o, call_soon(), "f", &st);
    ssize_t got = origin_pread(f, call_soon(), buf, sizeof buf, 0, NULL);
    struct origin_file *g = NULL;
    int open_err = origin_open(o, call_soon(), "f", O_RDONLY, 0, &g, NULL);
    int list_err = origin_list(o, call_soon(), "", count_names, &n);
    if (expected) {
        assert_true(stat_err == expected || got == expected || open_err == expected ||
                    list_err == expected);
        assert_true(!stat_err || st.size == 4711);
        assert_true(lie != LIE_UNKNOWN_ID || stat_err == expected);
    }
    if (!open_err)
        origin_close_file(g);
    origin_close_file(f);
    origin_close(o);
}

static void test_lies_are_errors(void **state)
{
    for (enum lie lie = LIE_MORE_DATA; lie < LIE_NAMES; lie++) {
        teardown(state);
        setup(state);
        print_message("lie %d\n", (int)lie);
        lie_once(lie, -EBADMSG);
    }
}

static void test_noise_does_no_harm(void **state)
{
    for (int i = 0; i < 300; i++) {
        uint64_t rng = server->rng + 1;
        teardown(state);
        setup(state);
        server->rng = rng;
        lie_once(LIE_NOISE, 0);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    cairn_log_set_level(CAIRN_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(test_reads_in_any_order_and_short),
        TEST(test_writes_answered_in_any_order),
        TEST(test_handles_are_all_given_back),
        TEST(test_impossible_names_are_left_out),
        TEST(test_lies_are_errors),
        TEST(test_noise_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
