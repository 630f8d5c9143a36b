#include "http/json_histogram.h"

#include "base/bytes.h"
#include "base/json.h"
#include "query/histogram_buckets.h"

#include "base/banned.h"

static int rule_of(const struct histogram_bucket *b)
{
    if (b->lower_inclusive)
        return b->upper_inclusive ? 3 : 1;
    return b->upper_inclusive ? 0 : 2;
}

static void json_bucket(struct buf *b, const struct histogram_bucket *bucket)
{
    buf_printf(b, "[%d,", rule_of(bucket));
    json_value(b, bucket->lower);
    buf_u8(b, ',');
    json_value(b, bucket->upper);
    buf_u8(b, ',');
    json_value(b, bucket->count);
    buf_u8(b, ']');
}

void json_histogram(struct buf *b, const struct histogram *h)
{
    struct bucket_walk walk = bucket_walk(h, false);
    struct histogram_bucket bucket;
    bool any = false;

    buf_text(b, "{\"count\":");
    json_value(b, h->count);
    buf_text(b, ",\"sum\":");
    json_value(b, h->sum);
    while (bucket_walk_next(&walk, &bucket)) {
        if (bucket.count == 0)
            continue;
        buf_text(b, any ? "," : ",\"buckets\":[");
        json_bucket(b, &bucket);
        any = true;
    }
    buf_text(b, any ? "]}" : "}");
}
