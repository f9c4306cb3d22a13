/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/name.h"

#include "base/file.h"
#include "engine/dirs.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

static void random_bytes(void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = getrandom((char *)buffer + done, size - done, 0);
        if (n > 0)
            done += (size_t)n;
    }
}

char *engine_id_new(void)
{
    Digest random;
    do
        random_bytes(&random, sizeof random);
    /* Docker never gives an id whose short form could be read as a number: it would be a bad host name */
    while (strspn(digest_hex(&random).text, "0123456789") >= ENGINE_SHORT_ID_LENGTH);
    return g_strdup(digest_hex(&random).text);
}

bool engine_id_is_prefix(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= ENGINE_ID_LENGTH && strspn(text, "0123456789abcdef") == size;
}

bool engine_id_is_full(const char *text)
{
    return strlen(text) == ENGINE_ID_LENGTH && engine_id_is_prefix(text);
}

static const char *const adjectives[] = {
    "amber",   "ample",  "bold",   "brave",  "bright", "brisk",   "calm",  "candid", "clear",
    "clever",  "cosy",   "deft",   "eager",  "early",  "fair",    "fleet", "fond",   "gentle",
    "glad",    "golden", "grand",  "hardy",  "honest", "humble",  "jolly", "keen",   "kind",
    "light",   "lively", "lucid",  "merry",  "mild",   "modest",  "neat",  "nimble", "noble",
    "patient", "placid", "plain",  "polite", "proud",  "prudent", "quick", "quiet",  "ready",
    "robust",  "sane",   "serene", "sharp",  "silent", "smooth",  "sober", "solid",  "steady",
    "stout",   "sunny",  "swift",  "tidy",   "vivid",  "warm",
};

static const char *const nouns[] = {
    "acorn",   "anchor", "apple",   "arrow",   "badger",  "barley", "beacon",  "birch", "bridge",
    "brook",   "canyon", "cedar",   "cliff",   "clover",  "comet",  "coral",   "crane", "delta",
    "dune",    "falcon", "fern",    "finch",   "fjord",   "forge",  "garnet",  "glade", "harbor",
    "hazel",   "heron",  "island",  "juniper", "kestrel", "lagoon", "lantern", "larch", "linden",
    "lynx",    "maple",  "marble",  "meadow",  "mesa",    "nebula", "oak",     "orbit", "otter",
    "pebble",  "pine",   "plover",  "quarry",  "raven",   "reef",   "ridge",   "river", "robin",
    "sparrow", "summit", "thistle", "valley",  "willow",  "wren",
};

char *engine_name_random(void)
{
    uint32_t random[2];
    random_bytes(random, sizeof random);
    return g_strdup_printf("%s_%s", adjectives[random[0] % ARRAY_SIZE(adjectives)],
                           nouns[random[1] % ARRAY_SIZE(nouns)]);
}

char *engine_name_check(const char *text, GError **error)
{
    enum { LONGEST = 200 }; /* it is a file name, too */
    const char *name = *text == '/' ? text + 1 : text;
    size_t size = strlen(name);
    bool good = size >= 2 && size <= LONGEST && g_ascii_isalnum(name[0]);
    for (size_t i = 0; good && i < size; i++)
        good = g_ascii_isalnum(name[i]) || strchr("_.-", name[i]);
    if (!good)
        return error_throw_null(error, ERROR_INVALID,
                                "invalid container name '%s': only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
                                "allowed, at least two characters",
                                text);
    return g_strdup(name);
}

static bool holder_exists(Engine *engine, const char *id)
{
    EngineDirs dirs;
    bool exists = engine_id_is_full(id) && engine_dirs_find(engine, id, &dirs);
    if (exists)
        engine_dirs_clear(&dirs);
    return exists;
}

static bool take_over(Engine *engine, int names, const char *name, const char *id, GError **error)
{
    /* The lock keeps two who saw the same left-over from removing each other's link. */
    if (flock(names, LOCK_EX) < 0)
        return error_throw_errno(error, "cannot lock the container names");
    g_autofree char *holder = file_readlink_at(names, name, NULL);
    if (holder && holder_exists(engine, holder))
        return error_throw(error, ERROR_EXISTS,
                           "the container name '%s' is already in use by container %.12s\n"
                           "hint: remove that container to be able to reuse the name",
                           name, holder);
    if (holder)
        unlinkat(names, name, 0);
    if (symlinkat(id, names, name) < 0)
        return error_throw_errno(error, "cannot take the container name '%s'", name);
    return true;
}

static int open_names(Engine *engine, bool create, GError **error)
{
    g_autofree char *path = g_build_filename(engine_root(engine), "names", NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || !create || errno != ENOENT)
        return fd >= 0 ? fd : error_throw_errno_fd(error, "cannot open '%s'", path);
    if (!file_ensure_dir_at(AT_FDCWD, path, 0700, error))
        return -1;
    return file_open_dir_at(AT_FDCWD, path, error);
}

bool engine_name_take(Engine *engine, const char *name, const char *id, GError **error)
{
    _autofd int names = open_names(engine, true, error);
    if (names < 0)
        return false;
    if (symlinkat(id, names, name) == 0)
        return true;
    if (errno != EEXIST)
        return error_throw_errno(error, "cannot take the container name '%s'", name);
    return take_over(engine, names, name, id, error);
}

void engine_name_release(Engine *engine, const char *name, const char *id)
{
    g_autofree char *holder = engine_name_lookup(engine, name);
    _autofd int names = open_names(engine, false, NULL);
    if (names >= 0 && holder && strcmp(holder, id) == 0)
        unlinkat(names, name, 0);
}

char *engine_name_lookup(Engine *engine, const char *name)
{
    _autofd int names = open_names(engine, false, NULL);
    if (names < 0 || !*name || strchr(name, '/'))
        return NULL;
    return file_readlink_at(names, name, NULL);
}
