/*
 * filter-example.c: a filter for telexd in one page of C, to begin your own with. README.md says how to
 * build it; telex_plugin.h says all that it may rely on, and telex_json.h reads JSON for it.
 *
 * It looks at requests of the type "heat", such as
 *
 *     {"message_type":"heat","to":"kitchen","body":{"celsius":21}}
 *
 * and lets nobody ask for more than 25 degrees.
 */
#include "telex_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 25

/* What one instance knows. Two of them live side by side while the configuration is read again, so what
 * changes belongs in here and not in static variables. */
typedef struct example {
    const telex_host *host;
    int strict;
} example;

/* A text of C as one of telexd: those have a length, and no NUL at their end. (For literals there is
 * TELEX_STR.) */
static telex_str text(const char *words) {
    telex_str it = {words, strlen(words)};
    return it;
}

static void *create(const telex_host *host, telex_str config) {
    /* The configuration is JSON: {"strict":true}. What is wrong in it is told to the administrator. */
    static const char *const options[] = {"strict", NULL};
    example *self = malloc(sizeof *self);
    if (self == NULL) {
        host->fail(host, TELEX_STR("there is no memory left"));
        return NULL;
    }
    self->host = host;
    self->strict = 0;
    if (telex_config_known(host, config, options) && telex_config_bool(host, config, "/strict", &self->strict))
        return self;
    free(self);
    return NULL;
}

static void destroy(void *instance) {
    free(instance);
}

/* The reason is copied at once, so it may stand on the stack. */
static int32_t reject(const telex_call *call, const char *reason) {
    call->reason(call, text(reason));
    return TELEX_REJECT;
}

/* Judges one message. All of telexd waits until this returns. */
static int32_t judge(void *instance, const telex_message *message, const telex_call *call) {
    const example *self = instance;
    char number[32], said[600], *end;
    double celsius;
    telex_str found;

    /* telexd finds values in the body by JSON Pointer. They are JSON as the sender wrote it: "21" would
     * have its quotes. To read one by functions of C, copy it and put a NUL behind it. */
    if (call->value(call, TELEX_STR("/celsius"), &found) != TELEX_OK || found.len >= sizeof number)
        return reject(call, "how warm? the body must be like {\"celsius\":21}");
    memcpy(number, found.data, found.len);
    number[found.len] = '\0';
    celsius = strtod(number, &end);
    if (*end != '\0') return reject(call, "celsius must be a number, such as 21");

    if (celsius <= MOST) return TELEX_PASS;
    if (self->strict) {
        /* `from` is always there. Of `to`, `topic` and the like look at `data` first: null means that the
         * message does not have it. */
        snprintf(said, sizeof said, "%.*s may ask for %d degrees at most, and asked for %s",
                 (int)message->from.len, message->from.data, MOST, number);
        return reject(call, said);
    }
    /* All else in the body stays as the sender wrote it. */
    snprintf(said, sizeof said, "%d", MOST);
    if (telex_replace_at(call, TELEX_STR("/celsius"), text(said)) != TELEX_OK) return TELEX_FAULT;
    return TELEX_REPLACE;
}

/* Which messages are to be judged; all others cost nothing. Patterns that are not set match everything. */
static const telex_interest *interests(void *instance, size_t *count) {
    static telex_interest heat;
    (void)instance;
    heat.message_type = TELEX_STR("heat");
    *count = 1;
    return &heat;
}

/* Hears of what `wants` names, and writes to the log of telexd. */
static int32_t event(void *instance, const telex_event *event, const telex_call *call) {
    const example *self = instance;
    char said[600];
    (void)call;
    if (event->kind == TELEX_REGISTERED) {
        snprintf(said, sizeof said, "%.*s may ask for %d degrees at most", (int)event->node_id.len,
                 event->node_id.data, MOST);
        self->host->log(self->host, TELEX_INFO, text(said));
    }
    return TELEX_OK;
}

static uint64_t wants(void *instance) {
    (void)instance;
    return TELEX_WANTS(TELEX_REGISTERED);
}

/* What this plugin can do. Whatever else telexd asks for, it does not have. */
static const void *extension(void *instance, const char *id) {
    static const telex_filter filter = {judge, interests};
    static const telex_events events = {event, wants};
    (void)instance;
    if (strcmp(id, TELEX_FILTER) == 0) return &filter;
    if (strcmp(id, TELEX_EVENTS) == 0) return &events;
    return NULL;
}

/* The only thing that telexd looks for in the library. */
TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR,
    "filter-example", "1.0.0", create, destroy, extension};
