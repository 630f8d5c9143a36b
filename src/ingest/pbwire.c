/* pbwire.c
 *
 *   message = (key value)*        key = uvarint(number << 3 | wire)
 *   wire 0  uvarint               wire 2  uvarint length, bytes: text, sub-message, packed numbers
 *   wire 1  8 bytes LE            wire 5  4 bytes LE
 */
#include "ingest/pbwire.h"

#include "base/banned.h"

static const char *const fault_texts[] = {
    [PB_NO_FAULT] = "no fault",
    [PB_TRUNCATED_VARINT] = "truncated varint",
    [PB_LONG_VARINT] = "varint of more than 64 bits",
    [PB_TRUNCATED_FIXED] = "truncated fixed-size number",
    [PB_TRUNCATED_BYTES] = "length beyond the end of the message",
    [PB_BAD_KEY] = "invalid field number",
    [PB_BAD_WIRE] = "invalid wire type",
    [PB_WRONG_WIRE] = "wrong wire type for this field",
    [PB_STOPPED] = "reading stopped",
};
_Static_assert(ARRAY_LEN(fault_texts) == PB_FAULT_COUNT, "every fault has a text");

const char *pb_fault_text(enum pb_fault fault)
{
    ASSERT(fault < PB_FAULT_COUNT);
    return fault_texts[fault];
}

void pb_fail(struct pb_reader *r, enum pb_fault fault)
{
    if (!r->fault)
        r->fault = fault;
    r->p = r->end;
}

uint64_t pb_varint_rest(struct pb_reader *r)
{
    const uint8_t *p = r->p;
    uint64_t v = 0;

    for (unsigned shift = 0; p != r->end; shift += 7) {
        uint8_t b = *p++;

        if (shift == 63 && b > 1) {
            pb_fail(r, PB_LONG_VARINT);
            return 0;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            r->p = p;
            return v;
        }
    }
    pb_fail(r, PB_TRUNCATED_VARINT);
    return 0;
}

static const struct pb_field_spec *find_spec(const struct pb_message *m, uint32_t number)
{
    for (size_t i = 0; i < m->n_fields; i++)
        if (m->fields[i].number == number)
            return &m->fields[i];
    return NULL;
}

static void check_packed(struct pb_reader *r, enum pb_wire wire)
{
    while (pb_more(r))
        if (wire == PB_VARINT)
            pb_varint(r);
        else if (wire == PB_FIXED64)
            pb_fixed64(r);
        else
            pb_fixed32(r);
}

static bool may_be_packed(const struct pb_field_spec *spec)
{
    return spec->repeated && spec->wire != PB_BYTES;
}

void pb_check(struct pb_reader *r, const struct pb_message *message)
{
    struct pb_field f;

    while (pb_next(r, &f)) {
        const struct pb_field_spec *spec = find_spec(message, pb_number(&f));
        enum pb_wire wire = f.key & 7;

        if (!spec || (wire == spec->wire && !spec->message))
            continue;
        if (wire != PB_BYTES || !(spec->message || may_be_packed(spec))) {
            pb_fail(r, PB_WRONG_WIRE);
            continue;
        }
        const uint8_t *outer = pb_enter(r, &f);

        if (spec->message)
            pb_check(r, spec->message);
        else
            check_packed(r, spec->wire);
        pb_leave(r, outer);
    }
}

static void add_step(struct buf *path, const struct pb_field_spec *spec, uint32_t index)
{
    buf_printf(path, "%s%s", path->len ? "." : "", spec->name);
    if (spec->repeated)
        buf_printf(path, "[%u]", (unsigned)index);
}

void pb_locate(const struct pb_message *message, struct bytes body, size_t offset, struct buf *path)
{
    const uint8_t *target = body.ptr + offset;
    uint32_t seen[PB_MAX_FIELDS] = { 0 };
    struct pb_reader r = pb_on(body);
    struct pb_field f = { 0 };

    ASSERT(message->n_fields <= PB_MAX_FIELDS);
    for (bool more = true; more;) {
        more = pb_next(&r, &f);

        const struct pb_field_spec *spec = find_spec(message, pb_number(&f));

        if (r.field_at > target || (!more && !r.fault))
            return; /* behind it: the target lies in a field the table does not know */
        if (!spec)
            continue;
        if (r.field_at == target) {
            add_step(path, spec, seen[spec - message->fields]);
            return;
        }
        if (more && (f.key & 7) == PB_BYTES && spec->message && target >= f.bytes.ptr
            && target < f.bytes.ptr + f.bytes.len) {
            add_step(path, spec, seen[spec - message->fields]);
            message = spec->message;
            r = pb_on(f.bytes);
            memset(seen, 0, sizeof seen);
            f = (struct pb_field){ 0 };
            continue;
        }
        seen[spec - message->fields]++;
    }
}
