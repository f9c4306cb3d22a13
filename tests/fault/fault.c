/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a command and lets something go wrong at its N-th file-changing system call.
 *
 *     fault [OPTION...] count           -- COMMAND...   only counts
 *     fault [OPTION...] list            -- COMMAND...   reports each call, numbered
 *     fault [OPTION...] kill N          -- COMMAND...   the whole process tree is killed before the N-th call is done
 *     fault [OPTION...] random SEED MAX -- COMMAND...   the same at a random one of MAX, or up to 2 ms later
 *     fault [OPTION...] fail ERRNO N    -- COMMAND...   the N-th call is not done and returns the error
 *     fault [OPTION...] fail ERRNO N+   -- COMMAND...   so do all after it
 *     fault [OPTION...] skip-sync N     -- COMMAND...   the N-th sync is not done and returns 0
 *     fault calls [CLASS]                               the names of the class, for `strace -e trace=`
 *
 *     -c CLASS   which calls are counted: change, sync, fd or read (calls.h). `change` unless said otherwise;
 *                `fd` for fail EMFILE and ENFILE, `sync` for skip-sync
 *     -o FILE    where the report goes, instead of standard error
 *     -k         when the command itself has ended, its descendants that go on are killed; else they are waited for
 *
 * The report is one JSON line: how many calls of the class were seen, at which something was done and what it was about
 * (null when the command made fewer), the exit status (the command's own, 128 + N when a signal ended it), and how many
 * descriptors the command had open when it ended: more than without a failure is a leak. With N from 1 to the number that
 * `count` reports every state that a kill can leave is reached once, and one more lets the command end.
 *
 * What goes into pipes, sockets and terminals does not fail (and is not counted then): a full disk spares the message
 * that says so.
 *
 * How it works: the command runs under a seccomp filter that stops it, for us as its tracer, before the calls of the class;
 * all others run at full speed. Children, threads and programs that it starts inherit the filter and are traced from their
 * first instruction. A call that is stopped in has had no effect: when the process is killed now, or the call's number
 * replaced by none, it never has one. Several threads: N is in the order in which they get here, so it takes one thread to
 * come to the same place twice. */
#include "calls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the registers of this architecture are to be added: read_call() and replace_call()"
#endif

typedef enum {
    COUNT,
    LIST,
    KILL,
    RANDOM,
    FAIL,
    SKIP,
} Mode;

static struct {
    Mode mode;
    unsigned class;
    unsigned long at; /* the call, from 1; 0: none */
    bool onwards;
    int error; /* FAIL */
    useconds_t delay;
    bool kill_rest;
    FILE *report;
    char **command;
} option = {.class = CHANGE};

static struct {
    pid_t command;
    int status; /* of the command, as a shell says it */
    int fds;    /* what it had open at its end */
    bool killing;
    unsigned long calls;
    const char *hit; /* the call something was done at */
    char subject[512];
    pid_t *tids; /* all that are traced and have not ended */
    size_t n_tids;
} run;

static const int requests[] = CHANGING_REQUESTS;
enum { N_REQUESTS = sizeof requests / sizeof *requests };

static void die(const char *what)
{
    fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* --- the command and its filter ------------------------------------------------------------------------- */

static bool is_counted(const Call *call)
{
    return call->classes & option.class;
}

/* Whether calls of the class have to be told from others by their arguments. */
static When condition(const Call *call)
{
    return option.class == CHANGE ? call->when : ALWAYS;
}

typedef struct {
    struct sock_filter code[N_CALLS * (5 + N_REQUESTS) + 8];
    unsigned short length;
} Filter;

static void emit(Filter *filter, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
    filter->code[filter->length++] = (struct sock_filter)BPF_JUMP(code, k, if_true, if_false);
}

static void emit_load(Filter *filter, size_t offset)
{
    emit(filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(Filter *filter, uint32_t value)
{
    emit(filter, BPF_RET | BPF_K, value, 0, 0);
}

/* The number is in the accumulator, before and after. The call's place in the table comes with the stop. */
static void emit_call(Filter *filter, unsigned place)
{
    const Call *call = &calls[place];
    uint32_t trace = SECCOMP_RET_TRACE | place;
    When when = condition(call);
    unsigned short jump = filter->length;
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call->number, 0, 0);
    if (when == FLAGS_1 || when == FLAGS_2) { /* the low half: this is little-endian */
        emit_load(filter, offsetof(struct seccomp_data, args[when == FLAGS_1 ? 1 : 2]));
        emit(filter, BPF_JMP | BPF_JSET | BPF_K, OPEN_CHANGES, 0, 1);
    } else if (when == REQUEST_1) {
        emit_load(filter, offsetof(struct seccomp_data, args[1]));
        for (unsigned i = 0; i < N_REQUESTS; i++)
            emit(filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)requests[i],
                 (uint8_t)(N_REQUESTS - 1 - i), i == N_REQUESTS - 1);
    }
    emit_return(filter, trace);
    if (when != ALWAYS && when != HOW_2)
        emit_return(filter, SECCOMP_RET_ALLOW);
    filter->code[jump].jf = (uint8_t)(filter->length - jump - 1);
}

static void install_filter(void)
{
    static Filter filter;
    emit_load(&filter, offsetof(struct seccomp_data, arch));
    emit(&filter, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    emit_return(&filter, SECCOMP_RET_ALLOW);
    emit_load(&filter, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < N_CALLS; i++)
        if (is_counted(&calls[i]))
            emit_call(&filter, i);
    emit_return(&filter, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = filter.length, .filter = filter.code};
    /* without privileges the price is that set-user-id programs have no effect below */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0))
        die("cannot install the filter");
}

/* Traced before its filter is there, or the first calls would fail for want of a tracer. */
static void start(void)
{
    const int options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK |
                        PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                        PTRACE_O_EXITKILL;
    int ready[2];
    char go = 'g';
    if (pipe2(ready, O_CLOEXEC) < 0 || (run.command = fork()) < 0)
        die("cannot start");
    if (run.command == 0) {
        close(ready[1]);
        if (read(ready[0], &go, 1) != 1)
            _exit(125);
        install_filter();
        execvp(option.command[0], option.command);
        fprintf(stderr, "fault: cannot run '%s': %s\n", option.command[0], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    close(ready[0]);
    if (ptrace(PTRACE_SEIZE, run.command, NULL, (void *)(intptr_t)options) < 0)
        die("cannot trace");
    if (write(ready[1], &go, 1) != 1)
        die("cannot start");
    close(ready[1]);
}

/* --- who is traced -------------------------------------------------------------------------------------- */

static void add_tid(pid_t tid)
{
    for (size_t i = 0; i < run.n_tids; i++)
        if (run.tids[i] == tid)
            return;
    if (!(run.tids = realloc(run.tids, (run.n_tids + 1) * sizeof *run.tids)))
        die("no memory");
    run.tids[run.n_tids++] = tid;
    if (run.killing)
        kill(tid, SIGKILL);
}

static void remove_tid(pid_t tid)
{
    for (size_t i = 0; i < run.n_tids; i++)
        if (run.tids[i] == tid)
            run.tids[i--] = run.tids[--run.n_tids];
}

/* Also those that are just being made: they are killed when we first hear of them. */
static void kill_all(void)
{
    run.killing = true;
    for (size_t i = 0; i < run.n_tids; i++)
        kill(run.tids[i], SIGKILL); /* a thread's process dies with it */
}

/* --- a call --------------------------------------------------------------------------------------------- */

static void read_call(pid_t tid, struct user_regs_struct *out_registers, uint64_t out_arguments[6])
{
    struct user_regs_struct *r = out_registers;
    if (ptrace(PTRACE_GETREGS, tid, NULL, r) < 0)
        *r = (struct user_regs_struct){0}; /* killed by another */
    const uint64_t arguments[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
    memcpy(out_arguments, arguments, sizeof arguments);
}

/* The call isn't done; `result` is what it returns. */
static void replace_call(pid_t tid, struct user_regs_struct *registers, int result)
{
    registers->orig_rax = (unsigned long long)-1;
    registers->rax = (unsigned long long)(long long)result;
    ptrace(PTRACE_SETREGS, tid, NULL, registers);
}

static ssize_t read_memory(pid_t tid, uint64_t address, void *buffer, size_t size)
{
    struct iovec here = {buffer, size}, there = {(void *)(uintptr_t)address, size};
    return process_vm_readv(tid, &here, 1, &there, 1, 0);
}

/* A path, to the end of the page that it begins in at most: the next need not be there. */
static void read_path(pid_t tid, uint64_t address, char *buffer, size_t size)
{
    size_t room = 4096 - address % 4096;
    ssize_t n = read_memory(tid, address, buffer, room < size - 1 ? room : size - 1);
    buffer[n < 0 ? 0 : n] = '\0';
}

static void describe(pid_t tid, const Call *call, const uint64_t arguments[6])
{
    *run.subject = '\0';
    if (call->about == BY_PATH) {
        read_path(tid, arguments[call->subject], run.subject, sizeof run.subject);
    } else if (call->about == BY_FD) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tid, (int)arguments[call->subject]);
        ssize_t n = readlink(path, run.subject, sizeof run.subject - 1);
        run.subject[n < 0 ? 0 : n] = '\0';
    }
}

/* What the filter can't see: flags behind a pointer. */
static bool is_change(pid_t tid, const Call *call, const uint64_t arguments[6])
{
    struct open_how how = {0};
    if (condition(call) != HOW_2)
        return true;
    read_memory(tid, arguments[2], &how, sizeof how.flags);
    return how.flags & OPEN_CHANGES;
}

static bool is_spared(pid_t tid, const Call *call, const uint64_t arguments[6])
{
    struct stat st;
    char path[64];
    if (option.mode != FAIL || option.class == FD || call->about != BY_FD)
        return false;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tid, (int)arguments[call->subject]);
    return stat(path, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode));
}

static void print_json_text(const char *text)
{
    putc('"', option.report);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\')
            fprintf(option.report, "\\u%04x", *c);
        else
            putc(*c, option.report);
    putc('"', option.report);
}

/* The tracee is stopped before the call. */
static void on_call(pid_t tid)
{
    unsigned long place;
    struct user_regs_struct registers;
    uint64_t arguments[6];
    if (run.killing || ptrace(PTRACE_GETEVENTMSG, tid, NULL, &place) < 0 || place >= N_CALLS)
        return;
    const Call *call = &calls[place];
    read_call(tid, &registers, arguments);
    if (!is_change(tid, call, arguments) || is_spared(tid, call, arguments))
        return;
    run.calls++;
    if (option.mode == LIST) {
        describe(tid, call, arguments);
        fprintf(option.report, "%lu %s ", run.calls, call->name);
        print_json_text(run.subject);
        putc('\n', option.report);
    }
    if (!option.at || run.calls < option.at || (run.calls > option.at && !option.onwards))
        return;
    if (!run.hit) {
        run.hit = call->name;
        describe(tid, call, arguments);
    }
    if (option.mode == FAIL || option.mode == SKIP) {
        replace_call(tid, &registers, -option.error);
    } else {
        usleep(option.delay);
        kill_all();
    }
}

/* --- events --------------------------------------------------------------------------------------------- */

static int count_fds(pid_t tid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)tid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static void on_end(pid_t tid, int status)
{
    remove_tid(tid);
    if (tid != run.command)
        return;
    run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (option.kill_rest)
        kill_all();
}

/* It did not begin under the number that it has now: a thread that is not the first executes a program. */
static void on_exec(pid_t tid)
{
    unsigned long former;
    if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &former) == 0 && (pid_t)former != tid)
        remove_tid((pid_t)former);
}

static void on_stop(pid_t tid, int status)
{
    int event = status >> 16, signal = WSTOPSIG(status);
    unsigned long child;
    add_tid(tid);
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        on_call(tid);
        break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &child) == 0)
            add_tid((pid_t)child);
        break;
    case PTRACE_EVENT_EXEC:
        on_exec(tid);
        break;
    case PTRACE_EVENT_EXIT:
        if (tid == run.command)
            run.fds = count_fds(tid);
        break;
    case PTRACE_EVENT_STOP: /* a new child's first stop; or it is stopped by a signal, and stays so */
        if (signal != SIGTRAP) {
            ptrace(PTRACE_LISTEN, tid, NULL, NULL);
            return;
        }
        break;
    default: /* a signal on its way: let it through */
        ptrace(PTRACE_CONT, tid, NULL, (void *)(intptr_t)signal);
        return;
    }
    ptrace(PTRACE_CONT, tid, NULL, NULL);
}

static void follow(void)
{
    add_tid(run.command);
    while (run.n_tids > 0) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0 && errno == EINTR)
            continue;
        if (tid < 0) /* nobody is left, whatever we thought */
            break;
        if (WIFSTOPPED(status))
            on_stop(tid, status);
        else
            on_end(tid, status);
    }
}

static void report(void)
{
    fprintf(option.report, "{\"calls\": %lu, \"at\": ", run.calls);
    if (run.hit) {
        fprintf(option.report, "%lu, \"call\": \"%s\", \"subject\": ", option.at, run.hit);
        print_json_text(run.subject);
    } else {
        fprintf(option.report, "null");
    }
    fprintf(option.report, ", \"status\": %d, \"fds\": %d}\n", run.status, run.fds);
    if (fflush(option.report) != 0)
        die("cannot write the report");
}

/* --- the command line ----------------------------------------------------------------------------------- */

static void usage(void)
{
    fprintf(stderr,
            "usage: fault [-c change|sync|fd|read] [-o FILE] [-k] MODE -- COMMAND...\n"
            "MODE: count | list | kill N | random SEED MAX | fail ERRNO N[+] | skip-sync N\n"
            "       fault calls [CLASS]\n");
    exit(125);
}

static unsigned parse_class(const char *name)
{
    static const struct {
        const char *name;
        unsigned class;
    } classes[] = {{"change", CHANGE}, {"sync", SYNC}, {"fd", FD}, {"read", READ}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (name && strcmp(name, classes[i].name) == 0)
            return classes[i].class;
    usage();
    return 0;
}

static int parse_error(const char *name)
{
    for (int error = 1; error < 134; error++)
        if (name && strerrorname_np(error) && strcmp(name, strerrorname_np(error)) == 0)
            return error;
    usage();
    return 0;
}

static unsigned long parse_number(const char *text, const char **out_rest)
{
    char *rest;
    unsigned long number = text && *text >= '0' && *text <= '9' ? strtoul(text, &rest, 10) : 0;
    if (number == 0 || (*rest && !out_rest))
        usage();
    if (out_rest)
        *out_rest = rest;
    return number;
}

/* splitmix64: the same seed gives the same place everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Half of the time at once, while the other threads are where they are; else they go on for a while, and the thread
 * that is stopped stays where it is. */
static void choose_random(const char *seed, const char *max)
{
    uint64_t state = parse_number(seed, NULL);
    unsigned long of = parse_number(max, NULL);
    option.at = 1 + next_random(&state) % of;
    if (next_random(&state) % 2)
        option.delay = next_random(&state) % 2000;
}

/* Returns what follows the mode. `class` is the caller's wish; 0: none. */
static char **parse_mode(char **word, unsigned class)
{
    const char *mode = *word++, *rest;
    option.class = CHANGE;
    if (strcmp(mode, "count") == 0) {
        option.mode = COUNT;
    } else if (strcmp(mode, "list") == 0) {
        option.mode = LIST;
    } else if (strcmp(mode, "kill") == 0) {
        option.mode = KILL;
        option.at = parse_number(*word++, NULL);
    } else if (strcmp(mode, "random") == 0 && word[0]) {
        option.mode = RANDOM;
        choose_random(word[0], word[1]);
        word += 2;
    } else if (strcmp(mode, "fail") == 0 && word[0]) {
        option.mode = FAIL;
        option.error = parse_error(word[0]);
        option.at = parse_number(word[1], &rest);
        option.onwards = strcmp(rest, "+") == 0;
        if (*rest && !option.onwards)
            usage();
        option.class = option.error == EMFILE || option.error == ENFILE ? FD : CHANGE;
        word += 2;
    } else if (strcmp(mode, "skip-sync") == 0) {
        option.mode = SKIP;
        option.at = parse_number(*word++, NULL);
        option.class = SYNC;
    } else {
        usage();
    }
    if (class)
        option.class = class;
    return word;
}

static int print_calls(const char *class)
{
    const char *separator = "";
    option.class = parse_class(class ? class : "change");
    for (unsigned i = 0; i < N_CALLS; i++) {
        if (!is_counted(&calls[i]))
            continue;
        printf("%s%s", separator, calls[i].name);
        separator = ",";
    }
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    unsigned class = 0;
    option.report = stderr;
    for (int c; (c = getopt(argc, argv, "+c:o:k")) != -1;) {
        if (c == 'c')
            class = parse_class(optarg);
        else if (c == 'k')
            option.kill_rest = true;
        else if (c != 'o')
            usage();
        else if (!(option.report = fopen(optarg, "we")))
            die(optarg);
    }
    if (optind == argc)
        usage();
    if (strcmp(argv[optind], "calls") == 0)
        return print_calls(argv[optind + 1]);
    char **word = parse_mode(argv + optind, class);
    if (!word[0] || strcmp(word[0], "--") != 0 || !word[1])
        usage();
    option.command = word + 1;
    start();
    follow();
    report();
    return run.status;
}
