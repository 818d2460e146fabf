/*
 * telex_json.h: reads JSON as telexd hands it to plugins: the configuration, and values of messages.
 *
 * All of it stands in this file, takes no memory of its own and keeps nothing. It reads what telexd has found right
 * already; of any other text it reads no byte too many, and may find values in it or not. Names that end with `_` are
 * its own.
 *
 * A configuration, in `create` (each option keeps the value that it had where the configuration has none):
 *
 *     int64_t most = 25;
 *     int strict = 0;
 *     if (!telex_config_integer(host, config, "/most", 0, 100, &most)
 *         || !telex_config_bool(host, config, "/strict", &strict))
 *         return NULL;
 *
 * A string of a message, in `judge` (as JSON it would have its quotes and escapes):
 *
 *     char buffer[100];
 *     telex_str room;
 *     if (telex_value_text(call, TELEX_STR("/room"), buffer, sizeof buffer, &room) == TELEX_OK
 *         && telex_str_eq(room, TELEX_STR("kitchen")))
 */
#ifndef TELEX_JSON_H
#define TELEX_JSON_H

#include <stdio.h>
#include <string.h>

#include "telex_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline telex_str telex_between_(const char *data, const char *end) {
    telex_str text = {data, (size_t)(end - data)};
    return text;
}

static inline const char *telex_space_(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) at++;
    return at;
}

/* Behind the string that begins at `at`, or null: there is none. */
static inline const char *telex_string_end_(const char *at, const char *end) {
    if (at == end || *at != '"') return NULL;
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at == '\\' && ++at == end) return NULL;
    }
    return NULL;
}

/* Behind the value that begins at `at`, or null: there is none. */
static inline const char *telex_value_end_(const char *at, const char *end) {
    size_t depth = 0;
    const char *start;
    do {
        if (at == end) return NULL;
        if (*at == '"') {
            if (!(at = telex_string_end_(at, end))) return NULL;
        } else if (*at == '{' || *at == '[') {
            depth++, at++;
        } else if (depth && (*at == '}' || *at == ']')) {
            depth--, at++;
        } else if (depth && strchr(",: \t\r\n", *at)) {
            at++;
        } else {
            for (start = at; at < end && *at && !strchr(",:{}[]\" \t\r\n", *at);) at++;
            if (at == start) return NULL;
        }
    } while (depth);
    return at;
}

/* Goes through the items of an array or the members of an object: `at` is 0 first. Gives 1 with the next one, or 0:
 * there are no more. An item has no key; that of a member is JSON: a string with its quotes. */
static inline int telex_json_next(telex_str json, size_t *at, telex_str *key, telex_str *value) {
    const char *end = json.data + json.len, *here = json.data + *at, *stop;
    int is_object;
    if (!json.data || !json.len) return 0;
    if (*at == 0) here = telex_space_(here, end);
    is_object = *telex_space_(json.data, end - 1) == '{';
    if (here == end || (*at == 0 ? *here != '{' && *here != '[' : *here != ',')) return 0;
    here = telex_space_(here + 1, end);
    *key = telex_between_(NULL, NULL);
    if (is_object) {
        if (!(stop = telex_string_end_(here, end))) return 0;
        *key = telex_between_(here, stop);
        here = telex_space_(stop, end);
        if (here == end || *here != ':') return 0;
        here = telex_space_(here + 1, end);
    }
    if (!(stop = telex_value_end_(here, end))) return 0;
    *value = telex_between_(here, stop);
    *at = (size_t)(telex_space_(stop, end) - json.data);
    return 1;
}

/* The number that four hexadecimal digits are, or -1. */
static inline int32_t telex_hex_(const char *at, const char *end) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    int32_t number = 0, count;
    if (end - at < 4) return -1;
    for (count = 0; count < 4; count++) {
        const char *digit = at[count] ? strchr(digits, at[count]) : NULL;
        if (!digit) return -1;
        number = number * 16 + (int32_t)(digit - digits) % 16;
    }
    return number;
}

/* Writes a character in UTF-8, and gives the number of its bytes. */
static inline size_t telex_utf8_(int32_t code, char *out) {
    size_t count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, at;
    static const unsigned char heads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    for (at = count - 1; at > 0; at--) {
        out[at] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(heads[count] | code);
    return count;
}

/* Decodes what stands at `at` inside a string, and passes it: gives the number of bytes in `out`, or 0 for what is no
 * character (half of a surrogate pair). */
static inline size_t telex_char_(const char **at, const char *end, char *out) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    const char *here = *at, *escape;
    int32_t code, low;
    if (*here != '\\') {
        *out = *here, *at = here + 1;
        return 1;
    }
    if (end - here < 2) return 0;
    if (here[1] != 'u') {
        for (escape = escapes; *escape && *escape != here[1];) escape += 2;
        if (!*escape) return 0;
        *out = escape[1], *at = here + 2;
        return 1;
    }
    code = telex_hex_(here + 2, end), here += 6;
    if (code < 0 || (code >= 0xdc00 && code < 0xe000)) return 0;
    if (code >= 0xd800 && code < 0xdc00) {
        if (end - here < 6 || here[0] != '\\' || here[1] != 'u') return 0;
        low = telex_hex_(here + 2, end), here += 6;
        if (low < 0xdc00 || low >= 0xe000) return 0;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *at = here;
    return telex_utf8_(code, out);
}

/* Whether a key, with its quotes, is what a token of a pointer names. */
static inline int telex_is_key_(telex_str key, const char *token, const char *end) {
    const char *at = key.data + 1, *stop = key.data + key.len - 1;
    char bytes[4];
    size_t count, n;
    while (at < stop) {
        count = telex_char_(&at, stop, bytes);
        if (!count) return 0;
        for (n = 0; n < count; n++, token++) {
            char byte;
            if (token == end) return 0;
            byte = *token;
            if (byte == '~' && token + 1 < end) byte = *++token == '1' ? '/' : '~';
            if (byte != bytes[n]) return 0;
        }
    }
    return token == end;
}

/* Whether a token of a pointer names the item of this index. */
static inline int telex_is_index_(size_t index, const char *token, const char *end) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)index);
    return end - token == count && memcmp(digits, token, (size_t)count) == 0;
}

/* Finds a value in `json` by JSON Pointer (RFC 6901), "" being the whole, as `telex_call.value` does in a body: of a
 * key that is there twice the last one counts. TELEX_NOT_FOUND; TELEX_BAD_VALUE for what is no pointer; then `found`
 * stays as it is. */
static inline int32_t telex_json_find(telex_str json, telex_str pointer, telex_str *found) {
    const char *token = pointer.data, *last, *end;
    telex_str here = json;
    size_t n;
    if (!token || (pointer.len && *token != '/')) return TELEX_BAD_VALUE;
    for (n = 0; n < pointer.len; n++)
        if (token[n] == '~' && (n + 1 == pointer.len || (token[n + 1] != '0' && token[n + 1] != '1')))
            return TELEX_BAD_VALUE;
    if (!json.data) return TELEX_NOT_FOUND;
    here.data = telex_space_(json.data, json.data + json.len);
    end = telex_value_end_(here.data, json.data + json.len);
    if (!end) return TELEX_NOT_FOUND;
    here.len = (size_t)(end - here.data);
    for (last = token + pointer.len; token < last; token = end) {
        telex_str key, value, next = {NULL, 0};
        size_t at = 0, index;
        token++;
        end = (const char *)memchr(token, '/', (size_t)(last - token));
        if (!end) end = last;
        for (index = 0; telex_json_next(here, &at, &key, &value); index++)
            if (key.data ? telex_is_key_(key, token, end) : telex_is_index_(index, token, end)) next = value;
        if (!next.data) return TELEX_NOT_FOUND;
        here = next;
    }
    *found = here;
    return TELEX_OK;
}

/* The text that a JSON string is, without its quotes and escapes: into `buffer`, which has `size` bytes, with a NUL
 * behind it that does not count (NULs in the text do). As many bytes as `value` has are always enough. TELEX_BAD_VALUE:
 * `value` is no string, or no text (half of a surrogate pair); TELEX_TOO_MANY: there is no room for it. Then `text`
 * stays as it is. */
static inline int32_t telex_json_text(telex_str value, char *buffer, size_t size, telex_str *text) {
    const char *at = value.data, *end = value.data + value.len;
    size_t len = 0, count;
    char bytes[4];
    if (!value.data || telex_string_end_(at, end) != end) return TELEX_BAD_VALUE;
    for (at++, end--; at < end; len += count) {
        count = telex_char_(&at, end, bytes);
        if (!count) return TELEX_BAD_VALUE;
        if (len + count >= size) return TELEX_TOO_MANY;
        memcpy(buffer + len, bytes, count);
    }
    if (len >= size) return TELEX_TOO_MANY;
    buffer[len] = '\0';
    *text = telex_between_(buffer, buffer + len);
    return TELEX_OK;
}

/* The integer that a JSON number is, written without point and exponent. TELEX_BAD_VALUE: it is none; TELEX_TOO_MANY: it
 * does not fit. Then `number` stays as it is. */
static inline int32_t telex_json_integer(telex_str value, int64_t *number) {
    int is_negative = value.len && value.data[0] == '-';
    size_t at = is_negative ? 1 : 0;
    int64_t sum = 0;
    if (!value.data || at == value.len) return TELEX_BAD_VALUE;
    if (value.data[at] == '0' && value.len > at + 1) return TELEX_BAD_VALUE;
    for (; at < value.len; at++)
        if (value.data[at] < '0' || value.data[at] > '9') return TELEX_BAD_VALUE;
    for (at = is_negative ? 1 : 0; at < value.len; at++) {
        int digit = value.data[at] - '0';
        /* Downwards, where there is room for one more. */
        if (sum < (INT64_MIN + digit) / 10) return TELEX_TOO_MANY;
        sum = sum * 10 - digit;
    }
    if (!is_negative && sum == INT64_MIN) return TELEX_TOO_MANY;
    *number = is_negative ? sum : -sum;
    return TELEX_OK;
}

/* 1 for `true` and 0 for `false`. TELEX_BAD_VALUE: it is neither; then `is_true` stays as it is. */
static inline int32_t telex_json_bool(telex_str value, int *is_true) {
    int is_it = telex_str_eq(value, TELEX_STR("true"));
    if (!is_it && !telex_str_eq(value, TELEX_STR("false"))) return TELEX_BAD_VALUE;
    *is_true = is_it;
    return TELEX_OK;
}

/* `call->value` and telex_json_text in one: the text of a string in the body. Beside what those give, TELEX_BAD_VALUE:
 * there is a value, and it is no string. */
static inline int32_t telex_value_text(const telex_call *call, telex_str pointer, char *buffer, size_t size,
                                       telex_str *text) {
    telex_str value;
    int32_t found = call->value(call, pointer, &value);
    return found == TELEX_OK ? telex_json_text(value, buffer, size, text) : found;
}

/* ---- Options of a configuration --------------------------------------------------------------------
 *
 * In `create`, by JSON Pointer: "/most", or "/rooms/0/name". Each gives 1 if the option is right, or is not there and
 * stays as it is. Else it gives 0 and has told `host->fail` which option is wrong and what would be right:
 * `most: "x" is not right; it takes an integer from 0 to 100`. */

/* How much of a value is shown: all of it, or no more than 80 bytes and not within a character. */
static inline int telex_shown_(telex_str value) {
    int shown = value.len < 80 ? (int)value.len : 80;
    while (shown > 0 && shown < (int)value.len && (value.data[shown] & 0xc0) == 0x80) shown--;
    return shown;
}

static inline int telex_config_wrong_(const telex_host *host, const char *pointer, telex_str value, const char *right) {
    char said[400];
    int shown = telex_shown_(value);
    snprintf(said, sizeof said, "%.100s: %.*s%s is not right; it takes %.150s", pointer + (*pointer == '/'), shown,
             value.data, shown < (int)value.len ? "..." : "", right);
    host->fail(host, telex_between_(said, said + strlen(said)));
    return 0;
}

/* 1 if the option is there, 0 if it is not, and -1, which has been told, if `pointer` is none. */
static inline int telex_config_find_(const telex_host *host, telex_str config, const char *pointer,
                                     telex_str *value) {
    int32_t found = telex_json_find(config, telex_between_(pointer, pointer + strlen(pointer)), value);
    if (found == TELEX_BAD_VALUE) {
        telex_config_wrong_(host, pointer, telex_between_(pointer, pointer + strlen(pointer)),
                            "a JSON Pointer, such as /most");
        return -1;
    }
    return found == TELEX_OK;
}

/* A string, as telex_json_text has it. */
static inline int telex_config_text(const telex_host *host, telex_str config, const char *pointer, char *buffer,
                                    size_t size, telex_str *text) {
    telex_str value;
    char right[60];
    int is_there = telex_config_find_(host, config, pointer, &value);
    if (is_there < 1) return is_there == 0;
    if (telex_json_text(value, buffer, size, text) == TELEX_OK) return 1;
    snprintf(right, sizeof right, "a string of at most %llu bytes", (unsigned long long)(size ? size - 1 : 0));
    return telex_config_wrong_(host, pointer, value, right);
}

/* An integer from `least` to `most`. */
static inline int telex_config_integer(const telex_host *host, telex_str config, const char *pointer, int64_t least,
                                       int64_t most, int64_t *number) {
    telex_str value;
    int64_t found;
    char right[80];
    int is_there = telex_config_find_(host, config, pointer, &value);
    if (is_there < 1) return is_there == 0;
    if (telex_json_integer(value, &found) == TELEX_OK && found >= least && found <= most) {
        *number = found;
        return 1;
    }
    snprintf(right, sizeof right, "an integer from %lld to %lld", (long long)least, (long long)most);
    return telex_config_wrong_(host, pointer, value, right);
}

/* `true` or `false`. */
static inline int telex_config_bool(const telex_host *host, telex_str config, const char *pointer, int *is_true) {
    telex_str value;
    int is_there = telex_config_find_(host, config, pointer, &value);
    if (is_there < 1 || telex_json_bool(value, is_true) == TELEX_OK) return is_there >= 0;
    return telex_config_wrong_(host, pointer, value, "true or false");
}

/* An array of up to `most` strings, into `texts`, with their number in `count`. Their bytes stand in `buffer`, each
 * with a NUL behind it. */
static inline int telex_config_texts(const telex_host *host, telex_str config, const char *pointer, char *buffer,
                                     size_t size, telex_str *texts, size_t most, size_t *count) {
    telex_str value, key, item;
    char right[120];
    size_t at = 0, used = 0, n = 0;
    int is_right, is_there = telex_config_find_(host, config, pointer, &value);
    if (is_there < 1) return is_there == 0;
    is_right = value.data[0] == '[';
    while (is_right && telex_json_next(value, &at, &key, &item)) {
        is_right = n < most && telex_json_text(item, buffer + used, size - used, &texts[n]) == TELEX_OK;
        if (is_right) used += texts[n++].len + 1;
    }
    if (is_right) {
        *count = n;
        return 1;
    }
    snprintf(right, sizeof right, "a list of up to %llu strings, of at most %llu bytes with one more for each",
             (unsigned long long)most, (unsigned long long)size);
    return telex_config_wrong_(host, pointer, value, right);
}

/* Refuses an option that is none of `known`, such as a misspelt one: a list of names that ends with a null. */
static inline int telex_config_known(const telex_host *host, telex_str config, const char *const *known) {
    telex_str key, value;
    size_t at = 0, n;
    char said[400];
    while (telex_json_next(config, &at, &key, &value)) {
        size_t used;
        if (!key.data) continue;
        for (n = 0; known[n]; n++)
            if (telex_is_key_(key, known[n], known[n] + strlen(known[n]))) break;
        if (known[n]) continue;
        snprintf(said, sizeof said, "there is no option %.*s%s; there are%s", telex_shown_(key), key.data,
                 telex_shown_(key) < (int)key.len ? "..." : "", known[0] ? "" : " none");
        for (n = 0; known[n]; n++) {
            used = strlen(said);
            snprintf(said + used, sizeof said - used, "%s %.40s", n ? "," : "", known[n]);
        }
        host->fail(host, telex_between_(said, said + strlen(said)));
        return 0;
    }
    return 1;
}

#ifdef __cplusplus
}
#endif

#endif
