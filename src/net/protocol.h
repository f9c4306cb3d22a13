/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames between a NetClient and atomic-fetch; described in net.h. */
#pragma once

#include <stdint.h>

#define NET_FRAME_MAX (256u << 10) /* of answers; larger data comes in several */
#define NET_URL_MAX   8192

typedef struct __attribute__((packed)) {
    uint32_t size; /* of the rest */
    uint64_t id;
    uint64_t limit;
    uint8_t decode;
} NetRequestFrame; /* followed by the URL */

typedef struct __attribute__((packed)) {
    uint32_t size; /* of the rest */
    uint64_t id;
    uint8_t kind;
} NetAnswerFrame; /* followed by bytes, or NetEndFrame and the message */

typedef struct __attribute__((packed)) {
    uint8_t outcome;
    uint32_t http_status;
    uint64_t received;
} NetEndFrame;

enum { NET_KIND_DATA = 'D', NET_KIND_END = 'E' };
