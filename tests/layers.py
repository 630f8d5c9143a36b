#!/usr/bin/env python3
"""layers.py SRC: fails when a file includes a folder to its right, or names a library it must not know.

The folders and their order are drawn in docs/architecture.md; this table is that picture."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "base": {"base"},
    "storage": {"base", "storage"},
    "ingest": {"base", "storage", "ingest"},
    "collect": {"base", "storage", "ingest", "collect"},
    "query": {"base", "storage", "query"},
    "alert": {"base", "storage", "query", "alert"},
    "http": {"base", "storage", "ingest", "collect", "query", "alert", "http"},
}
# A library is named in one place only.
LIBRARY = {
    "lmdb.h": {"storage/kv.c"},
    "microhttpd.h": {"http/server.c"},
    "snappy-c.h": {"ingest/snappy.c"},
    "pcre2.h": {"base/regex.c"},
    "yaml.h": {"base/yaml.c"},
    "curl/curl.h": {"base/http_client.c"},
    "xxhash.h": {"base/hash.c"},
    "nghttp2/nghttp2.h": {"http/grpc.c"},
    "zlib.h": {"base/gzip.c"},
}


def faults(src):
    for path in sorted(src.rglob("*.[ch]")):
        name = path.relative_to(src).as_posix()
        folder = name.split("/")[0] if "/" in name else None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            own = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            system = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if own:
                target = own[1].split("/")[0]
                if folder and "/" not in own[1]:
                    yield f'{name}:{number}: include "{own[1]}" with its folder'
                elif folder and target not in MAY_INCLUDE[folder]:
                    yield f"{name}:{number}: {folder} may not include {target}"
            if system and system[1] in LIBRARY and name not in LIBRARY[system[1]]:
                yield f"{name}:{number}: <{system[1]}> belongs to {', '.join(LIBRARY[system[1]])}"


def main():
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "layers: every include points left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
