/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/report.h"

#include <string.h>

enum { FAILED = 1, TEXT_MAX = 4096 };

typedef struct {
    uint8_t mark;   /* FAILED; the monitor's texts never begin with it */
    uint8_t status; /* 125, 126, 127 */
    uint8_t code;   /* ErrorCode */
} Failure;

/* A parent that died reads nothing: the helper's own end is what remains to be done. */
static void send(int fd, const void *data, size_t size)
{
    int failed = sys_write_all(fd, data, size);
    (void)failed;
}

void engine_report_success(int fd)
{
    send(fd, "", 1);
}

void engine_report_failure(int fd, int status, const GError *failed)
{
    char packet[TEXT_MAX];
    Failure head = {.mark = FAILED, .status = (uint8_t)status, .code = (uint8_t)failed->code};
    size_t size = MIN(strlen(failed->message), sizeof packet - sizeof head - 1);
    memcpy(packet, &head, sizeof head);
    memcpy(packet + sizeof head, failed->message, size);
    send(fd, packet, sizeof head + size);
}

bool engine_report_read(int fd, int *out_status, GError **error)
{
    char text[TEXT_MAX + 1];
    ssize_t n = sys_read_all(fd, text, TEXT_MAX);
    if (n == 1 && text[0] == '\0')
        return true;
    if (n <= 0)
        return error_throw(error, ERROR_FAILED, "cannot start the process: its starter died");
    text[n] = '\0';
    Failure failure;
    if ((size_t)n > sizeof failure && text[0] == FAILED) {
        memcpy(&failure, text, sizeof failure);
        *out_status = failure.status;
        return error_throw(error, (ErrorCode)failure.code, "%s", text + sizeof failure);
    }
    return error_throw(error, ERROR_FAILED, "cannot start the container's monitor: %s", text);
}
