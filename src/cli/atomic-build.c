/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-build: images. */
#include "cli/image_verbs.h"

static const CliVerb verbs[] = {
    {"", "build", cli_image_build},
    {"", "images", cli_image_ls},
    {"", "rmi", cli_image_rm},
    {"", "tag", cli_image_tag},
    {"", "history", cli_image_history},
    {"image", "from-tree", cli_image_from_tree},
    {"image", "ls", cli_image_ls},
    {"image", "inspect", cli_image_inspect},
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_BUILD, verbs, argc, argv);
}
