/* A plugin that does what it is told, and the test of it, both by telex_fake.h and telex_json.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telex_fake.h"
#include "telex_json.h"

typedef struct toy {
    const telex_host *host;
    int64_t most;
} toy;

static toy instance;

static void *create(const telex_host *host, telex_str config) {
    static const char *const known[] = {"most", NULL};
    instance.host = host;
    instance.most = 25;
    if (!telex_config_known(host, config, known) || !telex_config_integer(host, config, "/most", 0, 100, &instance.most))
        return NULL;
    host->set_timer(host, 50);
    return &instance;
}

static void destroy(void *self) {
    toy *it = (toy *)self;
    it->host->log(it->host, TELEX_NOTICE, TELEX_STR("farewell"));
}

static int32_t judge(void *self, const telex_message *message, const telex_call *call) {
    const toy *it = (const toy *)self;
    char buffer[40];
    telex_str room, celsius;
    int64_t number;
    if (telex_str_eq(message->message_type, TELEX_STR("drop"))) return TELEX_DROP;
    if (telex_str_eq(message->message_type, TELEX_STR("bad"))) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("{"));
        return TELEX_REPLACE;
    }
    if (telex_value_text(call, TELEX_STR("/room"), buffer, sizeof buffer, &room) != TELEX_OK) {
        call->reason(call, TELEX_STR("which room?"));
        return TELEX_REJECT;
    }
    it->host->log(it->host, TELEX_INFO, room);
    if (call->value(call, TELEX_STR("/celsius"), &celsius) != TELEX_OK
        || telex_json_integer(celsius, &number) != TELEX_OK)
        return TELEX_FAULT;
    if (number <= it->most) return TELEX_PASS;
    call->emit(call, message->from, message->topic, TELEX_STR("{\"too\":\"warm\"}"));
    if (telex_replace_at(call, TELEX_STR("/celsius"), TELEX_STR("25")) != TELEX_OK
        || telex_replace_at(call, TELEX_STR("/nothing"), TELEX_STR("1")) != TELEX_NOT_FOUND
        || telex_replace_at(call, TELEX_STR("/room"), TELEX_STR("1 2")) != TELEX_BAD_VALUE
        || telex_replace_at(call, TELEX_STR("/room"), TELEX_STR("\"den\"")) != TELEX_OK)
        return TELEX_FAULT;
    return TELEX_REPLACE;
}

static const telex_interest *interests(void *self, size_t *count) {
    static telex_interest all_but_signals[2];
    (void)self;
    all_but_signals[0].topic = TELEX_STR("");
    all_but_signals[1].from = TELEX_STR("bob");
    *count = 2;
    return all_but_signals;
}

static int32_t event(void *self, const telex_event *event, const telex_call *call) {
    const toy *it = (const toy *)self;
    if (event->kind == TELEX_TIMER) return TELEX_FAULT;
    it->host->log(it->host, TELEX_DEBUG, event->peer->unique_id);
    if (event->peer->uid == 0) return TELEX_OK;
    call->reason(call, TELEX_STR("not today"));
    return TELEX_REJECT;
}

static uint64_t wants(void *self) {
    (void)self;
    return TELEX_WANTS(TELEX_CONNECTED) | TELEX_WANTS(TELEX_TIMER);
}

static int32_t record(void *self, const telex_record *record) {
    (void)self;
    return record->level == TELEX_ERR && telex_str_eq(record->message, TELEX_STR("hot")) ? TELEX_OK : TELEX_FAULT;
}

static const void *extension(void *self, const char *id) {
    static const telex_filter filter = {judge, interests};
    static const telex_events events = {event, wants};
    static const telex_log log = {record, NULL};
    (void)self;
    if (strcmp(id, TELEX_FILTER) == 0) return &filter;
    if (strcmp(id, TELEX_EVENTS) == 0) return &events;
    return strcmp(id, TELEX_LOG) == 0 ? &log : NULL;
}

TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, "toy", "1", create, destroy, extension};

#define CHECK(what) \
    do { \
        if (!(what)) { \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

static int is_logged(telex_fake *fake, int32_t level, telex_str message) {
    int32_t its_level;
    telex_str its_message;
    return telex_fake_logged(fake, &its_level, &its_message) && its_level == level
           && telex_str_eq(its_message, message);
}

static void judges(telex_fake *fake) {
    telex_peer bob = telex_fake_alice();
    static const telex_str names[] = {{"bob", 3}, {"bob-2", 5}};
    telex_str to, topic, body;
    int32_t level;
    bob.node_ids = names, bob.node_id_count = 2, bob.connection = 2;

    CHECK(telex_fake_judge(fake, NULL, "{\"message_type\":\"drop\",\"to\":\"a\"}") == TELEX_DROP);
    CHECK(telex_fake_judge(fake, NULL, "{\"message_type\":\"bad\",\"to\":\"a\",\"body\":1}") == TELEX_FAULT);
    CHECK(telex_fake_judge(fake, NULL, "{\"message_type\":\"signal\",\"topic\":\"a\"}") == TELEX_NOT_FOUND);
    CHECK(telex_fake_judge(fake, &bob, "{\"message_type\":\"signal\",\"topic\":\"a\"}") == TELEX_REJECT);
    CHECK(telex_str_eq(telex_fake_reason(fake), TELEX_STR("which room?")));
    CHECK(!telex_fake_replaced(fake, TELEX_FIELD_BODY).data);

    CHECK(telex_fake_judge(fake, NULL, "{\"message_type\":\"heat\",\"to\":\"a\",\"body\":"
                                       "{\"room\":\"k\\u00fcche\",\"celsius\":21}}") == TELEX_PASS);
    CHECK(!telex_fake_reason(fake).data);
    CHECK(is_logged(fake, TELEX_INFO, TELEX_STR("k\303\274che")) && !telex_fake_logged(fake, &level, &to));
    CHECK(!telex_fake_emitted(fake, &to, &topic, &body));
    CHECK(telex_fake_judge(fake, &bob, "{\"message_type\":\"heat\",\"to\":\"a\",\"body\":"
                                       "{ \"room\" : \"k\", \"celsius\" : 31 }}") == TELEX_REPLACE);
    CHECK(telex_str_eq(telex_fake_replaced(fake, TELEX_FIELD_BODY),
                       TELEX_STR("{ \"room\" : \"den\", \"celsius\" : 25 }")));
    CHECK(!telex_fake_replaced(fake, TELEX_FIELD_TO).data && !telex_fake_replaced(fake, 99).data);
    CHECK(telex_fake_emitted(fake, &to, &topic, &body) && !topic.data);
    CHECK(telex_str_eq(to, TELEX_STR("bob")) && telex_str_eq(body, TELEX_STR("{\"too\":\"warm\"}")));
    CHECK(is_logged(fake, TELEX_INFO, TELEX_STR("k")));
}

static void hears(telex_fake *fake) {
    telex_peer peer = telex_fake_alice();
    telex_event connected = telex_fake_event_of(TELEX_CONNECTED), timer = telex_fake_event_of(TELEX_TIMER),
                started = telex_fake_event_of(TELEX_STARTED);
    connected.peer = &peer;
    peer.connection = 7;
    CHECK(telex_fake_event(fake, &connected) == TELEX_REJECT);
    CHECK(telex_str_eq(telex_fake_reason(fake), TELEX_STR("not today")));
    CHECK(is_logged(fake, TELEX_DEBUG, TELEX_STR(":7")));
    peer.uid = 0;
    CHECK(telex_fake_event(fake, &connected) == TELEX_OK && is_logged(fake, TELEX_DEBUG, TELEX_STR(":7")));
    CHECK(telex_fake_event(fake, &started) == TELEX_NOT_FOUND && telex_fake_event(fake, &timer) == TELEX_FAULT);
    CHECK(telex_fake_timer(fake) == 50);
}

static void takes_records(telex_fake *fake) {
    telex_record hot;
    memset(&hot, 0, sizeof hot);
    hot.size = sizeof hot;
    hot.level = TELEX_ERR;
    hot.uid = -1;
    hot.message = TELEX_STR("hot");
    CHECK(telex_fake_record(fake, &hot) == TELEX_OK && telex_fake_flush(fake) == TELEX_OK);
    hot.level = TELEX_INFO;
    CHECK(telex_fake_record(fake, &hot) == TELEX_FAULT);
}

int main(void) {
    telex_fake *fake;
    CHECK(!telex_fake_start(&telex_plugin, "{\"most\":\"x\"}"));
    CHECK(telex_str_eq(telex_fake_error(), TELEX_STR("most: \"x\" is not right; it takes an integer from 0 to 100")));
    CHECK(!telex_fake_start(&telex_plugin, "{\"least\":1}"));
    CHECK(telex_str_eq(telex_fake_error(), TELEX_STR("there is no option \"least\"; there are most")));
    fake = telex_fake_start(&telex_plugin, "{\"most\":30}");
    CHECK(fake);
    judges(fake);
    hears(fake);
    takes_records(fake);
    telex_fake_end(fake);
    CHECK(is_logged(fake, TELEX_NOTICE, TELEX_STR("farewell")) && telex_fake_timer(fake) == 0);
    telex_fake_free(fake);
    puts("all is well");
    return 0;
}
