/* The search for a query or for several: plain Hamming distances of many rows, distances weighted by the query of those
 * that are nearest, cosines of the best of these, and the top k.
 *
 * No file is checked here: the caller has compared sizes, bounds and places with what the arrays hold. What order holds
 * is checked for each row that is looked at. Distances are whole numbers and sums of floats have a fixed order, so that
 * each level (a set of instructions) finds the same rows with the same scores.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#include <sys/resource.h>
#endif

typedef uint64_t u64;
typedef int64_t i64;

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 32    /* rows whose words lie side by side */
#define CHUNK 2048  /* rows that all queries of a batch look at while they are in the cache */
#define SPARE 1024  /* room for candidates beyond the wanted ones, before the farthest are let go */
#define SAMPLED 32  /* blocks from which the first limit is guessed */
#define LANES 32    /* sums of products that run side by side */
#define INSERTED 32 /* hits up to which each is put in its place at once, rather than all of them sorted */
#define PAGE 4096
#define NO_LIMIT UINT32_MAX
#define CLIP 2.5 /* components count up to so many times their root mean square */

enum { PORTABLE, AVX2, AVX512 };
enum { DAMAGED = -1, NO_MEMORY = -2 };

/* The files of a layout. */
typedef struct {
    const uint8_t *codes;  /* (slots, width) */
    const int8_t *vectors; /* (slots, dimension), or null */
    const u64 *prefix;     /* the first words of all codes, in blocks; or null */
    const i64 *order;      /* (compacted,) the docid at each slot; null where it is the slot */
    const i64 *offsets;    /* (nlist + 1,) */
    const float *centroids;     /* (nlist, 8 * width) */
    const u64 *centroid_blocks; /* their bits, in blocks */
    i64 dimension, width, prefix_words, compacted, purged, nlist;
} Files;

/* What is asked of them. */
typedef struct {
    const uint8_t *passing; /* by docid: whether it may be found; null: all of them */
    const i64 *chosen;      /* the slots that may be found; null: see passing */
    i64 slots, count;       /* rows in the files; those that may be found */
    i64 k, candidates, rescore, nprobe;
    i64 is_cold; /* whether the last search waited for the disk */
} Ask;

typedef struct {
    float score;
    i64 docid;
} Hit;

typedef struct {
    const float *query;
    u64 *bits, *planes; /* (words,), (3, words) */
    uint32_t *distances;
    i64 *slots;
    i64 held;
    uint32_t limit; /* candidates must be nearer */
} Search;

/* What all searches of a call share. */
typedef struct {
    Search *searches;
    i64 count, room; /* how many; candidates that each has room for */
    uint32_t *histogram;
    Hit *hits;
    u64 *turned;
    int8_t *signs; /* (dimension,) */
    i64 chunk;
    int is_damaged;
} Work;

INLINE u64 word_at(const uint8_t *row, i64 word, i64 width) {
    u64 found = 0;
    i64 left = width - 8 * word;
    if (left >= 8)
        memcpy(&found, row + 8 * word, 8);
    else
        memcpy(&found, row + 8 * word, left);
    return found;
}

INLINE u64 ones(u64 word, int level) {
#if defined(__x86_64__)
    if (level == PORTABLE) {
        word -= word >> 1 & 0x5555555555555555;
        word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
        word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
        word += word >> 8;
        word += word >> 16;
        return (word + (word >> 32)) & 0x7f;
    }
#endif
    return __builtin_popcountll(word);
}

/* Return the docid at a slot; -1 where order holds none. */
INLINE i64 docid_at(const Files *files, i64 slot) {
    if (!files->order || slot >= files->compacted)
        return slot + files->purged;
    i64 docid = files->order[slot];
    return 0 <= docid && docid < files->compacted + files->purged ? docid : -1;
}

/* Return whether the record at a slot may be found. */
INLINE int passes(const Files *files, const Ask *ask, Work *work, i64 slot) {
    i64 docid = docid_at(files, slot);
    if (docid < 0) {
        work->is_damaged = 1;
        return 0;
    }
    return !ask->passing || ask->passing[docid];
}

/* Keep the nearest of the candidates, of equally near ones the first. */
INLINE void trim(Work *work, Search *search, i64 wanted) {
    uint32_t *distances = search->distances, *histogram = work->histogram, top = 0, limit = 0;
    i64 held = search->held, kept = 0, nearer = 0;
    if (held <= wanted)
        return;
    for (i64 n = 0; n < held; n++)
        top = distances[n] > top ? distances[n] : top;
    memset(histogram, 0, (top + 1) * sizeof *histogram);
    for (i64 n = 0; n < held; n++)
        histogram[distances[n]]++;
    while (nearer + histogram[limit] < wanted)
        nearer += histogram[limit++];
    i64 ties = wanted - nearer;
    for (i64 n = 0; n < held; n++) {
        if (distances[n] > limit || (distances[n] == limit && ties-- <= 0))
            continue;
        distances[kept] = distances[n];
        search->slots[kept++] = search->slots[n];
    }
    search->held = kept;
    search->limit = limit;
}

/* Write the distances of a block, and return a bit for each that is below the limit. */
INLINE uint32_t compare(const u64 *block, const u64 *bits, i64 words, uint32_t limit, u64 *sums, int level) {
    uint32_t below = 0;
    i64 word = 0;
    if (words >= 4) {
        for (int row = 0; row < BLOCK; row++)
            sums[row] = ones(block[row] ^ bits[0], level) + ones(block[BLOCK + row] ^ bits[1], level) +
                        ones(block[2 * BLOCK + row] ^ bits[2], level) + ones(block[3 * BLOCK + row] ^ bits[3], level);
        word = 4;
    } else {
        for (int row = 0; row < BLOCK; row++)
            sums[row] = 0;
    }
    for (; word + 4 <= words; word += 4) {
        const u64 *part = block + word * BLOCK;
        for (int row = 0; row < BLOCK; row++)
            sums[row] += ones(part[row] ^ bits[word], level) + ones(part[BLOCK + row] ^ bits[word + 1], level) +
                         ones(part[2 * BLOCK + row] ^ bits[word + 2], level) +
                         ones(part[3 * BLOCK + row] ^ bits[word + 3], level);
    }
    for (; word < words; word++)
        for (int row = 0; row < BLOCK; row++)
            sums[row] += ones(block[word * BLOCK + row] ^ bits[word], level);
    for (int row = 0; row < BLOCK; row++)
        below |= (uint32_t)(sums[row] < limit) << row;
    return below;
}

static int by_score(const void *one, const void *other) {
    const Hit *a = one, *b = other;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->docid < b->docid ? -1 : a->docid > b->docid;
}

/* Return the product of a query with a vector, and the square of the vector's length: sums that run side by side, and go
 * into doubles before they become inexact. */
#define PRODUCT(name, type)                                                                       \
    INLINE double name(const float *query, const type *vector, i64 count, double *square) {      \
        double product = 0;                                                                      \
        i64 start = 0;                                                                           \
        *square = 0;                                                                             \
        while (start + LANES <= count) {                                                         \
            i64 end = count - start < 8192 ? count : start + 8192;                               \
            float products[LANES] = {0}, squares[LANES] = {0};                                   \
            for (; start + LANES <= end; start += LANES)                                         \
                for (int lane = 0; lane < LANES; lane++) {                                       \
                    float value = (float)vector[start + lane];                                   \
                    products[lane] += query[start + lane] * value;                               \
                    squares[lane] += value * value;                                              \
                }                                                                                \
            for (int half = LANES / 2; half; half /= 2)                                          \
                for (int lane = 0; lane < half; lane++) {                                        \
                    products[lane] += products[lane + half];                                     \
                    squares[lane] += squares[lane + half];                                       \
                }                                                                                \
            product += products[0];                                                              \
            *square += squares[0];                                                               \
        }                                                                                        \
        for (; start < count; start++) {                                                         \
            float value = (float)vector[start];                                                  \
            product += query[start] * value;                                                     \
            *square += value * value;                                                            \
        }                                                                                        \
        return product;                                                                          \
    }
PRODUCT(product_int8, int8_t)
PRODUCT(product_float, float)

/* Turn rows into blocks: the first words of 32 rows, then their second words, and so on. */
INLINE void turn(u64 *blocks, const uint8_t *codes, const i64 *slots, i64 first, i64 end, i64 words, i64 width) {
    for (i64 row = first; row < end; row++) {
        const uint8_t *code = codes + (slots ? slots[row] : row) * width;
        u64 *block = blocks + row / BLOCK * BLOCK * words + row % BLOCK;
        if (8 * words <= width)
            for (i64 word = 0; word < words; word++)
                block[word * BLOCK] = word_at(code, word, 8 * words);
        else
            for (i64 word = 0; word < words; word++)
                block[word * BLOCK] = word_at(code, word, width);
    }
}

/* Where the rows of a scan lie, and what they have to do with a mask. */
typedef struct {
    const u64 *blocks;
    const i64 *slots; /* those of the rows; null: they follow each other */
    i64 first, rows, words, wanted;
    int is_masked;
} Part;

/* Take those of some rows that are candidates. */
INLINE void collect(const Files *files, const Ask *ask, Work *work, Search *search, Part part, int level) {
    u64 sums[BLOCK] __attribute__((aligned(64)));
    for (i64 start = 0; start < part.rows; start += BLOCK) {
        const u64 *block = part.blocks + start * part.words;
        uint32_t below = compare(block, search->bits, part.words, search->limit, sums, level);
        if (part.rows - start < BLOCK)
            below &= (1u << (part.rows - start)) - 1;
        for (; below; below &= below - 1) {
            int row = __builtin_ctz(below);
            i64 slot = part.slots ? part.slots[start + row] : part.first + start + row;
            if (part.is_masked && !passes(files, ask, work, slot))
                continue;
            search->distances[search->held] = (uint32_t)sums[row];
            search->slots[search->held++] = slot;
        }
        if (search->held > work->room - BLOCK)
            trim(work, search, part.wanted);
    }
}

/* Let searches look at slots from the first to before the end, chunk by chunk; by whole codes, or by their prefixes. */
INLINE void scan(const Files *files, const Ask *ask, Work *work, Search *searches, i64 count, i64 first, i64 end,
                 const u64 *prefix, int level) {
    i64 words = prefix ? files->prefix_words : (files->width + 7) / 8;
    for (i64 start = first; start < end; start += work->chunk) {
        i64 rows = end - start < work->chunk ? end - start : work->chunk;
        const i64 *slots = ask->chosen ? ask->chosen + start : 0;
        const u64 *blocks = prefix ? prefix + start * words : work->turned;
        if (!prefix)
            turn(work->turned, files->codes + (slots ? 0 : start * files->width), slots, 0, rows, words, files->width);
        Part part = {blocks, slots, start, rows, words, ask->candidates, ask->passing && !slots};
        for (i64 n = 0; n < count; n++)
            if (words == 4) {
                part.words = 4; /* a constant, for the compiler */
                collect(files, ask, work, searches + n, part, level);
            } else
                collect(files, ask, work, searches + n, part, level);
    }
}

/* Guess from some blocks below which distance as many rows lie as are wanted, and some more. */
INLINE void guess_limit(const Files *files, const Ask *ask, Work *work, Search *search, const u64 *prefix, int level) {
    u64 sums[BLOCK] __attribute__((aligned(64)));
    i64 words = prefix ? files->prefix_words : (files->width + 7) / 8, blocks = ask->slots / BLOCK, found = 0;
    double expected = (double)ask->candidates * SAMPLED * BLOCK / (double)ask->count;
    double wanted = expected + 3 * sqrt(expected) + 3;
    if (blocks < 4 * SAMPLED || wanted > SAMPLED * BLOCK / 2)
        return;
    memset(work->histogram, 0, (64 * words + 1) * sizeof *work->histogram);
    for (i64 n = 0; n < SAMPLED; n++) {
        i64 row = (2 * n + 1) * blocks / (2 * SAMPLED) * BLOCK;
        if (!prefix)
            turn(work->turned, files->codes + row * files->width, 0, 0, BLOCK, words, files->width);
        compare(prefix ? prefix + row * words : work->turned, search->bits, words, 0, sums, level);
        for (int place = 0; place < BLOCK; place++)
            work->histogram[sums[place]]++;
    }
    for (search->limit = 0; found < wanted; search->limit++)
        found += work->histogram[search->limit];
}

/* Forget all candidates, and let all rows be some again. */
INLINE void restart(Search *search) {
    search->held = 0;
    search->limit = NO_LIMIT;
}

/* Find the candidates among all rows, or the chosen ones. */
INLINE void scan_all(const Files *files, const Ask *ask, Work *work, int level) {
    i64 end = ask->chosen ? ask->count : ask->slots;
    const u64 *prefix = ask->chosen ? 0 : files->prefix;
    for (i64 n = 0; n < work->count; n++)
        if (!ask->chosen)
            guess_limit(files, ask, work, work->searches + n, prefix, level);
    scan(files, ask, work, work->searches, work->count, 0, end, prefix, level);
    for (i64 n = 0; n < work->count; n++) {
        Search *search = work->searches + n;
        if (search->held < ask->candidates && search->limit != NO_LIMIT) { /* the guess was too low */
            restart(search);
            scan(files, ask, work, search, 1, 0, end, prefix, level);
        }
        trim(work, search, ask->candidates);
    }
}

/* Write into the hits the lists whose centroids have the largest products with a query, and return how many. */
INLINE i64 route(const Files *files, const Ask *ask, Work *work, Search *search, int level) {
    i64 weighed = 2 * ask->nprobe > 64 ? 2 * ask->nprobe : 64;
    if (ask->passing || weighed > files->nlist)
        weighed = files->nlist;
    Part part = {files->centroid_blocks, 0, 0, files->nlist, (files->width + 7) / 8, weighed, 0};
    collect(files, ask, work, search, part, level);
    trim(work, search, weighed);
    for (i64 n = 0; n < search->held; n++) {
        i64 list = search->slots[n];
        const float *centroid = files->centroids + list * 8 * files->width;
        double square;
        float score = (float)product_float(search->query, centroid, files->dimension, &square);
        work->hits[n] = (Hit){isnan(score) ? 0 : score, list}; /* a damaged file routes anywhere */
    }
    qsort(work->hits, search->held, sizeof *work->hits, by_score);
    weighed = search->held;
    restart(search);
    return weighed;
}

/* Find the candidates in the lists nearest to a query, and among the rows that are in no list yet. Where some rows do
 * not pass, lists are opened until there are enough that do. */
INLINE void scan_lists(const Files *files, const Ask *ask, Work *work, Search *search, int level) {
    i64 lists = route(files, ask, work, search, level), passing = 0;
    for (i64 n = 0; n < lists && (n < ask->nprobe || (ask->passing && passing < 16 * ask->candidates)); n++) {
        i64 first = files->offsets[work->hits[n].docid], end = files->offsets[work->hits[n].docid + 1];
        for (i64 slot = first; ask->passing && slot < end; slot++)
            passing += passes(files, ask, work, slot);
        scan(files, ask, work, search, 1, first, end, 0, level);
    }
    scan(files, ask, work, search, 1, files->offsets[files->nlist], ask->slots, 0, level);
    trim(work, search, ask->candidates);
}

/* Take all rows that may be found. */
INLINE void take_all(const Files *files, const Ask *ask, Work *work, Search *search) {
    i64 end = ask->chosen ? ask->count : ask->slots;
    for (i64 n = 0; n < end && search->held < work->room; n++)
        if (ask->chosen || passes(files, ask, work, n))
            search->slots[search->held++] = ask->chosen ? ask->chosen[n] : n;
}

/* Pack the signs of a query, and the sizes of its components as three planes of bits. */
INLINE void prepare(const Files *files, Search *search) {
    i64 words = (files->width + 7) / 8, width = files->width;
    uint8_t *bits = (uint8_t *)search->bits, *planes = (uint8_t *)search->planes;
    float scale = (float)(7 * sqrt((double)files->dimension) / CLIP);
    memset(bits, 0, 8 * words);
    memset(planes, 0, 24 * words);
    for (i64 byte = 0; byte < width; byte++) {
        i64 left = files->dimension - 8 * byte;
        unsigned sign = 0, size[3] = {0, 0, 0};
        for (int n = 0; n < 8; n++) {
            float value = n < left ? search->query[8 * byte + n] : 0;
            float scaled = fabsf(value) * scale + .5f;
            unsigned level = scaled > 7 ? 7 : (unsigned)scaled;
            sign |= (unsigned)(value > 0) << (7 - n);
            for (int plane = 0; plane < 3; plane++)
                size[plane] |= (level >> plane & 1) << (7 - n);
        }
        bits[byte] = (uint8_t)sign;
        for (int plane = 0; plane < 3; plane++)
            planes[8 * words * plane + byte] = (uint8_t)size[plane];
    }
}

/* Write the distances of the rows of a block, each bit weighed by the size of the query's component. */
INLINE void weigh(const u64 *block, const Search *search, i64 words, uint32_t *distances, i64 rows, int level) {
    u64 low[BLOCK] = {0}, middle[BLOCK] = {0}, high[BLOCK] = {0};
    for (i64 word = 0; word < words; word++, block += BLOCK) {
        const u64 bits = search->bits[word], *planes = search->planes + word;
        for (int row = 0; row < BLOCK; row++) {
            u64 differing = block[row] ^ bits;
            low[row] += ones(differing & planes[0], level);
            middle[row] += ones(differing & planes[words], level);
            high[row] += ones(differing & planes[2 * words], level);
        }
    }
    for (int row = 0; row < rows; row++)
        distances[row] = (uint32_t)(low[row] + 2 * middle[row] + 4 * high[row]);
}

/* Weigh the candidates by the sizes of the query's components, and keep the best. */
INLINE void refine(const Files *files, Work *work, Search *search, i64 wanted, int level) {
    i64 words = (files->width + 7) / 8;
    if (search->held <= wanted)
        return;
    for (i64 n = 0; n < search->held; n++)
        for (i64 byte = 0; byte < files->width + 63; byte += 64)
            __builtin_prefetch(files->codes + search->slots[n] * files->width + byte);
    for (i64 start = 0; start < search->held; start += BLOCK) {
        i64 rows = search->held - start < BLOCK ? search->held - start : BLOCK;
        turn(work->turned, files->codes, search->slots + start, 0, rows, words, files->width);
        weigh(work->turned, search, words, search->distances + start, rows, level);
    }
    trim(work, search, wanted);
}

/* Have the pages of the rows read all at once, where the last search waited for the disk. */
static void fetch(const Files *files, const Search *search) {
#ifdef __linux__
    for (i64 n = 0; n < search->held; n++) {
        uintptr_t start = (uintptr_t)(files->vectors + search->slots[n] * files->dimension), first = start & ~(uintptr_t)(PAGE - 1);
        madvise((void *)first, start - first + files->dimension, MADV_WILLNEED);
    }
#endif
}

static i64 blocks_read(void) {
#ifdef __linux__
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_inblock;
#else
    return 0;
#endif
}

/* Return the cosine of a query to the int8 vector at a slot, or to its bits as +1 and -1 where there is none. */
INLINE double cosine(const Files *files, Work *work, const float *query, i64 slot) {
    const int8_t *row = work->signs;
    if (files->vectors)
        row = files->vectors + slot * files->dimension;
    else {
        const uint8_t *code = files->codes + slot * files->width;
        for (i64 n = 0; n < files->dimension; n++)
            work->signs[n] = (int8_t)(2 * (code[n / 8] >> (7 - n % 8) & 1) - 1);
    }
    double square, found = product_int8(query, row, files->dimension, &square);
    found /= square > 0 ? sqrt(square) : 1;
    return found > 1 ? 1 : found < -1 ? -1 : found;
}

/* Score the candidates; write the k best, of equal ones the older, and return how many there are. */
INLINE i64 rank(const Files *files, const Ask *ask, Work *work, Search *search, i64 *docids, float *scores) {
    i64 count = search->held < ask->k ? search->held : ask->k;
    if (files->vectors && ask->is_cold)
        fetch(files, search);
    else if (files->vectors)
        for (i64 n = 0; n < search->held; n++)
            for (i64 byte = 0; byte < files->dimension + 63; byte += 64)
                __builtin_prefetch(files->vectors + search->slots[n] * files->dimension + byte);
    Hit *hits = work->hits;
    i64 kept = 0;
    for (i64 n = 0; n < search->held; n++) {
        i64 slot = search->slots[n];
        passes(files, ask, work, slot);
        Hit hit = {(float)cosine(files, work, search->query, slot), docid_at(files, slot)};
        if (count > INSERTED)
            hits[kept++] = hit;
        else if (kept < count || by_score(&hit, hits + kept - 1) < 0) {
            i64 place = kept < count ? kept++ : kept - 1;
            for (; place > 0 && by_score(&hit, hits + place - 1) < 0; place--)
                hits[place] = hits[place - 1];
            hits[place] = hit;
        }
    }
    if (count > INSERTED)
        qsort(hits, kept, sizeof *hits, by_score);
    for (i64 n = 0; n < count; n++) {
        docids[n] = hits[n].docid;
        scores[n] = hits[n].score;
    }
    return count;
}

static i64 larger(i64 one, i64 other) { return one > other ? one : other; }

/* Give each array its part of the memory of a call; return how much all of them need. */
static size_t divide(const Files *files, const Ask *ask, Work *work, char *memory) {
    i64 words = (files->width + 7) / 8;
    size_t used = 0;
#define TAKE(array, size) (array = memory ? (void *)(memory + used) : 0, used += ((size_t)(size) * sizeof *array + 63) / 64 * 64)
    work->room = larger(ask->candidates, files->nlist) + SPARE;
    work->chunk = larger(BLOCK, (CHUNK * 16 / words < CHUNK ? CHUNK * 16 / words : CHUNK) / BLOCK * BLOCK);
    TAKE(work->searches, work->count);
    TAKE(work->histogram, 7 * 64 * words + 1);
    TAKE(work->hits, work->room);
    TAKE(work->turned, work->chunk * words);
    TAKE(work->signs, files->dimension);
    for (i64 n = 0; n < work->count; n++) {
        Search none, *search = memory ? work->searches + n : &none;
        TAKE(search->bits, words);
        TAKE(search->planes, 3 * words);
        TAKE(search->distances, work->room);
        TAKE(search->slots, work->room);
    }
#undef TAKE
    return used;
}

/* Search for queries (count, dimension): write docids and scores (count, k), and how many were found for each. */
INLINE int search_all(const Files *files, Ask *ask, const float *queries, i64 count, i64 *docids, float *scores, i64 *found,
                      int level) {
    Work work = {.count = count};
    void *memory = malloc(divide(files, ask, &work, 0) + 64);
    if (!memory)
        return NO_MEMORY;
    divide(files, ask, &work, (char *)(((uintptr_t)memory + 63) / 64 * 64));
    for (i64 n = 0; n < count; n++) {
        work.searches[n].query = queries + n * files->dimension;
        restart(work.searches + n);
        prepare(files, work.searches + n);
    }
    if (ask->candidates >= ask->count)
        for (i64 n = 0; n < count; n++)
            take_all(files, ask, &work, work.searches + n);
    else if (files->nlist && !ask->chosen)
        for (i64 n = 0; n < count; n++)
            scan_lists(files, ask, &work, work.searches + n, level);
    else
        scan_all(files, ask, &work, level);
    i64 before = blocks_read();
    for (i64 n = 0; n < count; n++) {
        refine(files, &work, work.searches + n, ask->rescore, level);
        found[n] = rank(files, ask, &work, work.searches + n, docids + n * ask->k, scores + n * ask->k);
    }
    ask->is_cold = blocks_read() != before;
    free(memory);
    return work.is_damaged ? DAMAGED : 0;
}

#define ENTRY(name, level)                                                                                           \
    int name(const Files *files, Ask *ask, const float *queries, i64 count, i64 *docids, float *scores, i64 *found) { \
        return search_all(files, ask, queries, count, docids, scores, found, level);                                 \
    }
ENTRY(search_portable, PORTABLE)
#ifdef __x86_64__
__attribute__((target("avx2,popcnt"))) ENTRY(search_avx2, AVX2)
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,popcnt"))) ENTRY(search_avx512, AVX512)
#endif

/* Return the highest level that this processor has. */
int best_level(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
        return AVX2;
#endif
    return PORTABLE;
}

/* Turn the first words of rows, from the first row to before the end, into blocks that begin with row 0. */
void fill(u64 *blocks, const uint8_t *codes, i64 first, i64 end, i64 words, i64 width) {
    turn(blocks, codes, 0, first, end, words, width);
}
