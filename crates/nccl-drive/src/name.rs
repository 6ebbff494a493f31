//! The candidates that a plugin's name stands for, as NCCL reads `NCCL_NET_PLUGIN`.

/// Returns the libraries to try for a list of names separated by commas, in order. Each name is tried as it
/// is. A name that is neither a path nor a library's name is also tried as `libnccl-net-<name>.so`. An empty
/// list stands for `libnccl-net.so`.
pub(crate) fn candidates(list: &str) -> Vec<String> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut all: Vec<String> = names
        .flat_map(|name| {
            let full = name.contains('/') || name.starts_with("lib") && name.ends_with(".so");
            let prefixed = (!full).then(|| format!("libnccl-net-{name}.so"));
            std::iter::once(name.to_owned()).chain(prefixed)
        })
        .collect();
    if all.is_empty() {
        all.push("libnccl-net.so".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_nccl_reads_them() {
        for (list, expected) in [
            ("", &["libnccl-net.so"][..]),
            (" , ", &["libnccl-net.so"]),
            ("fast", &["fast", "libnccl-net-fast.so"]),
            ("libfoo.so", &["libfoo.so"]),
            ("libfoo.so.1", &["libfoo.so.1", "libnccl-net-libfoo.so.1.so"]),
            ("/opt/x.so", &["/opt/x.so"]),
            ("./x", &["./x"]),
            ("a,/b.so", &["a", "libnccl-net-a.so", "/b.so"]),
        ] {
            assert_eq!(candidates(list), expected, "{list:?}");
        }
    }
}
