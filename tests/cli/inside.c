/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs inside containers in command-line tests; static, so that an image of it alone works.
 *
 *     inside serve PORT TEXT    answers every connection with TEXT, until SIGTERM
 *     inside eat MIB            takes memory
 *     inside tty                "tty ROWS COLUMNS" or "no tty"
 *     inside deep N             N directories, one in the other, in /tmp
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_term(int number)
{
    static const char text[] = "stopping\n";
    ssize_t ignored = write(STDOUT_FILENO, text, sizeof text - 1);
    _exit(ignored < 0 ? 1 : number == SIGTERM ? 0 : 42);
}

static int serve(int port, const char *text)
{
    int listening = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    signal(SIGTERM, on_term);
    signal(SIGUSR1, on_term);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listening, 8) < 0) {
        perror("serve");
        return 1;
    }
    printf("listening on %d\n", port);
    for (;;) {
        char request[4096];
        int client = accept(listening, NULL, NULL);
        if (client < 0 || read(client, request, sizeof request) < 0)
            continue;
        dprintf(client, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(text), text);
        close(client);
        fprintf(stderr, "served\n");
    }
}

static int eat(size_t mib)
{
    for (size_t i = 0; i < mib; i++) {
        char *block = malloc(1 << 20);
        if (!block)
            return 1;
        memset(block, 1, 1 << 20);
    }
    printf("full\n");
    return 0;
}

static int tty(void)
{
    struct winsize size;
    if (!isatty(STDIN_FILENO) || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        printf("no tty\n");
    else
        printf("tty %d %d\n", size.ws_row, size.ws_col);
    return 0;
}

static int deep(int n)
{
    int failed = chdir("/tmp");
    for (; n > 0 && !failed; n--)
        failed = mkdir("d", 0755) < 0 || chdir("d") < 0;
    return failed;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "serve") == 0 && argc == 4)
        return serve(atoi(argv[2]), argv[3]);
    if (strcmp(what, "eat") == 0 && argc == 3)
        return eat((size_t)atoi(argv[2]));
    if (strcmp(what, "deep") == 0 && argc == 3)
        return deep(atoi(argv[2]));
    return strcmp(what, "tty") == 0 ? tty() : 2;
}
