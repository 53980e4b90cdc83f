# Shared by the scripts here: where the tools are kept, and who runs a Postgres server.

# Root's home cannot be read by the user the server runs as.
if [ "$(id -u)" = 0 ]; then
  TOOLS=${ROWCALL_TOOLS:-/var/tmp/rowcall-tools}
else
  TOOLS=${ROWCALL_TOOLS:-$HOME/.cache/rowcall}
fi

# Postgres refuses to run as root.
server_user() {
  if [ "$(id -u)" != 0 ]; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

as_server() {
  if [ "$(id -u)" = 0 ]; then
    local user group
    user=$(server_user)
    group=$(id -gn "$user")
    setpriv --reuid="$user" --regid="$group" --clear-groups -- "$@"
  else
    "$@"
  fi
}
