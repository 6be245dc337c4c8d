#!/bin/bash
# A fake on-prem cluster on one machine, for root on Linux:
#
#   LAB=$(mktemp -d /tmp/lab.XXXX) VENV=/path/to/venv nslab.sh up | in NODE COMMAND... | down
#
# Four nodes (client, head, w1, w2), made of namespaces. Each has its own address in 10.77.0.0/24, processes, /tmp, /run,
# /dev/shm, home and sshd. The rest of the file system is the host's, so $LAB/shared is their NFS and $VENV is installed on
# all. The switch between them is a namespace, too: no packet leaves them, and the host's network stays as it is. Own
# processes matter most: `ray up` runs `ray stop` on every node, which kills every Ray process it can see.
#
# LAB: a short path, since sockets lie below it; ready-made. KEEP: folders under /tmp that the nodes need as well.
# $LAB/nodes/NODE/tmp is that node's /tmp, with Ray's logs; $LAB/home is the home on each.
set -eu
: "${LAB:?a scratch folder}" "${VENV:?the virtual environment with ray[default]}"
NODES="client:2 head:10 w1:11 w2:12"
SELF=$(readlink -f "$0")
PREFIX=$(basename "$LAB")

net() { echo "$PREFIX-$1"; }

make_network() {
    ip netns add "$(net switch)"
    ip -n "$(net switch)" link add bridge type bridge
    ip -n "$(net switch)" link set bridge up
}

connect() { # NODE NUMBER
    ip netns add "$(net "$1")"
    ip link add "to-$1" netns "$(net switch)" type veth peer name eth0 netns "$(net "$1")"
    ip -n "$(net switch)" link set "to-$1" master bridge up
    ip -n "$(net "$1")" addr add "10.77.0.$2/24" dev eth0
    ip -n "$(net "$1")" link set eth0 up
    ip -n "$(net "$1")" link set lo up
    # Nobody has this address. Ray learns its own from the route that packets to the outside would take, and sends none.
    ip -n "$(net "$1")" route add default via 10.77.0.1
}

install_node() { # NODE NUMBER
    local own=$LAB/nodes/$1
    mkdir -p "$own/home/.ssh" "$own/tmp"
    cp "$LAB/key.pub" "$own/home/.ssh/authorized_keys"
    chmod 700 "$own/home" "$own/home/.ssh"
    touch "$own/home/.bashrc"
    sed "s|^root:.*|root:x:0:0:root:$LAB/home:/bin/bash|" /etc/passwd > "$own/passwd"
    # as Debian's installer does; programs that ask for their own name get an address that leads nowhere
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" > "$own/hosts"
    cat > "$own/sshd.conf" <<END
ListenAddress 10.77.0.$2
HostKey $LAB/host_key
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
END
}

be_node() { # NODE: runs as its first process
    local own=$LAB/nodes/$1 folder
    mount --make-rprivate /
    for folder in "$LAB" "$VENV" ${KEEP:-}; do
        case $folder in /tmp/*)
            mkdir -p "$own$folder"
            mount --bind "$folder" "$own$folder" ;;
        esac
    done
    mount --rbind "$own/tmp" /tmp
    chmod 1777 /tmp
    mount -t tmpfs tmpfs /run
    mkdir /run/sshd
    mount -t tmpfs -o size=600m tmpfs /dev/shm
    mount --bind "$own/home" "$LAB/home"
    mount --bind "$own/passwd" /etc/passwd
    mount --bind "$own/hosts" /etc/hosts
    hostname "$1"
    exec /usr/sbin/sshd -D -e -f "$own/sshd.conf"
}

start() { # NODE
    nsenter --net="/run/netns/$(net "$1")" setsid unshare --pid --mount --uts --fork --kill-child --mount-proc \
        "$SELF" _be "$1" > "$LAB/nodes/$1/sshd.log" 2>&1 < /dev/null &
    local outer=$! first
    for _ in $(seq 100); do
        first=$(pgrep -P "$outer" || true)
        if [ -n "$first" ] && [ "$(cat "/proc/$first/comm")" = sshd ]; then
            echo "$first" > "$LAB/nodes/$1/pid"
            return
        fi
        sleep 0.1
    done
    echo "node $1 did not start: $(cat "$LAB/nodes/$1/sshd.log")" >&2
    return 1
}

case ${1:-} in
up)
    mkdir -p "$LAB/shared" "$LAB/home" "$LAB/nodes"
    ssh-keygen -qt ed25519 -N '' -f "$LAB/key"
    ssh-keygen -qt ed25519 -N '' -f "$LAB/host_key"
    make_network
    for each in $NODES; do
        connect "${each%:*}" "${each#*:}"
        install_node "${each%:*}" "${each#*:}"
        start "${each%:*}"
    done
    ;;
_be)
    be_node "$2"
    ;;
in)
    pid=$(cat "$LAB/nodes/$2/pid")
    shift 2
    exec nsenter -t "$pid" --net --pid --mount --uts -- env -i -C "$LAB/home" HOME="$LAB/home" USER=root LOGNAME=root \
        SHELL=/bin/bash TERM=dumb LANG=C.UTF-8 PATH="$VENV/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
    ;;
down)
    for name in $NODES switch; do
        ip netns pids "$(net "${name%:*}")" 2> /dev/null | xargs -r kill -9 2> /dev/null || true
        ip netns del "$(net "${name%:*}")" 2> /dev/null || true
    done
    ;;
*)
    sed -n '2,12p' "$SELF" >&2
    exit 2
    ;;
esac
