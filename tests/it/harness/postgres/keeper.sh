# Owns one Postgres cluster on behalf of a test. It obeys the lines on its standard input; when
# they end, because the test ended or was killed, the server and its directory go.
#
#   sh keeper.sh PROGRAMS DIRECTORY TEMPLATE [COMMAND THAT RUNS A PROGRAM AS THE SERVER'S USER]
programs=$1 directory=$2 template=$3
shift 3
# An answer may find nobody there any more.
trap '' PIPE

server() {
  "$@" </dev/null >>"$directory/pg_ctl" 2>&1
  echo $?
}

cp -a --reflink=auto "$template" "$directory/data"
echo $?
while read -r order mode; do
  case $order in
    start) server "$@" "$programs/pg_ctl" start -w -D "$directory/data" -l "$directory/log" ;;
    stop) server "$@" "$programs/pg_ctl" stop -w -D "$directory/data" -m "$mode" ;;
  esac
done
[ ! -e "$directory/data/postmaster.pid" ] || server "$@" "$programs/pg_ctl" stop -w -D "$directory/data" -m immediate >/dev/null
rm -rf "$directory"
