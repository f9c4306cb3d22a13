/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one table of commands: help, man pages, completion and the tests that every verb answers --help
 * come from here. Grouped; the groups in the order of `atomic --help`. */
#include "cli/cli.h"

enum { D = CLI_DOCKER, J = CLI_JSON, S = CLI_SYSROOT };

/* clang-format off */
const CliCommand cli_commands[] = {
    /* the host */
    {"", "status", CLI_ATOMIC, J | S, "", "Show the deployments; * is the running one (with --sysroot the one that boots next)", "atomic status\natomic status --json"},
    {"", "deploy", CLI_STORE, S, "REMOTE:REF", "Deploy a tree as the next boot's default", "atomic deploy origin:debian/12/host\natomic deploy --karg root=LABEL=root --karg rw origin:debian/12/host"},
    {"", "upgrade", CLI_STORE, J | S, "", "Pull the newest tree of this host's branch and deploy it", "atomic upgrade\natomic upgrade --check"},
    {"", "rollback", CLI_STORE, S, "", "Make the other deployment the default again", "atomic rollback"},
    {"", "rebase", CLI_LATER, S, "REMOTE:REF", "Follow another branch", NULL},
    {"", "pin", CLI_LATER, S, "INDEX", "Keep a deployment", NULL},
    {"", "kargs", CLI_LATER, S, "", "Show or change kernel arguments", NULL},
    {"", "cleanup", CLI_LATER, S, "", "Remove deployments and free their objects", NULL},
    {"", "usroverlay", CLI_LATER, S, "", "Put a writable overlay on /usr until the next boot", NULL},

    /* containers: Docker's words */
    {"", "build", CLI_BUILD, D, "CONTEXT", "Build an image from a Dockerfile", "atomic build -t web ."},
    {"", "run", CLI_ATOMIC, D, "IMAGE [COMMAND [ARG...]]", "Create a container and start it", "atomic run --rm debian true\natomic run -d -P web\natomic run -t -i debian bash"},
    {"", "create", CLI_ATOMIC, D, "IMAGE [COMMAND [ARG...]]", "Create a container", "atomic create --name web web:latest"},
    {"", "start", CLI_ATOMIC, D, "CONTAINER...", "Start stopped containers", "atomic start web"},
    {"", "stop", CLI_ATOMIC, D, "CONTAINER...", "Stop running containers", "atomic stop web"},
    {"", "kill", CLI_ATOMIC, D, "CONTAINER...", "Send a signal to running containers", "atomic kill -s HUP web"},
    {"", "restart", CLI_LATER, D, "CONTAINER...", "Stop and start containers", NULL},
    {"", "pause", CLI_LATER, D, "CONTAINER...", "Freeze all processes of containers", NULL},
    {"", "unpause", CLI_LATER, D, "CONTAINER...", "Thaw frozen containers", NULL},
    {"", "rm", CLI_ATOMIC, D, "CONTAINER...", "Remove containers", "atomic rm web\natomic rm -f web"},
    {"", "ps", CLI_ATOMIC, D | J, "", "List containers", "atomic ps -a"},
    {"", "logs", CLI_ATOMIC, D, "CONTAINER", "Show what a container wrote", "atomic logs -f web"},
    {"", "exec", CLI_ATOMIC, D, "CONTAINER COMMAND [ARG...]", "Run a command in a running container", "atomic exec -t -i web bash"},
    {"", "attach", CLI_LATER, D, "CONTAINER", "Attach to a running container", NULL},
    {"", "cp", CLI_LATER, D, "SOURCE DESTINATION", "Copy files into or out of a container", NULL},
    {"", "commit", CLI_LATER, D, "CONTAINER [NAME[:TAG]]", "Make an image of a container's changes", NULL},
    {"", "diff", CLI_LATER, D, "CONTAINER", "Show what a container changed", NULL},
    {"", "top", CLI_LATER, D, "CONTAINER", "Show the processes of a container", NULL},
    {"", "stats", CLI_LATER, D, "", "Show what containers use", NULL},
    {"", "wait", CLI_ATOMIC, D, "CONTAINER...", "Wait until containers stop and print their exit codes", "atomic wait web"},
    {"", "rename", CLI_LATER, D, "CONTAINER NAME", "Rename a container", NULL},
    {"", "update", CLI_LATER, D, "CONTAINER...", "Change limits of containers", NULL},
    {"", "port", CLI_ATOMIC, D, "CONTAINER [PORT]", "Show the published ports of a container", "atomic port web 80"},
    {"", "inspect", CLI_ATOMIC, D | J, "NAME...", "Show everything about containers or images", "atomic inspect web"},
    {"", "events", CLI_LATER, D, "", "Follow what happens", NULL},
    {"", "images", CLI_BUILD, D | J, "", "List images", "atomic images"},
    {"", "pull", CLI_LATER, D, "IMAGE", "Fetch an image from a registry", NULL},
    {"", "push", CLI_LATER, D, "IMAGE", "Send an image to a registry", NULL},
    {"", "rmi", CLI_BUILD, D, "IMAGE...", "Remove images", "atomic rmi web"},
    {"", "tag", CLI_BUILD, D, "IMAGE NAME[:TAG]", "Give an image another name", "atomic tag web web:1"},
    {"", "history", CLI_BUILD, D | J, "IMAGE", "Show how an image was made", "atomic history web"},
    {"", "save", CLI_LATER, D, "IMAGE...", "Write images into an archive", NULL},
    {"", "load", CLI_LATER, D, "", "Read images from an archive", NULL},
    {"", "import", CLI_LATER, D, "FILE [NAME[:TAG]]", "Make an image of a tar of files", NULL},
    {"", "export", CLI_LATER, D, "CONTAINER", "Write a container's files as a tar", NULL},
    {"", "login", CLI_LATER, D, "[REGISTRY]", "Log in to a registry", NULL},
    {"", "logout", CLI_LATER, D, "[REGISTRY]", "Log out of a registry", NULL},
    {"", "info", CLI_ATOMIC, D | J, "", "Show the state of the store and of the engine", "atomic info"},
    {"", "version", CLI_ATOMIC, D | J, "", "Show the version", "atomic version"},

    /* groups */
    {"host", "init", CLI_STORE, S, "", "Make an empty host in a directory", "atomic host init --sysroot /mnt --os debian"},
    {"host", "etc-diff", CLI_LATER, S, "", "Show what was changed in /etc", NULL},
    {"host", "history", CLI_LATER, S, "", "Show earlier deployments", NULL},
    {"host", "health", CLI_LATER, S, "", "Run the health checks", NULL},

    {"tree", "commit", CLI_STORE, 0, "--ref REF (--dir D | --tar F | --image DIGEST)", "Commit a file tree to a branch", "atomic tree commit --ref test/tree --dir ./rootfs"},
    {"tree", "publish", CLI_STORE, 0, "--repo DIR REF...", "Publish branches into an OSTree archive repository", "atomic tree publish --repo /srv/repo debian/12/host"},
    {"tree", "serve", CLI_SERVE, 0, "--repo DIR", "Serve a repository over HTTP", "atomic tree serve --repo /srv/repo --listen 127.0.0.1:8080"},
    {"tree", "remote", CLI_STORE, J | S, "(add NAME URL | list)", "Add a remote repository, or list them", "atomic tree remote add origin http://127.0.0.1:8080 --no-verify"},
    {"tree", "pull", CLI_STORE, S, "REMOTE:REF", "Fetch a branch from a remote repository", "atomic tree pull origin:debian/12/host"},
    {"tree", "refs", CLI_STORE, J, "", "List branches", "atomic tree refs"},
    {"tree", "log", CLI_STORE, J, "REF", "Show the history of a branch", "atomic tree log debian/12/host"},
    {"tree", "show", CLI_STORE, J, "REF", "Show a commit", "atomic tree show debian/12/host"},
    {"tree", "ls", CLI_STORE, J, "REF [PATH]", "List files of a commit", "atomic tree ls debian/12/host /usr/bin"},
    {"tree", "cat", CLI_STORE, 0, "REF PATH", "Print a file of a commit", "atomic tree cat debian/12/host /usr/lib/os-release"},
    {"tree", "diff", CLI_LATER, 0, "A B", "Compare two commits", NULL},
    {"tree", "pkglist", CLI_STORE, J, "REF", "List the packages of a commit", "atomic tree pkglist debian/12/host"},
    {"tree", "prune", CLI_LATER, 0, "", "Forget old commits", NULL},

    {"compose", "tree", CLI_COMPOSE, J, "TREEFILE", "Compose packages into a tree, commit and publish it", "atomic compose tree --repo /srv/repo host.yaml"},
    {"compose", "image", CLI_LATER, 0, "TREEFILE", "Compose a disk image", NULL},
    {"compose", "container", CLI_LATER, 0, "TREEFILE", "Compose a container image", NULL},
    {"compose", "lint", CLI_LATER, 0, "TREEFILE", "Check a treefile", NULL},
    {"compose", "schema", CLI_LATER, 0, "", "Print the schema of treefiles", NULL},

    {"image", "from-tree", CLI_BUILD, D, "REF NAME[:TAG]", "Make a container image of a composed tree", "atomic image from-tree debian/12/host debian"},
    {"image", "ls", CLI_BUILD, D | J, "", "List images", "atomic image ls"},
    {"image", "inspect", CLI_BUILD, D | J, "IMAGE...", "Show everything about images", "atomic image inspect web"},
    {"container", "ls", CLI_ATOMIC, D | J, "", "List containers", "atomic container ls -a"},
    {"network", "ls", CLI_LATER, D, "", "List networks", NULL},
    {"volume", "ls", CLI_LATER, D, "", "List volumes", NULL},
    {"system", "df", CLI_LATER, D, "", "Show what uses space", NULL},

    {"store", "init", CLI_STORE, 0, "", "Make an empty store", "atomic store init --store /var/lib/atomic/store"},
    {"store", "import", CLI_STORE, 0, "(--dir D | --tar F | --dump F) [--name N]", "Import files and print the image's digest", "atomic store import --dir ./rootfs --name rootfs"},
    {"store", "export", CLI_STORE, 0, "IMAGE (--tar F | --dump F | --dir D)", "Export an image", "atomic store export rootfs --dump -"},
    {"store", "ls", CLI_STORE, J, "[IMAGE [PATH]]", "List images, or the files of one", "atomic store ls -l\natomic store ls -R rootfs /usr"},
    {"store", "cat", CLI_STORE, 0, "IMAGE PATH", "Print a file of an image", "atomic store cat rootfs /etc/hostname"},
    {"store", "stat", CLI_STORE, J, "IMAGE PATH", "Show all attributes of a file, and where its bytes are", "atomic store stat rootfs /usr/bin/env"},
    {"store", "diff", CLI_STORE, J, "A B", "Compare two trees: images, branches, containers, directories", "atomic store diff debian/12/host origin:debian/12/host\natomic store diff -v image:rootfs dir:./rootfs\natomic store diff web:latest container:web"},
    {"store", "mount", CLI_STORE, 0, "IMAGE DIR", "Mount an image, read-only or with a layer for changes", "atomic store mount rootfs /mnt\natomic store mount --writable rootfs /mnt"},
    {"store", "unmount", CLI_STORE, 0, "DIR", "Unmount an image", "atomic store unmount /mnt\natomic store unmount --discard /mnt"},
    {"store", "du", CLI_STORE, J, "", "Show what each name needs, alone and together with others (-v: with whom)", "atomic store du\natomic store du -v"},
    {"store", "gc", CLI_STORE, J, "", "Remove objects that nothing refers to", "atomic store gc --dry-run\natomic store gc --keep-younger 2d\natomic store gc --why 3f9a"},
    {"store", "fsck", CLI_STORE, J, "", "Verify every object and name", "atomic store fsck\natomic store fsck --repair --from /mnt/other/store"},
    {"store", "setup", CLI_STORE, 0, "", "Use what the filesystem has: the reserve for upgrades, fs-verity on objects that have none", "atomic store setup --reserve default"},
    {"store", "check", CLI_STORE, J, "", "Say what would make the storage better", "atomic store check"},
    {NULL},
};

const CliAlias cli_aliases[] = {
    {"host", "status", "status"}, {"host", "deploy", "deploy"}, {"host", "upgrade", "upgrade"},
    {"host", "rollback", "rollback"}, {"host", "rebase", "rebase"}, {"host", "pin", "pin"},
    {"host", "kargs", "kargs"}, {"host", "cleanup", "cleanup"}, {"host", "usroverlay", "usroverlay"},

    {"container", "attach", "attach"}, {"container", "commit", "commit"}, {"container", "cp", "cp"},
    {"container", "create", "create"}, {"container", "diff", "diff"}, {"container", "exec", "exec"},
    {"container", "export", "export"}, {"container", "inspect", "inspect"}, {"container", "kill", "kill"},
    {"container", "logs", "logs"}, {"container", "pause", "pause"}, {"container", "port", "port"},
    {"container", "ps", "ps"}, {"container", "rename", "rename"}, {"container", "restart", "restart"},
    {"container", "rm", "rm"}, {"container", "run", "run"}, {"container", "start", "start"},
    {"container", "stats", "stats"}, {"container", "stop", "stop"}, {"container", "top", "top"},
    {"container", "unpause", "unpause"}, {"container", "update", "update"}, {"container", "wait", "wait"},

    {"image", "build", "build"}, {"image", "history", "history"}, {"image", "import", "import"},
    {"image", "load", "load"}, {"image", "pull", "pull"}, {"image", "push", "push"},
    {"image", "rm", "rmi"}, {"image", "save", "save"}, {"image", "tag", "tag"},

    {"system", "info", "info"}, {"system", "events", "events"},
    {NULL},
};

const CliGroup cli_groups[] = {
    {"host", "This host, or one in a directory: its deployments"},
    {"tree", "Branches of file trees: commit, publish, serve, fetch and read them"},
    {"compose", "Trees made of a distribution's packages"},
    {"image", "Container images"},
    {"container", "Containers"},
    {"network", "Networks of containers"},
    {"volume", "Volumes of containers"},
    {"system", "The engine as a whole"},
    {"store", "The content-addressed store underneath"},
    {NULL},
};
/* clang-format on */
