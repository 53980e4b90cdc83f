# Owns one server on behalf of a test. It obeys the lines on its standard input; when they end,
# because the test ended or was killed, the server and its directory go.
#
#   sh kept.sh DIRECTORY PROGRAM ARGUMENTS...
directory=$1
shift
server=
# An answer may find nobody there any more.
trap '' PIPE

end() {
  [ -n "$server" ] || return
  kill "-$1" "$server" 2>/dev/null
  if [ "$1" != KILL ]; then
    # One that does not end in its own way is killed, as anyone who stops servers does.
    { sleep 30; kill -KILL "$server"; } >/dev/null 2>&1 &
    patience=$!
  fi
  wait "$server" 2>/dev/null
  [ "$1" = KILL ] || kill "$patience" 2>/dev/null
  server=
}

while read -r order; do
  case $order in
    start)
      "$@" </dev/null >>"$directory/output" 2>&1 &
      server=$!
      ;;
    stop) end TERM ;;
    kill) end KILL ;;
  esac
  echo done
done
end KILL
# What the server itself started may be writing its last words.
rm -rf "$directory" || { sleep 1; rm -rf "$directory"; }
