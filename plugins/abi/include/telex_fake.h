/*
 * telex_fake.h: a fake telexd, for the tests of a plugin in C. It has one instance of one plugin, which it calls as
 * telexd does: through `telex_plugin`. It is the one that plugins in Rust are tested with (`telex_plugin::testing`),
 * so both are judged by the same rules. `cargo build` makes it, as libtelex_fake.so:
 *
 *     cc -I plugins/abi/include mine.c mine_test.c -L target/release -ltelex_fake -Wl,-rpath,target/release
 *
 * It has no clock and no loop: a test sends events itself, TELEX_TIMER too. What a test does wrong ends the program with
 * a sentence: to judge by a plugin that is no filter, a line that is no message.
 *
 * Texts that it gives live until its next call.
 */
#ifndef TELEX_FAKE_H
#define TELEX_FAKE_H

#include <string.h>

#include "telex_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct telex_fake telex_fake;

/* Makes an instance with `config`, a JSON object that ends with a NUL. Null: it could not be made, and telex_fake_error
 * says why. */
telex_fake *telex_fake_start(const telex_descriptor *plugin, const char *config);
/* Why the last telex_fake_start of this thread gave null, as `host->fail` was told. */
telex_str telex_fake_error(void);

/* Ends the instance; what it has said at its end can still be asked for. */
void telex_fake_end(telex_fake *fake);
/* Ends it, and frees all. */
void telex_fake_free(telex_fake *fake);

/* A connection to begin with: :1, over a Unix socket, of the user 1000 and registered as alice. */
static inline telex_peer telex_fake_alice(void) {
    static const telex_str node_id = {"alice", 5};
    telex_peer peer;
    memset(&peer, 0, sizeof peer);
    peer.size = sizeof peer;
    peer.transport = TELEX_UNIX;
    peer.connection = 1;
    peer.node_ids = &node_id;
    peer.node_id_count = 1;
    peer.uid = peer.gid = 1000;
    peer.pid = 4711;
    return peer;
}

/* An event that is about nothing yet. */
static inline telex_event telex_fake_event_of(uint32_t kind) {
    telex_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.kind = kind;
    return event;
}

/* Has it judge a line that ends with a NUL and that `sender` has sent; null: alice. Without `from` it is stamped.
 * TELEX_PASS, TELEX_DROP, TELEX_REJECT, TELEX_REPLACE or TELEX_FAULT: what is no JSON where it was replaced is a fault.
 * telexd looks further, and faults also a field that a message must not have, such as a topic with a wildcard in it.
 * TELEX_NOT_FOUND: the filter has no interest in it. Of `sender`, `unique_id` is not read:
 * it follows from `connection`. */
int32_t telex_fake_judge(telex_fake *fake, const telex_peer *sender, const char *line);
/* The reason that was given with the last TELEX_REJECT, of a message or a connection. */
telex_str telex_fake_reason(telex_fake *fake);
/* What the last TELEX_REPLACE has put in the place of a field, such as TELEX_FIELD_BODY; not there: nothing. */
telex_str telex_fake_replaced(telex_fake *fake, int32_t field);

/* Tells it of something: TELEX_OK, TELEX_REJECT or TELEX_FAULT. TELEX_NOT_FOUND: it does not want to hear of that. */
int32_t telex_fake_event(telex_fake *fake, const telex_event *event);
/* Hands it a record of the log, and tells it that these were all: TELEX_OK or TELEX_FAULT. */
int32_t telex_fake_record(telex_fake *fake, const telex_record *record);
int32_t telex_fake_flush(telex_fake *fake);

/* The next that it has written to the log and that was not asked for yet; 0: there is none. */
int telex_fake_logged(telex_fake *fake, int32_t *level, telex_str *message);
/* The next signal that it has emitted, likewise. */
int telex_fake_emitted(telex_fake *fake, telex_str *to, telex_str *topic, telex_str *body);
/* How often it wants TELEX_TIMER, in milliseconds; 0: never. */
uint64_t telex_fake_timer(const telex_fake *fake);

#ifdef __cplusplus
}
#endif

#endif
