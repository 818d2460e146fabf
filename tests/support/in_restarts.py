# Pairs of nodes that send each other numbers, and clients that are in the middle of something, while the daemon is
# restarted. Each number has to come once, in its order, on the same connection.
import json, os, socket, subprocess, threading, time

ADDRESS, PAIRS, RESTARTS = '/run/telexd/telex.sock', 100, 20

def connect():
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(ADDRESS)
    return client, client.makefile('rb')

def send(client, **line):
    client.sendall(json.dumps(line).encode() + b'\n')

def node(name):
    client, lines = connect()
    send(client, message_type='register', body={'node_id': name})
    assert json.loads(lines.readline())['body']['error'] is None
    return client, lines

def die(why):
    print(why, flush=True)
    os._exit(1)

ends = False
def sends(client, name):
    n = 0
    while not ends:
        send(client, message_type='signal', to=name, body={'n': n})
        n += 1
        time.sleep(0.02)
    send(client, message_type='signal', to=name, body={'n': -1})

def receives(lines, name):
    due = 0
    while True:
        line = lines.readline()
        if not line:
            die(f'{name} was closed')
        n = json.loads(line)['body'].get('n')
        if n == -1:
            return
        if n != due:
            die(f'{name} got {line} in place of {due}')
        due += 1

nodes = [node(f'n{n}') for n in range(PAIRS)]
threads = [threading.Thread(target=receives, args=(lines, f'n{n}')) for n, (_, lines) in enumerate(nodes)]
threads += [threading.Thread(target=sends, args=(connect()[0], f'n{n}')) for n in range(PAIRS)]
for thread in threads:
    thread.start()

worker, work = node('worker')
done, told = node('done')
show = lambda what: subprocess.check_output(['systemctl', 'show', '-P', what, 'telexd'], text=True).strip()
for n in range(RESTARTS):
    half, answer = connect()
    half.sendall(b'{"message_type":"pi')
    asker, asked = connect()
    send(asker, message_type='ask', to='worker', message_id=n)
    asker.shutdown(socket.SHUT_WR)
    request = json.loads(work.readline())
    main = show('MainPID')
    restart = subprocess.Popen(['systemctl', 'restart', 'telexd'])
    # It comes, says something and is gone while the daemon is.
    leaver, _ = connect()
    send(leaver, message_type='signal', to='done', body={'n': n})
    leaver.close()
    restart.wait()
    if show('MainPID') == main or show('ActiveState') != 'active':
        die('it was not restarted')
    half.sendall(b'ng"}\n')
    if b'"ping_reply"' not in (line := answer.readline()):
        die(f'to half a line: {line}')
    send(worker, message_type='ask_reply', to=request['from'], body={'in_reply_to': n, 'error': None})
    if json.loads(line := asked.readline())['body']['in_reply_to'] != n:
        die(f'to what was asked: {line}')
    if asked.readline():
        die('one that writes no more is not closed')
    if json.loads(line := told.readline())['body']['n'] != n:
        die(f'of one that left: {line}')
ends = True
for thread in threads:
    thread.join()
