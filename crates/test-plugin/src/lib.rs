//! A NCCL net plugin for tests: loopback sockets, whatever NCCL demands of a plugin, and knobs to break each demand.
//!
//! The files (`cargo build -p gputcp-test-plugin --examples`, then `target/debug/examples/`):
//!
//! | file | symbols |
//! |---|---|
//! | `libnccl_net_test_v5.so` … `libnccl_net_test_v12.so` | `ncclNetPlugin_v5` … `ncclNetPlugin_v12`, each its own |
//! | `libnccl_net_test_nameless.so` | v11, in which the plugin has NULL for its name |
//! | `libnccl_net_test_unpack.so` | v7, v8 and v11, with `irecvConsumed`: a receive's slot is kept until then |
//!
//! A file of its own for each version, because NCCL takes the newest symbol that it finds: what a file offers is decided
//! when it is linked, and a variable could only pretend otherwise. The plugin is written against sockets and not upon the
//! library `gputcp`, so that each of the two can show mistakes of the other.
//!
//! The knobs, as environment variables `GPUTCP_TEST_PLUGIN_…`, read when the file is loaded (which is a function, `load`,
//! too):
//!
//! | knob | values | meaning |
//! |---|---|---|
//! | `SLOTS` | 1 to 64, default 32 | receives in flight per connection (sends: × `MAX_RECVS`); 16 at most with an unpack queue |
//! | `STREAMS` | 1 to 64, default the cores, at most 8 | data sockets per connection, of the side that connects |
//! | `SEGMENT_BYTES` | 4096 to 1 GiB, default 512 KiB | what one data socket carries at a time |
//! | `CONGESTION` | default `cubic` | congestion control of the sockets |
//! | `NOT_YET` | default 0 | `connect`, `accept`, `isend`, `irecv` and `test` each say "not yet" this often first |
//! | `FIFO` | 0 or 1 | `test` of any but the oldest request is an error, as in Google's TCPX |
//! | `MANUAL` | 0 or 1 | manual progress, as libfabric's providers have: receives are announced, and segments go on, by calls of `test` alone. `isend` says "not yet" until it knows of a receive |
//! | `SIZES` | `right`, `missing`, `wrong` | what `test` writes as sizes |
//! | `GPU` | `none`, `soft`, `cuda`, `cuda:INDEX` | whether CUDA pointers are taken, and what they are: memory that the CPU reaches, or a real GPU's (`cuda`: the unpack queue is on the GPU whose context is current in `accept`). With the unpack file, receives to them go through the unpack queue |
//! | `DMABUF` | 0 or 1 | a real GPU's memory is taken as a dma-buf alone: `regMr` refuses its address |
//! | `DELAY_US` | default 0 | how long after its end a request is said to be done |
//! | `MAX_RECVS` | 1 to 8, default 1 | receives of one request, told apart by tags |
//! | `DEVICES` | −1 to 4096, default 1 | how many devices there are said to be |
//! | `NAME` | default `loopback` | how the devices' names begin; their numbers follow |
//! | `SPEED` | default 100000 | the devices' speed in Mbit/s |
//! | `LATE` | 0 or 1 | before `init` the tables have another name and `init`, and nothing else |
//! | `ERROR` | `FUNCTION:NTH:CODE` | the n-th call of a function, by NCCL's name, answers this code |
//! | `HANG` | `FUNCTION:NTH` | it never returns |
//! | `CRASH` | `FUNCTION:NTH:SIGNAL` | it ends the process with a signal, default SIGABRT |
//! | `EXIT` | `FUNCTION:NTH` | it ends the process with exit code 0, as if all were well |
//! | `BESIDE` | 0 or 1 | `CRASH` and `EXIT` happen on a thread of the plugin's own |
//! | `WARN` | `FUNCTION:NTH` | it warns by the host's logger of a cause and a consequence |
//! | `PRINT` | `FUNCTION:NTH` | it prints a line on stdout |
//! | `NOWHERE` | `table-name`, `devices`, `name`, `device-handle`, by commas | these pointers lead nowhere |
//! | `VIOLATE` | names of checks, by commas | each breaks the demand that the check of `gputcp plugin check` is about; `CHECK/WAY` breaks it another way |

mod comm;
mod connect;
mod dma_buf;
pub mod exports;
mod faults;
mod gpu;
mod handle;
mod knobs;
mod listen;
mod memory;
mod unpack;
mod wire;
