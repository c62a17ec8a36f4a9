// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRA whose factors are stored in another way, or that takes something away from the base's weight: what they are as
// plain factors.
#ifndef ADAPTER_LIB_CHECKPOINT_LORAVARIANTS_H
#define ADAPTER_LIB_CHECKPOINT_LORAVARIANTS_H

#include "lib/Checkpoint/PeftConfig.h"

namespace adapter::checkpoint {

// The matrix [m, n k] whose `n` blocks of rows of [m, k] stand along its diagonal.
Result<Tensor> blockDiagonal(const Tensor &tensor, int64_t n);

// B with each column multiplied by its number.
Result<Tensor> scaledColumns(const Tensor &b, const Tensor &diagonal);

// use_bdlora (BD-LoRA: one of the factors is block-diagonal, by the module's name) and use_qalora
// (QA-LoRA, arXiv 2309.14717: the inputs are averaged in groups). Errors name the field or the tensor.
Status expandFactors(const PeftConfig &config, const std::string &path, Tensor &a, Tensor &b);

// init_lora_weights in lower case; "" where it is true, false or missing.
std::string initialization(const PeftConfig &config);

// What training took away from the weight: init_lora_weights "pissa" (arXiv 2404.02948) and "olora" (arXiv 2406.01775),
// and kasa_config (arXiv 2412.06071), whose `diagonal` goes into B.
Status takeBaseTerm(const PeftConfig &config, const std::string &path, const Tensor *diagonal,
                    Update &update);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_LORAVARIANTS_H
