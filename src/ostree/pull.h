/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pull in progress: pull.c has the order of things, pull_objects.c the fetching of objects. */
#pragma once

#include "net/net.h"
#include "ostree/commit_data.h"
#include "ostree/journal.h"
#include "ostree/object.h"
#include "ostree/ostree.h"

typedef struct {
    Store *store;
    const OstreeRemote *remote;
    const char *ref;
    const OstreePullOptions *options;
    NetClient *net;
    StoreTxn *txn;       /* NULL when nothing is to be written */
    Journal *journal;    /* of the transaction */
    ObjectSet *set;      /* of the new commit: what is here already */
    ObjectSet *resumed;  /* what an interrupted pull fetched */
    GPtrArray *sources;  /* CommitData * */
    GHashTable *asked;   /* Digest *: every object that was looked at */
    GPtrArray *files;    /* PullFile *: to be fetched */
    GPtrArray *requests; /* of metadata, freed at the end */
    OstreeProgress progress;
    uint64_t fetched;    /* objects of this pull */
    int64_t flushed_at;  /* monotonic */
    uint64_t kept_bytes; /* in memory: metadata, headers, small files */
    unsigned depth;      /* of directories at hand being read */
} Pull;

/* Looks in the set, the journal and the sources; what it finds is in the set then. */
bool pull_have(Pull *pull, const Digest *id, CommitObject *out_object);
/* Verifies a metadata object that arrived and keeps it. */
bool pull_keep_metadata(Pull *pull, const Digest *id, ObjectType type, GBytes *bytes,
                        GError **error);
/* All objects of a tree into the set. */
bool pull_objects(Pull *pull, const Digest *root, const Digest *meta, GError **error);
/* For the net client: makes durable what has arrived, so that a slow server doesn't hold the store's lock. */
bool pull_tick(void *pull, GError **error);
void pull_file_free(void *file);
bool pull_check_external(const Digest *id, const Digest *object, void *pull, GError **error);
void pull_report(Pull *pull, bool done);
