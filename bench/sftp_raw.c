// SPDX-License-Identifier: Apache-2.0
/*
 * How fast is one SFTP connection, beside nothing but its wire? Starts an sshd of its own on
 * loopback; reads and writes a file in large calls, opens and reads small ones, lists a directory.
 *
 *     bench-sftp-raw [MIB [CALL_MIB]]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "lib/sshd.h"
#include "origins/origin.h"
#include "origins/url.h"

#define SMALL_FILES 2000

static const struct origin_call call = {.deadline_ns = CAIRN_NEVER};

static void check(int err, const char *what)
{
    if (err < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-err));
        exit(1);
    }
}

static double seconds_since(int64_t start)
{
    return (double)(cairn_now_ns() - start) / 1e9;
}

static int count_entries(void *arg, const struct origin_entry *entries, size_t count)
{
    *(size_t *)arg += count;
    return 0;
}

static void bench_data(struct origin *o, size_t mib, size_t call_mib)
{
    struct origin_file *f;
    size_t call_bytes = call_mib * MIB;
    char *buf = malloc(call_bytes);
    size_t total = mib * MIB;
    for (size_t i = 0; i < call_bytes; i++)
        buf[i] = (char)(i * 2654435761u >> 13);
    check(origin_open(o, &call, "big", O_RDWR | O_CREAT | O_TRUNC, 0644, &f, NULL), "open");
    int64_t t = cairn_now_ns();
    for (size_t off = 0; off < total; off += call_bytes)
        check(origin_pwrite(f, &call, buf, call_bytes, off), "write");
    printf("write %zu MiB in %zu MiB calls: %.0f MB/s\n", mib, call_mib,
           (double)total / 1e6 / seconds_since(t));
    for (int i = 0; i < 3; i++) {
        struct origin_stat st;
        t = cairn_now_ns();
        for (size_t off = 0; off < total; off += call_bytes)
            check((int)origin_pread(f, &call, buf, call_bytes, off, &st), "read");
        printf("read %zu MiB in %zu MiB calls: %.0f MB/s\n", mib, call_mib,
               (double)total / 1e6 / seconds_since(t));
    }
    origin_close_file(f);
    free(buf);
}

static void bench_small(struct origin *o)
{
    char name[32], buf[4096] = "small";
    check(origin_mkdir(o, &call, "small", 0755), "mkdir");
    int64_t t = cairn_now_ns();
    for (int i = 0; i < SMALL_FILES; i++) {
        struct origin_file *f;
        snprintf(name, sizeof name, "small/%d", i);
        check(origin_open(o, &call, name, O_WRONLY | O_CREAT | O_EXCL, 0644, &f, NULL), "create");
        check(origin_pwrite(f, &call, buf, sizeof buf, 0), "write");
        origin_close_file(f);
    }
    printf("create + write 4 KiB: %.0f files/s\n", SMALL_FILES / seconds_since(t));
    t = cairn_now_ns();
    for (int i = 0; i < SMALL_FILES; i++) {
        struct origin_file *f;
        struct origin_stat st;
        snprintf(name, sizeof name, "small/%d", i);
        check(origin_open(o, &call, name, O_RDONLY, 0, &f, &st), "open");
        check((int)origin_pread(f, &call, buf, sizeof buf, 0, &st), "read");
        origin_close_file(f);
    }
    printf("open + read 4 KiB + close: %.0f files/s\n", SMALL_FILES / seconds_since(t));
    size_t n = 0;
    t = cairn_now_ns();
    check(origin_list(o, &call, "small", count_entries, &n), "list");
    printf("list with attributes: %.0f entries/s\n", (double)n / seconds_since(t));
    struct origin_stat st;
    t = cairn_now_ns();
    for (int i = 0; i < SMALL_FILES; i++)
        check(origin_stat(o, &call, "small/0", &st), "stat");
    printf("stat: %.0f/s\n", SMALL_FILES / seconds_since(t));
}

int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 1024;
    size_t call_mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 16;
    struct sshd *sshd = sshd_start("ed25519", NULL, NULL);
    if (!sshd || !call_mib)
        return 1;
    struct origin_url url = {.scheme = (char[]){"sftp"},
                             .host = (char[]){"127.0.0.1"},
                             .port = sshd->port,
                             .path = sshd->tree};
    struct origin_config cfg = {.url = &url,
                                .ssh_config = "/dev/null",
                                .ssh_known_hosts = sshd->known_hosts,
                                .ssh_identity = sshd->identity};
    struct origin *o = NULL;
    char *why = NULL;
    int64_t t = cairn_now_ns();
    if (origin_driver_sftp.connect(&o, &cfg, &call, &why) < 0) {
        fprintf(stderr, "%s\n", why);
        sshd_stop(sshd);
        return 1;
    }
    printf("connect: %.0f ms\n", seconds_since(t) * 1e3);
    bench_data(o, mib, call_mib);
    bench_small(o);
    origin_close(o);
    sshd_stop(sshd);
    return 0;
}
