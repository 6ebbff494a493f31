//! The test plugin's file for version 8.

use gputcp_nccl_net::versions::v8::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v8: Net = plain());
