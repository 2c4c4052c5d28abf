"""Kafka's jars, fetched once by Maven into a cache outside the checkout and compared with the hashes in jars.sha256."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

HERE = Path(__file__).parent
#: where the cache is; default: leeboard/kafka in the user's folder of caches
CACHE = "LEEBOARD_KAFKA_CACHE"
#: oldest Java that Kafka 4 runs on
OLDEST_JAVA = 17
#: what a person types on Debian and Ubuntu; a newer Java does as well
PACKAGES = f"apt-get install openjdk-{OLDEST_JAVA}-jre-headless maven"
#: 45 MB of jars from Maven Central
FETCH_S = 900


class Unavailable(Exception):
    """Why there is no broker here, and what a person does about it."""


@dataclass(frozen=True)
class Kafka:
    """An installed Kafka."""

    java: str
    #: the Java's own words on its version
    java_version: str
    #: one folder of jars
    libs: Path

    @property
    def archive(self) -> Path:
        """The classes of a started broker, in the form that this very Java maps into memory (AppCDS)."""
        name = hashlib.sha256(f"{self.java}\n{self.java_version}".encode()).hexdigest()[:16]
        return self.libs.parent / f"classes-{name}.jsa"


def install() -> Kafka:
    """Kafka, from the cache or by Maven. Raises Unavailable."""
    java, java_version = find_java()
    pinned = (HERE / "jars.sha256").read_text()
    listed = {name: digest for digest, name in map(str.split, pinned.splitlines())}
    libs = cache() / hashlib.sha256(pinned.encode()).hexdigest()[:16] / "libs"
    with locked(libs.parent):
        if not libs.is_dir():
            fetch(libs, listed)
    return Kafka(java, java_version, libs)


def cache() -> Path:
    """The folder of the cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leeboard" / "kafka"
    return Path(os.environ.get(CACHE) or default)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def find_java() -> tuple[str, str]:
    """A Java that is new enough, and its own words on its version. Raises Unavailable."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise Unavailable(f"no `java` in {home or 'PATH'}: Kafka needs Java {OLDEST_JAVA} or later; {PACKAGES}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found[1]) < OLDEST_JAVA:
        version = said.partition("\n")[0] or "no version"
        raise Unavailable(f"{java}: {version}; Kafka needs Java {OLDEST_JAVA} or later; {PACKAGES}")
    return java, said


def fetch(libs: Path, listed: dict[str, str]) -> None:
    """Let Maven copy the jars, and check them: name -> SHA-256. Raises Unavailable."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"no `mvn` in PATH, which fetches Kafka's jars (45 MB, once); {PACKAGES}")
    with tempfile.TemporaryDirectory(dir=libs.parent) as folder:
        new = Path(folder) / "libs"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={new}"]
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(HERE / "pom.xml"), *goal]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_S)
        if done.returncode != 0:
            raise Unavailable(f"Maven could not fetch Kafka's jars:\n{(done.stdout + done.stderr)[-2000:]}")
        found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in new.glob("*.jar")}
        if found != listed:
            wrong = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
            raise Unavailable(f"Maven gave other jars than jars.sha256 lists: {', '.join(wrong)}")
        new.rename(libs)
