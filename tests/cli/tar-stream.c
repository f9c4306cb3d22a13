/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For command-line tests: a tar as a layer's split stream, and back from it to standard output.
 *
 *     tar-stream STORE FILE     FILE may be - for standard input
 */
#include "base/file.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_stream(Store *store, int fd, Digest *out_object, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, error);
    StoreStreamWriter *writer = txn ? store_stream_writer_new(txn, 0, error) : NULL;
    if (!writer)
        return false;
    g_autoptr(Tree) tree = store_import_tar_file(txn, fd, false, writer, error);
    if (!tree) {
        store_stream_abort(writer);
        return false;
    }
    return store_stream_finish(writer, out_object, error) && store_txn_done(txn, error);
}

static bool run(const char *path, const char *file, GError **error)
{
    Digest object;
    g_autoptr(Store) store = store_init(path, error) ? store_open(path, error) : NULL;
    _autofd int fd = !store
                         ? -1
                         : (strcmp(file, "-") == 0 ? dup(STDIN_FILENO)
                                                   : file_open_at(AT_FDCWD, file, O_RDONLY, error));
    if (fd < 0 || !write_stream(store, fd, &object, error))
        return false;
    g_autoptr(StoreStream) stream = store_stream_open(store, &object, error);
    return stream && store_stream_write_fd(stream, STDOUT_FILENO, error);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc != 3 || run(argv[1], argv[2], &error))
        return argc == 3 ? 0 : 2;
    fprintf(stderr, "tar-stream: %s\n", error->message);
    return 1;
}
