/* Takes the log into a file of its name, judges, and hears, as its configuration says; not every instance does
 * everything. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "telex_plugin.h"

typedef struct witness {
    const telex_host *host;
    /* What the configuration has it do. */
    char config[200];
    FILE *records;
} witness;

static int is(telex_str text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static int does(const witness *self, const char *word) {
    return strstr(self->config, word) != NULL;
}

/* Takes its time where the configuration says so. */
static void may_be_late(const witness *self, const char *word) {
    if (does(self, word))
        nanosleep(&(struct timespec){0, 5000000}, NULL);
}

/* Works for so many nanoseconds for each byte. */
static void work(size_t bytes, int64_t nanoseconds) {
    struct timespec began, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while ((now.tv_sec - began.tv_sec) * INT64_C(1000000000) + now.tv_nsec - began.tv_nsec
           < (int64_t)bytes * nanoseconds);
}

static void *create(const telex_host *host, telex_str config) {
    char path[100];
    witness *self = calloc(1, sizeof *self);
    if (!self || config.len >= sizeof self->config)
        return NULL;
    self->host = host;
    memcpy(self->config, config.data, config.len);
    snprintf(path, sizeof path, "%.*s.records", (int)host->name.len, host->name.data);
    if (does(self, "timer") && host->set_timer(host, 10) != TELEX_OK)
        return NULL;
    if (does(self, "log") && !(self->records = fopen(path, "a")))
        return NULL;
    return self;
}

static void destroy(void *instance) {
    witness *self = instance;
    if (self->records)
        fclose(self->records);
    free(self);
}

static int32_t record(void *instance, const telex_record *record) {
    witness *self = instance;
    may_be_late(self, "late_record");
    fprintf(self->records, "%d %.*s\n", (int)record->level, (int)record->message.len, record->message.data);
    if (does(self, "echo"))
        self->host->log(self->host, TELEX_NOTICE, TELEX_STR("echo"));
    return TELEX_OK;
}

static int32_t flush(void *instance) {
    witness *self = instance;
    may_be_late(self, "late_flush");
    if (does(self, "echo"))
        self->host->log(self->host, TELEX_NOTICE, TELEX_STR("flushed"));
    return fflush(self->records) == 0 ? TELEX_OK : TELEX_FAULT;
}

static void say_all_levels(const witness *self) {
    static const int levels[] = {-1, TELEX_EMERG, TELEX_ALERT, TELEX_CRIT, TELEX_ERR, TELEX_WARNING,
                                 TELEX_NOTICE, TELEX_INFO, TELEX_DEBUG, 8};
    size_t at;
    for (at = 0; at < sizeof levels / sizeof *levels; at++) {
        char text[20];
        telex_str said = {text, (size_t)snprintf(text, sizeof text, "level %d", levels[at])};
        self->host->log(self->host, levels[at], said);
    }
}

static int32_t judge(void *instance, const telex_message *message, const telex_call *call) {
    static char large[5000];
    witness *self = instance;
    telex_str type = message->message_type;
    int nth;
    may_be_late(self, "late_judge");
    if (does(self, "works"))
        work(message->line.len, does(self, "works_hard") ? 60 : 6);
    if (does(self, "faults") && access("faults", F_OK) == 0)
        return TELEX_FAULT;
    if (is(type, "say_all_levels"))
        say_all_levels(self);
    for (nth = 0; is(type, "say_much") && nth < 1003; nth++)
        self->host->log(self->host, TELEX_NOTICE, TELEX_STR("much"));
    if (is(type, "mark") && does(self, "mark")) {
        call->replace(call, TELEX_FIELD_BODY, TELEX_STR("\"marked\""));
        return TELEX_REPLACE;
    }
    if (is(type, "mark") && does(self, "refuse")) {
        call->reason(call, message->body);
        return TELEX_REJECT;
    }
    if (is(type, "grow")) {
        memset(large, 'x', sizeof large);
        large[0] = large[sizeof large - 1] = '"';
        call->replace(call, TELEX_FIELD_BODY, (telex_str){large, sizeof large});
        return TELEX_REPLACE;
    }
    return TELEX_PASS;
}

/* Those of one type, and those of another one to one address. */
static const telex_interest *interests(void *instance, size_t *count) {
    static const telex_str any = {NULL, 0};
    static telex_interest some[2];
    (void)instance;
    some[0] = some[1] = (telex_interest){any, any, any, any};
    some[0].message_type = TELEX_STR("one*");
    some[1].message_type = TELEX_STR("two");
    some[1].to = TELEX_STR("a");
    *count = 2;
    return some;
}

static int32_t event(void *instance, const telex_event *event, const telex_call *call) {
    (void)call;
    may_be_late(instance, event->kind == TELEX_TIMER ? "late_timer" : "late_event");
    return TELEX_OK;
}

static uint64_t wants(void *instance) {
    (void)instance;
    return TELEX_WANTS(TELEX_CONNECTED) | TELEX_WANTS(TELEX_RELOADED) | TELEX_WANTS(TELEX_TIMER);
}

static const void *extension(void *instance, const char *id) {
    static const telex_log log = {record, flush};
    static const telex_filter all = {judge, NULL}, picky = {judge, interests};
    static const telex_events events = {event, wants};
    const witness *self = instance;
    if (strcmp(id, TELEX_LOG) == 0)
        return does(self, "log") ? &log : NULL;
    if (strcmp(id, TELEX_FILTER) == 0 && does(self, "no_filter"))
        return NULL;
    if (strcmp(id, TELEX_FILTER) == 0)
        return does(self, "picky") ? &picky : &all;
    if (strcmp(id, TELEX_EVENTS) == 0)
        return &events;
    return NULL;
}

TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, "witness", "1", create, destroy, extension};
