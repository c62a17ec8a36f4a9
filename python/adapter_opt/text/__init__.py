# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Text from compiled language models: behind `ao.generate` and the command adapter-generate."""
