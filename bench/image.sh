# SPDX-License-Identifier: LGPL-2.1-or-later
# Images from metadata alone, by size: does the time grow with the number of inodes and no faster, and how much memory
# does one take. Beside it what the library needs without the process, the store and the disk (bench/image.c).

# dump_of N: directories of some 100 files, nearly all of them objects, some symlinks and inline files
dump_of() {
    awk -v n="$1" 'BEGIN {
        srand(1)
        print "/ 0 40755 2 0 0 0 1700000000.0 - - -"
        for (i = 1; i < n; i++) {
            if (i % 100 == 1) {
                if (i % 10000 == 1) { top = sprintf("/d%04d", i / 10000); print top " 0 40755 2 0 0 0 1700000000.0 - - -"; i++ }
                dir = sprintf("%s/d%06d", top, i / 100); print dir " 0 40755 2 0 0 0 1700000000.0 - - -"
                continue
            }
            path = sprintf("%s/lib-name-%07d.so", dir, i); time = sprintf("1%09d.%d", rand() * 1e9, rand() * 1e9)
            if (i % 12 == 0) { print path " 12 120777 1 0 0 0 " time " libname.so.1 - -"; continue }
            if (i % 15 == 0) { print path " 8 100644 1 0 0 0 " time " - contents -"; continue }
            digest = ""
            for (j = 0; j < 8; j++) digest = digest sprintf("%08x", rand() * 4294967296)
            print path " " 65 + int(rand() * 100000) " 100644 1 0 0 0 " time " " \
                substr(digest, 1, 2) "/" substr(digest, 3) " - " digest
        }
    }'
}

curve_prepare() {
    fresh && { [ "$1" = theirs ] || "$ATOMIC" store init --store "$fs/store" &>"$work/out"; } && sync -f "$fs"
}

bench_curve() {
    local n
    for n in 10000 100000 1000000; do
        dump_of $n >"$work/tree.dump" || return
        compare "image of $n inodes" "$mkcomposefs" dump_ours dump_theirs curve_prepare count || return
        "$top/build/bench/image" "$work/tree.dump" || return
    done
}
