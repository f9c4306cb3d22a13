/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's side of the attach socket: its clients, what each is due, and their input on its way to the container.
 * Private to src/monitor.
 */
#pragma once

#include "monitor/state.h"

/* Takes new connections, and what they said already. */
void server_accept(Monitor *m);
/* A client's socket is readable; has room for what it is due. Either may close it. */
void server_read(Monitor *m, Client *c);
void server_flush(Monitor *m, Client *c);

/* Output of the container to those who want it. A MONITOR_HOLD client that can't take it has it held: see
 * server_is_held(). Others lose it and are told how much. */
void server_deliver(Monitor *m, uint8_t type, const char *data, size_t size);
/* No stream may be read until this is false: there is one place to hold a packet in. */
bool server_is_held(const Monitor *m);

/* Some input waits for the container to take it; gives it as far as that goes. */
bool server_has_input(const Monitor *m);
void server_pass_input(Monitor *m);

/* Everyone who has said hello is due the exit packet. */
void server_announce_exit(Monitor *m);
/* How long to wait for clients that have not had it, in milliseconds, -1 without end; 0: all have. */
int server_linger(const Monitor *m);
/* The connections stay open in the program that is executed next. */
void server_leave_open(const Monitor *m);
