/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compiler attributes and the scope-bound ownership idiom, for code with and without GLib.
 *
 * A resource is declared with its `_auto…` attribute and an initial value in the same line; it is
 * handed over only by a steal (fd_steal, g_steal_pointer). File descriptors are -1 when empty.
 */
#pragma once

#define _cleanup(f)       __attribute__((cleanup(f)))
#define _printf(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define _must_use         __attribute__((warn_unused_result))
#define _unused           __attribute__((unused))
#define _noreturn         __attribute__((noreturn))

#define _autofd    _cleanup(sys_fd_closep)
#define _autodir   _cleanup(sys_dir_closep)
#define _autosfree _cleanup(sys_freep) /* for code without GLib; with GLib use g_autofree */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
