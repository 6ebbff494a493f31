//! Finds a plugin's library, and in it the newest known table. A library is never closed, as plugins leave
//! threads behind.

use std::{ffi::CString, io, mem::ManuallyDrop, path::Path, ptr::NonNull, sync::Arc};

use libloading::os::unix;

use crate::{
    Plugin,
    death::name_plugin,
    error::{Error, Result},
    name::candidates,
    watch::watched,
};
use gputcp_nccl_net::{
    layout::c_void,
    versions::{self, TablePlace},
};

/// An open library with at least one net plugin in it.
#[derive(Debug)]
pub struct Library {
    name: Arc<str>,
    /// Never closed.
    handle: ManuallyDrop<unix::Library>,
    /// The versions of its tables, the newest first, known or not.
    versions: Vec<u32>,
}

impl Library {
    /// Opens the library that a name stands for, as NCCL reads `NCCL_NET_PLUGIN`. A name is a path, a
    /// library's name, or the `x` of `libnccl-net-x.so`. Of several names, separated by commas, the first
    /// that opens is taken. An empty name stands for `libnccl-net.so`. The library's initialisers run: a
    /// caller that names a plugin wants its code in this process.
    ///
    /// # Errors
    /// The loader's reason and what to do, if no candidate opens; [`Error::NoTable`] if the library has no
    /// net plugin at all.
    pub fn open(name: &str) -> Result<Self> {
        let mut refused = Vec::new();
        for candidate in candidates(name) {
            // The loader would wait for a pipe's writer.
            if candidate.contains('/') && Path::new(&candidate).metadata().is_ok_and(|data| !data.is_file()) {
                refused.push((candidate, "it is no file".to_owned()));
                continue;
            }
            name_plugin(&candidate);
            // SAFETY: runs the library's initialisers, which is what the caller asks for.
            let opened = watched(&"dlopen", || unsafe {
                unix::Library::open(Some(&candidate), unix::RTLD_NOW | unix::RTLD_LOCAL)
            });
            match opened {
                Ok(handle) => return Self::look_into(candidate.into(), handle),
                Err(error) => refused.push((candidate, reason(&error))),
            }
        }
        Err(Error::Open(why(&refused).into()))
    }

    fn look_into(name: Arc<str>, handle: unix::Library) -> Result<Self> {
        let handle = ManuallyDrop::new(handle);
        let has = |&version: &u32| address(&handle, &symbol(version)).is_some();
        let versions = (3..=20).rev().filter(has).collect();
        let library = Self { name, handle, versions };
        if library.versions.is_empty() { Err(library.no_table(None)) } else { Ok(library) }
    }

    /// Returns the name that was opened.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the versions of the interface that the library has, the newest first. Unknown ones are
    /// included.
    #[must_use]
    pub fn versions(&self) -> &[u32] {
        &self.versions
    }

    /// Starts the plugin of this version, or of the newest that is known.
    ///
    /// # Errors
    /// [`Error::NoTable`], which names the tables that the library has instead; the errors of the plugin's
    /// start.
    pub fn plugin(&self, version: Option<u32>) -> Result<Arc<Plugin>> {
        Plugin::start(&self.name, self.find(version)?)
    }

    /// Returns the place of the table of this version, or of the newest that is known.
    ///
    /// # Errors
    /// [`Error::NoTable`], as for [`Self::plugin`].
    pub fn find(&self, version: Option<u32>) -> Result<TablePlace> {
        let found = versions::find(version, |symbol| address(&self.handle, symbol));
        found.ok_or_else(|| self.no_table(version))
    }

    /// Returns the error that names the library's tables instead of this version, or of any known one.
    #[must_use]
    pub fn no_table(&self, asked: Option<u32>) -> Error {
        let (oldest, newest) = (*versions::VERSIONS.start(), *versions::VERSIONS.end());
        let list = |versions: &[u32]| {
            let names: Vec<String> = versions.iter().map(|version| format!("v{version}")).collect();
            names.join(", ")
        };
        let usable: Vec<u32> =
            self.versions.iter().copied().filter(|version| (oldest..=newest).contains(version)).collect();
        let has = match asked {
            _ if self.versions.is_empty() => {
                "is a library, but no NCCL net plugin: it has no symbol ncclNetPlugin_v…; name another".into()
            }
            Some(version) if !(oldest..=newest).contains(&version) => {
                format!(
                    "was asked for v{version} of the interface, and v{oldest} to v{newest} are known here: ask for one of \
                     these"
                )
            }
            Some(version) if !usable.is_empty() => {
                let usable = list(&usable);
                format!("has no v{version} of the interface, but {usable}: ask for one of these")
            }
            _ => {
                let has = list(&self.versions);
                format!(
                    "has {has} of the interface, and v{oldest} to v{newest} are known here: use another release of it"
                )
            }
        };
        Error::NoTable { library: self.name.clone(), has: has.into() }
    }
}

fn symbol(version: u32) -> CString {
    CString::new(format!("ncclNetPlugin_v{version}")).unwrap_or_default()
}

/// Returns the address of a symbol.
fn address(library: &unix::Library, symbol: &std::ffi::CStr) -> Option<NonNull<c_void>> {
    // SAFETY: only the address is taken; nothing is read or called there.
    let found = unsafe { library.get::<*mut c_void>(symbol.to_bytes_with_nul()) };
    NonNull::new(found.ok()?.as_raw_ptr())
}

fn reason(error: &libloading::Error) -> String {
    // The description holds the loader's own text.
    match error {
        libloading::Error::DlOpen { desc } => format!("{desc:?}").trim_matches('"').to_owned(),
        other => other.to_string(),
    }
}

/// Returns one sentence about all candidates that were tried.
fn why(refused: &[(String, String)]) -> String {
    for (candidate, reason) in refused {
        let file = Path::new(candidate);
        match file.metadata() {
            _ if !candidate.contains('/') => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return format!("there is no file {candidate}: correct the plugin's path");
            }
            Ok(data) if data.is_dir() => {
                return format!("{candidate} is a folder: name the plugin's library in it");
            }
            Ok(data) if !data.is_file() => {
                return format!(
                    "{candidate} is a pipe or a device, not a library: correct the plugin's path"
                );
            }
            _ => {}
        }
        if ["invalid ELF header", "file too short", "wrong ELF class"]
            .iter()
            .any(|sign| reason.contains(sign))
        {
            return format!(
                "{candidate} is not a library for this machine ({reason}): correct the plugin's path"
            );
        }
        if reason.contains(", version ") || reason.contains("not found (required by") {
            return format!(
                "the plugin {candidate} needs another release of a library than the one found ({reason}): install the \
                 release it was built with, and add its folder to LD_LIBRARY_PATH"
            );
        }
        if let Some((_, symbol)) = reason.split_once("undefined symbol: ") {
            let symbol = symbol.trim();
            let library = provider(symbol);
            return format!(
                "the plugin {candidate} uses {symbol} and names no library that defines it: preload one, with \
                 LD_PRELOAD={library} before the command"
            );
        }
        let its_own = reason.starts_with(&format!("{candidate}:"));
        if reason.contains("cannot open shared object file") && !its_own {
            return format!(
                "the plugin {candidate} needs a library that is not found ({reason}): install it, or add its folder to \
                 LD_LIBRARY_PATH"
            );
        }
        // The loader says "No such file" of a library for another kind of processor.
        if its_own && reason.contains("No such file") && candidate.contains('/') && file.is_file() {
            return format!("{candidate} is not a library for this machine: correct the plugin's path");
        }
        if !reason.contains("No such file") {
            return format!("the plugin {candidate} cannot be opened: {reason}");
        }
    }
    let tried: Vec<&str> = refused.iter().map(|(candidate, _)| candidate.as_str()).collect();
    format!("there is no plugin {}: give its path, or add its folder to LD_LIBRARY_PATH", tried.join(" or "))
}

/// Returns the library that is likely to define a symbol.
fn provider(symbol: &str) -> &'static str {
    let is_driver = |rest: &str| rest.starts_with(|first: char| first.is_ascii_uppercase());
    if symbol.strip_prefix("cu").is_some_and(is_driver) {
        return "libcuda.so.1";
    }
    let known = PROVIDERS.iter().find(|(prefix, _)| symbol.starts_with(prefix));
    known.map_or("PATH-OF-ITS-LIBRARY", |(_, library)| library)
}

/// The prefixes of the symbols of libraries that plugins use.
const PROVIDERS: &[(&str, &str)] = &[
    ("cuda", "libcudart.so"),
    ("nvml", "libnvidia-ml.so.1"),
    ("nccl", "libnccl.so.2"),
    ("ibv_", "libibverbs.so.1"),
    ("mlx5dv_", "libmlx5.so.1"),
    ("rdma_", "librdmacm.so.1"),
    ("fi_", "libfabric.so.1"),
    ("ucp_", "libucp.so.0"),
    ("ucs_", "libucs.so.0"),
    ("uct_", "libuct.so.0"),
    ("gdr_", "libgdrapi.so.2"),
    ("numa_", "libnuma.so.1"),
    ("hwloc_", "libhwloc.so.15"),
    ("_ZNSt", "libstdc++.so.6"),
    ("_ZSt", "libstdc++.so.6"),
    ("_ZNKSt", "libstdc++.so.6"),
    ("__cxa_", "libstdc++.so.6"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        Library::open(name).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_plugin_is_a_sentence() {
        assert_eq!(
            refusal("gputcp-no-such"),
            "there is no plugin gputcp-no-such or libnccl-net-gputcp-no-such.so: give its path, or add its folder to \
             LD_LIBRARY_PATH"
        );
        assert_eq!(refusal("/no/such.so"), "there is no file /no/such.so: correct the plugin's path");
        assert!(refusal("/tmp/.").contains("is a folder"), "{}", refusal("/tmp/."));
        assert!(refusal("/dev/zero").contains("is a pipe or a device"), "{}", refusal("/dev/zero"));
        let text = refusal(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert!(text.contains("not a library for this machine"), "{text}");
        // Every system with glibc has this library, which is no plugin.
        let text = refusal("libc.so.6");
        assert!(text.starts_with("libc.so.6 is a library, but no NCCL net plugin"), "{text}");
        assert!(refusal("a\0b").contains("cannot be opened"), "{}", refusal("a\0b"));
    }

    #[test]
    fn a_library_for_another_processor_is_told_from_none() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let reason = format!("{here}: cannot open shared object file: No such file or directory");
        let text = why(&[(here.into(), reason)]);
        assert!(text.contains("is not a library for this machine"), "{text}");
    }

    #[test]
    fn what_a_library_lacks_is_told_from_what_is_missing() {
        let says = |reason: &str| why(&[("libx.so".into(), reason.into())]);
        let text = says("libcudart.so.12: cannot open shared object file: No such file or directory");
        assert!(text.contains("LD_LIBRARY_PATH") && text.contains("libcudart"), "{text}");
        for (symbol, advice) in [
            ("cudaGetDevice", "LD_PRELOAD=libcudart.so before"),
            ("cuMemAlloc_v2", "LD_PRELOAD=libcuda.so.1 before"),
            ("cunning", "LD_PRELOAD=PATH-OF-ITS-LIBRARY before"),
            ("ibv_open_device", "LD_PRELOAD=libibverbs.so.1 before"),
            ("_ZNSt6thread15_M_start_threadE", "LD_PRELOAD=libstdc++.so.6 before"),
        ] {
            let text = says(&format!("./libx.so: undefined symbol: {symbol}"));
            assert!(text.contains(advice) && text.contains(symbol), "{text}");
        }
        for reason in [
            "./libx.so: undefined symbol: fi_freeparams, version FABRIC_1.9",
            "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by ./libx.so)",
        ] {
            let text = says(reason);
            assert!(text.contains("another release of a library") && !text.contains("PRELOAD"), "{text}");
        }
    }

    #[test]
    fn versions_to_ask_for_are_those_that_can_be_had() {
        let with = |versions: &[u32], asked| {
            let (name, handle) = ("libx.so".into(), ManuallyDrop::new(unix::Library::this()));
            Library { name, handle, versions: versions.to_vec() }.no_table(asked).to_string()
        };
        for (versions, asked, said) in [
            (&[13, 8, 4][..], Some(9), "libx.so has no v9 of the interface, but v8: ask for one of these"),
            (
                &[13, 4],
                Some(9),
                "libx.so has v13, v4 of the interface, and v5 to v12 are known here: use another release of it",
            ),
            (
                &[13, 4],
                None,
                "libx.so has v13, v4 of the interface, and v5 to v12 are known here: use another release of it",
            ),
            (
                &[8],
                Some(4),
                "libx.so was asked for v4 of the interface, and v5 to v12 are known here: ask for one of these",
            ),
            (
                &[],
                Some(8),
                "libx.so is a library, but no NCCL net plugin: it has no symbol ncclNetPlugin_v…; name another",
            ),
        ] {
            assert_eq!(with(versions, asked), said);
        }
    }
}
