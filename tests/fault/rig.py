# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold after a command on a store was killed at any of its writes, or one of its calls failed.

A Scenario says how a store is prepared and which command is tried on a copy of it. The rig runs the command once
undisturbed, and takes that as what should be; then once per point under `fault` (fault.c), each time on a fresh copy:

 1. it ends as expected: killed; or in success; or failed, with a message that says why, on what, and no descriptor leaked
 2. `store fsck` is clean; each name leads where it did before, or (when the command changes it) where it should;
    every object that was worth keeping has the same bytes
 3. the same command again succeeds, prints the same, and leaves the names that it should
 4. after `store gc` the store has exactly the files that it has without the disturbance: nothing is left over
"""
import json
import os
import random
import re
import shutil
import subprocess
import tempfile

HANG = 60  # seconds: far more than any of the commands takes


class Broken(Exception):
    """Something that must hold doesn't."""


class Scenario:
    """`prepare(place)` makes what is needed below place.dir, the store in place.store when there is to be one;
    `command` are the words, "{dir}" standing for the directory that the point's copy is in."""

    def __init__(self, name, prepare, command, threads=1, repeatable=True):
        self.name, self.prepare, self.command = name, prepare, command
        self.threads, self.repeatable = threads, repeatable


class Programs:
    """The programs under test, and their environment."""

    def __init__(self, build):
        self.atomic = os.path.join(build, "bin", "atomic")
        self.make_image = os.path.join(build, "tests", "make-image")
        self.fault = os.path.join(build, "tests", "fault")
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1700000000",
                            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"}


class Place:
    """A directory with a store, and commands that act on it."""

    def __init__(self, programs, directory, threads=1):
        self.programs, self.dir, self.threads = programs, directory, threads
        self.store = os.path.join(directory, "store")

    def run(self, words, fault=None):
        """Returns (status, stdout, stderr, the harness's report or None). stdout is a file: it can fail like one."""
        environment = dict(self.programs.environment, ATOMIC_STORE=self.store, ATOMIC_THREADS=str(self.threads))
        report = os.path.join(self.dir, "report")
        words = [self.programs.atomic if w == "atomic" else w.replace("{dir}", self.dir) for w in words]
        if fault:
            words = [self.programs.fault, "-o", report, *fault, "--", *words]
        with open(os.path.join(self.dir, "stdout"), "w+b") as out:
            try:
                done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=subprocess.PIPE, timeout=HANG)
            except subprocess.TimeoutExpired:
                raise Broken(f"it hangs: {' '.join(words)}")
            out.seek(0)
            stdout = out.read()
        if fault:
            with open(report) as f:
                fault = json.load(f)
        return done.returncode, stdout, done.stderr.decode(errors="replace"), fault

    def must(self, *words):
        status, out, err, _ = self.run(words)
        if status != 0:
            raise Broken(f"{' '.join(words)}: exit status {status}: {err.strip()} {out.decode(errors='replace').strip()}")
        return out

    def copy(self, directory):
        shutil.copytree(self.dir, directory, symlinks=True)
        return Place(self.programs, directory, self.threads)


class Snapshot:
    """All that is in a store. Object directories that are empty don't count."""

    def __init__(self, store):
        self.links, self.refs, self.objects, self.others = {}, {}, {}, set()
        self._read(store, "")

    def _read(self, path, name):
        try:
            entries = list(os.scandir(path))
        except FileNotFoundError:
            return
        for entry in entries:
            below = f"{name}/{entry.name}" if name else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not re.fullmatch("objects/..", below):
                    self.others.add(below)
                self._read(entry.path, below)
            elif entry.is_symlink() and "/.tmp-" not in below:
                kind = self.refs if "/refs/" in below else self.links
                kind[below] = os.readlink(entry.path)
            elif below.startswith("objects/"):
                with open(entry.path, "rb") as f:
                    self.objects[below] = f.read()
            else:
                self.others.add(below)

    def files(self):
        return self.others | set(self.links) | set(self.refs) | set(self.objects)


def difference(should, is_):
    return "; ".join([f"missing: {n}" for n in sorted(should - is_)][:5] +
                     [f"too much: {n}" for n in sorted(is_ - should)][:5])


class Rig:
    """A prepared scenario."""

    def __init__(self, programs, scenario, directory):
        self.scenario, self.directory = scenario, directory
        self.template = Place(programs, os.path.join(directory, "template"), scenario.threads)
        os.makedirs(self.template.dir)
        scenario.prepare(self.template)
        self.before = Snapshot(self.template.store)
        collected = self._copy()
        if os.path.exists(collected.store):
            collected.must("atomic", "store", "gc")
        worth = Snapshot(collected.store).objects
        self._drop(collected)
        done = self._copy()
        status, self.stdout, err, self.report = done.run(scenario.command, ["count"])
        if status != 0:
            raise Broken(f"undisturbed, it fails: {err}")
        done.must("atomic", "store", "fsck")
        self.after = Snapshot(done.store)
        self.kept = {n: b for n, b in worth.items() if n in self.after.objects}
        # again and collected, as is done at every point
        self._again(done)
        done.must("atomic", "store", "gc")
        self.final = Snapshot(done.store)
        self._drop(done)

    def _copy(self):
        place = self.template.copy(tempfile.mktemp(dir=self.directory))
        return place

    def _drop(self, place):
        shutil.rmtree(place.dir)

    def count(self, *options):
        """How many calls of a class the command makes."""
        place = self._copy()
        report = place.run(self.scenario.command, [*options])[3]
        self._drop(place)
        return report["calls"]

    def count_with_strace(self):
        """The same by another's eyes. What changes something only with certain arguments is counted by the line."""
        place = self._copy()
        log = os.path.join(place.dir, "strace")
        names = place.must(place.programs.fault, "calls").decode().strip()
        place.must("strace", "-f", "-C", "-o", log, "-e", "trace=" + names, *[
            place.programs.atomic if w == "atomic" else w for w in self.scenario.command])
        with open(log) as f:
            text = f.read()
        self._drop(place)
        lines, _, table = text.partition("% time")
        conditional = {"open", "openat", "openat2", "ioctl"}
        total = 0
        for line in table.splitlines():
            words = line.split()
            if len(words) >= 5 and words[0][0].isdigit() and words[-1] not in conditional | {"total"}:
                total += int(words[3])
        return total + len(re.findall(
            r" open(?:at2?)?\(.*\bO_(?:CREAT|TRUNC|TMPFILE)| ioctl\([^,]*, (?:FICLONE|FIDEDUPE|FIFREEZE|FITHAW|"
            r"FS_IOC_SETFLAGS|FS_IOC_ENABLE_VERITY)", lines))

    # --- what must hold ---------------------------------------------------------------------------------------

    def _check_names(self, now):
        for name in set(self.before.refs) | set(self.after.refs) | set(now.refs):
            old, new, is_ = self.before.refs.get(name), self.after.refs.get(name), now.refs.get(name)
            if is_ not in (old, new):
                raise Broken(f"the name {name} leads to {is_}: neither to {old} nor to {new}")

    def _check_intact(self, place):
        if not self.before.files() and not os.path.exists(os.path.join(place.store, "meta.json")):
            return  # there is no store yet
        place.must("atomic", "store", "fsck")
        now = Snapshot(place.store)
        self._check_names(now)
        for name, data in self.kept.items():
            if now.objects.get(name) != data:
                raise Broken(f"{name} is {'changed' if name in now.objects else 'lost'}")

    def _again(self, place):
        out = place.must(*self.scenario.command)
        if self.scenario.repeatable and out != self.stdout:
            raise Broken(f"again it prints {out!r} instead of {self.stdout!r}")
        refs = Snapshot(place.store).refs
        if refs != self.after.refs:
            raise Broken(f"again it leaves other names: {refs} instead of {self.after.refs}")

    def _check_collected(self, place):
        place.must("atomic", "store", "gc")
        files = Snapshot(place.store).files()
        if files != self.final.files():
            raise Broken("after gc " + difference(self.final.files(), files))
        place.must("atomic", "store", "fsck")

    def _check_end(self, mode, status, out, err, report):
        """How the command ended."""
        if mode[0] in ("kill", "random"):
            if status != (137 if report["at"] else 0):
                raise Broken(f"exit status {status}: {err}")
            return
        if status == 0:  # then it has to be true
            if self.scenario.repeatable and out != self.stdout:
                raise Broken(f"success, but it prints {out!r} instead of {self.stdout!r}: {err}")
        elif "error while loading shared libraries" in err:
            return  # the loader's words, not ours
        elif status not in (1, 125):
            raise Broken(f"exit status {status}: {err}")
        else:
            self._check_message(mode[1], err)
        if report["fds"] > self.report["fds"]:
            raise Broken(f"{report['fds'] - self.report['fds']} descriptors leak: {err}")

    def _check_message(self, error, err):
        why = os.strerror(getattr(__import__("errno"), error))
        lines = [line for line in err.splitlines() if line.startswith("atomic: ")]
        if len(lines) != 1 or why not in lines[0] or not ("'" in lines[0] or "standard output" in lines[0]):
            raise Broken(f"the message doesn't say '{why}', or not once: {err!r}")

    # --- a point ----------------------------------------------------------------------------------------------

    def try_point(self, mode):
        """None, or what is wrong at this point. `mode` are the harness's words."""
        place = self._copy()
        report = None
        try:
            status, out, err, report = place.run(self.scenario.command, mode)
            if mode[0] == "-c":
                mode = mode[2:]
            self._check_end(mode, status, out, err, report)
            self._check_intact(place)
            if status == 0 and Snapshot(place.store).refs != self.after.refs:
                raise Broken("success, but the names are not as they should be")
            self._again(place)
            self._check_collected(place)
        except Broken as broken:
            where = f"{report['call']} of {report['subject']}" if report and report["at"] else "no call"
            return f"{' '.join(mode)} ({where}): {broken}"
        finally:
            self._drop(place)
        return None


def spread(first, last, most):
    """At most so many of first..last, evenly, with both ends."""
    total = last - first + 1
    if most is None or total <= most:
        return list(range(first, last + 1))
    return sorted({first + i * (total - 1) // (most - 1) for i in range(most)})


def seeds(seed, count):
    chooser = random.Random(seed)
    return [chooser.randrange(1, 1 << 31) for _ in range(count)]
