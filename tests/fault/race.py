# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two writers and a collector on one store, for a while: no object is lost, no name leads elsewhere.

Each writer gives its own names, again and again, to trees that are made of the same few files: so what one makes garbage
the other finds present, just while the collector is about to remove it. What a writer was told is there is read back at
once, byte for byte, while the others go on. All three are killed at random writes in between.
"""
import hashlib
import os
import random
import threading
import time

from rig import Broken, Place

TREES, FILES = 6, 30
NAMES = [f"{writer}/{i}" for writer in ("one", "two") for i in range(3)]
COMMIT = ("atomic", "tree", "commit", "--no-parent")
KILLED = 0.3  # of all runs


class Tree:
    """A directory, and what the store says of it when nobody disturbs."""

    def __init__(self, scratch, path):
        self.path = path
        self.image = scratch.must("atomic", "store", "import", "--dir", path, "--name", "n").decode().strip()
        self.tar = hashlib.sha256(scratch.must("atomic", "store", "export", self.image, "--tar", "-")).digest()
        self.commits = {ref: scratch.must(*COMMIT, "--ref", ref, "--dir", path).decode().strip() for ref in NAMES}


class Actor(threading.Thread):
    def __init__(self, race, name):
        super().__init__()
        self.race, self.name, self.random = race, name, random.Random(f"{race.seed} {name}")
        self.place = Place(race.programs, os.path.join(race.directory, name), threads=2)
        self.place.store = race.store
        os.mkdir(self.place.dir)
        self.runs = self.kills = 0

    def run(self):
        try:
            while time.monotonic() < self.race.end and not self.race.problems:
                self.step()
        except Broken as broken:
            self.race.problems.append(f"{self.name}: {broken}")

    def disturbed(self, *words):
        """None when it was killed, else what it printed."""
        fault = None
        if self.random.random() < KILLED:
            fault = ["random", str(self.random.randrange(1, 1 << 31)), "120"]
        status, out, err, report = self.place.run(words, fault)
        self.runs += 1
        if report and report["at"]:
            self.kills += 1
            return None
        if status != 0:
            raise Broken(f"{' '.join(words)}: exit status {status}: {err}")
        return out.decode().strip()


class Collector(Actor):
    def step(self):
        self.disturbed("atomic", "store", "gc")
        time.sleep(self.random.random() * 0.02)


class Writer(Actor):
    def __init__(self, race, name):
        super().__init__(race, name)
        self.images, self.commits = {}, {}  # name -> the trees that it may be, None: none

    def step(self):
        tree = self.random.choice(self.race.trees)
        name = self.random.choice([name for name in NAMES if name.startswith(self.name)])
        if self.random.random() < 0.7:
            self.write(self.images, name, tree, tree.image, "atomic", "store", "import", "--dir", tree.path, "--name", name)
            self.read_image(name)
        else:
            self.write(self.commits, name, tree, tree.commits[name], *COMMIT, "--ref", name, "--dir", tree.path)
            self.read_commit(name)

    def write(self, names, name, tree, printed, *words):
        out = self.disturbed(*words)
        if out is None:
            names[name] = names.get(name, {None}) | {tree}
        elif out != printed:
            raise Broken(f"{' '.join(words)} prints {out} instead of {printed}")
        else:
            names[name] = {tree}

    def read_image(self, name):
        trees = self.images[name]
        if None in trees:
            return  # perhaps it never was there
        tar = hashlib.sha256(self.place.must("atomic", "store", "export", name, "--tar", "-")).digest()
        if tar not in {tree.tar for tree in trees}:
            raise Broken(f"the image {name} has other bytes")

    def read_commit(self, name):
        trees = self.commits[name]
        if None in trees:
            return
        target = os.path.basename(os.readlink(os.path.join(self.race.store, "streams/refs/ostree", name)))
        if target.removeprefix("ostree-commit-") not in {tree.commits[name] for tree in trees}:
            raise Broken(f"the branch {name} leads to {target}")
        for path in ("f0", "f1"):
            data = self.place.must("atomic", "tree", "cat", name, f"/{path}")
            if data not in {open(os.path.join(tree.path, path), "rb").read() for tree in trees}:
                raise Broken(f"{path} of the branch {name} has other bytes")


class Race:
    def __init__(self, programs, directory, seed):
        self.programs, self.directory, self.seed = programs, directory, seed
        self.store = os.path.join(directory, "store")
        self.problems, self.trees = [], []
        chooser = random.Random(seed)
        contents = [chooser.randbytes(chooser.choice([65, 5000, 70000])) for _ in range(FILES)]
        scratch = Place(programs, os.path.join(directory, "scratch"))
        for i in range(TREES):
            path = os.path.join(directory, f"tree{i}")
            os.makedirs(path)
            for j, content in enumerate(chooser.sample(contents, FILES // 2)):
                with open(f"{path}/f{j}", "wb") as f:
                    f.write(content)
            os.makedirs(scratch.dir, exist_ok=True)
            self.trees.append(Tree(scratch, path))

    def run(self, seconds):
        """Returns (what went wrong, what was done)."""
        writers = [Writer(self, "one"), Writer(self, "two")]
        collector = Collector(self, "collector")
        collector.place.must("atomic", "store", "init")
        self.end = time.monotonic() + seconds
        actors = [*writers, collector]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        try:
            collector.place.must("atomic", "store", "fsck")
            for writer in writers:
                for name in writer.images:
                    writer.read_image(name)
                for name in writer.commits:
                    writer.read_commit(name)
            collector.place.must("atomic", "store", "gc")
            collector.place.must("atomic", "store", "fsck")
            left = os.listdir(os.path.join(self.store, "staging"))
            if left:
                self.problems.append(f"after gc staging has {left}")
        except Broken as broken:
            self.problems.append(f"at the end: {broken}")
        done = ", ".join(f"{a.name} ran {a.runs} times, {a.kills} killed" for a in actors)
        if any(a.runs - a.kills == 0 or a.kills == 0 for a in actors):
            self.problems.append(f"too little was done: {done}")
        return self.problems, done
