/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: file name patterns, and .dockerignore. */
#pragma once

#include "base/error.h"

/* Go's filepath.Match over the whole path: '*' and '?' stop at slashes, [a-z] [^a-z], '\'
 * quotes. With `deep`, "**" crosses any number of directories. */
bool match_path(const char *pattern, const char *path, bool deep);
bool match_is_pattern(const char *text);

/* .dockerignore: the last line that matches a path or a directory above it decides; '!' takes
 * back in. */
typedef struct Ignore Ignore;
/* text may be NULL: nothing is ignored. */
Ignore *ignore_new(const char *text);
void ignore_free(Ignore *ignore);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ignore, ignore_free)
/* `path`: relative to the context, without a leading slash. */
bool ignore_match(const Ignore *ignore, const char *path);
/* Whether something below an ignored directory may be taken back in. */
bool ignore_has_exceptions(const Ignore *ignore);

/* "a//b/./../c/" -> "a/c"; "" for the top; NULL when it leads out of it. */
char *match_clean(const char *path);
