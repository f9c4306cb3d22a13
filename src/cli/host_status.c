/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic status`: the columns of 2014. Reads key files and boot entries only: no store, no lock. */
#include "cli/document.h"
#include "cli/human.h"
#include "cli/host_verbs.h"
#include "host/host.h"

#include <string.h>

enum {
    COLUMNS = 5,
    COLUMN_GAP = 5,
    SHORT_ID = 10,
};

/* The booted one; of an offline host the one that boots next. */
static const HostDeployment *marked(Host *host)
{
    return host_is_running(host) ? host_booted(host) : host_default(host);
}

static json_t *deployment_json(Host *host, const HostDeployment *d)
{
    return json_pack("{ss ss si ss ss* ss* sI ss ss sb sb sb sb}", "id", d->id, "commit", d->commit,
                     "serial", (int)d->serial, "osname", d->os, "refspec", d->origin, "version",
                     d->version, "timestamp", (json_int_t)d->timestamp, "image",
                     digest_hex(&d->image).text, "kargs", d->options, "booted", d->booted,
                     "default", d == host_default(host), "pinned", d->pinned, "damaged",
                     d->damaged);
}

static bool print_json(Host *host, GError **error)
{
    GPtrArray *deployments = host_deployments(host);
    json_t *list = json_array();
    for (size_t i = 0; i < deployments->len; i++) {
        json_t *item = deployment_json(host, deployments->pdata[i]);
        if (!item || json_array_append_new(list, item) < 0) {
            json_decref(list);
            return error_throw(error, ERROR_INVALID, "a deployment's text is not UTF-8");
        }
    }
    json_t *document = json_pack("{ss sb so}", "sysroot", host_path(host), "running",
                                 host_is_running(host), "deployments", list);
    return cli_print_document("atomic.status/1", document, error);
}

/* Left-aligned, the last one as long as it is. */
static void print_row(bool mark, char *const *cells, const size_t *widths, size_t n)
{
    printf("%c ", mark ? '*' : ' ');
    for (size_t i = 0; i < n; i++)
        if (i + 1 < n)
            printf("%-*s", (int)widths[i] + COLUMN_GAP, cells[i]);
        else
            printf("%s\n", cells[i]);
}

static void fill_row(char **row, const HostDeployment *d, bool versions)
{
    size_t n = 0;
    row[n++] = d->damaged ? g_strdup("-") : human_time(d->timestamp);
    if (versions)
        row[n++] = g_strdup(d->version ? d->version : "");
    row[n++] = g_strndup(d->commit, SHORT_ID);
    row[n++] = g_strdup(*d->os ? d->os : "-");
    row[n++] = g_strdup(d->damaged ? "(damaged)" : d->origin ? d->origin : "-");
}

static void print_table(Host *host)
{
    GPtrArray *deployments = host_deployments(host);
    bool versions = false;
    for (size_t i = 0; i < deployments->len; i++)
        versions |= ((HostDeployment *)deployments->pdata[i])->version != NULL;
    size_t n = versions ? COLUMNS : COLUMNS - 1;
    char *with[] = {"TIMESTAMP (UTC)", "VERSION", "ID", "OSNAME", "REFSPEC"};
    char *without[] = {"TIMESTAMP (UTC)", "ID", "OSNAME", "REFSPEC"};
    char **header = versions ? with : without;
    size_t widths[COLUMNS] = {0};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_set_size(cells, (int)(deployments->len * n));
    for (size_t i = 0; i < deployments->len; i++)
        fill_row((char **)cells->pdata + i * n, deployments->pdata[i], versions);
    for (size_t i = 0; i < n; i++) {
        widths[i] = strlen(header[i]);
        for (size_t row = 0; row < deployments->len; row++)
            widths[i] = MAX(widths[i], strlen(cells->pdata[row * n + i]));
    }
    print_row(false, header, widths, n);
    for (size_t row = 0; row < deployments->len; row++)
        print_row(deployments->pdata[row] == marked(host), (char **)cells->pdata + row * n, widths,
                  n);
}

int cli_host_status(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(Host) host = host_open(common.sysroot, error);
    if (!host)
        return 1;
    if (common.json)
        return print_json(host, error) ? 0 : 1;
    if (host_deployments(host)->len == 0)
        printf("No deployments.\n");
    else
        print_table(host);
    return 0;
}
