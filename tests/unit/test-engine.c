/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "base/sys/process.h"
#include "cli/columns.h"
#include "cli/container_options.h"
#include "cli/container_row.h"
#include "cli/docker_args.h"
#include "cli/human.h"
#include "cli/template.h"
#include "engine/create.h"
#include "engine/name.h"
#include "engine/parse.h"
#include "engine/state.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void assert_failed(GError **error, ErrorCode code, const char *part)
{
    g_assert_error(*error, ERROR_DOMAIN, (int)code);
    if (!strstr((*error)->message, part))
        g_error("'%s' is not in '%s'", part, (*error)->message);
    g_clear_error(error);
}

/* --- parsers -------------------------------------------------------------------------------------- */

static char *publish(const char *text)
{
    g_autoptr(GPtrArray) ports = engine_ports_new();
    GError *error = NULL;
    bool good = engine_parse_publish(text, ports, &error);
    g_assert_no_error(error);
    g_assert_true(good);
    GString *out = g_string_new(NULL);
    for (guint i = 0; i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        g_string_append_printf(out, "%s[%s]:%u->%u/%s", i ? " " : "", port->host_ip,
                               port->host_port, port->container_port, port->udp ? "udp" : "tcp");
    }
    return g_string_free(out, FALSE);
}

static void test_publish(void)
{
    static const char *const cases[][2] = {
        {"80", "[]:0->80/tcp"},
        {"8080:80", "[]:8080->80/tcp"},
        {"8080:80/udp", "[]:8080->80/udp"},
        {"127.0.0.1:8080:80", "[127.0.0.1]:8080->80/tcp"},
        {"127.0.0.1::80", "[127.0.0.1]:0->80/tcp"},
        {"0.0.0.0:1:2", "[]:1->2/tcp"},
        {"8000-8001:80-81", "[]:8000->80/tcp []:8001->81/tcp"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *got = publish(cases[i][0]);
        g_assert_cmpstr(got, ==, cases[i][1]);
    }
}

static void test_publish_bad(void)
{
    static const char *const cases[] = {
        "",       "x",        "0:80",     "80:0",  "65536:1",    "1:2:3:4", "999.1.1.1:1:2",
        "1:2/xy", "80-81:80", "81-80:80", ":80-x", "1.2.3.4:80", "-1:80",   " 80",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GPtrArray) ports = engine_ports_new();
        GError *error = NULL;
        g_assert_false(engine_parse_publish(cases[i], ports, &error));
        assert_failed(&error, ERROR_INVALID, "invalid port");
        g_assert_cmpuint(ports->len, ==, 0);
    }
    GError *error = NULL;
    g_autoptr(GPtrArray) ports = engine_ports_new();
    g_assert_false(engine_parse_publish("[::1]:80:80", ports, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "not supported yet: IPv6");
    g_assert_false(engine_parse_publish("80/sctp", ports, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "not supported yet: SCTP");
}

static void test_volume(void)
{
    g_autoptr(GPtrArray) binds = engine_binds_new();
    GError *error = NULL;
    g_assert_true(engine_parse_volume("/a/../b:/c/:ro", binds, &error));
    const EngineBind *bind = binds->pdata[0];
    g_assert_cmpstr(bind->source, ==, "/b");
    g_assert_cmpstr(bind->target, ==, "/c");
    g_assert_true(bind->read_only);
    g_assert_true(engine_parse_volume("./x:/y:rw,idmap", binds, &error));
    bind = binds->pdata[1];
    g_assert_true(g_path_is_absolute(bind->source) && g_str_has_suffix(bind->source, "/x"));
    g_assert_true(bind->identity && !bind->read_only);

    g_assert_false(engine_parse_volume("data:/y", binds, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "not supported yet: named volume 'data'");
    g_assert_false(engine_parse_volume("/y", binds, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "anonymous volume '/y'");
    g_assert_false(engine_parse_volume("/a:b", binds, &error));
    assert_failed(&error, ERROR_INVALID, "not an absolute path");
    g_assert_false(engine_parse_volume("/a:/", binds, &error));
    assert_failed(&error, ERROR_INVALID, "can't be '/'");
    g_assert_false(engine_parse_volume("/a:/b/..", binds, &error));
    assert_failed(&error, ERROR_INVALID, "can't be '/'");
    g_assert_false(engine_parse_volume("/a:/b:xx", binds, &error));
    assert_failed(&error, ERROR_INVALID, "mode 'xx' is unknown");
    g_assert_cmpuint(binds->len, ==, 2);
}

static void test_memory(void)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"64m", 64 << 20}, {"64M", 64 << 20},       {"64mb", 64 << 20},
                 {"1g", 1 << 30},   {"8388608", 8 << 20},    {"0", 0},
                 {"0.5g", 1 << 29}, {"10000kb", 10000 << 10}};
    GError *error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t bytes = -1;
        g_assert_true(engine_parse_memory(cases[i].text, &bytes, &error));
        g_assert_cmpint(bytes, ==, cases[i].bytes);
    }
    static const char *const bad[] = {"",    "m",   "64x",   "-64m",     "64mm",
                                      "nan", "inf", "1e400", "99999999t"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t bytes;
        g_assert_false(engine_parse_memory(bad[i], &bytes, &error));
        assert_failed(&error, ERROR_INVALID, "invalid size");
    }
    int64_t bytes;
    g_assert_false(engine_parse_memory("1m", &bytes, &error));
    assert_failed(&error, ERROR_INVALID, "minimum allowed is 6MB");
}

static void test_words(void)
{
    GError *error = NULL;
    g_autofree char *cap = engine_parse_capability("net_admin", &error);
    g_assert_cmpstr(cap, ==, "CAP_NET_ADMIN");
    g_autofree char *all = engine_parse_capability("all", &error);
    g_assert_cmpstr(all, ==, "ALL");
    g_assert_null(engine_parse_capability("NET_ADMINS", &error));
    assert_failed(&error, ERROR_INVALID, "unknown capability 'NET_ADMINS'");

    EngineNetwork network;
    g_assert_true(engine_parse_network("none", &network, &error));
    g_assert_cmpint(network, ==, ENGINE_NETWORK_NONE);
    g_assert_false(engine_parse_network("mine", &network, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "not supported yet: network 'mine'");

    g_assert_cmpint(engine_parse_signal("TERM", &error), ==, 15);
    g_assert_cmpint(engine_parse_signal("sigkill", &error), ==, 9);
    g_assert_cmpint(engine_parse_signal("10", &error), ==, 10);
    g_assert_cmpint(engine_parse_signal("SIGRTMIN+3", &error), ==, SIGRTMIN + 3);
    g_assert_cmpint(engine_parse_signal("RTMAX-1", &error), ==, SIGRTMAX - 1);
    g_assert_cmpint(engine_parse_signal("RTMIN+99", &error), ==, -1);
    assert_failed(&error, ERROR_INVALID, "invalid signal: 'RTMIN+99'");
    g_assert_cmpint(engine_parse_signal("0", &error), ==, -1);
    assert_failed(&error, ERROR_INVALID, "invalid signal: '0'");
    g_assert_cmpint(engine_parse_signal("NONSENSE", &error), ==, -1);
    assert_failed(&error, ERROR_INVALID, "invalid signal: 'NONSENSE'");
}

static void test_env(void)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    GError *error = NULL;
    g_assert_true(engine_env_set(env, "A=1", &error));
    g_assert_true(engine_env_set(env, "AB=2", &error));
    g_assert_true(engine_env_set(env, "A=3=4", &error));
    g_assert_cmpuint(env->len, ==, 2);
    g_assert_cmpstr(env->pdata[0], ==, "A=3=4");
    g_setenv("ATOMIC_TEST_ENV", "here", TRUE);
    g_unsetenv("ATOMIC_TEST_NO");
    g_assert_true(engine_env_set(env, "ATOMIC_TEST_ENV", &error));
    g_assert_true(engine_env_set(env, "ATOMIC_TEST_NO", &error));
    g_assert_cmpuint(env->len, ==, 3);
    g_assert_cmpstr(env->pdata[2], ==, "ATOMIC_TEST_ENV=here");
    g_assert_false(engine_env_set(env, "=x", &error));
    assert_failed(&error, ERROR_INVALID, "invalid environment variable: '=x'");
}

/* --- names ------------------------------------------------------------------------------------------ */

static void test_names(void)
{
    static const char *const good[] = {"web", "w1", "A_b.c-d", "/web"};
    static const char *const bad[] = {"", "w", "-web", "_w", "we b", "wéb", "a/b", ".."};
    GError *error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_autofree char *name = engine_name_check(good[i], &error);
        g_assert_no_error(error);
        g_assert_cmpstr(name, ==, *good[i] == '/' ? good[i] + 1 : good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_null(engine_name_check(bad[i], &error));
        assert_failed(&error, ERROR_INVALID, "invalid container name");
    }
    for (int i = 0; i < 100; i++) {
        g_autofree char *name = engine_name_random();
        g_autofree char *checked = engine_name_check(name, &error);
        g_autofree char *id = engine_id_new();
        g_assert_cmpstr(checked, ==, name);
        g_assert_nonnull(strchr(name, '_'));
        g_assert_true(engine_id_is_full(id));
        g_assert_cmpuint(strspn(id, "0123456789"), <, ENGINE_SHORT_ID_LENGTH);
    }
}

/* --- records ---------------------------------------------------------------------------------------- */

typedef struct {
    char *base;
    Engine *engine;
} Fixture;

static void set_up(Fixture *f, const void *data)
{
    f->base = g_dir_make_tmp("engine-XXXXXX", NULL);
    g_autofree char *root = g_build_filename(f->base, "root", NULL);
    g_autofree char *run = g_build_filename(f->base, "run", NULL);
    g_setenv("ATOMIC_ROOT", root, TRUE);
    g_setenv("ATOMIC_RUN", run, TRUE);
    g_setenv("ATOMIC_STORE", f->base, TRUE);
    f->engine = engine_new(NULL);
}

static void tear_down(Fixture *f, const void *data)
{
    engine_free(f->engine);
    file_remove_all_at(AT_FDCWD, f->base, NULL);
    g_free(f->base);
}

static void fill_config(EngineConfig *config, const char *id, const char *name)
{
    const char *const cmd[] = {"httpd", "-D", "FOREGROUND", NULL}, *const none[] = {NULL};
    const char *const env[] = {"PATH=/bin", "GREETING=grüß dich", NULL};
    char ***empty[] = {&config->entrypoint, &config->labels, &config->exposed, &config->cap_add,
                       &config->cap_drop};
    for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
        *empty[i] = g_strdupv((char **)none);
    config->id = g_strdup(id);
    config->name = g_strdup(name);
    config->created = 1412709895000000;
    config->image = g_strdup("web");
    config->image_id = g_strdup("sha256:1");
    config->image_digest = g_strdup("2");
    config->cmd = g_strdupv((char **)cmd);
    config->env = g_strdupv((char **)env);
    config->working_dir = g_strdup("/");
    config->user = g_strdup("");
    config->hostname = g_strdup("host");
    config->stop_signal = g_strdup("SIGWINCH");
    config->tty = true;
    config->memory = 64 << 20;
    config->network = ENGINE_NETWORK_NONE;
    config->ports = engine_ports_new();
    config->binds = engine_binds_new();
    g_assert_true(engine_parse_publish("127.0.0.1:8080:80", config->ports, NULL));
    g_assert_true(engine_parse_volume("/a:/b:ro", config->binds, NULL));
}

static void make_container(Fixture *f, const char *id, const char *name, bool fleeting)
{
    GError *error = NULL;
    EngineConfig config = {0};
    fill_config(&config, id, name);
    config.auto_remove = fleeting;
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, f->engine, id, fleeting);
    g_assert_true(engine_dirs_create(&dirs, &error));
    g_assert_true(engine_name_take(f->engine, name, id, &error));
    json_t *json = engine_config_to_json(&config, &error);
    g_assert_true(engine_record_write(dirs.config, json, false, &error));
    g_assert_no_error(error);
    json_decref(json);
    engine_config_clear(&config);
}

#define ID_A "aaaabbbbccccddddeeeeffff00001111aaaabbbbccccddddeeeeffff00001111"
#define ID_B "aaaabbbb11112222333344445555666677778888999900001111222233334444"

static void test_record(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    g_autoptr(EngineContainer) container = engine_find(f->engine, "one", &error);
    g_assert_no_error(error);
    EngineConfig expected = {0};
    fill_config(&expected, ID_A, "one");
    json_t *want = engine_config_to_json(&expected, &error);
    json_t *got = engine_config_to_json(&container->config, &error);
    g_assert_true(json_equal(want, got));
    json_decref(want);
    json_decref(got);
    engine_config_clear(&expected);
    g_assert_cmpint(container->state.status, ==, ENGINE_CREATED);

    EngineConfig odd = {0};
    fill_config(&odd, ID_A, "one");
    g_free(odd.cmd[1]);
    odd.cmd[1] = g_strdup("\xff");
    g_assert_null(engine_config_to_json(&odd, &error));
    assert_failed(&error, ERROR_INVALID, "'cmd' is not valid UTF-8");
    engine_config_clear(&odd);
}

static void test_record_damaged(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    make_container(f, ID_B, "two", false);
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, f->engine, ID_A, false);
    static const char *const damages[] = {"", "{", "[]", "{\"id\": 1}", "{\"min_reader\": 99}"};
    for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
        g_assert_true(file_replace_at(AT_FDCWD, dirs.config, damages[i], strlen(damages[i]), 0600,
                                      0, &error));
        g_assert_null(engine_container_load(&dirs, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
        /* one bad record hides no other */
        g_autoptr(GPtrArray) list = engine_list(f->engine, &error);
        g_assert_cmpuint(list->len, ==, 1);
    }
}

static void test_find(Fixture *f, const void *data)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) nobody = engine_list(f->engine, &error);
    g_assert_cmpuint(nobody->len, ==, 0);
    make_container(f, ID_A, "one", false);
    make_container(f, ID_B, "aaaabbbbc", true); /* a name that is also a prefix of the other's id */
    static const struct {
        const char *text, *id;
    } good[] = {{"one", ID_A},       {"/one", ID_A},       {ID_A, ID_A},
                {"aaaabbbbc", ID_B}, {"aaaabbbbcc", ID_A}, {"aaaabbbb1", ID_B}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_autoptr(EngineContainer) found = engine_find(f->engine, good[i].text, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(found->config.id, ==, good[i].id);
    }
    g_assert_null(engine_find(f->engine, "aaaa", &error));
    assert_failed(&error, ERROR_INVALID, "several containers");
    static const char *const bad[] = {"", "two", "ffff", "../one", "o"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_null(engine_find(f->engine, bad[i], &error));
        assert_failed(&error, ERROR_NOT_FOUND, "no such container");
    }
}

static void test_name_taken(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    g_assert_false(engine_name_take(f->engine, "one", ID_B, &error));
    assert_failed(&error, ERROR_EXISTS, "already in use by container aaaabbbbcccc");
    /* left behind by a container that is gone */
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, f->engine, ID_A, false);
    g_assert_true(file_remove_all_at(AT_FDCWD, dirs.keep, &error));
    g_assert_true(file_remove_all_at(AT_FDCWD, dirs.run, &error));
    g_assert_true(engine_name_take(f->engine, "one", ID_B, &error));
    engine_name_release(f->engine, "one", ID_A);
    g_autofree char *holder = engine_name_lookup(f->engine, "one");
    g_assert_cmpstr(holder, ==, ID_B);
}

static void save_running(Fixture *f, EngineDirs *dirs, pid_t pid, uint64_t start)
{
    EngineState state = {
        .status = ENGINE_RUNNING,
        .pid = pid,
        .start_ticks = start,
        .boot_id = g_strdup(sys_boot_id()),
        .started = 1000000,
        .ports = engine_ports_new(),
    };
    GError *error = NULL;
    g_assert_true(engine_state_save(dirs, &state, &error));
    engine_state_clear(&state);
}

static void test_state(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, f->engine, ID_A, false);
    EngineState state = {0};
    uint64_t start = engine_process_start(getpid());
    g_assert_cmpuint(start, >, 0);

    save_running(f, &dirs, getpid(), start);
    g_assert_true(engine_state_refresh(&dirs, &state, &error));
    g_assert_cmpint(state.status, ==, ENGINE_RUNNING);
    _autofd int process = engine_process_open(&state);
    g_assert_cmpint(process, >=, 0);

    /* the same number, another process: ended, and nobody saw how */
    save_running(f, &dirs, getpid(), start + 1);
    g_assert_true(engine_state_refresh(&dirs, &state, &error));
    g_assert_cmpint(state.status, ==, ENGINE_EXITED);
    g_assert_false(state.exit_known);
    g_assert_cmpint(engine_process_open(&state), ==, -1);

    static const char record[] = "{\"pid\":1,\"code\":3,\"signal\":0,\"oom\":false,"
                                 "\"started\":\"2014-10-08T12:23:35.000000000Z\","
                                 "\"finished\":\"2014-10-08T12:23:36.500000000Z\"}\n";
    g_autofree char *path = engine_dirs_run_file(&dirs, "exit");
    g_assert_true(file_replace_at(AT_FDCWD, path, record, strlen(record), 0600, 0, &error));
    g_assert_true(engine_state_refresh(&dirs, &state, &error));
    g_assert_cmpint(state.status, ==, ENGINE_EXITED);
    g_assert_true(state.exit_known);
    g_assert_cmpint(state.exit_code, ==, 3);
    g_autofree char *finished = engine_format_time(state.finished);
    g_assert_cmpstr(finished, ==, "2014-10-08T12:23:36.500000000Z");

    /* made permanent: also without the record, and without anything below the run directory */
    g_assert_true(engine_state_settle(&dirs, &state, &error));
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(engine_state_refresh(&dirs, &state, &error));
    g_assert_cmpint(state.exit_code, ==, 3);
    g_assert_true(file_remove_all_at(AT_FDCWD, dirs.run, &error));
    g_assert_true(engine_state_refresh(&dirs, &state, &error));
    g_assert_cmpint(state.exit_code, ==, 3);
    engine_state_clear(&state);
}

static void test_sweep(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    make_container(f, ID_B, "two", true);
    g_auto(EngineDirs) whole = {0}, fleeting = {0}, half = {0};
    engine_dirs_init(&whole, f->engine, ID_A, false);
    engine_dirs_init(&fleeting, f->engine, ID_B, true);
    engine_dirs_init(&half, f->engine, ID_B, false);
    /* the machine went down: nothing is left below the run directory, one container was being made */
    g_assert_true(file_ensure_dir_at(AT_FDCWD, half.keep, 0700, &error));
    g_assert_true(file_remove_all_at(AT_FDCWD, engine_run(f->engine), &error));
    engine_sweep(f->engine);
    g_assert_cmpint(access(whole.config, F_OK), ==, 0);
    g_assert_cmpint(access(fleeting.keep, F_OK), ==, -1);
    g_assert_cmpint(access(half.keep, F_OK), ==, -1);
    /* once per boot */
    g_assert_true(file_ensure_dir_at(AT_FDCWD, fleeting.keep, 0700, &error));
    engine_sweep(f->engine);
    g_assert_cmpint(access(fleeting.keep, F_OK), ==, 0);
}

static void test_inspect(Fixture *f, const void *data)
{
    GError *error = NULL;
    make_container(f, ID_A, "one", false);
    g_autoptr(EngineContainer) container = engine_find(f->engine, "one", &error);
    json_t *document = engine_inspect(f->engine, container);
    g_assert_nonnull(document);
    static const char *const cases[][2] = {
        {"{{.Id}}", ID_A},
        {"{{.Name}} {{.State.Status}} {{.State.Pid}}", "/one created 0"},
        {"{{.Path}} {{json .Args}}", "httpd [\"-D\",\"FOREGROUND\"]"},
        {"{{.Config.Image}}\\t{{.HostConfig.Memory}}", "web\t67108864"},
        {"{{json .HostConfig.Binds}}", "[\"/a:/b:ro\"]"},
        {"{{ .Nothing.Here }}", "<no value>"},
        {"{{json .HostConfig.PortBindings}}",
         "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"}]}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *text = template_format(cases[i][0], document, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(text, ==, cases[i][1]);
    }
    g_assert_null(template_format("{{range .X}}", document, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "{{range .X}}");
    g_assert_null(template_format("{{.X", document, &error));
    assert_failed(&error, ERROR_INVALID, "lacks a '}}'");
    json_decref(document);
}

/* --- the command line --------------------------------------------------------------------------------- */

static void test_durations(void)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "Less than a second"}, {1, "1 second"},           {59, "59 seconds"},
        {60, "About a minute"},    {120, "2 minutes"},        {3600, "About an hour"},
        {7200, "2 hours"},         {3 * 86400, "3 days"},     {21 * 86400, "3 weeks"},
        {100 * 86400, "3 months"}, {1000 * 86400, "2 years"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *text = human_duration(cases[i].seconds);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void test_row(void)
{
    g_autoptr(EngineContainer) container = g_new0(EngineContainer, 1);
    fill_config(&container->config, ID_A, "one");
    EngineState *state = &container->state;
    state->ports = engine_ports_new();
    g_assert_true(engine_parse_publish("32768:80", state->ports, NULL));
    g_strfreev(container->config.exposed);
    container->config.exposed = g_strsplit("80/tcp 443/tcp", " ", -1);
    int64_t now = container->config.created + 5 * G_USEC_PER_SEC;
    g_auto(ContainerRow) row = {0};
    container_row_fill(&row, container, now, false);
    g_assert_cmpstr(row.id, ==, "aaaabbbbcccc");
    g_assert_cmpstr(row.command, ==, "\"httpd -D FOREGROUND\"");
    g_assert_cmpstr(row.created, ==, "5 seconds ago");
    g_assert_cmpstr(row.status, ==, "Created");
    g_assert_cmpstr(row.ports, ==, "");
    state->status = ENGINE_RUNNING;
    state->started = now - 60 * G_USEC_PER_SEC;
    g_autofree char *up = container_row_status(state, now), *ports = container_row_ports(container);
    g_assert_cmpstr(up, ==, "Up About a minute");
    g_assert_cmpstr(ports, ==, "0.0.0.0:32768->80/tcp, 443/tcp");
    state->status = ENGINE_EXITED;
    g_autofree char *unknown = container_row_status(state, now);
    g_assert_cmpstr(unknown, ==, "Exited (unknown)");
    state->exit_known = true;
    state->exit_code = 137;
    state->finished = now - 3 * G_USEC_PER_SEC;
    g_autofree char *ended = container_row_status(state, now);
    g_assert_cmpstr(ended, ==, "Exited (137) 3 seconds ago");
    g_strfreev(container->config.cmd);
    container->config.cmd = g_strsplit("sh -c echo \"a long line\"", " ", 3);
    g_autofree char *cut = container_row_command(&container->config, false);
    g_assert_cmpstr(cut, ==, "\"sh -c echo \\\"a long …\"");
}

static void test_columns(void)
{
    g_autoptr(Columns) columns = columns_new(3);
    static const char *const cells[] = {"ID", "NAME", "PORTS", "é", "a longer name", "x"};
    for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
        columns_add(columns, cells[i]);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    columns_print(columns, out);
    fclose(out);
    g_assert_cmpstr(text, ==, "ID        NAME            PORTS\né         a longer name   x\n");
    free(text);
}

static void test_docker_args(void)
{
    gboolean flag;
    char *text = NULL;
    const GOptionEntry entries[] = {
        {"detach", 'd', 0, G_OPTION_ARG_NONE, &flag, NULL, NULL},
        {"rm", 0, 0, G_OPTION_ARG_NONE, &flag, NULL, NULL},
        {"publish", 'p', 0, G_OPTION_ARG_FILENAME, &text, NULL, NULL},
        G_OPTION_ENTRY_NULL,
    };
    static const char *const cases[][2] = {
        {"run -dp 80:80 x -d", "run -d -p 80:80 x -d"},
        {"run -p80:80 x", "run -p 80:80 x"},
        {"run -dp=80:80 x", "run -d -p 80:80 x"},
        {"run --rm=true --detach=false x", "run --rm x"},
        {"run -d=false --publish 1 x", "run --publish 1 x"},
        {"run -d=true --publish=1 x", "run -d --publish=1 x"},
        {"run -dz x", "run -d -z x"},
        {"run -- -d", "run -- -d"},
        {"run x --rm=true", "run x --rm=true"},
        {"run -p", "run -p"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_auto(GStrv) argv = g_strsplit(cases[i][0], " ", -1);
        g_auto(GStrv) normal = docker_args_normalize(argv, entries, NULL, true);
        g_autofree char *joined = g_strjoinv(" ", normal);
        g_assert_cmpstr(joined, ==, cases[i][1]);
    }
}

static void test_run_options(void)
{
    const CliCommand command = {
        .group = "", .name = "run", .flags = CLI_DOCKER, .usage = "IMAGE", .summary = "Run"};
    char *argv[] = {"run",   "-it",        "-dP",       "-p8080:80", "-e",     "A=1",
                    "-eB=2", "--name=web", "--rm=true", "-h",        "box",    "--pids-limit",
                    "7",     "image:1",    "sh",        "-c",        "exit 3", NULL};
    g_auto(ContainerOptions) options = {0};
    GError *error = NULL;
    g_assert_true(
        container_options_parse(&command, (int)ARRAY_SIZE(argv) - 1, argv, &options, &error));
    const EngineCreateOptions *create = &options.create;
    g_assert_cmpstr(create->image, ==, "image:1");
    g_assert_cmpstr(create->command[0], ==, "sh");
    g_assert_cmpstr(create->command[1], ==, "-c");
    g_assert_cmpstr(create->name, ==, "web");
    g_assert_cmpstr(create->hostname, ==, "box");
    g_assert_cmpstr(create->publish[0], ==, "8080:80");
    g_assert_cmpstr(create->env[1], ==, "B=2");
    g_assert_cmpint(create->pids_limit, ==, 7);
    g_assert_true(create->tty && create->open_stdin && create->detach && create->publish_all &&
                  create->auto_remove);

    char *later[] = {"run", "--restart", "always", "x", NULL};
    g_auto(ContainerOptions) other = {0};
    g_assert_false(container_options_parse(&command, 4, later, &other, &error));
    assert_failed(&error, ERROR_UNSUPPORTED, "not supported yet: --restart");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/publish", test_publish);
    g_test_add_func("/engine/publish-bad", test_publish_bad);
    g_test_add_func("/engine/volume", test_volume);
    g_test_add_func("/engine/memory", test_memory);
    g_test_add_func("/engine/words", test_words);
    g_test_add_func("/engine/env", test_env);
    g_test_add_func("/engine/names", test_names);
    g_test_add("/engine/record", Fixture, NULL, set_up, test_record, tear_down);
    g_test_add("/engine/record-damaged", Fixture, NULL, set_up, test_record_damaged, tear_down);
    g_test_add("/engine/find", Fixture, NULL, set_up, test_find, tear_down);
    g_test_add("/engine/name-taken", Fixture, NULL, set_up, test_name_taken, tear_down);
    g_test_add("/engine/state", Fixture, NULL, set_up, test_state, tear_down);
    g_test_add("/engine/sweep", Fixture, NULL, set_up, test_sweep, tear_down);
    g_test_add("/engine/inspect", Fixture, NULL, set_up, test_inspect, tear_down);
    g_test_add_func("/cli/durations", test_durations);
    g_test_add_func("/cli/row", test_row);
    g_test_add_func("/cli/columns", test_columns);
    g_test_add_func("/cli/docker-args", test_docker_args);
    g_test_add_func("/cli/run-options", test_run_options);
    return g_test_run();
}
