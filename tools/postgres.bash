# A throwaway PostgreSQL server, for scripts that source this file.

# The directory of the server's programs; installs them where that is allowed.
find_postgres() {
    local directory
    directory=$(postgres_directory) || {
        tools/install-packages postgresql >&2 || true
        directory=$(postgres_directory)
    } && echo "$directory"
}

postgres_directory() {
    local directory
    # Some of its programs may be linked from elsewhere, the others not.
    for directory in "$(dirname "$(readlink -f "$(command -v pg_ctl)")" 2>/dev/null)" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort --reverse); do
        if [[ -x $directory/initdb && -x $directory/pg_ctl && -x $directory/pg_basebackup ]]; then
            echo "$directory"
            return
        fi
    done
    return 1
}

# The server refuses to run as root.
as_server_user() { "$@"; }
if [[ $(id -u) == 0 ]]; then
    server_user=nobody
    if id postgres >/dev/null 2>&1; then server_user=postgres; fi
    as_server_user() { runuser -u "$server_user" -- "$@"; }
fi

# start_postgres BINARIES OPTIONS...: starts a server on a free loopback port,
# with these options of `postgres`, until the script ends. Sets `postgres_url`.
start_postgres() {
    binaries=$1
    shift
    local port options
    server=$(mktemp -d "${TMPDIR:-/tmp}/gnomon-postgres.XXXXXX")
    trap stop_postgres EXIT
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s' "$password" >"$server/password"
    if [[ $(id -u) == 0 ]]; then chown -R "$server_user" "$server"; fi
    # What the server says if it fails stays readable.
    (cd "$server" && as_server_user "$binaries/initdb" -D "$server/data" -U postgres \
        --auth=scram-sha-256 --pwfile="$server/password" --encoding=UTF8 --locale=C --no-sync \
        >"$server/initdb.log") || { cat "$server/initdb.log" >&2; exit 1; }
    for _ in {1..10}; do
        port=$((20000 + RANDOM % 10000))
        options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' $*"
        if (cd "$server" && as_server_user "$binaries/pg_ctl" -D "$server/data" -l "$server/data/log" \
            -o "$options" -w start >/dev/null 2>&1); then
            postgres_url=postgres://postgres:$password@127.0.0.1:$port/postgres
            return
        fi
    done
    cat "$server/data/log" >&2
    echo "PostgreSQL does not start; its last words are above." >&2
    exit 1
}

stop_postgres() {
    (cd "$server" && as_server_user "$binaries/pg_ctl" -D "$server/data" -m immediate -w stop) >/dev/null 2>&1 || true
    rm -rf "$server"
}
