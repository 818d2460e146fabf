/* Does what the comments of telex_plugin.h speak of, and tells what came of it: of messages by the reason for
 * which it refuses them, of events in the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telex_plugin.h"

typedef struct contract {
    const telex_host *host;
    /* What the configuration has it do. */
    char config[200];
} contract;

static const telex_str NOTHING = {NULL, 0};

static int is(telex_str text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static void *create(const telex_host *host, telex_str config) {
    contract *self = calloc(1, sizeof *self);
    if (!self || config.len >= sizeof self->config)
        return NULL;
    self->host = host;
    memcpy(self->config, config.data, config.len);
    return self;
}

static void destroy(void *instance) {
    contract *self = instance;
    self->host->log(self->host, TELEX_NOTICE, TELEX_STR("the last words"));
    free(self);
}

static int32_t refuse(const telex_call *call, telex_str reason) {
    call->reason(call, reason);
    return TELEX_REJECT;
}

/* Refuses with what the body has there, or the number that `value` gave. */
static int32_t refuse_with(const telex_call *call, telex_str pointer) {
    char number[12];
    telex_str found = TELEX_STR("untouched");
    int32_t done = call->value(call, pointer, &found);
    if (done == TELEX_OK)
        return refuse(call, found);
    if (!is(found, "untouched"))
        return TELEX_FAULT;
    found.data = number;
    found.len = (size_t)snprintf(number, sizeof number, "%d", (int)done);
    return refuse(call, found);
}

static int32_t judge(void *instance, const telex_message *message, const telex_call *call) {
    contract *self = instance;
    telex_str type = message->message_type, long_reason = NOTHING;
    char text[5000];
    long_reason.len = (size_t)snprintf(text, sizeof text, "judged %.*s", (int)type.len, type.data);
    long_reason.data = text;
    self->host->log(self->host, TELEX_NOTICE, long_reason);
    if (!message->to.data && !message->topic.data)
        return TELEX_PASS;

    if (is(type, "value"))
        return refuse_with(call, TELEX_STR("/a"));
    if (is(type, "value_of_all"))
        return refuse_with(call, TELEX_STR(""));
    if (is(type, "value_of_no_pointer"))
        return refuse_with(call, TELEX_STR("a"));
    if (is(type, "value_of_nothing"))
        return refuse_with(call, NOTHING);
    if (is(type, "value_after_replace")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("{\"a\":\"new\"}"));
        return refuse_with(call, TELEX_STR("/a"));
    }

    if (is(type, "no_reason"))
        return TELEX_REJECT;
    if (is(type, "two_reasons")) {
        call->reason(call, TELEX_STR("one"));
        return refuse(call, TELEX_STR("two"));
    }
    if (is(type, "a_reason_taken_back")) {
        call->reason(call, TELEX_STR("one"));
        return refuse(call, NOTHING);
    }
    if (is(type, "a_long_reason")) {
        memset(text, 'x', long_reason.len = sizeof text);
        return refuse(call, long_reason);
    }
    if (is(type, "a_strange_reason"))
        return refuse(call, TELEX_STR("one\ntwo\r\001\""));

    if (is(type, "replace_nothing"))
        return TELEX_REPLACE;
    if (is(type, "replace_with_nothing"))
        return call->replace(call, TELEX_FIELD_BODY, NOTHING) == TELEX_BAD_VALUE ? TELEX_REPLACE
                                                                                 : TELEX_FAULT;
    if (is(type, "replace_twice")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("1"));
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("2"));
        call->replace(call, TELEX_FIELD_TOPIC, TELEX_STR("news"));
        call->replace(call, TELEX_FIELD_TO, TELEX_STR("a"));
        return TELEX_REPLACE;
    }
    if (is(type, "replace_with_lines")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("{\n  \"a\":\r\n1\n}\n"));
        return TELEX_REPLACE;
    }
    if (is(type, "replace_and_forget")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("1"));
        return TELEX_PASS;
    }

    if (is(type, "replace_at_twice")) {
        telex_replace_at(call, TELEX_STR("/a/1"), TELEX_STR("{\n\"new\": \"\\u0001\"}"));
        telex_replace_at(call, TELEX_STR("/a/1/new"), TELEX_STR(" 2 "));
        return telex_replace_at(call, TELEX_STR("/b"), TELEX_STR("null")) ? TELEX_FAULT : TELEX_REPLACE;
    }
    if (is(type, "replace_at_after_replace")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("{\"a\":1}"));
        return telex_replace_at(call, TELEX_STR("/a"), TELEX_STR("2")) ? TELEX_FAULT : TELEX_REPLACE;
    }
    if (is(type, "replace_at_wrongly")) {
        memset(text, 'x', sizeof text);
        text[0] = text[sizeof text - 1] = '"';
        telex_str long_text = {text, sizeof text};
        long_reason.len = (size_t)snprintf(
            text, sizeof text, "%d %d %d %d %d %d", telex_replace_at(call, TELEX_STR("/a"), long_text),
            telex_replace_at(call, TELEX_STR("/c"), TELEX_STR("1")),
            telex_replace_at(call, TELEX_STR("a"), TELEX_STR("1")),
            telex_replace_at(call, TELEX_STR("/a"), TELEX_STR("1,2")),
            telex_replace_at(call, TELEX_STR("/a"), NOTHING), telex_replace_at(call, NOTHING, TELEX_STR("1")));
        return refuse(call, long_reason);
    }
    if (is(type, "replace_at_in_junk")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("{\"a\":1"));
        if (telex_replace_at(call, TELEX_STR("/a"), TELEX_STR("2")) != TELEX_BAD_VALUE)
            return TELEX_FAULT;
        return refuse(call, TELEX_STR("junk"));
    }

    if (is(type, "emit_lines"))
        return call->emit(call, message->from, NOTHING, TELEX_STR("\n{\n\"a\":\r\n1}\n")) ? TELEX_FAULT
                                                                                         : TELEX_DROP;
    if (is(type, "emit_nothing"))
        return call->emit(call, NOTHING, NOTHING, TELEX_STR("{}")) == TELEX_BAD_VALUE
                       && call->emit(call, message->from, message->from, TELEX_STR("{}")) == TELEX_BAD_VALUE
                       && call->emit(call, message->from, NOTHING, NOTHING) == TELEX_BAD_VALUE
                   ? refuse(call, TELEX_STR("thrice refused"))
                   : TELEX_FAULT;
    if (is(type, "log_nothing")) {
        self->host->log(self->host, TELEX_NOTICE, NOTHING);
        self->host->log(self->host, TELEX_NOTICE, TELEX_STR("on\ntwo lines"));
    }
    return TELEX_PASS;
}

static const telex_interest *no_interests(void *instance, size_t *count) {
    contract *self = instance;
    static telex_interest none;
    *count = strstr(self->config, "null list of 1") != NULL;
    return strstr(self->config, "null list") ? NULL : &none;
}

static int32_t event(void *instance, const telex_event *event, const telex_call *call) {
    static const char *const kinds[] = {"", "connected", "registered", "unregistered", "subscribed",
        "unsubscribed", "disconnected", "started", "stopping", "reloaded", "timer"};
    contract *self = instance;
    char text[500];
    telex_str said = {text, 0}, found;
    size_t at;
    said.len = (size_t)snprintf(text, sizeof text, "%s%s", event->replayed ? "replayed " : "",
                                kinds[event->kind]);
    for (at = 0; event->peer && at < event->peer->node_id_count; at++)
        said.len += (size_t)snprintf(text + said.len, sizeof text - said.len, " %.*s",
                                     (int)event->peer->node_ids[at].len, event->peer->node_ids[at].data);
    said.len += (size_t)snprintf(text + said.len, sizeof text - said.len, "; %.*s; %.*s",
                                 (int)event->node_id.len, event->node_id.data ? event->node_id.data : "",
                                 (int)event->reason.len, event->reason.data ? event->reason.data : "");
    self->host->log(self->host, TELEX_NOTICE, said);
    if (call->value(call, TELEX_STR(""), &found) != TELEX_NOT_NOW
        || telex_replace_at(call, TELEX_STR(""), TELEX_STR("1")) != TELEX_NOT_NOW)
        return TELEX_FAULT;
    if (event->kind != TELEX_CONNECTED || !strstr(self->config, "refuse"))
        return TELEX_OK;
    return strstr(self->config, "refuse politely") ? refuse(call, TELEX_STR("not today")) : TELEX_REJECT;
}

static uint64_t wants(void *instance) {
    (void)instance;
    return ~TELEX_WANTS(TELEX_RELOADED);
}

static const void *extension(void *instance, const char *id) {
    static const telex_filter all = {judge, NULL}, none = {judge, no_interests};
    static const telex_events events = {event, wants};
    contract *self = instance;
    if (strcmp(id, TELEX_FILTER) == 0)
        return strstr(self->config, "list") ? &none : &all;
    if (strcmp(id, TELEX_EVENTS) == 0)
        return &events;
    return NULL;
}

TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, "contract", "1", create, destroy, extension};
