/* labels_json.h -- a label set as a JSON object. */
#pragma once

#include "base/json.h"
#include "storage/labels.h"

/* {"name":"value",...} in the order of ls. */
void json_labels(struct buf *b, struct labels ls);
