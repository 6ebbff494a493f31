//! The test plugin's file for version 9.

use gputcp_nccl_net::versions::v9::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v9: Net = plain());
