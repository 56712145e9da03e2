# What over_ssh.py runs on each host, sent through ssh: it brings up the workers there, and takes them down when the
# connection is closed or has been silent. sshd by itself would leave them: without a terminal it ends nothing, and
# of a cut line it may not hear for hours.
#   arguments   seconds of silence, then the command
#   input       the certificates (a line "file NAME", then its lines), a line ".", then a sign of life now and then
umask 077
silence=$1
shift
folder=$(mktemp -d "${TMPDIR:-/tmp}/gluon-nst-XXXXXX") || exit 73
trap 'rm -rf "$folder"' EXIT
trap 'exit 143' TERM HUP INT USR2
while IFS= read -r line && [ "$line" != . ]; do
  case $line in
    "file "*) file=$folder/${line#file } ;;
    *) printf '%s\n' "$line" >>"$file" ;; # printf is the shell's own: the key is in no list of processes
  esac
done
if [ -e "$folder/ca.pem" ]; then
  set -- "$@" --tls-dir "$folder"
fi
exec 3<&0 # a shell gives what it runs in the background no input of its own
trap 'kill -TERM ${workers:-$!}' TERM HUP INT USR2
"$@" </dev/null 3<&- &
workers=$!
{
  while [ -n "$(timeout "$silence" head -c 1 <&3)" ]; do :; done
  kill -TERM $workers
} 2>/dev/null &
watch=$!
wait $workers
code=$?
while [ $code -gt 128 ] && kill -0 $workers 2>/dev/null; do # it was only this shell that got a signal
  wait $workers
  code=$?
done
kill $watch 2>/dev/null
exit $code
