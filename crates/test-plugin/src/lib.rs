//! A NCCL net plugin for tests: loopback sockets, all demands of NCCL on a plugin, and knobs to break each
//! one.
//!
//! The files (`cargo build -p gputcp-test-plugin --examples`, then `target/debug/examples/`):
//!
//! | file | symbols |
//! |---|---|
//! | `libnccl_net_test_v5.so` … `_v12.so` | `ncclNetPlugin_v5` … `ncclNetPlugin_v12`, each its own |
//! | `libnccl_net_test_nameless.so` | v11, in which the plugin has NULL for its name |
//! | `libnccl_net_test_unpack.so` | v7, v8, v11, with `irecvConsumed`: a receive's slot is kept until then |
//!
//! NCCL takes the newest symbol that it finds, and the link of a file decides on its symbols. So each version
//! has a file of its own. The plugin is written against sockets and not upon the library `gputcp`, so that
//! each of the two can show mistakes of the other.
//!
//! The knobs are environment variables `GPUTCP_TEST_PLUGIN_…`, read when the file is loaded. The load counts
//! as a function, `load`.
//!
//! - `SLOTS` (1 to 64, default 32): receives in flight per connection, at most 16 with an unpack queue.
//!   Sends: `MAX_RECVS` times as many.
//! - `STREAMS` (1 to 64, default the cores, at most 8): data sockets per connection, of the connecting side.
//! - `SEGMENT_BYTES` (4096 to 1 GiB, default 512 KiB): the bytes that one data socket carries at a time.
//! - `CONGESTION` (default `cubic`): congestion control of the sockets.
//! - `NOT_YET` (default 0): `connect`, `accept`, `isend`, `irecv` and `test` each say "not yet" this often
//!   first.
//! - `FIFO` (0 or 1): `test` of any but the oldest request is an error, as in Google's TCPX.
//! - `MANUAL` (0 or 1): manual progress, as libfabric's providers have. Only calls of `test` announce
//!   receives and move segments. `isend` says "not yet" until it knows of a receive.
//! - `SIZES` (`right`, `missing`, `wrong`): the sizes that `test` writes.
//! - `GPU` (`none`, `soft`, `cuda`, `cuda:INDEX`): the memory of CUDA pointers. `none` refuses them, `soft`
//!   is memory that the CPU reaches, the others are a real GPU's. With `cuda` the unpack queue is on the GPU
//!   whose context is current in `accept`. With the unpack file, receives to such memory go through the
//!   unpack queue.
//! - `DMABUF` (0 or 1): a real GPU's memory is taken as a dma-buf alone, and `regMr` refuses its address.
//! - `DELAY_US` (default 0): the time from a request's end to the answer that it is done.
//! - `MAX_RECVS` (1 to 8, default 1): receives of one request, told apart by tags.
//! - `DEVICES` (−1 to 4096, default 1): the number of devices that `devices` gives.
//! - `NAME` (default `loopback`): the beginning of the devices' names; their numbers follow.
//! - `SPEED` (default 100000): the devices' speed in Mbit/s.
//! - `LATE` (0 or 1): before `init` the tables have another name and `init`, and nothing else.
//! - `ERROR` (`FUNCTION:NTH:CODE`): the n-th call of a function, by NCCL's name, answers this code.
//! - `HANG` (`FUNCTION:NTH`): the call never returns.
//! - `CRASH` (`FUNCTION:NTH:SIGNAL`): the call ends the process with a signal, default SIGABRT.
//! - `EXIT` (`FUNCTION:NTH`): the call ends the process with exit code 0, as after a success.
//! - `BESIDE` (0 or 1): `CRASH` and `EXIT` happen on a thread of the plugin's own.
//! - `WARN` (`FUNCTION:NTH`): the call warns by the host's logger of a cause and a consequence.
//! - `PRINT` (`FUNCTION:NTH`): the call prints a line on stdout.
//! - `NOWHERE` (`table-name`, `devices`, `name`, `device-handle`, by commas): these pointers lead nowhere.
//! - `VIOLATE` (names of checks, by commas): breaks the demand of each of these checks of
//!   `gputcp plugin check`. `CHECK/WAY` breaks it in another way.

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
