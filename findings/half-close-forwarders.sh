#!/usr/bin/env bash
# A half-close behind a TCP forwarder: the answer is lost, and the client sees an orderly end
#
# A good guess: a program that does nothing but pass bytes between two sockets passes the end of input
# on as well: a client that shuts down its sending side, as `nc -N` does, still gets the answer. At
# worst the client sees an error.
#
# What really happens: systemd-socket-proxyd, rinetd, redir, simpleproxy, xinetd's `redirect` and
# nginx's stream proxy at its defaults take the end of one direction for the end of both. They close
# the connection to the client at once, and to the service too. The client gets no byte and a clean
# end of file (`nc -N` exits with status 0), and the service learns of it by a failing write, if it
# writes twice. Without the half-close the same line is answered through each of them. nginx with
# `proxy_half_close on` passes it on as it should.
#
# Versions and source: systemd 252.39 (src/socket-proxy/socket-proxyd.c: connection_shovel closes the
# socket whose end was read, and traffic_cb releases the connection once nothing is left in that
# direction; the same in its main branch of 2026), rinetd 0.73, redir 3.3, simpleproxy 3.5, xinetd
# 2.3.15.3 (xinetd/redirect.c), nginx 1.22.1 (stream/ngx_stream_proxy_module.c; documented as the
# directive proxy_half_close, off by default). The manual pages of the others do not say it.
#
# Why it matters for telex: to half-close after the question is how a shell asks one thing of it, and
# systemd-socket-proxyd is the obvious way to offer its Unix socket at a TCP port. Every answer that
# is not there within microseconds is then lost without a word. Through such a forwarder a client
# has to keep its sending side open until the answer has come.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir debs root

packages=(rinetd=0.73-1 redir=3.3-1 simpleproxy=3.5-1+b2 xinetd=1:2.3.15.3-1+b1 libwrap0=7.6.q-32
  systemd=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2
  nginx=1.22.1-9+deb12u11 libnginx-mod-stream=1.22.1-9+deb12u11)
(cd debs && apt-get download -qq "${packages[@]}" 2>../apt.log) || { cat apt.log; exit 1; }
for deb in debs/*.deb; do
  dpkg-deb -x "$deb" root
  echo "$(dpkg-deb -f "$deb" Package) $(dpkg-deb -f "$deb" Version)"
done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu:$work/root/usr/lib/x86_64-linux-gnu/systemd

cat >try.py <<'END'
import getpass, os, select, socket, subprocess, sys, threading, time


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def serve(connection, words):
    """Answers a line after half a second, in two writes."""
    with connection:
        while b"\n" not in connection.recv(100):
            pass
        ended = bool(select.select([connection], [], [], 0.5)[0])
        time.sleep(0.5 if ended else 0)
        words.append("saw an end of file" if ended else "saw no end")
        for part in (b"answer ", b"to all\n"):
            try:
                connection.sendall(part)
            except OSError as error:
                words.append(f"write failed with {type(error).__name__}")
            time.sleep(0.2)


def ask(port, half_close):
    deadline = time.monotonic() + 10
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    with client:
        client.sendall(b"question\n")
        if half_close:
            client.shutdown(socket.SHUT_WR)
        got, start = b"", time.monotonic()
        try:
            while part := client.recv(100):
                got += part
            end = "end of file"
        except OSError as error:
            end = type(error).__name__
    return got, f"{got!r} and {end} after {time.monotonic() - start:.1f} s"


def nginx(front, back, half_close):
    with open("nginx.conf", "w") as file:
        file.write(f"""daemon off; master_process off; pid {os.getcwd()}/nginx.pid;
load_module {os.getcwd()}/root/usr/lib/nginx/modules/ngx_stream_module.so;
events {{}}
stream {{ server {{ listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{back}; {half_close} }} }}
""")
    return ["root/usr/sbin/nginx", "-p", os.getcwd(), "-c", os.getcwd() + "/nginx.conf", "-e", "stderr"]


def rinetd(front, back):
    with open("rinetd.conf", "w") as file:
        file.write(f"pidlogfile {os.getcwd()}/rinetd.pid\n127.0.0.1 {front} 127.0.0.1 {back}\n")
    return ["root/usr/sbin/rinetd", "-f", "-c", "rinetd.conf"]


def xinetd(front, back):
    with open("xinetd.conf", "w") as file:
        file.write(f"""service forward
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    user = {getpass.getuser()}
    bind = 127.0.0.1
    port = {front}
    redirect = 127.0.0.1 {back}
}}
""")
    return ["root/usr/sbin/xinetd", "-dontfork", "-f", "xinetd.conf", "-pidfile", "xinetd.pid"]


def proxyd(front, back):
    return ["root/usr/bin/systemd-socket-activate", "-l", f"127.0.0.1:{front}", "-E", "LD_LIBRARY_PATH",
            "root/lib/systemd/systemd-socket-proxyd", f"127.0.0.1:{back}"]


forwarders = {
    "systemd-socket-proxyd": (proxyd, "lost"),
    "rinetd": (rinetd, "lost"),
    "redir": (lambda front, back: ["root/usr/bin/redir", "-n", f"127.0.0.1:{front}", f"127.0.0.1:{back}"], "lost"),
    "simpleproxy": (lambda front, back: ["root/usr/bin/simpleproxy", "-L", f"127.0.0.1:{front}",
                                         "-R", f"127.0.0.1:{back}"], "lost"),
    "xinetd redirect": (xinetd, "lost"),
    "nginx stream": (lambda front, back: nginx(front, back, ""), "lost"),
    "nginx proxy_half_close on": (lambda front, back: nginx(front, back, "proxy_half_close on;"), "answered"),
}
changed = False
for name, (command, expected) in forwarders.items():
    words = []
    listener = socket.create_server(("127.0.0.1", 0))
    front, back = free_port(), listener.getsockname()[1]

    def accept():
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=serve, args=(connection, words), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with open("log", "w") as log:
        forwarder = subprocess.Popen(command(front, back), stdout=log, stderr=log)
    try:
        for half_close, right in ((False, "answered"), (True, expected)):
            words.clear()
            got, report = ask(front, half_close)
            time.sleep(1.2)
            outcome = "answered" if got == b"answer to all\n" else "lost" if not got else "cut"
            print(f"{name:26}{'half-closed' if half_close else 'left open':12}{outcome:9}"
                  f"client: {report}; service: {', '.join(words)}", flush=True)
            if outcome != right or "end of file" not in report:
                changed = True
    except OSError as error:
        print(name, error, open("log").read())
        changed = True
    finally:
        forwarder.terminate()
        forwarder.wait()
sys.exit("CHANGED: this is not what was found" if changed else 0)
END
timeout 150 python3 try.py
echo "as found: six of them lose the answer to a client that half-closes"
