#!/usr/bin/env bash
# What is sent to /dev/log: three syslog daemons of five keep 1 KiB of a message, and four the sender's time
#
# A good guess: a datagram to /dev/log is logged whole up to some 8 KiB, the limit that rsyslog has, or
# is refused; and a daemon on the same machine stamps it with the time at which it came, since the
# stamp of RFC 3164 has neither a year nor a zone.
#
# What really happens: rsyslog does so. inetutils-syslogd, socklog and busybox syslogd keep the first
# 1,024 bytes of the datagram, header included, and drop the rest (socklog alone marks it, by "...");
# the sender is not told, and the next message is intact. syslog-ng keeps 8,000 bytes. All of these
# but rsyslog print the sender's stamp as it stands; socklog prints no other. So what a program that
# stamps in UTC sends stands hours beside what its neighbours send by way of libc's syslog(3), which
# stamps in local time, and a stamp of last January is printed as such.
#
# Versions and source (Debian 12): rsyslog 8.2302.0 (plugins/imuxsock: its own time unless
# IgnoreTimestamp is off; 8 KiB is its maxMessageSize), syslog-ng 3.38.1 (keep-timestamp is on by
# default), inetutils 2.4 (src/syslogd.c: MAXLINE is 1,024; -T makes it take its own time), socklog
# 2.1.0 (src/socklog.c: LINEC, read_socket), busybox 1.35.0 (sysklogd/syslogd.c: MAX_READ is chosen
# when it is compiled, 256 in older sources and 1,024 by what Debian's shows; timestamp_and_log
# replaces a stamp only where there is none, or with -t).
#
# Why it matters for telex: its log-syslog plugin stamps in UTC and cuts its messages at 8 KiB, and its
# page says that receivers on the same machine take their own time and cut there. That is true
# of rsyslog and the journal, not of the small daemons of containers and routers.
set -euo pipefail
work=$(mktemp -d)
daemons=()
end() {
  for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap end EXIT
cd "$work"
mkdir debs root

packages=(rsyslog=8.2302.0-1+deb12u2 libestr0=0.1.11-1 libfastjson4=1.2304.0-1
  syslog-ng-core=3.38.1-5+deb12u1 libivykis0=0.42.4-1 libpcre3=2:8.39-15 libnet1=1.1.6+dfsg-3.2
  libwrap0=7.6.q-32 inetutils-syslogd=2:2.4-2+deb12u3 socklog=2.1.0+repack-5
  busybox=1:1.35.0-4+deb12u1+b1)
(cd debs && apt-get download -qq "${packages[@]}" 2>../apt.log) || { cat apt.log; exit 1; }
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
for name in rsyslog syslog-ng-core inetutils-syslogd socklog busybox; do
  echo "$name $(dpkg-deb -f debs/"${name}"_*.deb Version)"
done
libraries=$work/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$libraries:$work/root/lib/x86_64-linux-gnu:$work/root/usr/lib/syslog-ng

cat >send.py <<'END'
import os, socket, sys, time

deadline = time.monotonic() + 20
while not os.path.exists(sys.argv[1]):
    if time.monotonic() > deadline:
        sys.exit(sys.argv[1] + " does not come")
    time.sleep(0.1)
time.sleep(0.5)
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to.connect(sys.argv[1])
words = "".join(f"{number:07} " for number in range(8, 8000, 8))  # each ends where it says
head = b"<30>Jan  2 03:04:05 prog[77]: "
assert to.send(head + b"long " + words.encode()) > 8000
to.send(head + b"next")
END

cat >rsyslog.conf <<END
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="$work/rsyslog.sock")
*.* action(type="omfile" file="$work/rsyslog.out")
END
cat >syslog-ng.conf <<END
@version: 3.38
source s { unix-dgram("$work/syslog-ng.sock"); };
destination d { file("$work/syslog-ng.out"); };
log { source(s); destination(d); };
END
printf '*.*\t%s\n' "$work/inetutils.out" >inetutils.conf
touch inetutils.out

run() { # LOG COMMAND...
  "${@:2}" >"$1" 2>"$1.err" &
  daemons+=($!)
}
run rsyslog.log root/usr/sbin/rsyslogd -n -f "$work/rsyslog.conf" -i "$work/rsyslog.pid" -M "$libraries/rsyslog"
run syslog-ng.log root/usr/sbin/syslog-ng -F -f syslog-ng.conf -R syslog-ng.persist -c syslog-ng.ctl \
  --pidfile syslog-ng.pid --no-caps --module-path "$work/root/usr/lib/syslog-ng/3.38"
run inetutils.log root/usr/sbin/syslogd -n -f inetutils.conf -p "$work/inetutils.sock" --pidfile="$work/inetutils.pid"
run socklog.out root/usr/sbin/socklog unix "$work/socklog.sock"
for name in rsyslog syslog-ng inetutils socklog; do python3 send.py "$work/$name.sock"; done

# busybox knows no other socket than /dev/log, so it gets a /dev of its own, where that may be made.
names=(rsyslog syslog-ng inetutils socklog)
mounts=(unshare --mount)
[[ $(id -u) == 0 ]] || mounts=(unshare --map-root-user --mount)
if "${mounts[@]}" mount -t tmpfs none /dev 2>/dev/null; then
  names+=(busybox)
  "${mounts[@]}" bash -s <<'END'
mount -t tmpfs none /dev
: >/dev/null
root/bin/busybox syslogd -n -O busybox.out >busybox.log 2>&1 &
python3 send.py /dev/log
sleep 1
kill $!
wait
END
else
  echo "busybox is left out: no mounts here"
fi
sleep 2
for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
wait || true

for name in "${names[@]}"; do
  long=$(grep 'prog\[77\]: long ' "$name.out")
  kept=${long#*prog\[77\]: long }
  kept=$((${#kept} + 35)) # with the header and the word before it
  ((kept > 7900)) && bytes="all or 8 KiB" || bytes="about 1 KiB"
  case $long in "Jan  2 03:04:05 "* | *" Jan  2 03:04:05 "*) stamp=sender ;; *) stamp=own ;; esac
  next=$(grep -c 'prog\[77\]: next$' "$name.out")
  echo "$name kept $kept bytes; its line begins with: ${long:0:48}" >&2
  echo "$name: kept $bytes, time $stamp, next message $next"
done >seen
cat seen
cat >expected <<'END'
rsyslog: kept all or 8 KiB, time own, next message 1
syslog-ng: kept all or 8 KiB, time sender, next message 1
inetutils: kept about 1 KiB, time sender, next message 1
socklog: kept about 1 KiB, time sender, next message 1
busybox: kept about 1 KiB, time sender, next message 1
END
diff <(head -n ${#names[@]} expected) seen || { echo "CHANGED: this is not what was found"; exit 1; }
echo "as found: 1 KiB and the sender's time with the small ones"
