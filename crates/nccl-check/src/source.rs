//! Places in NCCL's public sources that state a demand or rely on it: release, file and lines.

use std::fmt;

/// Some lines of a file of NCCL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The release, as the name of its tag in `NVIDIA/nccl`.
    pub tag: &'static str,
    /// The file, from the top of that repository.
    pub file: &'static str,
    /// The first line and the last.
    pub lines: (u32, u32),
}

impl Source {
    /// Returns the file and the lines.
    #[must_use]
    pub fn place(&self) -> String {
        let Self { file, lines: (first, last), .. } = self;
        if first == last { format!("{file}:{first}") } else { format!("{file}:{first}-{last}") }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tag, self.place())
    }
}

/// Returns lines of the release that PyTorch 2.11 ships.
pub(crate) const fn nccl(file: &'static str, first: u32, last: u32) -> Source {
    nccl_of("v2.28.9-1", file, first, last)
}

/// Returns lines of another release.
pub(crate) const fn nccl_of(tag: &'static str, file: &'static str, first: u32, last: u32) -> Source {
    Source { tag, file, lines: (first, last) }
}

/// The page that NCCL's authors write for plugins' authors.
pub(crate) const README: &str = "ext-net/README.md";
/// The proxy's side of a connection: connecting, progress, closing.
pub(crate) const NET: &str = "src/transport/net.cc";
/// NCCL's own TCP network.
pub(crate) const NET_SOCKET: &str = "src/transport/net_socket.cc";
/// NCCL's own InfiniBand network.
pub(crate) const NET_IB: &str = "src/transport/net_ib.cc";
/// The loading of plugins.
pub(crate) const PLUGIN: &str = "src/plugin/net.cc";
/// The topology, from the devices' properties.
pub(crate) const TOPO: &str = "src/graph/topo.cc";
/// The limits of the interface.
pub(crate) const NCCL_NET_H: &str = "src/include/plugin/nccl_net.h";
/// The progress threads and their end.
pub(crate) const PROXY: &str = "src/proxy.cc";
/// The meeting of ranks, over a plugin if asked for.
pub(crate) const BOOTSTRAP: &str = "src/bootstrap.cc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_by_release_file_and_lines() {
        assert_eq!(nccl(NET, 8, 9).to_string(), "v2.28.9-1 src/transport/net.cc:8-9");
        assert_eq!(nccl_of("v1", "a.h", 3, 3).to_string(), "v1 a.h:3");
    }
}
