// Nearest code of each vector, argmax_k (x . c_k - |c_k|^2 / 2), without ever writing a score to memory.
//
// The codebook is packed once into tiles of TILE codes, dimension by dimension. A tile stays in the first
// cache while GROUPS groups of ROWS vectors pass it; the ROWS x TILE scores of a group live in registers.
// Each lane of a register keeps its own best score and tile, so that lanes meet only once, at the end.
//
// Where the processor multiplies pairs of bfloat16, at twice the rate of float32, such products come first. Each lane
// then keeps its best and its second best score. What rounding to bfloat16 can change is bounded (`slack`), so only
// codes within twice that of the best score are scored again in float32, as a rule one or two of a thousand; a vector
// with two of them in one lane is searched in float32 altogether. The indices are those of float32.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <cstring>
#if defined(__AVX512F__) && defined(__AVX512BF16__)
#include <immintrin.h>
#define VQFUSION_BFLOAT16
#endif
#ifndef _OPENMP
#include <system_error>
#include <thread>
#include <vector>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 12;  // 24 of 32 registers hold scores
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 6;  // 12 of 16
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 12;  // 24 of 32
#else
constexpr int LANES = 4, ROWS = 6;
#endif
constexpr int TILE = 2 * LANES, GROUPS = 4, BLOCK = GROUPS * ROWS;
constexpr double WORK_PER_THREAD = 2e6;  // multiplications that repay the start of a thread
constexpr float LOWEST = -std::numeric_limits<float>::infinity();

typedef float Floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(LANES * sizeof(float))));

inline Floats load(const float* from) {
    typedef Floats Unaligned __attribute__((aligned(4), may_alias));
    return *reinterpret_cast<const Unaligned*>(from);
}

struct Best {
    Floats score;
    Ints place;  // 2 * tile, and 1 more in the right half of the tile
};

// `x` is [D][ROWS], `codes` [D][TILE]; NaN is never greater, so it never wins. Not inlined: what the compiler
// would lift out of the loops around it takes registers away from the scores.
__attribute__((noinline)) void visit(const float* x, const float* codes, const float* half_norms, int64_t dim,
                                     int32_t tile, Best* best) {
    Floats sum[ROWS][2] = {};
    for (int64_t d = 0; d < dim; ++d, x += ROWS, codes += TILE) {
        const Floats left = load(codes), right = load(codes + LANES);
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; ++row) {
            sum[row][0] += x[row] * left;
            sum[row][1] += x[row] * right;
        }
    }
    const Floats left = load(half_norms), right = load(half_norms + LANES);
    const Ints here = Ints{} + 2 * tile;
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) {
        const Floats one = sum[row][0] - left, other = sum[row][1] - right;
        const Ints on_right = other > one;  // all bits set, that is -1, where true
        const Floats score = on_right ? other : one;
        const Ints better = score > best[row].score;
        best[row].score = better ? score : best[row].score;
        best[row].place = better ? here - on_right : best[row].place;
    }
}

// The lower index wins a tie; 0 where nothing was greater than minus infinity.
inline int64_t winner(const Best& best) {
    float score = LOWEST;
    int64_t index = 0;
    for (int lane = 0; lane < LANES; ++lane) {
        const float value = best.score[lane];
        const int64_t code = int64_t(best.place[lane]) * LANES + lane;
        if (value > score || (value == score && score > LOWEST && code < index)) score = value, index = code;
    }
    return index;
}

#ifdef VQFUSION_BFLOAT16
constexpr int64_t FEWEST_DIMENSIONS = 16, FEWEST_CODES = 128;  // below, what surrounds the products is the larger part
constexpr int64_t TRIAL_BLOCKS = 4;                            // of a thread, after which it drops rounding if
constexpr int64_t WORTH = 4;                                   // more than one of so many vectors is searched twice

// Two floats, rounded to the nearest even, as a pair of bfloat16; not for NaN.
inline uint32_t pair_of(float low, float high) {
    uint32_t a, b;
    std::memcpy(&a, &low, 4), std::memcpy(&b, &high, 4);
    a += 0x7fff + (a >> 16 & 1), b += 0x7fff + (b >> 16 & 1);
    return a >> 16 | (b & 0xffff0000u);
}

struct Rough {
    __m512 score, second;
    __m512i place;
};

// As `visit`, with `x` [pairs][ROWS] and `codes` [pairs][TILE].
__attribute__((noinline)) void screen(const uint32_t* x, const uint32_t* codes, const float* half_norms, int64_t pairs,
                                      int32_t tile, Rough* best) {
    __m512 sum[ROWS][2];
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < pairs; ++pair, x += ROWS, codes += TILE) {
        const __m512bh left = (__m512bh)_mm512_load_si512(codes), right = (__m512bh)_mm512_load_si512(codes + LANES);
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; ++row) {
            const __m512bh values = (__m512bh)_mm512_set1_epi32(int(x[row]));
            sum[row][0] = _mm512_dpbf16_ps(sum[row][0], left, values);
            sum[row][1] = _mm512_dpbf16_ps(sum[row][1], right, values);
        }
    }
    const __m512 left = _mm512_load_ps(half_norms), right = _mm512_load_ps(half_norms + LANES);
    const __m512i here = _mm512_set1_epi32(2 * tile), after = _mm512_set1_epi32(2 * tile + 1);
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) {
        const __m512 one = _mm512_sub_ps(sum[row][0], left), other = _mm512_sub_ps(sum[row][1], right);
        const __m512 high = _mm512_max_ps(one, other), low = _mm512_min_ps(one, other), score = best[row].score;
        const __mmask16 better = _mm512_cmp_ps_mask(high, score, _CMP_GT_OQ);
        const __mmask16 on_right = _mm512_cmp_ps_mask(other, one, _CMP_GT_OQ);
        best[row].second = _mm512_max_ps(best[row].second, _mm512_max_ps(low, _mm512_min_ps(score, high)));
        best[row].score = _mm512_max_ps(score, high);
        best[row].place = _mm512_mask_mov_epi32(best[row].place, better, _mm512_mask_mov_epi32(here, on_right, after));
    }
}

// The index that `visit` would find for one vector, its values ROWS apart; -1 where rounding leaves it open.
inline int64_t settle(const Rough& best, float slack, const float* x, const float* codes, const float* half_norms,
                      int64_t dim) {
    const float top = _mm512_reduce_max_ps(best.score);
    if (!(slack < 1e30f && slack > 1e-30f && top > LOWEST)) return -1;  // not finite, or too small for bfloat16
    const __m512 from = _mm512_set1_ps(top - 2 * slack);
    if (_mm512_cmp_ps_mask(best.second, from, _CMP_GE_OQ)) return -1;
    uint32_t lanes = _mm512_cmp_ps_mask(best.score, from, _CMP_GE_OQ);
    alignas(64) int32_t places[LANES];
    _mm512_store_si512(places, best.place);
    const bool alone = !(lanes & (lanes - 1));
    float score = LOWEST;
    int64_t index = -1;
    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        const int64_t code = int64_t(places[lane]) * LANES + lane;
        if (alone) return code;
        const float* from_code = codes + code / TILE * TILE * dim + code % TILE;
        float sum = 0;
        for (int64_t d = 0; d < dim; ++d) sum = std::fma(x[d * ROWS], from_code[d * TILE], sum);
        sum -= half_norms[code];
        if (sum > score || (sum == score && code < index)) score = sum, index = code;
    }
    return index;
}
#endif

// Calls work(thread) on `threads` threads, this one among them.
template <class Work>
void on_threads(int threads, Work work) {
    if (threads == 1) return work(0);
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) work(thread);
#else
    std::vector<std::thread> others;
    try {
        for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    } catch (const std::system_error&) {  // fewer threads do the same work
    }
    work(0);
    for (auto& other : others) other.join();
#endif
}

float* allocate(int64_t count) {
    void* memory = nullptr;
    return posix_memalign(&memory, 64, size_t(count) * sizeof(float)) ? nullptr : static_cast<float*>(memory);
}

}  // namespace

// x: n rows of `dim` floats, `stride` floats apart; codebook: k rows of `dim`; center: `dim`, taken from both.
// Returns 0, or 1 where memory or threads are not to be had.
extern "C" int nearest_code(const float* x, int64_t stride, const float* codebook, const float* center, int64_t n,
                            int64_t k, int64_t dim, int threads, int64_t* indices) {
    const int64_t tiles = (k + TILE - 1) / TILE, blocks = (n + BLOCK - 1) / BLOCK;
    if (n == 0) return 0;
    const double useful = double(n) * double(k) * double(dim) / WORK_PER_THREAD + 1;
    if (threads > useful) threads = int(useful);
    if (threads > blocks) threads = int(blocks);

    float* codes = allocate(tiles * TILE * dim);
    float* half_norms = allocate(tiles * TILE);
    float* panels = allocate(int64_t(threads) * 2 * BLOCK * dim);  // of vectors; those to be searched again behind
    bool failed = !codes || !half_norms || !panels;
#ifdef VQFUSION_BFLOAT16
    const int64_t pairs = (dim + 1) / 2;
    const bool rounds = dim >= FEWEST_DIMENSIONS && k >= FEWEST_CODES;
    uint32_t* rough_codes = reinterpret_cast<uint32_t*>(allocate(rounds ? tiles * TILE * pairs : 1));
    uint32_t* rough_panels = reinterpret_cast<uint32_t*>(allocate(rounds ? int64_t(threads) * BLOCK * pairs : 1));
    failed = failed || !rough_codes || !rough_panels;
#endif
    if (!failed) {
        double longest = 0;
        for (int64_t code = 0; code < tiles * TILE; ++code) {
            float* to = codes + code / TILE * TILE * dim + code % TILE;
            double square = 0;
            for (int64_t d = 0; d < dim; ++d) {
                const float value = code < k ? codebook[code * dim + d] - center[d] : 0;
                to[d * TILE] = value;
                square += double(value) * value;
            }
            half_norms[code] = code < k ? float(square / 2) : -LOWEST;
            longest = square > longest ? square : longest;
#ifdef VQFUSION_BFLOAT16
            uint32_t* rough = rough_codes + code / TILE * TILE * pairs + code % TILE;
            for (int64_t pair = 0; rounds && pair < pairs; ++pair)
                rough[pair * TILE] = pair_of(to[2 * pair * TILE], 2 * pair + 1 < dim ? to[(2 * pair + 1) * TILE] : 0);
#endif
        }
        longest = std::sqrt(longest);
        std::atomic<int64_t> next{0};
        auto work = [&](int thread) {
            float* panel = panels + int64_t(thread) * 2 * BLOCK * dim;
            Best best[BLOCK];
            auto search = [&](const float* from, int groups) {
                for (int row = 0; row < groups * ROWS; ++row) best[row].score = Floats{} + LOWEST, best[row].place = Ints{};
                for (int64_t tile = 0; tile < tiles; ++tile)
                    for (int group = 0; group < groups; ++group)
                        visit(from + group * ROWS * dim, codes + tile * TILE * dim, half_norms + tile * TILE, dim,
                              int32_t(tile), best + group * ROWS);
            };
#ifdef VQFUSION_BFLOAT16
            uint32_t* rough_panel = rough_panels + int64_t(thread) * BLOCK * pairs;
            float* again = panel + BLOCK * dim;
            int64_t open[BLOCK], seen = 0, searched_again = 0;
            int count = 0;
            Rough rough[BLOCK];
            float slack[BLOCK];
            auto search_again = [&] {
                if (!count) return;
                search(again, (count + ROWS - 1) / ROWS);  // what stands behind the last one is searched in vain
                for (int row = 0; row < count; ++row) indices[open[row]] = winner(best[row]);
                count = 0;
            };
#endif
            for (int64_t block; (block = next++) < blocks;) {
                const int64_t first = block * BLOCK, rows = n - first < BLOCK ? n - first : BLOCK;
                const int groups = int((rows + ROWS - 1) / ROWS);
                for (int64_t row = 0; row < groups * ROWS; ++row) {
                    float* to = panel + row / ROWS * ROWS * dim + row % ROWS;
                    const float* from = x + (first + row) * stride;
                    for (int64_t d = 0; d < dim; ++d) to[d * ROWS] = row < rows ? from[d] - center[d] : 0;
                }
#ifdef VQFUSION_BFLOAT16
                if (rounds && (seen < TRIAL_BLOCKS * BLOCK || searched_again * WORTH <= seen)) {
                    for (int64_t row = 0; row < groups * ROWS; ++row) {
                        const float* from = panel + row / ROWS * ROWS * dim + row % ROWS;
                        uint32_t* to = rough_panel + row / ROWS * ROWS * pairs + row % ROWS;
                        double square = 0;
                        for (int64_t pair = 0; pair < pairs; ++pair) {
                            const float low = from[2 * pair * ROWS];
                            const float high = 2 * pair + 1 < dim ? from[(2 * pair + 1) * ROWS] : 0;
                            to[pair * ROWS] = pair_of(low, high);
                            square += double(low) * low + double(high) * high;
                        }
                        // two roundings by 2^-8 each, and those of float32 sums, by Cauchy and Schwarz
                        slack[row] = float((0x1.03p-7 + double(dim) * 0x1p-22) * std::sqrt(square) * longest +
                                           0x1p-21 * longest * longest);
                        const __m512 lowest = _mm512_set1_ps(LOWEST);
                        rough[row] = {lowest, lowest, _mm512_setzero_si512()};
                    }
                    for (int64_t tile = 0; tile < tiles; ++tile)
                        for (int group = 0; group < groups; ++group)
                            screen(rough_panel + group * ROWS * pairs, rough_codes + tile * TILE * pairs,
                                   half_norms + tile * TILE, pairs, int32_t(tile), rough + group * ROWS);
                    seen += rows;
                    for (int64_t row = 0; row < rows; ++row) {
                        const float* from = panel + row / ROWS * ROWS * dim + row % ROWS;
                        const int64_t index = settle(rough[row], slack[row], from, codes, half_norms, dim);
                        indices[first + row] = index;
                        if (index >= 0) continue;
                        float* to = again + count / ROWS * ROWS * dim + count % ROWS;
                        for (int64_t d = 0; d < dim; ++d) to[d * ROWS] = from[d * ROWS];
                        open[count++] = first + row, ++searched_again;
                        if (count == BLOCK) search_again();
                    }
                    continue;
                }
#endif
                search(panel, groups);
                for (int64_t row = 0; row < rows; ++row) indices[first + row] = winner(best[row]);
            }
#ifdef VQFUSION_BFLOAT16
            search_again();
#endif
        };
        try {
            on_threads(threads, work);
        } catch (...) {
            failed = true;
        }
    }
    free(codes), free(half_norms), free(panels);
#ifdef VQFUSION_BFLOAT16
    free(rough_codes), free(rough_panels);
#endif
    return failed;
}
