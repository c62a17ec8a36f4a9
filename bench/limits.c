/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Physical limits of this machine, as JSON: f32 FMA, bf16 and int8 dot-product peak in G(FL)OP/s (0 where the
 * processor has no such instruction) and read bandwidth in GB/s, over as many threads as the first argument says
 * (default 2). Each is the best of several runs.
 *
 *   clang-22 -O3 -march=native -pthread bench/limits.c -o build/bench/limits
 *   clang-22 -O3 -march=native -pthread -shared -fPIC bench/limits.c -o build/bench/limits.so
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
typedef __m512 vector_t;
#define LANES 16
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define CHAINS 24 /* independent accumulators: more than latency times throughput, fewer than registers */
#elif defined(__AVX2__) && defined(__FMA__)
typedef __m256 vector_t;
#define LANES 8
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define CHAINS 12
#else
#error "AVX2 with FMA, or AVX-512, is needed"
#endif

enum { MAX_THREADS = 64, RUNS = 9 };
static const int64_t kSteps = 20 * 1000 * 1000 / CHAINS;
static const size_t kBytesPerThread = (size_t)256 << 20;

typedef enum { F32, BF16, INT8, READ } kind_t;

typedef struct {
  kind_t kind;
  const char *memory;
  float sink;
  double start, end;
  pthread_barrier_t *barrier;
} work_t;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float run_fma(void) {
  vector_t sum[CHAINS];
  vector_t x = SET1(1.0f), y = SET1(1e-9f);
  for (int i = 0; i < CHAINS; ++i)
    sum[i] = SET1((float)i);
  for (int64_t step = 0; step < kSteps; ++step) {
    /* Keeps the compiler from folding steps together. */
    __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; ++i)
      sum[i] = FMA(x, y, sum[i]);
  }
  for (int i = 1; i < CHAINS; ++i)
    sum[0] = FMA(x, sum[i], sum[0]);
  float out[LANES];
  memcpy(out, &sum[0], sizeof(out));
  return out[0];
}

static float run_dot(void) {
#if defined(__AVX512BF16__)
  __m512 sum[CHAINS];
  __m512 one = _mm512_set1_ps(1.0f), tiny = _mm512_set1_ps(1e-9f);
  __m512bh x = _mm512_cvtne2ps_pbh(one, one), y = _mm512_cvtne2ps_pbh(tiny, tiny);
  for (int i = 0; i < CHAINS; ++i)
    sum[i] = _mm512_set1_ps((float)i);
  for (int64_t step = 0; step < kSteps; ++step) {
    __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; ++i)
      sum[i] = _mm512_dpbf16_ps(sum[i], x, y);
  }
  for (int i = 1; i < CHAINS; ++i)
    sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
#else
  return 0;
#endif
}

static float run_bytes(void) {
#if defined(__AVX512VNNI__)
  __m512i sum[CHAINS];
  __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(2);
  for (int i = 0; i < CHAINS; ++i)
    sum[i] = _mm512_set1_epi32(i);
  for (int64_t step = 0; step < kSteps; ++step) {
    __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; ++i)
      sum[i] = _mm512_dpbusd_epi32(sum[i], x, y);
  }
  for (int i = 1; i < CHAINS; ++i)
    sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  return (float)_mm512_reduce_add_epi32(sum[0]);
#else
  return 0;
#endif
}

static float run_read(const char *memory) {
  __m256i sum[8];
  memset(sum, 0, sizeof(sum));
  for (size_t at = 0; at < kBytesPerThread; at += 256)
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; ++i)
      sum[i] = _mm256_xor_si256(sum[i], _mm256_load_si256((const __m256i *)(memory + at) + i));
  for (int i = 1; i < 8; ++i)
    sum[0] = _mm256_xor_si256(sum[0], sum[i]);
  return (float)_mm256_extract_epi32(sum[0], 0);
}

static void *thread_main(void *argument) {
  work_t *work = argument;
  pthread_barrier_wait(work->barrier);
  work->start = now();
  switch (work->kind) {
  case F32:
    work->sink = run_fma();
    break;
  case BF16:
    work->sink = run_dot();
    break;
  case INT8:
    work->sink = run_bytes();
    break;
  case READ:
    work->sink = run_read(work->memory);
    break;
  }
  work->end = now();
  return NULL;
}

/* The index-th processor of those given, from the start again when there are no more. */
static cpu_set_t processor_of(int index, const cpu_set_t *allowed) {
  cpu_set_t one;
  CPU_ZERO(&one);
  index %= CPU_COUNT(allowed);
  for (int each = 0; each < CPU_SETSIZE; ++each)
    if (CPU_ISSET(each, allowed) && index-- == 0)
      CPU_SET(each, &one);
  return one;
}

/* Seconds of one kind of work on all threads at once: from the first thread's start to the last one's end, taken
 * in the threads themselves, since this one may be scheduled late. Each thread has its processor: two new threads
 * are now and then put on one, and stay there for longer than the measurement. One alone goes where there is room. */
static double seconds_of(kind_t kind, int threads, char *const *memory) {
  pthread_barrier_t barrier;
  pthread_t ids[MAX_THREADS];
  work_t work[MAX_THREADS];
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof(allowed), &allowed);
  for (int t = 0; t < threads; ++t) {
    work[t] = (work_t){kind, memory ? memory[t] : NULL, 0, 0, 0, &barrier};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (threads > 1) {
      cpu_set_t one = processor_of(t, &allowed);
      pthread_attr_setaffinity_np(&attributes, sizeof(one), &one);
    }
    pthread_create(&ids[t], &attributes, thread_main, &work[t]);
    pthread_attr_destroy(&attributes);
  }
  double start = 1e30, end = 0;
  for (int t = 0; t < threads; ++t) {
    pthread_join(ids[t], NULL);
    start = work[t].start < start ? work[t].start : start;
    end = work[t].end > end ? work[t].end : end;
  }
  pthread_barrier_destroy(&barrier);
  return end - start;
}

static double best_seconds(kind_t kind, int threads, char *const *memory) {
  double best = 1e30;
  for (int run = 0; run < RUNS; ++run) {
    double seconds = seconds_of(kind, threads, memory);
    best = seconds < best ? seconds : best;
  }
  return best;
}

/* Operations of one instruction of a kind, 0 where the processor lacks it. */
static double operations(kind_t kind) {
  switch (kind) {
  case F32:
    return LANES * 2;
#if defined(__AVX512BF16__)
  case BF16:
    return 32 * 2;
#endif
#if defined(__AVX512VNNI__)
  case INT8:
    return 64 * 2;
#endif
  default:
    return 0;
  }
}

static double rate(kind_t kind, int threads, double seconds) {
  return (double)kSteps * CHAINS * threads * operations(kind) / seconds * 1e-9;
}

/* Memory to read, of each thread its own; NULL if there is not enough. */
static char *const *memory_of(int threads) {
  static char *memory[MAX_THREADS];
  for (int t = 0; t < threads; ++t) {
    if (memory[t])
      continue;
    memory[t] = aligned_alloc(4096, kBytesPerThread);
    if (!memory[t])
      return NULL;
    memset(memory[t], t + 1, kBytesPerThread);
  }
  return memory;
}

/* What the machine gives just now, by one run of some milliseconds: for programs that load this file as a library
 * and take turns with what they measure. 0: the processor has no such instruction, or there is no memory. */
double limits_f32_gflops(int threads) { return rate(F32, threads, seconds_of(F32, threads, NULL)); }

double limits_bf16_gflops(int threads) {
  return operations(BF16) > 0 ? rate(BF16, threads, seconds_of(BF16, threads, NULL)) : 0;
}

double limits_int8_gops(int threads) {
  return operations(INT8) > 0 ? rate(INT8, threads, seconds_of(INT8, threads, NULL)) : 0;
}

double limits_read_gbs(int threads) {
  char *const *memory = memory_of(threads);
  return memory ? (double)kBytesPerThread * threads / seconds_of(READ, threads, memory) * 1e-9 : 0;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 2;
  if (threads < 1 || threads > MAX_THREADS) {
    fprintf(stderr, "limits: 1 to %d threads\n", MAX_THREADS);
    return 2;
  }
  char *const *memory = memory_of(threads);
  if (!memory) {
    fprintf(stderr, "limits: out of memory\n");
    return 1;
  }
  double fma = rate(F32, threads, best_seconds(F32, threads, memory));
  double dot = rate(BF16, threads, best_seconds(BF16, threads, memory));
  double bytes = rate(INT8, threads, best_seconds(INT8, threads, memory));
  double read = (double)kBytesPerThread * threads / best_seconds(READ, threads, memory) * 1e-9;
  printf("{\"threads\": %d, \"lanes\": %d, \"f32_gflops\": %.1f, \"bf16_gflops\": %.1f, \"int8_gops\": %.1f, "
         "\"read_gbs\": %.1f}\n",
         threads, LANES, fma, dot, bytes, read);
  return 0;
}
