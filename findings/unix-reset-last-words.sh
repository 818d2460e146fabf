#!/usr/bin/env bash
# A Unix socket that is closed with unread bytes: nc prints nothing of the answer that is there, and ends with 0
#
# A good guess: what a service has written before it closes arrives. Over TCP a reset can throw it away (a socket that is
# closed with unread bytes sends one), but a Unix socket has no wire on which anything could be lost: its peer reads the
# answer, and at worst an error behind it.
#
# What really happens: the kernel keeps the answer in the peer's queue, and gives it to whoever reads first and looks for
# errors then: socat, which prints it and ends with 0, and ncat, which prints it, complains of the reset and ends with 1.
# But it also puts ECONNRESET in front, which poll(2) tells as POLLERR at once. OpenBSD's nc takes POLLERR for the end of
# that direction before it has read: it prints nothing at all, says nothing, and ends with status 0, each time. The same
# service that reads all there is before it closes has its answer printed by all three.
#
# Versions and source: Linux 6.18 (net/unix/af_unix.c, unix_release_sock: sk_err of the peer is set to ECONNRESET if the
# receive queue is not empty), netcat-openbsd 1.219 (netcat.c, readwrite: descriptors with POLLERR or POLLNVAL are given
# up before any is read), socat 1.7.4.4, ncat 7.93. unix(7) does not say it; tcp(7) is silent about its own case.
#
# Why it matters for telex: a service that ends a connection with a last word (a refusal, the end of the service) while
# its client is still sending does so as a rule with unread bytes. Whoever tries it with nc sees a connection that was
# closed without a reason. So telexd shuts a connection down and reads what there is before it closes it, over Unix
# sockets as over TCP.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir debs root

packages=(netcat-openbsd=1.219-1 libbsd0=0.11.7-2 libmd0=1.0.4-2 socat=1.7.4.4-2 libwrap0=7.6.q-32
  ncat=7.93+dfsg1-1 liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1 liblinear4=2.3.0+dfsg-5)
(cd debs && apt-get download -qq "${packages[@]}" 2>../apt.log) || { cat apt.log; exit 1; }
for deb in debs/*.deb; do
  dpkg-deb -x "$deb" root
  echo "$(dpkg-deb -f "$deb" Package) $(dpkg-deb -f "$deb" Version)"
done
echo "Linux $(uname -r)"
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu

cat >try.py <<'END'
import os, socket, subprocess, sys, threading

root = sys.argv[1]
CLIENTS = {
    "nc": [root + "/bin/nc.openbsd", "-U", "socket"],
    "nc -N": [root + "/bin/nc.openbsd", "-N", "-U", "socket"],
    "socat": [root + "/usr/bin/socat", "-", "UNIX-CONNECT:socket"],
    "ncat": [root + "/usr/bin/ncat", "-U", "socket"],
}
SENT, ANSWER = b"one\ntwo\n", b"last words\n"


def serve(listener, leave_unread):
    """Answers the first line, when the second one has come too, and closes."""
    connection, _ = listener.accept()
    with connection:
        read = connection.recv(4, socket.MSG_WAITALL)
        assert read == b"one\n"
        connection.recv(4, socket.MSG_WAITALL | (socket.MSG_PEEK if leave_unread else 0))
        connection.sendall(ANSWER)


def ask(command, leave_unread):
    if os.path.exists("socket"):
        os.unlink("socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        listener.listen()
        service = threading.Thread(target=serve, args=(listener, leave_unread))
        service.start()
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        client.stdin.write(SENT)
        client.stdin.flush()
        service.join()
        out, err = client.communicate(timeout=20)
    return out, client.returncode, err.decode().strip()


EXPECTED = {
    "nc": (b"", 0, ""),
    "nc -N": (b"", 0, ""),
    "socat": (ANSWER, 0, ""),
    "ncat": (ANSWER, 1, "Ncat: Connection reset by peer."),
}
changed = False
for name, command in CLIENTS.items():
    for leave_unread, expected in ((False, (ANSWER, 0, "")), (True, EXPECTED[name])):
        seen = [ask(command, leave_unread) for _ in range(5)]
        how = "with unread bytes" if leave_unread else "with all of it read"
        print(f"{name}, closed {how}: {seen[0]}")
        if seen != [expected] * 5:
            print(f"  CHANGED: {seen}, expected five times {expected}")
            changed = True
sys.exit(changed)
END
python3 try.py "$work/root"
