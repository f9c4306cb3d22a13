/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/oci.h"

#include <string.h>

static void test_names(void)
{
    static const struct {
        const char *text, *normalized;
    } good[] = {
        {"web", "web:latest"},
        {"library/web", "web:latest"},
        {"docker.io/library/web:1", "web:1"},
        {"index.docker.io/team/web", "team/web:latest"},
        {"docker.io/web", "web:latest"},
        {"cgwalters/apache", "cgwalters/apache:latest"},
        {"library/a/b", "library/a/b:latest"},
        {"quay.io/a/b:v1.2", "quay.io/a/b:v1.2"},
        {"localhost/x", "localhost/x:latest"},
        {"localhost:5000/x:y", "localhost:5000/x:y"},
        {"Registry/x", "Registry/x:latest"},
        {"a__b--c.d_e", "a__b--c.d_e:latest"},
        {"localhost:5000", "localhost:5000"},
    };
    static const char *const bad[] = {
        "",
        "Web",
        "web:",
        "web:-1",
        "web:a b",
        "a//b",
        "/a",
        "a/",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "web:1:2",
        ".",
        "../a",
        "quay.io:x/a",
        "b@sha256:0000",
        "quay.io/",
        "0123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = oci_name_normalize(good[i].text, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(name, ==, good[i].normalized);
        g_autofree char *again = oci_name_normalize(name, &error);
        g_assert_cmpstr(again, ==, name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = oci_name_normalize(bad[i], &error);
        g_assert_cmpstr(name, ==, NULL);
        g_assert_true(error_is(error, ERROR_INVALID) || error_is(error, ERROR_UNSUPPORTED));
    }
    g_autofree char *repository = NULL, *tag = NULL;
    oci_name_split("localhost:5000/x:y", &repository, &tag);
    g_assert_cmpstr(repository, ==, "localhost:5000/x");
    g_assert_cmpstr(tag, ==, "y");
}

static void test_config_round_trip(void)
{
    static const char json[] =
        "{\"created\":\"2026-01-02T03:04:05Z\",\"author\":\"a\",\"architecture\":\"amd64\",\"os\":"
        "\"linux\","
        "\"config\":{\"User\":\"www-data\",\"ExposedPorts\":{\"443/tcp\":{},\"80/tcp\":{}},"
        "\"Env\":[\"PATH=/bin\",\"B=2\",\"A=1\"],\"Entrypoint\":[\"/e\"],\"Cmd\":[\"x\",\"\"],"
        "\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"\",\"b\":\"2\"},"
        "\"StopSignal\":\"SIGINT\",\"Healthcheck\":{\"Test\":[\"CMD\",\"/"
        "h\"],\"Interval\":5,\"Retries\":3},"
        "\"Shell\":[\"/bin/bash\",\"-c\"],\"OnBuild\":[\"RUN x\"]},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
        "[\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]},"
        "\"history\":[{\"created\":\"2026-01-02T03:04:05Z\",\"created_by\":\"x\"},"
        "{\"created_by\":\"y\",\"empty_layer\":true}]}";
    g_autoptr(GError) error = NULL;
    g_autoptr(OciConfig) config = oci_config_parse(json, strlen(json), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(oci_config_env(config, "B"), ==, "2");
    g_assert_cmpstr(oci_config_env(config, "C"), ==, NULL);
    g_assert_cmpstr(config->exposed_ports[1], ==, "80/tcp");
    g_autofree char *text = oci_config_format(config);
    g_assert_cmpstr(text, ==, json);

    g_autoptr(OciConfig) copy = oci_config_copy(config);
    oci_config_set_env(copy, "B", "3");
    oci_config_set_env(copy, "C", "");
    g_assert_cmpuint(g_strv_length(copy->env), ==, 4);
    g_assert_cmpstr(oci_config_env(copy, "B"), ==, "3");
    g_assert_cmpstr(oci_config_env(copy, "C"), ==, "");
    g_assert_cmpstr(oci_config_env(config, "B"), ==, "2");
}

static void test_config_order(void)
{
    /* whatever order maps come in, the bytes are the same */
    const char *a =
        "{\"config\":{\"Labels\":{\"x\":\"1\",\"a\":\"2\"},\"Volumes\":{\"/b\":{},\"/a\":{}}},"
        "\"rootfs\":{\"diff_ids\":[]},\"os\":\"linux\",\"architecture\":\"amd64\"}";
    const char *b =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"unknown\":[1],\"rootfs\":{\"diff_ids\":[]},"
        "\"config\":{\"Volumes\":{\"/a\":{},\"/b\":{}},\"Labels\":{\"a\":\"2\",\"x\":\"1\"}}}";
    g_autoptr(OciConfig) x = oci_config_parse(a, strlen(a), NULL);
    g_autoptr(OciConfig) y = oci_config_parse(b, strlen(b), NULL);
    g_autofree char *text_x = oci_config_format(x), *text_y = oci_config_format(y);
    g_assert_cmpstr(text_x, ==, text_y);
}

static void test_config_hostile(void)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"rootfs\":[]}",
        "{\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}",
        "{\"rootfs\":{\"diff_ids\":[7]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":7}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":\"x\"}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":[\"a=b\",1]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Cmd\":{}}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":1}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Labels\":{\"a\":1}}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Volumes\":[\"/a\"]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":[]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"history\":{}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"history\":[1]}",
        "{\"rootfs\":{\"diff_ids\":[]}",
        "{\"rootfs\":{\"diff_ids\":[]},\"rootfs\":{\"diff_ids\":[]}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(OciConfig) config = oci_config_parse(bad[i], strlen(bad[i]), &error);
        g_assert_null(config);
        g_assert_true(error_is(error, ERROR_CORRUPT));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/names", test_names);
    g_test_add_func("/oci/config/round-trip", test_config_round_trip);
    g_test_add_func("/oci/config/order", test_config_order);
    g_test_add_func("/oci/config/hostile", test_config_hostile);
    return g_test_run();
}
