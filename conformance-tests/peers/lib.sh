# What the launchers of programs share that take a port and not port 0. Sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where `install` puts programs, and with --release those whose speed is looked at.
peers=$root/target/peers${PITON_PEERS:+/$PITON_PEERS}

misused() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# Sets host, port, data_dir and max_size from the options of piton's names that a peer knows.
#   read_options KNOWN... -- "$@"
read_options() {
  local known=' ' name value
  while [ "$1" != -- ]; do
    known+="$1 "
    shift
  done
  shift
  host=127.0.0.1 port=0 data_dir=./data max_size=
  while [ $# -gt 0 ]; do
    name=${1%%=*}
    case $known in *" $name "*) ;; *) misused "$name is not known" ;; esac
    if [ "$name" = "$1" ]; then
      [ $# -ge 2 ] || misused "$name needs a value"
      value=$2
      shift 2
    else
      value=${1#*=}
      shift
    fi
    case $name in
      --listen) host=${value%:*} port=${value##*:} ;;
      --data-dir) data_dir=$value ;;
      --max-size) max_size=$value ;;
    esac
  done
  [[ $max_size =~ ^[0-9]*$ ]] || misused "$max_size is no number of bytes"
  [ "$port" != 0 ] || port=$(free_port)
}

answers() { (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null; }

# A port that nobody listens on, below those that the kernel lends to clients.
free_port() {
  local candidate
  while candidate=$((20000 + RANDOM % 12000)) && answers "$candidate"; do :; done
  echo "$candidate"
}

# The program of a peer: the one that `install` put there, else the one on PATH.
#   program_of NAME
program_of() {
  local found=$peers/bin/$1
  [ -x "$found" ] || found=$(command -v "$1") || misused "$1 is not installed: conformance-tests/peers/install $1"
  echo "$found"
}

# Becomes the program, whose process id is then the one that was started; the line on stdout comes
# once it answers.
#   become NAME PROGRAM [ARGUMENT...]
become() {
  local name=$1
  shift
  announce "$name" $$ &
  exec "$@" >&2
}

announce() {
  until answers "$port"; do
    kill -0 "$2" 2>/dev/null || return
    sleep 0.02
  done
  printf '%s listening on http://%s:%s/files/\n' "$1" "$host" "$port"
}
