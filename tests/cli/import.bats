# SPDX-License-Identifier: LGPL-2.1-or-later
# Importing a directory is bounded, whatever is in it: open files, and memory per file. ATOMIC_TEST_FILES says how many
# files (1000000 for a long run).

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
    "$ATOMIC" store init >/dev/null 2>&1
}

# make_files N: in directories of 1000, each other bytes
make_files() {
    python3 - "$1" <<'PY'
import os, sys
for i in range(int(sys.argv[1])):
    if i % 1000 == 0:
        os.makedirs("tree/%d" % (i // 1000))
    with open("tree/%d/%d" % (i // 1000, i), "wb", 0) as f:
        f.write(b"%099d\n" % i)
PY
}

# Runs the command; the last line is its peak memory in KiB.
measured() {
    python3 -c '
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)' "$@"
}

@test "many files in one import and one commit: open files are few, memory is that of the tree" {
    files=${ATOMIC_TEST_FILES:-3000}
    make_files "$files"
    ulimit -n 320 # 256 handed over to be read, and some
    run strace -f -qq -o errors -e trace=openat -e status=failed "$ATOMIC" store import --dir tree --name many
    [ "$status" -eq 0 ]
    ! grep EMFILE errors || false
    ulimit -n 100 # fewer are handed over then
    rm -r store
    "$ATOMIC" store init >/dev/null 2>&1
    run measured "$ATOMIC" store import --dir tree --name many
    [ "$status" -eq 0 ]
    echo "peak memory: ${lines[-1]} KiB"
    [ "${lines[-1]}" -lt $((48 * 1024 + files)) ] # 1 KiB a file
    [ "$(find store/objects -type f | wc -l)" -eq $((files + 1)) ]
    run measured "$ATOMIC" tree commit --dir tree --ref many
    [ "$status" -eq 0 ]
    [ "${lines[-1]}" -lt $((48 * 1024 + 2 * files)) ] # OSTree's objects too
    "$ATOMIC" store fsck
}

@test "too few open files are allowed: the import says so and leaves nothing" {
    make_files 100
    (
        ulimit -n 12
        run "$ATOMIC" store import --dir tree --name few
        [ "$status" -eq 1 ]
        [[ $output == *"Too many open files"* ]]
    )
    [ -z "$(ls store/staging)" ]
    run "$ATOMIC" store ls
    [ -z "$output" ]
}
