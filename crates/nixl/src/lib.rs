//! libplugin_GPUTCP.so: gputcp as a backend of NIXL, named GPUTCP.

#![allow(non_snake_case)]
