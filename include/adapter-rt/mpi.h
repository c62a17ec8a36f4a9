/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * libadapter_mpi.so: the collectives of artifact.h over MPI. A library of its own, so that neither the runtime nor
 * the code of an artifact needs MPI; hand the table to adapter_rt_open. Functions are looked up by name (dlsym) after
 * dlopen with RTLD_GLOBAL, since MPI libraries load parts of their own.
 */
#ifndef ADAPTER_RT_MPI_H
#define ADAPTER_RT_MPI_H

#include "adapter-rt/artifact.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The collectives of all processes that mpirun started, MPI_COMM_WORLD, or NULL where MPI does not start. A process
 * that has initialised MPI keeps it; otherwise this does, and adapter_mpi_close ends it. */
const adapter_collectives_v1 *adapter_mpi_open(void);
void adapter_mpi_close(void);
/* Ends all processes, so that none waits for one that failed. Does not return. */
void adapter_mpi_abort(int code);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ADAPTER_RT_MPI_H */
