/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signatures of commits. */
#pragma once

#include "base/error.h"

/* `commitmeta`: the detached metadata (a{sv}), NULL when the server has none. True when one of its OpenPGP signatures over
 * the commit's bytes is by a key of the keyring (gpgv judges). ERROR_PERMISSION else. */
bool verify_commit(GBytes *commit, GBytes *commitmeta, const char *keyring, GError **error);
