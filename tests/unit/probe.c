/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container can see and do: the program that the tests of runtime and sandbox run inside.
 * Static, so that it is a whole image by itself.
 *
 * Words are commands with their arguments, done in order; each prints one line: what it found, or
 * the name of the error ("EPERM"), or "ok".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void say(long result)
{
    puts(result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static void do_cat(const char *path)
{
    char text[16384];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) {
        say(-1);
        return;
    }
    text[n] = '\0';
    printf("%s%s", text, n && text[n - 1] == '\n' ? "" : "\n");
    close(fd);
}

/* A line of /proc/self/status. */
static void do_status(const char *key)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            fputs(line, stdout);
    if (file)
        fclose(file);
}

static void do_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    say(fd < 0 ? -1 : write(fd, text, strlen(text)));
    if (fd >= 0)
        close(fd);
}

static void do_ls(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        say(-1);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
            printf("%s ", entry->d_name);
    puts("");
    closedir(dir);
}

static void do_stat(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        say(-1);
    else
        printf("%o %u:%u\n", st.st_mode, st.st_uid, st.st_gid);
}

static void do_eat(const char *mebibytes)
{
    size_t size = strtoul(mebibytes, NULL, 10) << 20;
    char *memory = malloc(size);
    memset(memory, 1, size);
    printf("%d\n", memory[size / 2]);
}

static void do_names(void)
{
    char name[256], directory[4096];
    gethostname(name, sizeof name);
    printf("%d %u:%u %s %s\n", (int)getpid(), getuid(), getgid(), name,
           getcwd(directory, sizeof directory));
}

static void do_limit(const char *resource)
{
    struct rlimit limit;
    getrlimit((__rlimit_resource_t)atoi(resource), &limit);
    printf("%llu %llu\n", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
}

static void do_open(const char *path, int flags)
{
    int fd = open(path, flags);
    say(fd);
    if (fd >= 0)
        close(fd);
}

/* One word without arguments. False: unknown. */
static bool do_plain(const char *word)
{
    if (strcmp(word, "names") == 0)
        do_names();
    else if (strcmp(word, "unshare") == 0)
        say(unshare(CLONE_NEWUSER));
    else if (strcmp(word, "keyctl") == 0)
        say(syscall(SYS_keyctl, 0, -3, 1));
    else if (strcmp(word, "clone3") == 0)
        say(syscall(SYS_clone3, NULL, 0));
    else if (strcmp(word, "newest") == 0)
        say(syscall(600));
    else if (strcmp(word, "fchmodat2") == 0)
        say(syscall(452, -1, "x", 0600, 0)); /* EBADF: it got as far as looking */
    else if (strcmp(word, "alg") == 0)
        say(socket(38, SOCK_SEQPACKET, 0));
    else if (strcmp(word, "wide") == 0) { /* the kernel takes an int of it */
        say(syscall(SYS_socket, 1l << 32 | 38, SOCK_SEQPACKET, 0));
        say(syscall(SYS_socket, 1l << 32 | 40, SOCK_STREAM, 0));
        say(syscall(SYS_socket, 1l << 32 | 16, SOCK_RAW, 0));
    } else if (strcmp(word, "tty") == 0)
        printf("%d %s\n", isatty(0) && isatty(1) && isatty(2), ttyname(0) ? ttyname(0) : "-");
    else if (strcmp(word, "forever") == 0)
        for (;;)
            pause();
    else if (strcmp(word, "term") == 0)
        signal(SIGTERM, _exit);
    else if (strcmp(word, "mounttmp") == 0)
        say(mount("none", "/tmp", "tmpfs", 0, NULL));
    else if (strcmp(word, "mountproc") == 0)
        say(mount("none", "/tmp", "proc", 0, NULL));
    else
        return false;
    fflush(stdout);
    return true;
}

static bool do_with_argument(const char *word, const char *argument)
{
    if (strcmp(word, "cat") == 0)
        do_cat(argument);
    else if (strcmp(word, "status") == 0)
        do_status(argument);
    else if (strcmp(word, "ls") == 0)
        do_ls(argument);
    else if (strcmp(word, "stat") == 0)
        do_stat(argument);
    else if (strcmp(word, "eat") == 0)
        do_eat(argument);
    else if (strcmp(word, "limit") == 0)
        do_limit(argument);
    else if (strcmp(word, "open") == 0)
        do_open(argument, O_RDONLY | O_NONBLOCK);
    else if (strcmp(word, "openw") == 0)
        do_open(argument, O_WRONLY | O_NONBLOCK);
    else if (strcmp(word, "umount") == 0)
        say(umount2(argument, MNT_DETACH));
    else if (strcmp(word, "remount") == 0)
        say(mount(NULL, argument, NULL, MS_REMOUNT | MS_BIND, NULL));
    else if (strcmp(word, "mknod") == 0)
        say(mknod(argument, S_IFCHR | 0666, makedev(1, 3)));
    else if (strcmp(word, "mkkmsg") == 0)
        say(mknod(argument, S_IFCHR | 0666, makedev(1, 11)));
    else if (strcmp(word, "env") == 0)
        puts(getenv(argument) ? getenv(argument) : "-");
    else if (strcmp(word, "kill") == 0)
        say(kill(getpid(), atoi(argument)));
    else if (strcmp(word, "exit") == 0)
        exit(atoi(argument));
    else
        return false;
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (do_plain(argv[i]))
            continue;
        if (i + 1 < argc && do_with_argument(argv[i], argv[i + 1])) {
            i++;
        } else if (i + 2 < argc && strcmp(argv[i], "write") == 0) {
            do_write(argv[i + 1], argv[i + 2]);
            i += 2;
        } else {
            printf("unknown word '%s'\n", argv[i]);
            return 99;
        }
    }
    return 0;
}
