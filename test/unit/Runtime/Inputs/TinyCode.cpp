// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The code.so of a tiny artifact, by hand: y = gain * ((x W0 + the row's LoRA) W1), with x [batch, 3],
// W0 [3, 4] packed as [1][3][4] and row-bound, W1 [4, 2] packed as [1][4][2] and switch-bound. MakeTiny.cpp
// writes the rest of it. Like compiled code it needs no library.
#include "adapter-rt/artifact.h"

// The manifest of this artifact, from the file that the build made.
__asm__(".section .rodata\n"
        "tiny_manifest:\n"
        ".incbin \"" TINY_MANIFEST "\"\n"
        "tiny_manifest_end:\n"
        ".byte 0\n"
        ".text\n");
extern "C" const uint8_t tiny_manifest[] __attribute__((visibility("hidden")));
extern "C" const uint8_t tiny_manifest_end[] __attribute__((visibility("hidden")));

namespace {

constexpr int64_t in = 3, hidden = 4, out = 2;

struct Context {
  const adapter_call_v1 *call;
  float *y, *sum;
  bool failed;
};

void rows(void *opaque, int64_t begin, int64_t end) {
  auto *context = static_cast<Context *>(opaque);
  const adapter_call_v1 *call = context->call;
  const auto *x = static_cast<const float *>(call->inputs[0].data);
  const auto *w0 = static_cast<const float *>(call->parameters[0]);
  const auto *w1 = static_cast<const float *>(call->parameters[1]);
  for (int64_t row = begin; row < end; ++row) {
    auto *h = static_cast<float *>(call->host->allocate(call->host->state, hidden * sizeof(float)));
    if (!h) {
      __atomic_store_n(&context->failed, true, __ATOMIC_RELAXED);
      return;
    }
    const adapter_entry_v1 *entry = nullptr;
    if (call->rows && call->row_entries[row] >= 0)
      entry = &call->banks[0].entries[call->row_entries[row]];
    if (entry && entry->tensor[4])
      w0 = static_cast<const float *>(entry->tensor[4]);
    for (int64_t j = 0; j < hidden; ++j) {
      h[j] = 0;
      for (int64_t k = 0; k < in; ++k)
        h[j] += x[row * in + k] * w0[k * hidden + j];
    }
    w0 = static_cast<const float *>(call->parameters[0]);
    if (entry && entry->extent[0]) {
      const auto *a = static_cast<const float *>(entry->tensor[0]); // [in][rank]
      const auto *b = static_cast<const float *>(entry->tensor[1]); // [rank][hidden]
      int64_t rank = entry->extent[0];
      for (int64_t r = 0; r < rank; ++r) {
        float t = 0;
        for (int64_t k = 0; k < in; ++k)
          t += x[row * in + k] * a[k * rank + r];
        for (int64_t j = 0; j < hidden; ++j)
          h[j] += t * b[r * hidden + j];
      }
    }
    context->sum[row] = 0;
    for (int64_t j = 0; j < out; ++j) {
      float value = 0;
      for (int64_t k = 0; k < hidden; ++k)
        value += h[k] * w1[k * out + j];
      context->y[row * out + j] = value * static_cast<float>(call->scalars[0]);
      context->sum[row] += context->y[row * out + j];
    }
    call->host->release(call->host->state, h);
  }
}

int32_t run(const adapter_call_v1 *call) {
  const adapter_host_v1 *host = call->host;
  int64_t batch = call->inputs[0].dims[0];
  if (batch && static_cast<const float *>(call->inputs[0].data)[0] == 12345.0f) {
    const int64_t unwanted[] = {12345, -1};
    host->fail(host->state, "{0} is not wanted, nor {1}; {2}, {x} and { are", unwanted, 2);
    return 1;
  }
  int64_t yDims[] = {batch, out}, sumDims[] = {batch};
  Context context = {call, static_cast<float *>(host->output(host->state, 0, 2, yDims)),
                     static_cast<float *>(host->output(host->state, 1, 1, sumDims)), false};
  if (!context.y || !context.sum)
    return 1;
  host->parallel_for(host->state, rows, &context, batch, 1);
  return context.failed;
}

// lora at W0: A packed as [1][in][rank], B as [1][rank][hidden] with the scale.
int32_t prepareLora(const adapter_call_v1 *call) {
  const adapter_host_v1 *host = call->host;
  const auto *a = static_cast<const float *>(call->inputs[1].data);
  const auto *b = static_cast<const float *>(call->inputs[2].data);
  auto scale = static_cast<float>(*static_cast<const double *>(call->inputs[3].data));
  int64_t rank = call->inputs[1].dims[0], aDims[] = {1, in, rank}, bDims[] = {1, rank, hidden};
  auto *packedA = static_cast<float *>(host->output(host->state, 0, 3, aDims));
  auto *packedB = static_cast<float *>(host->output(host->state, 1, 3, bDims));
  if (!packedA || !packedB)
    return 1;
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t k = 0; k < in; ++k)
      packedA[k * rank + r] = a[r * in + k];
    for (int64_t j = 0; j < hidden; ++j)
      packedB[r * hidden + j] = scale * b[j * rank + r];
  }
  return 0;
}

// A whole weight [rows, columns] in packed form [1][columns][rows].
int32_t packWhole(const adapter_call_v1 *call) {
  const adapter_host_v1 *host = call->host;
  const auto *value = static_cast<const float *>(call->inputs[1].data);
  int64_t n = call->inputs[1].dims[0], k = call->inputs[1].dims[1], dims[] = {1, k, n};
  auto *packed = static_cast<float *>(host->output(host->state, 0, 3, dims));
  if (!packed)
    return 1;
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < n; ++j)
      packed[i * n + j] = value[j * k + i];
  return 0;
}

int32_t materializeLora(const adapter_call_v1 *call) {
  const adapter_host_v1 *host = call->host;
  const auto *base = static_cast<const float *>(call->inputs[0].data);
  const auto *a = static_cast<const float *>(call->inputs[1].data);
  const auto *b = static_cast<const float *>(call->inputs[2].data);
  auto scale = static_cast<float>(*static_cast<const double *>(call->inputs[3].data));
  int64_t rank = call->inputs[1].dims[0];
  auto *packed = static_cast<float *>(host->output(host->state, 0, 3, call->inputs[0].dims));
  if (!packed)
    return 1;
  for (int64_t k = 0; k < hidden; ++k)
    for (int64_t j = 0; j < out; ++j) {
      packed[k * out + j] = base[k * out + j];
      for (int64_t r = 0; r < rank; ++r)
        packed[k * out + j] += scale * b[j * rank + r] * a[r * hidden + k];
    }
  return 0;
}

const adapter_function_v1 functions[] = {run, prepareLora, packWhole, materializeLora};
adapter_artifact_v1 table = {
    sizeof(adapter_artifact_v1), ADAPTER_ABI_VERSION, tiny_manifest, 0, functions, 4, nullptr, 0};

} // namespace

extern "C" __attribute__((visibility("default"))) const adapter_artifact_v1 *
adapter_artifact_query(uint32_t newest) {
  __atomic_store_n(&table.manifest_size, static_cast<uint64_t>(tiny_manifest_end - tiny_manifest),
                   __ATOMIC_RELAXED);
  return newest >= ADAPTER_ABI_VERSION ? &table : nullptr;
}
