/* re2_property.c -- the names that \p{...} knows.
 *
 * General categories by their short and long names (PropertyValueAliases.txt), scripts by their
 * long names (Scripts.txt), and Any, ASCII, Assigned. Case, spaces, '_' and '-' do not count, as
 * Unicode TR 18 asks.
 */
#include "base/re2_class.h"

#include "base/banned.h"

/* Separated by spaces: the short name, which is PCRE2's too, and others behind colons. */
static const char categories[] =
    "L:Letter LC:CasedLetter Lu:UppercaseLetter Ll:LowercaseLetter Lt:TitlecaseLetter "
    "Lm:ModifierLetter Lo:OtherLetter M:Mark:CombiningMark Mn:NonspacingMark Mc:SpacingMark "
    "Me:EnclosingMark N:Number Nd:DecimalNumber:digit Nl:LetterNumber No:OtherNumber "
    "P:Punctuation:punct Pc:ConnectorPunctuation Pd:DashPunctuation Ps:OpenPunctuation "
    "Pe:ClosePunctuation Pi:InitialPunctuation Pf:FinalPunctuation Po:OtherPunctuation "
    "S:Symbol Sm:MathSymbol Sc:CurrencySymbol Sk:ModifierSymbol So:OtherSymbol Z:Separator "
    "Zs:SpaceSeparator Zl:LineSeparator Zp:ParagraphSeparator C:Other Cc:Control:cntrl "
    "Cf:Format Cs:Surrogate Co:PrivateUse Cn:Unassigned ";

/* Those of Unicode 14, the newest that Debian 12's PCRE2 knows. */
static const char scripts[] =
    "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak "
    "Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian "
    "Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot "
    "Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs "
    "Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi "
    "Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic "
    "Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana "
    "Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu "
    "Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean "
    "Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive "
    "Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari "
    "New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian "
    "Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian "
    "Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa "
    "Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham "
    "SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog "
    "Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan "
    "Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi "
    "Zanabazar_Square ";

enum { MAX_RUNE = 0x10ffff };

static bool is_filler(char c)
{
    return c == ' ' || c == '_' || c == '-';
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool same_name(struct str a, struct str b)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a.len && is_filler(a.ptr[i]))
            i++;
        while (j < b.len && is_filler(b.ptr[j]))
            j++;
        if (i == a.len || j == b.len)
            return i == a.len && j == b.len;
        if (to_lower(a.ptr[i++]) != to_lower(b.ptr[j++]))
            return false;
    }
}

/* Cuts the text up to the separator off list. */
static struct str next_word(struct str *list, char separator)
{
    const char *end = memchr(list->ptr, separator, list->len);
    struct str word = { list->ptr, end ? (size_t)(end - list->ptr) : list->len };
    size_t used = word.len + (end != NULL);

    *list = (struct str){ list->ptr + used, list->len - used };
    return word;
}

/* The first name of the list's entry that has the name; empty when none has. */
static struct str find_entry(const char *text, struct str name)
{
    struct str list = str_from(text);

    while (list.len) {
        struct str entry = next_word(&list, ' ');
        struct str first = next_word(&entry, ':'), other = first;

        while (!same_name(other, name) && entry.len)
            other = next_word(&entry, ':');
        if (same_name(other, name))
            return first;
    }
    return (struct str){ 0 };
}

/* Case folding of properties is complete for Lu and Ll only, give or take the letters without other
 * case: further ones differ from Go's in a handful of code points (U+0345, U+00B5). */
bool re2_property_find(struct str name, bool without, bool fold, struct re2_item *out)
{
    struct str category = find_entry(categories, name);
    bool cased = str_is(category, "Lu") || str_is(category, "Ll");

    *out = (struct re2_item){ .without = without };
    if (same_name(name, STR("Any"))) {
        out->lo = without; /* 1..0: nothing */
        out->hi = without ? 0 : MAX_RUNE;
    } else if (same_name(name, STR("ASCII"))) {
        out->lo = without ? 0x80 : 0;
        out->hi = without ? MAX_RUNE : 0x7f;
    } else if (same_name(name, STR("Assigned"))) {
        out->property = STR("Cn");
        out->without = !without;
    } else if (category.len) {
        out->property = fold && cased ? STR("LC") : category;
    } else {
        out->property = find_entry(scripts, name);
        out->script = true;
        return out->property.len > 0;
    }
    return true;
}
