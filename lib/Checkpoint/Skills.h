// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Low-rank updates that each task mixes from a stock of skills (Polytropon and multi-head adapter routing, R06 of the
// list of methods; "poly" of PEFT). An update's skills are, for S skills in Q splits of the width and T tasks,
//
//   A [Q, S, in / Q, r], B [Q, S, r, out / Q], logits [T, Q S]
//
// and a task t has the factors A[r, (q, i)] = sum_s w[q, s] A[q, s, i, r] and B[(q, o), r] = sum_s w[q, s] B[q, s, r, o]
// where w[q, s] = sigmoid(logits[t, (q, s)]) / (sum over s of the same + 1e-12). Both factors are means, not their
// product, so that a task is one update of rank r.
#ifndef ADAPTER_LIB_CHECKPOINT_SKILLS_H
#define ADAPTER_LIB_CHECKPOINT_SKILLS_H

#include "lib/Checkpoint/Adapter.h"

namespace adapter::checkpoint {

// Checks the shapes of an update's skills, and gives it the factors of task 0.
Status setSkills(const std::string &file, Update &update);

// The factors A and B of a task from 0 to tasks - 1, in f32, computed in f64.
std::map<std::string, Tensor> factorsOfTask(const Update &update, int64_t task);

// Keeps what one task has and forgets the others.
Status chooseTask(Adapter &adapter, int64_t task);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_SKILLS_H
