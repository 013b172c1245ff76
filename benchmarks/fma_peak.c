/* The peak of one core: fused multiply-adds of whole vectors, on accumulators that do not wait for
 * each other. 12 of them and two operands fit the 16 registers of AVX2; two units with a latency of
 * 4 or 5 cycles are busy with 10. */
#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(BYTES)));
enum { LANES = BYTES / sizeof(float), ACCUMULATORS = 12 };

int lanes(void) { return LANES; }

/* Runs 4 * ACCUMULATORS * LANES multiply-adds for each of `rounds`; the sum keeps them alive. */
float multiply_add(long rounds, float factor, float term) {
  vector x = (vector){0} + factor, y = (vector){0} + term, a[ACCUMULATORS];
#pragma clang loop unroll(full)
  for (int i = 0; i < ACCUMULATORS; i++) a[i] = x + (float)i;
  for (long round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
    for (int step = 0; step < 4; step++) {
#pragma clang loop unroll(full)
      for (int i = 0; i < ACCUMULATORS; i++) a[i] = a[i] * x + y;
    }
  }
  vector sum = a[0];
#pragma clang loop unroll(full)
  for (int i = 1; i < ACCUMULATORS; i++) sum += a[i];
  return sum[0];
}

long operations(long rounds) { return rounds * 4 * ACCUMULATORS * LANES * 2; }
