/* otlp_json.h -- OTLP's JSON (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding") as the
 * protobuf message that it stands for.
 *
 * Keys are lowerCamelCase; unknown ones are ignored, and so is null. 64-bit integers are strings or
 * numbers and keep every digit; doubles may be "NaN", "Infinity" and "-Infinity"; enums are numbers,
 * or names as protobuf has them; trace and span ids are hexadecimal, other bytes base64.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

/* Replaces the content of out by the ExportMetricsServiceRequest. After an error out is empty.
 *   ERR_BAD_DATA   not JSON, or a value of a wrong type: the text has the path, what is there, what
 *                  was expected and the byte offset
 *   ERR_TOO_LARGE  more than max bytes
 *   ERR_NOMEM */
MUST_USE enum errc otlp_json_to_protobuf(struct bytes json, size_t max, struct buf *out,
                                         struct err *err);
