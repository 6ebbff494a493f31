//! The test plugin's file for version 5.

use gputcp_nccl_net::versions::v5::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v5: Net = plain());
