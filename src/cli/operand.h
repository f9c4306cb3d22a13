/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a person calls a file tree on the command line, and where it leads.
 *
 *     image:NAME       a name or digest of the store ('atomic store ls'), or a digest's beginning (8 digits or more)
 *     tree:REF         an OSTree branch or commit ('atomic tree refs')
 *     oci:NAME         a container image ('atomic images')
 *     container:NAME   a container: its image with what it changed
 *     dir:PATH         a directory on the disk
 *
 * Without a prefix, what has a leading slash or dot is a directory; else the first of the others that knows the name
 * is meant, in the order above. */
#pragma once

#include "store/store.h"

/* For verbs that take images: all but containers and directories. ERROR_NOT_FOUND with a hint. */
bool cli_operand_image(Store *store, const char *text, Digest *out_image, GError **error);
/* All of them. The files of a directory are measured, not stored. */
Tree *cli_operand_tree(Store *store, const char *text, GError **error);
