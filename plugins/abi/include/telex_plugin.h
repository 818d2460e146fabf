/*
 * telex_plugin.h: what telexd and its plugins say to each other.
 *
 * A plugin is a shared library that exports one symbol, `telex_plugin`: a static descriptor. The daemon
 * reads its first three fields, and calls nothing before it knows that both sides mean the same by them.
 * It makes an instance with `create`, asks it for extensions by name and revision ("telex.filter/1"), and
 * calls those that the instance has. A later revision is a new name, so a plugin that was built once
 * loads for ever.
 *
 * Rules that hold everywhere:
 *
 * - Threads. `create` and `destroy` may be called on a thread of their own, may block, and are never
 *   called at the same time for one instance. Everything else is called on the thread of the daemon's
 *   loop, never two calls at once, and must not block: as long as a call takes, nobody is served. A plugin
 *   that takes longer than its `budget` too often is not called any more.
 * - Memory never crosses. Whatever is handed to a function belongs to the caller and lives until that
 *   function returns; who wants to keep it copies it. Nothing is ever freed by the other side.
 * - Nothing unwinds across a call: no C++ exception, no Rust panic, no longjmp. (Rust plugins are built
 *   with the macro `export!`, which catches panics.)
 * - A struct that begins with `size` may grow at its end, which TELEX_MINOR counts. Look at `size` before you
 *   read a field that has come with a minor version after 0; it says so.
 * - Where a function pointer may be null that is said; where it is not, null is refused on loading.
 *
 * Beside this page are telex_json.h, which reads the configuration and values of messages, and telex_fake.h, a fake
 * daemon for the tests of plugins.
 */
#ifndef TELEX_PLUGIN_H
#define TELEX_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "TELX", as the bytes stand in memory on the machines that telexd runs on. */
#define TELEX_MAGIC 0x584c4554u
/* Of this page. A descriptor with another one is refused. */
#define TELEX_ABI 1u
/* What has been added to this page since it had that number. */
#define TELEX_MINOR 3u

/* Text or JSON: UTF-8, no NUL at its end, `data` and `len` bytes behind it. Something that is not there has
 * `data` null; an empty text has not. Each function says what it makes of one that is not there. */
typedef struct telex_str {
    const char *data;
    size_t len;
} telex_str;

/* A literal as a telex_str: host->log(host, TELEX_INFO, TELEX_STR("hello")). */
#ifdef __cplusplus
#define TELEX_STR(literal) (telex_str{"" literal, sizeof(literal) - 1})
#else
#define TELEX_STR(literal) ((telex_str){"" literal, sizeof(literal) - 1})
#endif

/* Whether two texts are the same. One that is not there is the same as another such one, and as no other. */
static inline int telex_str_eq(telex_str a, telex_str b) {
    if (!a.data || !b.data) return a.data == b.data;
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* What a function gives back. Every other value is a fault of who gave it. */
enum {
    /* Done; of a filter: the message goes on. */
    TELEX_OK = 0,
    TELEX_PASS = 0,
    /* Of a filter: the message is gone, and nobody is told. Of a request to the daemon: as TELEX_REJECT. */
    TELEX_DROP = 1,
    /* Of a filter: the message is refused with the code `denied`, and its sender told the reason that
     * `telex_call.reason` was given. Of the event TELEX_CONNECTED: so is the connection. */
    TELEX_REJECT = 2,
    /* Of a filter: the message goes on as `telex_call.replace` has changed it. */
    TELEX_REPLACE = 3,
    /* The plugin has failed at what it was called for. */
    TELEX_FAULT = -1,
    /* The same, by a panic that was caught. */
    TELEX_PANIC = -2,
    /* Of the daemon: there is no such thing; for example no such value in a body. */
    TELEX_NOT_FOUND = -3,
    /* Of the daemon: this is no right value for that. */
    TELEX_BAD_VALUE = -4,
    /* Of the daemon: a bound has been reached. */
    TELEX_TOO_MANY = -5,
    /* Of the daemon: not now. The call that this belonged to has returned, or has no use for it. */
    TELEX_NOT_NOW = -6
};

/* How much a record matters: the numbers of syslog(3). */
enum {
    TELEX_EMERG = 0,
    TELEX_ALERT = 1,
    TELEX_CRIT = 2,
    TELEX_ERR = 3,
    TELEX_WARNING = 4,
    TELEX_NOTICE = 5,
    TELEX_INFO = 6,
    TELEX_DEBUG = 7
};

/* ---- The daemon, as a plugin sees it --------------------------------------------------------------- */

typedef struct telex_host telex_host;
struct telex_host {
    uint32_t size;
    /* TELEX_ABI of the daemon. */
    uint32_t abi;
    /* The daemon's own; leave it alone. */
    void *context;
    /* Name and version: "telexd 0.1.0". Lives as long as the instance. */
    telex_str daemon;
    /* The name that the configuration gives to this plugin. Lives as long as the instance. */
    telex_str name;
    /* Writes a record of the plugin's own to the daemon's log, under the event "plugin". On any thread,
     * from the call of `create` to the return of `destroy`, whether the instance comes into force or not.
     * It is copied, and is written with the daemon's next turn; of more than 1,000 between two turns the
     * rest is counted. A message that is not there is an empty one; control characters in it become
     * U+FFFD. A record that a log plugin writes goes to the other log plugins alone, and what it writes
     * in its calls of `record` and `flush` to stderr: they would drive each other for ever. What is
     * written in `destroy` when the daemon ends goes to stderr. */
    void (*log)(const telex_host *host, int32_t level, telex_str message);
    /* Says why `create` is about to return null; copied, and the last one counts. In `create` alone. */
    void (*fail)(const telex_host *host, telex_str reason);
    /* From now on, TELEX_TIMER comes every so many milliseconds (at least 10; a late one is not made up
     * for), or no more: 0. In `create` and in calls on the loop's thread. Needs the extension
     * "telex.events/1", and TELEX_TIMER among what that wants. TELEX_OK or TELEX_BAD_VALUE. */
    int32_t (*set_timer)(const telex_host *host, uint64_t milliseconds);
    /* What this daemon can do beyond this page, by name and revision; null where it does not know that.
     * On any thread. */
    const void *(*extension)(const telex_host *host, const char *id);
    /* Not 0 if the configuration is only checked (telexd --check), maybe by another user than the daemon's:
     * the instance is ended as soon as it is made. It opens nothing for writing then, makes no file, and
     * logs as a warning what it could not find out without that. Minor version 1. */
    uint32_t checking;
    uint32_t reserved;
};

/* ---- The descriptor -------------------------------------------------------------------------------- */

typedef struct telex_descriptor {
    /* TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor): read in this order, and nothing else before they
     * are right. */
    uint32_t magic;
    uint32_t abi;
    uint32_t size;
    /* TELEX_MINOR. Below 1 it is not made if a configuration is only checked: it would not know that. */
    uint32_t minor;
    /* Of the plugin: static, ended by NUL, UTF-8, not empty. */
    const char *name;
    const char *version;
    /* Makes an instance, or returns null, having told `host->fail` why. `config` is the plugin's `config` of
     * the configuration as one JSON object ("{}" where there is none). `host` lives until `destroy`
     * returns. May be called again while another instance lives: a new configuration is built up beside
     * the one that is in force. */
    void *(*create)(const telex_host *host, telex_str config);
    /* Ends an instance. Whatever it still has to write is written before this returns, and threads of its
     * own have ended. */
    void (*destroy)(void *instance);
    /* The table of an extension, by name and revision ("telex.log/1"), or null: this instance does not have
     * that. Asked for once, right after `create`, on the same thread. The table lives as long as the
     * instance. */
    const void *(*extension)(void *instance, const char *id);
} telex_descriptor;

/* The symbol. Declare it like this and nothing else in public:
 *
 *     TELEX_EXPORT const telex_descriptor telex_plugin = {
 *         TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, ...};
 */
#if defined(__GNUC__)
#define TELEX_VISIBLE_ __attribute__((visibility("default")))
#else
#define TELEX_VISIBLE_
#endif
#ifdef __cplusplus
/* A constant would be its file's own there. */
#define TELEX_EXPORT extern "C" TELEX_VISIBLE_
TELEX_EXPORT const telex_descriptor telex_plugin;
#else
#define TELEX_EXPORT TELEX_VISIBLE_
extern TELEX_EXPORT const telex_descriptor telex_plugin;
#endif

/* ---- Who and what ---------------------------------------------------------------------------------- */

enum { TELEX_UNIX = 1, TELEX_TCP = 2 };

/* A connection, as the kernel or its authentication vouches for it. */
typedef struct telex_peer {
    uint32_t size;
    /* TELEX_UNIX or TELEX_TCP. */
    uint32_t transport;
    /* The number of its unique id; never used again. */
    uint64_t connection;
    /* ":7" */
    telex_str unique_id;
    /* The node IDs that it holds, in the order in which it took them. With TELEX_REGISTERED the new one is
     * among them, with TELEX_UNREGISTERED the old one is not any more. */
    const telex_str *node_ids;
    size_t node_id_count;
    /* -1 where the kernel has not said. The pid is for display only: it may be another process by now. */
    int64_t uid;
    int64_t gid;
    int64_t pid;
    /* The authenticated name, over TCP. */
    telex_str user;
    /* 1: it may `kill`, `tap` and `reload`. */
    uint32_t administrator;
    uint32_t reserved;
} telex_peer;

enum { TELEX_REQUEST = 1, TELEX_SIGNAL = 2, TELEX_REPLY = 3 };

/* A message at the door, as a filter sees it (PROTOCOL.md section 2). Texts are decoded: no escapes. */
typedef struct telex_message {
    uint32_t size;
    /* TELEX_REQUEST, TELEX_SIGNAL or TELEX_REPLY. */
    uint32_t kind;
    const telex_peer *sender;
    /* The whole line, without its LF, as it came or as a filter before this one has changed it. */
    telex_str line;
    /* As JSON: a string with its quotes, or a number. Not there where the daemon will assign one. */
    telex_str message_id;
    telex_str message_type;
    /* As stamped: the sender holds this address, or, of a `register` to the daemon, may be about to. */
    telex_str from;
    /* Neither `to` nor `topic`: a request to the daemon (or a signal to it, which it ignores). */
    telex_str to;
    telex_str topic;
    telex_str key;
    /* As JSON. */
    telex_str body;
    /* Of a reply: as JSON. */
    telex_str in_reply_to;
} telex_message;

/* What of a message can be replaced. Of a reply only the body; `to` and `topic` take each other's place. */
enum { TELEX_FIELD_TO = 1, TELEX_FIELD_TOPIC = 2, TELEX_FIELD_TYPE = 3, TELEX_FIELD_BODY = 4 };

/* What can be done while a filter or an event is being handled. Lives until that returns; used later, each
 * function gives TELEX_NOT_NOW. Everything is copied at once. */
typedef struct telex_call telex_call;
struct telex_call {
    uint32_t size;
    /* TELEX_CALL_DRY, or 0. */
    uint32_t flags;
    void *context;
    /* Why the message or the connection is refused, for people; goes with TELEX_REJECT. The last one
     * counts; one that is not there takes it back, and without any the sender is told only that he is
     * refused. No more than 1,000 characters are told. Control characters are: as escapes of JSON. */
    int32_t (*reason)(const telex_call *call, telex_str text);
    /* Changes one field of the message; goes with TELEX_REPLACE, and is forgotten without it. Of a field
     * that is replaced twice the last value counts; where none is, TELEX_REPLACE lets the message go on
     * as it is. `value` is text, for TELEX_FIELD_BODY a JSON value, whose line ends become spaces.
     * TELEX_BAD_VALUE: there is no such field, it cannot be replaced in this message, or `value` is not
     * there. The new message is checked like any line when the filter returns; one that is not right, or
     * a request that is no request any more, is a fault. */
    int32_t (*replace)(const telex_call *call, int32_t field, telex_str value);
    /* Finds a value in the body by JSON Pointer (RFC 6901), "" being the whole. It is JSON as it stands in
     * the line (telex_json.h reads that), and lives as long as the message: `replace` does not change it. Of a key that is there
     * twice the last one counts. TELEX_NOT_FOUND, also of a message without a body; TELEX_BAD_VALUE for
     * what is no pointer, or is not there; then `found` stays as it is. Of an event: TELEX_NOT_NOW. */
    int32_t (*value)(const telex_call *call, telex_str pointer, telex_str *found);
    /* Sends a signal from the daemon itself to an address (`to`) or to a topic, the other one not being
     * there: else TELEX_BAD_VALUE. `body` is a JSON object, whose line ends become spaces. It is queued
     * under the rule for topic messages: it never waits, and who has no room misses it. It is not
     * filtered. At most 16 in one call, and 4 MiB before they are sent, which is when all is judged that was
     * read from a connection in one go: then TELEX_TOO_MANY. */
    int32_t (*emit)(const telex_call *call, telex_str to, telex_str topic, telex_str body);
    /* Changes one value of the body, the one that `value` finds: `json`, a JSON value, takes its place, and all
     * else stays as it is. Goes with TELEX_REPLACE, as `replace` does, and goes on from what this call has
     * replaced already: two values are replaced by two calls. TELEX_NOT_FOUND: there is no such value, and
     * none is added, or no body. TELEX_BAD_VALUE: `pointer` is no pointer, `json` is no JSON value, or the
     * body that was put in the place of the message's is none. TELEX_TOO_MANY: the body would be longer than
     * a line may be. Of an event: TELEX_NOT_NOW. Whenever it is not TELEX_OK, nothing has changed. Minor
     * version 2: telex_replace_at looks whether it is there. */
    int32_t (*replace_at)(const telex_call *call, telex_str pointer, telex_str json);
};

/* In `flags` while a message is being judged: this is a dry run, for the daemon's request `explain`. The message goes
 * nowhere. The verdict must be the one that a real message would get, without side effects: charge no bucket, learn,
 * count and log nothing. Signals that are emitted are not sent. An instance supports dry runs if its `extension` gives
 * anything but null for TELEX_DRY; others are not called. Minor version 3. */
#define TELEX_CALL_DRY 1u
#define TELEX_DRY "telex.dry/1"

/* `call->replace_at`, or TELEX_FAULT if the daemon is older than that. */
static inline int32_t telex_replace_at(const telex_call *call, telex_str pointer, telex_str json) {
    if (call->size < offsetof(telex_call, replace_at) + sizeof call->replace_at) return TELEX_FAULT;
    return call->replace_at(call, pointer, json);
}

/* ---- "telex.log/1" --------------------------------------------------------------------------------- */

#define TELEX_LOG "telex.log/1"

typedef struct telex_record {
    uint32_t size;
    /* TELEX_ERR to TELEX_DEBUG. */
    int32_t level;
    /* Nanoseconds since 1970. */
    int64_t time;
    /* What happened, as one fixed word: "registered". */
    telex_str event;
    /* The number of the connection that it is about; 0: none. */
    uint64_t connection;
    /* Its first node ID, where it has one. */
    telex_str node_id;
    /* Its user id; -1: none. */
    int64_t uid;
    /* For people, on one line: no control characters in it. */
    telex_str message;
    /* A JSON object on one line: what else belongs to the event, for programs. */
    telex_str fields;
} telex_record;

typedef struct telex_log {
    /* Takes one record. TELEX_OK also where it was lost and counted; what is no TELEX_OK is a fault, and
     * the daemon writes to stderr until one of its log plugins takes records again. */
    int32_t (*record)(void *instance, const telex_record *record);
    /* Once in each turn of the loop in which there was a record: now is the time to write what was
     * gathered. May be null. */
    int32_t (*flush)(void *instance);
} telex_log;

/* ---- "telex.filter/1" ------------------------------------------------------------------------------ */

#define TELEX_FILTER "telex.filter/1"

/* Messages that a filter wants to see: those that match all of the patterns that are there. `*` matches any
 * run of characters; a field that a message does not have is an empty text. The pattern "" matches only
 * those, one that is not there all. Texts are compared as they stand in the message: one receiver may be
 * meant by "a", by "a#port", by ":7" and by a topic. */
typedef struct telex_interest {
    telex_str message_type;
    telex_str to;
    telex_str topic;
    telex_str from;
} telex_interest;

typedef struct telex_filter {
    /* Judges a message of a peer, once, before it goes anywhere: TELEX_PASS, TELEX_DROP, TELEX_REJECT,
     * TELEX_REPLACE. All else is a fault, and the message fares as `on_fault` of the configuration
     * says. It may come before the event of what led to it: a node that registers and sends at once may be
     * judged before its TELEX_REGISTERED, but never before its TELEX_CONNECTED. */
    int32_t (*judge)(void *instance, const telex_message *message, const telex_call *call);
    /* The messages that are to be judged: those that match one of these; of no list, or one of 0, that is
     * none. A null list of more, or one of more than 10,000, is refused on loading. Asked for once, right
     * after the extension; the list lives as long as the instance. This function may be null: all
     * messages are judged. */
    const telex_interest *(*interests)(void *instance, size_t *count);
} telex_filter;

/* ---- "telex.events/1" ------------------------------------------------------------------------------ */

#define TELEX_EVENTS "telex.events/1"

/* What happens. Kinds that you do not know are not yours: you are handed those that you want. */
enum {
    /* A connection has been opened (`peer`). TELEX_REJECT refuses it, with a reason; the plugins behind this
     * one are not asked then, and those before it are told TELEX_DISCONNECTED, with the reason "refused". */
    TELEX_CONNECTED = 1,
    /* It holds one more node ID (`peer`, `node_id`). */
    TELEX_REGISTERED = 2,
    /* It holds one no more, and goes on (`peer`, `node_id`, `reason`). */
    TELEX_UNREGISTERED = 3,
    /* It has one more subscription (`peer`, `topic`, `group`). */
    TELEX_SUBSCRIBED = 4,
    /* And one less; not told of those that end with their connection. */
    TELEX_UNSUBSCRIBED = 5,
    /* A connection is gone (`peer`, `reason`), with all its node IDs (still named in `peer`) and
     * subscriptions. Not told at the daemon's end: TELEX_STOPPING. */
    TELEX_DISCONNECTED = 6,
    /* The daemon is about to serve; nobody is connected yet. Not told to an instance that comes later. */
    TELEX_STARTED = 7,
    /* It is about to end; everybody is still connected, and is not told to be gone any more. */
    TELEX_STOPPING = 8,
    /* The configuration has been read again, and library and configuration of this plugin are as before.
     * Whoever wants this event goes on with the same instance; for all others a new one is made. */
    TELEX_RELOADED = 9,
    /* The time that `telex_host.set_timer` was given has passed. */
    TELEX_TIMER = 10
};

/* The bit of a kind in what an instance wants. */
#define TELEX_WANTS(kind) (UINT64_C(1) << (kind))

typedef struct telex_event {
    uint32_t size;
    uint32_t kind;
    /* 1: this happened before the instance was there, and is told so that it knows the state: after
     * `create` and before the first `judge`, of each connection TELEX_CONNECTED, then TELEX_REGISTERED and
     * TELEX_SUBSCRIBED. `peer` is as it is now, with all its node IDs. A connection that is told of so
     * cannot be refused any more: TELEX_REJECT changes nothing. */
    uint32_t replayed;
    uint32_t reserved;
    const telex_peer *peer; /* or null */
    telex_str node_id;
    telex_str topic;
    telex_str group;
    /* As in `node_down` signals: "lost". */
    telex_str reason;
} telex_event;

/* Events are told behind the messages that were read from a connection in one go: a `register` and what
 * follows it at once may both be judged before TELEX_REGISTERED comes. What `peer` holds is always right. */
typedef struct telex_events {
    /* TELEX_OK, or, of TELEX_CONNECTED, TELEX_REJECT. All else is a fault. `call` takes `reason` and
     * `emit`. */
    int32_t (*event)(void *instance, const telex_event *event, const telex_call *call);
    /* The kinds that are wanted: TELEX_WANTS(...) of each. Asked for once, right after the extension. */
    uint64_t (*wants)(void *instance);
} telex_events;

#ifdef __cplusplus
}
#endif

#endif
