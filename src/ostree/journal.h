/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pull's memory: which OSTree objects a pull has fetched and where their content is, so that the next one
 * after a kill does not fetch them again. One append per object, before the flush that makes its content durable:
 * a record counts only when the store has what it names. Within one boot only (the staging's life). */
#pragma once

#include "ostree/commit_data.h"

typedef struct Journal Journal;
/* Reads what is there into `set`, dropping a torn end. */
Journal *journal_open(StoreTxn *txn, ObjectSet *set, uint64_t *out_received, GError **error);
void journal_free(Journal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Journal, journal_free)
/* `received`: bytes on the wire that it cost. */
bool journal_add(Journal *journal, const Digest *id, GBytes *data, const Digest *object,
                 uint64_t received, GError **error);
