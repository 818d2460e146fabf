#!/usr/bin/env bash
# Following a log by its name across a rotation: which follower loses lines depends on `create` in
# logrotate's configuration, and what saves one follower costs the next one its lines
#
# A good guess: `tail -F` and its kind are made for rotation. When logrotate renames the file, they
# read the old one to its end until the program has been told to open the new one.
#
# What really happens: between logrotate's rename and the program's reopening of the file (its
# postrotate script, a `systemctl reload`, all other logs of a pattern with `sharedscripts`) the
# program still writes to the renamed file. With `create`, as Debian's /etc/logrotate.conf has it, the
# new and empty file is there at once, and GNU tail -F, busybox tail -F, rsyslog's imfile, npm's tail
# and POE's FollowTail leave the old one for it: lines of that gap are lost to all of them. With
# `nocreate` busybox tail and imfile get everything, GNU tail and POE still lose the gap, and npm's
# tail gives up with an error when the name has gone; where it has not, it loses the first line of the
# new file as well. Of the six only Perl's File::Tail gets all lines in both cases: it looks at the
# name only after `resetafter` seconds without a new line, so it is late, and complete.
#
# Versions and source: GNU coreutils 9.1 (src/tail.c: recheck closes the old descriptor without
# reading on, also when the name has gone; tail_forever_inotify calls it at the first event);
# busybox 1.35.0 (coreutils/tail.c, tail_main: compares device and inode once a second); rsyslog
# 8.2302.0 (plugins/imfile/imfile.c, mode inotify, its default); logrotate 3.21.0; File::Tail 1.3
# (checkpending); POE 1.370 (POE::Wheel::FollowTail, _generate_filename_timer); npm tail 2.2.6
# (lib/tail.js: rename waits a second and then watches the name with the old position; change takes a
# smaller size for the new position without reading).
#
# Why it matters for telex: its log-file plugin reopens its file at SIGHUP, with a recipe for
# logrotate, and what it logs meanwhile is written, but to the renamed file. A program that watches the
# log by name for a message that comes once has to choose `create` or `nocreate` by the
# follower, or better follow the journal or syslog, which do not rotate under the reader.
set -euo pipefail
work=$(mktemp -d)
followers=()
end() {
  for pid in "${followers[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap end EXIT
cd "$work"
mkdir debs root npm
perl_version=$(perl -e 'printf "%vd", $^V')

packages=(coreutils=9.1-1 busybox=1:1.35.0-4+deb12u1+b1 logrotate=3.21.0-1 libpopt0=1.19+dfsg-1
  rsyslog=8.2302.0-1+deb12u2 libestr0=0.1.11-1 libfastjson4=1.2304.0-1
  libfile-tail-perl=1.3-7+deb12u1 libpoe-perl=2:1.3700-1 libio-pipely-perl=0.006-1)
(cd debs && apt-get download -qq "${packages[@]}" 2>../apt.log) || { cat apt.log; exit 1; }
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
(cd npm && npm install --silent --no-audit --no-fund tail@2.2.6)

libraries=$work/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$libraries:$work/root/lib/x86_64-linux-gnu PERL5LIB=$work/root/usr/share/perl5
echo "perl $perl_version, node $(node --version), npm's tail $(cd npm && node -p 'require("tail/package.json").version')"
root/usr/bin/tail --version | head -1
root/bin/busybox 2>&1 | head -1 || true
root/usr/sbin/logrotate --version 2>&1 | head -1
root/usr/sbin/rsyslogd -v | head -1
perl -MFile::Tail -MPOE -e 'print "File::Tail $File::Tail::VERSION, POE $POE::VERSION\n"' 2>&1 | tail -1

cat >file-tail.pl <<'END'
use File::Tail;
$| = 1;
my $file = File::Tail->new(name => $ARGV[0], tail => -1, interval => 0.2, maxinterval => 0.4, resetafter => 5);
while (defined(my $line = $file->read)) { print $line }
END
cat >poe.pl <<'END'
use POE qw(Wheel::FollowTail);
$| = 1;
POE::Session->create(inline_states => {
    _start => sub {
        $_[HEAP]{wheel} = POE::Wheel::FollowTail->new(
            Filename => $ARGV[0], InputEvent => 'line', PollInterval => 0.2, Seek => 0);
    },
    line => sub { print "$_[ARG0]\n" },
});
POE::Kernel->run;
END
cat >npm/follow.js <<'END'
const { Tail } = require("tail");
const tail = new Tail(process.argv[2], { fromBeginning: true, follow: true });
tail.on("line", (line) => console.log(line));
tail.on("error", (error) => console.error(String(error)));
END

follow() { # NAME COMMAND...
  name=$1
  shift
  "$@" >"$run/$name.out" 2>"$run/$name.err" &
  followers+=($!)
}
until_true() { # SECONDS COMMAND...
  local tries=$(($1 * 10))
  shift
  until "$@"; do
    tries=$((tries - 1))
    ((tries > 0)) || { echo "this did not happen: $*"; exit 1; }
    sleep 0.1
  done
}
all_have() { # LINE
  for each in "${names[@]}"; do grep -qx "$1" "$run/$each.out" 2>/dev/null || return 1; done
}
part() { # NAME FIRST LAST
  for number in $(seq "$2" "$3"); do
    grep -qx "line $number" "$run/$1.out" || { echo lost; return; }
  done
  echo all
}

names=(gnu-tail busybox-tail imfile file-tail poe npm-tail)
rotate() { # create|nocreate
  run=$work/$1
  mkdir "$run"
  log=$run/log
  : >"$log"
  followers=()
  follow gnu-tail root/usr/bin/tail -n +1 -F "$log"
  follow busybox-tail root/bin/busybox tail -n +1 -F "$log"
  follow file-tail perl file-tail.pl "$log"
  follow poe perl poe.pl "$log"
  follow npm-tail node npm/follow.js "$log"
  cat >"$run/rsyslog.conf" <<END
global(workDirectory="$run")
module(load="imfile" mode="inotify")
input(type="imfile" file="$log" tag="t" freshStartTail="off")
template(name="line" type="string" string="%msg%\n")
*.* action(type="omfile" file="$run/imfile.out" template="line")
END
  follow rsyslog root/usr/sbin/rsyslogd -n -f "$run/rsyslog.conf" -i "$run/rsyslog.pid" -M "$libraries/rsyslog"
  cat >"$run/logrotate.conf" <<END
$log {
    rotate 1
    $1
    postrotate
        touch $run/renamed
        for i in \$(seq 200); do test -e $run/reopened && break; sleep 0.1; done
    endscript
}
END
  chmod 0644 "$run/logrotate.conf"

  # The program: this shell, which holds the log open for appending.
  exec 3>>"$log"
  for number in 1 2 3 4 5; do echo "line $number" >&3; done
  until_true 30 all_have "line 5"
  root/usr/sbin/logrotate --force --state "$run/state" "$run/logrotate.conf" &
  until_true 20 test -e "$run/renamed"
  for number in 6 7 8 9 10 11 12 13; do
    echo "line $number" >&3
    sleep 0.3
  done
  exec 3>>"$log"
  touch "$run/reopened"
  wait $!
  for number in 14 15 16 17; do
    echo "line $number" >&3
    sleep 0.3
  done
  sleep 9
  exec 3>&-
  for pid in "${followers[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait "${followers[@]}" 2>/dev/null || true
  for each in "${names[@]}"; do
    echo "$each got: $(tr -dc '0-9\n' <"$run/$each.out" | tr '\n' ' ')" >>"$run/numbers"
    printf '%-9s %-13s before: %-5s in the gap: %-5s after: %s\n' "$1" "$each" \
      "$(part "$each" 1 5)" "$(part "$each" 6 13)" "$(part "$each" 14 17)"
  done
}

rotate create >seen
rotate nocreate >>seen
for each in create nocreate; do
  echo "with $each; the gap is 6 to 13, the new file 14 to 17:"
  sed 's/^/  /' "$each/numbers"
done
cat seen
cat >expected <<'END'
create    gnu-tail      before: all   in the gap: lost  after: all
create    busybox-tail  before: all   in the gap: lost  after: all
create    imfile        before: all   in the gap: lost  after: all
create    file-tail     before: all   in the gap: all   after: all
create    poe           before: all   in the gap: lost  after: all
create    npm-tail      before: all   in the gap: lost  after: lost
nocreate  gnu-tail      before: all   in the gap: lost  after: all
nocreate  busybox-tail  before: all   in the gap: all   after: all
nocreate  imfile        before: all   in the gap: all   after: all
nocreate  file-tail     before: all   in the gap: all   after: all
nocreate  poe           before: all   in the gap: lost  after: all
nocreate  npm-tail      before: all   in the gap: lost  after: lost
END
diff expected seen || { echo "CHANGED: this is not what was found"; exit 1; }
echo "as found: File::Tail alone gets all lines in both cases"
