//! Runs the units as README.md has them installed, on a real systemd of each release: in a throw-away Debian that
//! `tests/systemd-box` boots.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/libraries.rs"]
mod libraries;
#[path = "support/needs.rs"]
mod needs;

use std::fs;
use std::path::Path;
use std::process::Command;

/// The program that boots a system.
const BOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd-box");

/// Makes a test of each function on each release.
macro_rules! on_each_release {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use super::{$name as run, Box};

            #[test]
            fn bookworm() {
                if let Some(systemd) = Box::find("bookworm") {
                    run(&systemd);
                }
            }

            #[test]
            fn trixie() {
                if let Some(systemd) = Box::find("trixie") {
                    run(&systemd);
                }
            }
        }
    )*};
}

on_each_release!(
    the_first_message_of_the_first_client_starts_the_daemon_and_is_answered,
    the_units_are_right_and_shut,
    a_reload_is_done_or_refused_as_a_whole,
    a_restart_loses_nothing,
    a_stop_tells_the_clients_and_a_restart_keeps_the_socket,
    a_faulty_file_keeps_the_clients_waiting_until_it_is_mended,
    of_a_socket_file_that_is_removed_the_journal_says_how_to_go_on,
    without_a_socket_of_systemd_it_does_not_start,
    a_second_instance_has_a_socket_and_a_state_of_its_own,
    a_user_has_a_switch_of_his_own,
    unix_and_tcp_are_handed_over_at_once,
    a_daemon_that_is_stuck_is_started_again_and_an_idle_one_sleeps,
    an_end_may_take_as_long_as_it_drains,
    it_can_be_opened_by_drop_ins_and_uninstalled,
    what_the_file_listens_at_is_served_beside_the_socket_unit,
    plugins_write_the_log_to_a_file_and_to_the_journal,
);

/// What every script begins with.
const HEAD: &str = r##"
set -Eeuo pipefail
export LC_ALL=C SYSTEMD_PAGER=
S=/run/telexd/telex.sock
# What is a moment's matter must not take the ninety seconds of systemd.
mkdir -p /etc/systemd/system/telexd.service.d
printf '[Service]\nTimeoutStartSec=10\n' >/etc/systemd/system/telexd.service.d/patience.conf

die() { echo "FAILED: $*"; systemctl status telexd.service telexd.socket || true; journalctl -u telexd -o short-precise; exit 1; }
trap 'die "line $LINENO: $BASH_COMMAND"' ERR
# same WHAT SHOWN EXPECTED
same() { [[ $2 == "$3" ]] || die "$1: it is '$2', not '$3'"; }
# within WHAT COMMAND...: succeeds within ten seconds
within() {
  local what=$1; shift
  for _ in {1..200}; do "$@" && return; sleep 0.05; done
  die "$what"
}
ask() { printf '%s\n' "$@" | timeout 20 nc -N -U "$S"; }
ping() { ask '{"message_type":"ping"}' | grep -q '"ping_reply".*"error":null'; }
state() { systemctl show -P "$1" telexd.service; }
# said PRIORITY TEXT: whether the journal has it at this priority or a more severe one
said() { journalctl -u telexd -p "$1" -o cat | grep -qF -- "$2"; }
cd /root/telex
"##;

/// A system to be booted, by its release of Debian.
struct Box(&'static str);

impl Box {
    fn find(release: &'static str) -> Option<Box> {
        let can_be_made = || {
            let mut make = Command::new(BOX);
            make.args(["--release", release, "--make"]).status().expect("systemd-box").success()
        };
        let is_there = needs::root()
            && needs::programs(&["mmdebstrap"])
            && needs::that(can_be_made(), &format!("a box of Debian {release}"));
        is_there.then_some(Box(release))
    }

    /// Runs a script in a fresh system, behind what README.md has its reader do to install.
    fn run(&self, script: &str) {
        self.run_with_plugins(&[], script);
    }

    /// The same with these plugins among what has been built.
    fn run_with_plugins(&self, plugins: &[&str], script: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, format!("{HEAD}\n{}\n{script}\necho 'all of it was done'\n", installation()))
            .unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(BOX);
        command.args(["--release", self.0]);
        for (from, to) in [
            (Path::new(env!("CARGO_BIN_EXE_telexd")), "target/release/telexd"),
            (Path::new(env!("CARGO_BIN_EXE_telex")), "target/release/telex"),
            (&root.join("etc"), "etc"),
            (&root.join("systemd"), "systemd"),
            (&path, "script"),
        ] {
            command.arg("--copy").arg(format!("{}:/root/telex/{to}", from.display()));
        }
        for plugin in plugins {
            let library = libraries::install(plugin, dir.path());
            let name = library.file_name().unwrap().display();
            command.arg("--copy").arg(format!("{}:/root/telex/target/release/{name}", library.display()));
        }
        let done = command.args(["--", "bash", "/root/telex/script"]).output().expect("systemd-box");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        let is_done = done.status.success() && out.ends_with("all of it was done\n");
        assert!(is_done, "{}\n--- stdout\n{out}\n--- stderr\n{err}", done.status);
    }
}

/// The block of README.md that installs the service.
fn installation() -> &'static str {
    block(include_str!("../README.md"), "sh systemd")
}

/// The block of operating.md that has this mark.
fn operating(mark: &str) -> &'static str {
    block(include_str!("../src/doc/operating.md"), &format!("sh systemd {mark}"))
}

/// The first block of a README that has this mark.
fn block<'a>(readme: &'a str, mark: &str) -> &'a str {
    let (_, rest) = readme.split_once(&format!("\n```{mark}\n")).expect("the block");
    rest.split_once("\n```").expect("its end").0
}

fn the_first_message_of_the_first_client_starts_the_daemon_and_is_answered(systemd: &Box) {
    systemd.run(
        r##"
same "before anybody comes" "$(systemctl is-active telexd.service || true)" inactive
same "the socket" "$(stat -c '%A %G' $S)" 'srw-rw---- telex'

# Twenty at once, all of them the first.
for n in {1..20}; do
  ask "{\"message_type\":\"register\",\"from\":\"client-$n\"}" >/tmp/answer-$n &
done
wait
for n in {1..20}; do
  grep -q "\"register_reply\".*\"error\":null,\"node_id\":\"client-$n\"" /tmp/answer-$n || die "client $n got: $(cat /tmp/answer-$n)"
done

systemctl start telexd.service # waits for READY=1, which the clients did not
same "then" "$(systemctl is-active telexd.service)" active
same "the type" "$(state Type) $(state NotifyAccess)" 'notify main'
same "the status" "$(state StatusText | sed "s/.*; //")" "listening on unix:$S"
same "the user" "$(ps -o user=,group= -p "$(state MainPID)" | tr -s ' ')" 'telexd telex'
same "the state" "$(stat -c '%A %U' /var/lib/telexd)" 'drwx------ telexd'
same "the socket of the running daemon" "$(stat -c '%A %G' $S)" 'srw-rw---- telex'

# Members of the group come in, others do not.
member="setpriv --reuid=1000 --regid=1000 --groups=$(getent group telex | cut -d: -f3)"
echo '{"message_type":"whoami"}' | $member nc -N -U $S | grep -q '"uid":1000,.*"administrator":false' || die 'a member'
if echo '{"message_type":"whoami"}' | setpriv --reuid=1000 --regid=1000 --clear-groups nc -N -U $S; then die 'a stranger came in'; fi

export TELEX_ADDRESS=unix:$S
telex call --daemon whoami | grep -q '"administrator":true' || die 'the command'
"##,
    );
}

fn the_units_are_right_and_shut(systemd: &Box) {
    systemd.run(
        r##"
mkdir -p /etc/telexd
cp /etc/telexd.toml /etc/telexd/one.toml
systemctl start telexd.service telexd@one.service
units=(/etc/systemd/system/telexd{,@one}.{service,socket})
said=$(systemd-analyze verify "${units[@]}" 2>&1) || die "$said"
same "what systemd-analyze says" "$said" ''
mkdir -p /run/user/0
said=$(XDG_RUNTIME_DIR=/run/user/0 systemd-analyze --user verify /etc/systemd/user/telexd.{service,socket} 2>&1) || die "$said"
same "what it says of those of a user" "$said" ''
for unit in telexd.service telexd@one.service; do
  # In tenths.
  systemd-analyze security --no-pager --threshold=10 $unit >/tmp/exposure || die "it is open: $(tail -n 1 /tmp/exposure; grep '^✗' /tmp/exposure)"
done
same "the filter of system calls" "$(grep Seccomp: /proc/"$(state MainPID)"/status | tr -d '\t')" Seccomp:2

# Nothing is in its way.
if journalctl -u telexd -p warning -o cat | grep .; then die 'it has something to complain of'; fi
[[ $(stat -c '%a %U' /var/lib/telexd/connections) == '600 telexd' ]] || die 'its state'
"##,
    );
}

fn a_reload_is_done_or_refused_as_a_whole(systemd: &Box) {
    systemd.run(
        r##"
ping
main=$(state MainPID)
coproc CLIENT { exec socat - UNIX-CONNECT:$S; }
echo '{"message_type":"register","from":"client"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}"

sed -i 's/^max_names = .*/max_names = 7/; s/^socket_mode = .*/socket_mode = "0666"/' /etc/telexd.toml
systemctl reload telexd
within 'the reload is told' said notice 'changed now: max_names; after a restart: socket_mode'
ask '{"message_type":"whoami"}' | grep -q '"max_names":7' || die 'the new limit'

# A faulty file: told by the command and in the journal, and nothing changes.
sed -i 's/^max_names = .*/max_names = 8/; s/^max_requests = .*/max_requests = 0/' /etc/telexd.toml
if systemctl reload telexd 2>/dev/null; then die 'a faulty file was taken'; fi
within 'the fault is told' said err '/etc/telexd.toml:'
within 'it says which setting' said err 'max_requests'
ask '{"message_type":"whoami"}' | grep -q '"max_names":7' || die 'the old limit'
# The same by the bare signal.
kill -HUP "$main"
within 'the daemon refuses it too' said err 'the configuration is left as it was'

same "afterwards" "$(systemctl is-active telexd)" active
same "the process" "$(state MainPID)" "$main"
echo '{"message_type":"ping"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}"
[[ $line == *'"to":"client"'* ]] || die "the client of before: $line"
sed -i 's/^max_requests = .*/max_requests = 5/' /etc/telexd.toml

# A package brings a drop-in, and then one that is faulty.
mkdir /etc/telexd.d
echo 'max_requests = 9' >/etc/telexd.d/50-rules.toml
systemctl reload telexd
within 'the drop-in is told' said notice 'changed now: max_names, max_requests; after a restart: socket_mode'
ask '{"message_type":"whoami"}' | grep -q '"max_requests":9' || die 'the limit of the drop-in'
echo 'max_requests = 0' >/etc/telexd.d/60-more.toml
if systemctl reload telexd 2>/dev/null; then die 'a faulty drop-in was taken'; fi
within 'its fault is told' said err '/etc/telexd.d/60-more.toml:1: max_requests: is 0'
ask '{"message_type":"whoami"}' | grep -q '"max_requests":9' || die 'the limit of the drop-in is gone'

# No level is left in the text, and none of this was more than information.
if journalctl -u telexd -o cat | grep -q '^<[0-7]>'; then die 'a level was not understood'; fi
said info 'is client' || die 'information'
if said notice 'is client'; then die 'information came as a notice'; fi
"##,
    );
}

fn a_restart_loses_nothing(systemd: &Box) {
    const CLIENTS: &str = include_str!("support/in_restarts.py");
    let script = r##"
systemctl start telexd
python3 clients.py || die 'the clients lost something'
same "what systemd keeps" "$(state NFileDescriptorStore)" 0
same "starts by itself" "$(state NRestarts)" 0
same "restarts" "$(journalctl -u telexd -o cat | grep -c 'taken over, with 20[0-9] connections')" 20

# A hand-over that is asked for by a signal is one, too.
coproc CLIENT { exec socat - UNIX-CONNECT:$S; }
echo '{"message_type":"ping"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}"
main=$(state MainPID)
kill -USR2 "$main"
is_new() { [[ $(state MainPID) != 0 && $(state MainPID) != "$main" ]]; }
within 'another process' is_new
echo '{"message_type":"ping"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}" || die 'the connection is gone'
[[ $line == *'"ping_reply"'* ]] || die "it got $line"

# Behind a crash nothing is gone on with.
exec {answers}<&"${CLIENT[0]}"
kill -KILL "$(state MainPID)"
if read -r -t 10 line <&$answers; then die "it got $line"; fi
within 'it is started again' ping
"##;
    systemd.run(&format!("cat >clients.py <<'PYTHON'\n{CLIENTS}PYTHON\n{script}"));
}

fn a_stop_tells_the_clients_and_a_restart_keeps_the_socket(systemd: &Box) {
    systemd.run(
        r##"
coproc CLIENT { exec socat - UNIX-CONNECT:$S; }
echo '{"message_type":"register","from":"client"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}"
exec {answers}<&"${CLIENT[0]}"
inode=$(stat -c %i $S)

systemctl stop telexd.service 2>/dev/null
read -r -t 10 line <&$answers
[[ $line == *'"event":"shutdown"'* ]] || die "the client's last line: $line"
if read -r -t 10 line <&$answers; then die "a line after the last: $line"; fi
same "the result" "$(state Result) $(state ExecMainStatus)" 'success 0'
within 'stopping is told' said notice stopped

# The socket goes on listening; the next one who comes starts it again.
same "the socket" "$(stat -c %i $S)" "$inode"
ping
same "again" "$(systemctl is-active telexd)" active
# Whoever comes while it is restarted is answered, by the old one or the new one.
for _ in 1 2 3 4 5; do
  systemctl restart telexd &
  restart=$!
  while kill -0 $restart 2>/dev/null; do
    answer=$(ask '{"message_type":"ping"}')
    [[ $answer == *'"ping_reply"'* ]] || die "in a restart: '$answer'"
  done
  wait $restart
  ping
done
same "the socket after restarts" "$(stat -c %i $S)" "$inode"

# A crash is no end either.
main=$(state MainPID)
kill -KILL "$main"
is_new() { [[ $(state MainPID) != 0 && $(state MainPID) != "$main" ]]; }
within 'it is started again' is_new
ping
same "the socket after a crash" "$(stat -c %i $S)" "$inode"
"##,
    );
}

fn a_faulty_file_keeps_the_clients_waiting_until_it_is_mended(systemd: &Box) {
    systemd.run(
        r##"
cp /etc/telexd.toml /etc/telexd.toml.right
echo nonsense >>/etc/telexd.toml
began=$SECONDS
ask '{"message_type":"ping"}' >/tmp/answer &
client=$!
tries() { journalctl -u telexd -p err -o cat | grep -cF /etc/telexd.toml: || true; }
goes_on() { (($(tries) >= 3)); }
within 'it is tried again' goes_on
(($(tries) <= SECONDS - began + 2)) || die "$(tries) tries in $((SECONDS - began)) s"
same "the socket" "$(systemctl is-active telexd.socket)" active

# Who starts it by hand is told at once.
if systemctl restart telexd 2>/dev/null; then die 'it started'; fi

mv /etc/telexd.toml.right /etc/telexd.toml
wait $client
grep -q '"ping_reply".*"error":null' /tmp/answer || die "the client got: $(cat /tmp/answer)"
within 'it serves' systemctl is-active -q telexd.service
same "the socket of before" "$(systemctl is-active telexd.socket)" active
"##,
    );
}

fn of_a_socket_file_that_is_removed_the_journal_says_how_to_go_on(systemd: &Box) {
    systemd.run(
        r##"
ping
rm $S
within 'it is told' said warning 'no client can connect before `systemctl restart telexd.socket`'
if ping; then die 'it is in reach without a file'; fi
systemctl restart telexd.socket
ping
same "the state" "$(stat -c '%a %U' /var/lib/telexd/connections)" '600 telexd'
"##,
    );
}

fn without_a_socket_of_systemd_it_does_not_start(systemd: &Box) {
    systemd.run(
        r##"
systemctl disable -q --now telexd.socket
[[ ! -e $S ]] || die 'the socket is left over'
# The service brings its socket along.
systemctl start telexd.service
same "the socket unit" "$(systemctl is-active telexd.socket)" active
same "the socket" "$(stat -c '%A %G' $S)" 'srw-rw---- telex'
ping

# The socket goes, and the service with it; nothing is left over.
systemctl stop telexd.socket
is_over() { [[ $(systemctl is-active telexd.service) == inactive ]]; }
within 'the service ends' is_over
[[ ! -e $S ]] || die 'the socket is left over'

# A unit without a socket is told what to do, and binds nothing.
sed -i '/telexd.socket$/d' /etc/systemd/system/telexd.service
systemctl daemon-reload
if systemctl start telexd.service 2>/dev/null; then die 'it started'; fi
within 'it says what to do' said err 'start the daemon by its socket unit, such as `systemctl start telexd.socket`'
[[ ! -e $S ]] || die 'it has bound the path'
systemctl start telexd.socket
within 'it serves' ping
"##,
    );
}

fn a_second_instance_has_a_socket_and_a_state_of_its_own(systemd: &Box) {
    let script = r##"
ping
first=$S S=/run/telexd-one/telex.sock
ask '{"message_type":"register","from":"alice"}' | grep -q '"error":null' || die 'the second one'
same "the socket" "$(stat -c '%A %G' $S)" 'srw-rw---- telex'
same "both" "$(systemctl is-active telexd.service telexd@one.service)" $'active\nactive'
same "the states" "$(stat -c '%U %n' /var/lib/telexd{,-one}/connections)" $'telexd /var/lib/telexd/connections\ntelexd /var/lib/telexd-one/connections'

sed -i 's/^max_names = .*/max_names = 7/' /etc/telexd/one.toml
systemctl reload telexd@one
ask '{"message_type":"whoami"}' | grep -q '"max_names":7' || die 'the new limit'
S=$first
ask '{"message_type":"whoami"}' | grep -q '"max_names":64' || die 'the limit of the first one'
main=$(systemctl show -P MainPID telexd@one)
systemctl restart telexd@one
[[ $(systemctl show -P MainPID telexd@one) != "$main" ]] || die 'it was not restarted'
journalctl -u telexd@one -o cat | grep -q 'taken over, with' || die 'nothing was handed over'
"##;
    systemd.run(&(operating("second").to_owned() + script));
}

fn a_user_has_a_switch_of_his_own(systemd: &Box) {
    let script = r##"
useradd --create-home alice
uid=$(id -u alice)
systemctl start "user@$uid"
as_alice() { setpriv --reuid=alice --regid=alice --init-groups env HOME=/home/alice XDG_RUNTIME_DIR="/run/user/$uid" "$@"; }
as_alice bash <user || die 'the installation'
S=/run/user/$uid/telex.sock
same "the socket" "$(stat -c '%A %U' $S)" 'srw------- alice'
as_alice telex call --daemon whoami | grep -q "\"uid\":$uid,.*\"administrator\":true" || die 'the command'
same "the service" "$(as_alice systemctl --user is-active telexd.service)" active
# Root is told apart.
ask '{"message_type":"whoami"}' | grep -q '"uid":0,' || die 'root'

as_alice systemctl --user reload telexd
echo nonsense >>/home/alice/.config/telexd.toml
if as_alice systemctl --user reload telexd 2>/dev/null; then die 'a faulty file was taken'; fi
sed -i '$d' /home/alice/.config/telexd.toml
main=$(as_alice systemctl --user show -P MainPID telexd)
as_alice systemctl --user restart telexd
[[ $(as_alice systemctl --user show -P MainPID telexd) != "$main" ]] || die 'it was not restarted'
ping
"##;
    let user = operating("user");
    systemd.run(&format!("cat >user <<'END'\n{user}\nEND\nchmod -R a+rX /root\n{script}"));
}

fn unix_and_tcp_are_handed_over_at_once(systemd: &Box) {
    let script = r##"
echo '{"message_type":"whoami"}' | nc -N 127.0.0.1 4040 | grep -q '"transport":"tcp"' || die 'TCP'
ping
same "the status" "$(state StatusText | sed 's/.*; //')" "listening on unix:$S, tcp:127.0.0.1:4040"
systemctl restart telexd
echo '{"message_type":"whoami"}' | nc -N 127.0.0.1 4040 | grep -q '"transport":"tcp"' || die 'TCP after a restart'
ping
"##;
    systemd.run(&(operating("tcp").to_owned() + script));
}

fn a_daemon_that_is_stuck_is_started_again_and_an_idle_one_sleeps(systemd: &Box) {
    systemd.run(
        r##"
printf '[Service]\nWatchdogSec=2s\n' >/etc/systemd/system/telexd.service.d/watchdog.conf
systemctl daemon-reload
coproc CLIENT { exec socat - UNIX-CONNECT:$S; }
echo '{"message_type":"register","from":"client"}' >&"${CLIENT[1]}"
read -r -t 10 line <&"${CLIENT[0]}"
main=$(state MainPID)
is_told() { [[ $(state StatusText) == 'connections: 1; nodes: 1; listening on '* ]]; }
# The figures are told after ten seconds, in a turn that the watchdog asks for.
for _ in {1..300}; do is_told && break; sleep 0.05; done
is_told || die "the status: $(state StatusText)"
# Each second a turn, and a message of the thread beside it.
switches() { awk '/^voluntary_ctxt/ {print $2}' "/proc/$main/status"; }
before=$(switches)
sleep 5
same "the process that is fed" "$(state MainPID)" "$main"
(($(switches) - before <= 12)) || die "it woke $(($(switches) - before)) times in 5 s"

kill -STOP "$main"
is_new() { [[ $(state MainPID) != 0 && $(state MainPID) != "$main" ]]; }
within 'it is started again' is_new
within 'it serves' ping
same "starts by itself" "$(state NRestarts)" 1
"##,
    );
}

fn an_end_may_take_as_long_as_it_drains(systemd: &Box) {
    systemd.run(
        r##"
sed -i 's/^drain_timeout = .*/drain_timeout = "4s"/' /etc/telexd.toml
printf '[Service]\nTimeoutStopSec=1\n' >/etc/systemd/system/telexd.service.d/patience.conf
systemctl daemon-reload
cat >slow.py <<'PYTHON'
# A client that reads nothing of much that is queued for it.
import json, socket, sys, time
reader = socket.socket(socket.AF_UNIX)
reader.connect('/run/telexd/telex.sock')
reader.sendall(b'{"message_type":"register","from":"reader"}\n')
writer = socket.socket(socket.AF_UNIX)
writer.connect('/run/telexd/telex.sock')
line = json.dumps({'message_type': 'signal', 'to': 'reader', 'body': 'x' * 100000}).encode() + b'\n'
for _ in range(40):
    writer.sendall(line)
writer.sendall(b'{"message_type":"ping"}\n')
writer.recv(100)
print('ready', flush=True)
time.sleep(60)
PYTHON
coproc SLOW { exec python3 slow.py; }
read -r -t 10 line <&"${SLOW[0]}"
began=$SECONDS
systemctl stop telexd.service 2>/dev/null
same "the result" "$(state Result)" success
((SECONDS - began >= 3)) || die "it took $((SECONDS - began)) s"
"##,
    );
}

fn it_can_be_opened_by_drop_ins_and_uninstalled(systemd: &Box) {
    let blocks = ["member", "directory", "network", "uninstall", "purge"].map(operating);
    let [member, directory, network, uninstall, purge] = blocks;
    systemd.run(&format!(
        r##"
useradd --create-home alice
{member}
id -nG alice | grep -qw telex || die 'she is no member'
ping
{directory}
{network}
ping
same "what it may write" "$(state ReadWritePaths)" /srv/log
nsenter -t "$(state MainPID)" -m setpriv --reuid=telexd --regid=telex --clear-groups touch /srv/log/switch.log || die 'it cannot'
if nsenter -t "$(state MainPID)" -m setpriv --reuid=telexd --regid=telex --clear-groups touch /srv/other 2>/dev/null; then die 'it can'; fi

{uninstall}
same "what is left" "$(find /etc/systemd /usr/bin -name '*telex*')" ''
[[ ! -e $S ]] || die 'the socket is left over'
same "what fails" "$(systemctl list-units --failed --plain --no-legend 'telexd*')" ''
{purge}
same "what is left of it" "$(find / -xdev -not -path '/root/*' -not -path '/srv/*' -not -path '/proc/*' -not -path '/var/log/journal/*' -name '*telexd*')" ''
if getent group telex || getent passwd telexd; then die 'the user is left over'; fi
"##
    ));
}

fn what_the_file_listens_at_is_served_beside_the_socket_unit(systemd: &Box) {
    systemd.run(
        r##"
echo 'listen = ["unix:/run/telexd/telex.sock", "tcp:127.0.0.1:4040"]' >/etc/telexd.toml
printf '[Service]\nRestrictAddressFamilies=AF_INET AF_INET6\n' >/etc/systemd/system/telexd.service.d/tcp.conf
systemctl daemon-reload
ping
echo '{"message_type":"whoami"}' | nc -N 127.0.0.1 4040 | grep -q '"transport":"tcp"' || die 'TCP'
is_told() { [[ $(state StatusText) == *"listening on unix:$S, tcp:127.0.0.1:4040" ]]; }
within 'the status' is_told
"##,
    );
}

/// What the script of a test with plugins begins with: they are installed and configured as their README
/// files have it.
fn with_logs() -> String {
    let install = block(include_str!("../plugins/README.md"), "sh systemd");
    // Only two have been built.
    let install = install.replace(" target/release/libfilter_*.so", "");
    let file = block(include_str!("../plugins/log-file/README.md"), "toml");
    let journal = block(include_str!("../plugins/log-journal/README.md"), "toml");
    let head = r##"
log=/var/log/telexd/telexd.log
# in_journal FIELD=VALUE...: what the journal has of such records, as lines of JSON
in_journal() { journalctl --all -o json _SYSTEMD_UNIT=telexd.service "$@"; }
# registers NODE: a client is there for a moment; its record is in the file and in the journal
registers() {
  ask "{\"message_type\":\"register\",\"from\":\"$1\"}" | grep -q '"error":null' || die "$1 was not registered"
  within "$1 is in the file" grep -q "\"event\":\"registered\".*\"node_id\":\"$1\"" $log
  is_there() { [[ $(in_journal TELEX_NODE_ID="$1" TELEX_EVENT=registered) ]]; }
  within "$1 is in the journal" is_there "$1"
}
"##;
    format!("{install}\ncat >>/etc/telexd.toml <<'END'\n{file}\n{journal}\nEND\n{head}")
}

fn plugins_write_the_log_to_a_file_and_to_the_journal(systemd: &Box) {
    let script = r##"
sed -i 's/^max_names = .*/max_names = 500/' /etc/telexd.toml
registers alice
same "the folder" "$(stat -c '%A %U %G' /var/log/telexd)" 'drwxr-x--- telexd telex'
same "the file" "$(stat -c '%A %U %G' $log)" '-rw-r----- telexd telex'
fields='[(.MESSAGE | sub(" \\(uid 0, pid [0-9]+\\)"; "")), .PRIORITY, .SYSLOG_IDENTIFIER, .MESSAGE_ID, .TELEX_CONNECTION, .TELEX_UID] | join(" ")'
same "the record" "$(in_journal TELEX_NODE_ID=alice TELEX_EVENT=registered | jq -r "$fields")" \
  ':1 is alice 6 telexd ce7a341dc0034a2690d77d9f2710c4aa 1 0'
same "by its id" "$(in_journal MESSAGE_ID=ce7a341dc0034a2690d77d9f2710c4aa | jq -r .TELEX_NODE_ID)" alice

# What is too large for a datagram.
long=$(printf 'n%.0s' {1..240})
for n in {1..500}; do echo "{\"message_type\":\"register\",\"body\":{\"node_id\":\"$long$n\"}}"; done >/tmp/names
timeout 20 nc -N -U $S </tmp/names >/tmp/answers
same "the names" "$(grep -c '"error":null' /tmp/answers)" 500
has_all() { [[ $(in_journal TELEX_EVENT=left TELEX_NODE_ID="${long}1" | jq '.TELEX_NODE_IDS | fromjson | length') == 500 ]]; }
within 'the journal has all of it' has_all

# As logrotate does it.
mv $log $log.1
systemctl reload telexd
within 'the daemon writes to a new file' grep -q 'configuration read again' $log
registers bob
if grep -q '"bob"' $log.1; then die 'bob is in the old file'; fi

# A reload that cannot be done is refused by the check before it.
sed -i 's|/var/log/telexd/telexd.log|/var/log/elsewhere/telexd.log|' /etc/telexd.toml
if systemctl reload telexd 2>/dev/null; then die 'it was reloaded'; fi
within 'it says why' said err 'plugin log-file (log-file): cannot open /var/log/elsewhere/telexd.log'
sed -i 's|/var/log/elsewhere/telexd.log|/var/log/telexd/telexd.log|' /etc/telexd.toml
registers carol

systemctl stop telexd.service 2>/dev/null
same "the result" "$(state Result)" success
grep -q '"message":"stopped"' $log || die "the last words: $(tail -n 3 $log)"
has_last_words() { [[ $(in_journal MESSAGE_ID=6b961853c84d49ebbf480c081651c50d MESSAGE=stopped) ]]; }
within 'the last words are in the journal' has_last_words
"##;
    systemd.run_with_plugins(&["log-file", "log-journal"], &(with_logs() + script));
}
