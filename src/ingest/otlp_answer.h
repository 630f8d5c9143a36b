/* otlp_answer.h -- what an OTLP client is answered: Export...ServiceResponse, or google.rpc.Status
 * (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP Response").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum otlp_signal { OTLP_METRICS, OTLP_TRACES, OTLP_LOGS };

/* Codes of google.rpc.Status, and of gRPC. */
enum rpc_code {
    RPC_OK = 0,
    RPC_INVALID_ARGUMENT = 3,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14
};

/* Appends the response: partial_success when something was rejected or there is a message (a
 * warning, when nothing was rejected), otherwise nothing at all, or {}. Bytes of the message that
 * are not UTF-8 are replaced. */
void otlp_answer(struct buf *b, bool json, enum otlp_signal signal, uint64_t rejected,
                 struct str message);

/* Appends a Status. */
void otlp_status(struct buf *b, bool json, enum rpc_code code, struct str message);

/* How many spans or log records are in a request (of JSON: an ExportTraceServiceRequest and so on);
 * what cannot be read counts as nothing. */
uint64_t otlp_count_items(struct bytes body, bool json, enum otlp_signal signal);
