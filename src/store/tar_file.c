/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tars in files: what is one as it is read by us; all else goes through atomic-decompress, a child that has no rights, and
 * comes back through a pipe. Decompressing then runs beside hashing, on another processor, which pays for the pipe. */
#include "base/file.h"
#include "base/spawn.h"
#include "store/tar.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* What comes first, left where it is. Fewer bytes than asked for when a pipe has no more yet. */
static ssize_t peek(int fd, void *buffer, size_t size)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0)
        return pread(fd, buffer, size, at);
    int copy[2];
    if (pipe2(copy, O_CLOEXEC) < 0)
        return -1;
    _autofd int from = copy[0], to = copy[1];
    ssize_t n = tee(fd, to, size, 0);
    return n > 0 ? read(from, buffer, (size_t)n) : n;
}

static ssize_t read_fd(void *data, void *buffer, size_t size, GError **error)
{
    int fd = *(int *)data;
    for (;;) {
        ssize_t n = read(fd, buffer, size);
        if (n < 0 && errno == EINTR)
            continue;
        return n < 0 ? error_throw_errno_fd(error, "cannot read the file") : n;
    }
}

/* --- the child ------------------------------------------------------------------------------------------ */

typedef struct {
    pid_t pid; /* 0: it has ended */
    int output, messages;
} Child;

static bool start_child(Child *child, int fd, GError **error)
{
    g_autofree char *program = spawn_helper_path("atomic-decompress", error);
    if (!program)
        return false;
    int output[2], messages[2];
    if (pipe2(output, O_CLOEXEC) < 0)
        return error_throw_errno(error, "cannot make a pipe");
    _autofd int output_read = output[0], output_write = output[1];
    if (pipe2(messages, O_CLOEXEC) < 0)
        return error_throw_errno(error, "cannot make a pipe");
    _autofd int messages_read = messages[0], messages_write = messages[1];
    fcntl(output_read, F_SETPIPE_SZ, 1 << 20); /* fewer switches; a smaller pipe works too */
    const SpawnOptions options = {
        .stdin_fd = fd, .stdout_fd = output_write, .stderr_fd = messages_write};
    const char *argv[] = {program, NULL};
    if (!spawn_start(argv, &options, &child->pid, error))
        return false;
    child->output = fd_steal(&output_read);
    child->messages = fd_steal(&messages_read);
    return true;
}

/* After its end of file: was that all? */
static bool finish_child(Child *child, GError **error)
{
    char message[256];
    ssize_t n = sys_read_all(child->messages, message, sizeof message);
    int status = spawn_wait(child->pid, error);
    child->pid = 0;
    if (status <= 0)
        return status == 0;
    g_autofree char *text = n > 0
                                ? g_strndup(message, (gsize)n)
                                : g_strdup_printf("the decompressor ended with status %d", status);
    return error_throw(error, ERROR_CORRUPT, "cannot decompress the file: %s", g_strchomp(text));
}

static ssize_t read_child(void *data, void *buffer, size_t size, GError **error)
{
    Child *child = data;
    ssize_t n = child->pid ? read_fd(&child->output, buffer, size, error) : 0;
    return n || !child->pid || finish_child(child, error) ? n : -1;
}

static void stop_child(Child *child)
{
    if (child->pid) {
        kill(child->pid, SIGKILL); /* nobody wants its bytes any more */
        spawn_wait(child->pid, NULL);
    }
    close(child->output);
    close(child->messages);
}

Tree *store_import_tar_file(StoreTxn *txn, int fd, bool layer, StoreStreamWriter *stream,
                            GError **error)
{
    TarHeader header;
    ssize_t n = peek(fd, &header, sizeof header);
    if (n == 0)
        return error_throw_null(error, ERROR_INVALID, "the file is empty");
    if (n == sizeof header && (tar_header_is_zero(&header) || tar_header_is_good(&header)))
        return store_import_tar(txn, read_fd, &fd, layer, stream, error);
    Child child;
    if (!start_child(&child, fd, error))
        return NULL;
    Tree *tree = store_import_tar(txn, read_child, &child, layer, stream, error);
    stop_child(&child);
    return tree;
}
