//! Settings from the environment: our own names first, then the names that users of older tools have set already.
//!
//! Values are as hostile as any input: a bad one ends the command with a sentence that names the variable. An empty one
//! counts as unset.

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStrExt as _};

use gputcp::{Key, KeyFile};

use super::{
    MeasureArgs, NetworkArgs,
    check::CheckArgs,
    memory::{MemoryArg, Selector},
    parse_bind, parse_channels, parse_chunk, parse_congestion, parse_factor, parse_iterations, parse_port,
    parse_seed, parse_segment, parse_slabs, parse_socket_buffer, parse_streams, parse_warmup,
    plugin::{PluginArg, PluginArgs, parse_device},
    size::{parse_seconds, parse_size, parse_windows},
};
use crate::{
    bootstrap::key,
    failure::Failure,
    host::bind::Bind,
    output::Talk,
    settings::{Memory, Unpack},
};

/// What holds the key between `loopback` and its child: not the variable of the user's key, which plugins in both processes may
/// read.
pub(crate) const SESSION_KEY_VARIABLE: &str = "GPUTCP_SESSION_KEY";

/// The variables that concern us, as they are when the command starts.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// These.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Fills in what the command line left open for a measurement.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_measure(&self, args: &mut MeasureArgs) -> Result<(), Failure> {
        // A flag beats every variable that would contradict it, not only its namesake.
        if args.size.is_none() && args.begin.is_none() && args.end.is_none() {
            args.begin = self.first(&["GPUTCP_BEGIN"], parse_size)?;
            args.end = self.first(&["GPUTCP_END"], parse_size)?;
            if args.begin.is_none() && args.end.is_none() {
                args.size = self.first(&["GPUTCP_SIZE", "UCCL_TCPX_PERF_SIZE"], parse_size)?;
            }
        }
        if args.end.is_some() {
            self.fill(&mut args.factor, &["GPUTCP_FACTOR"], parse_factor)?;
        }
        if args.iterations.is_none() && args.time.is_none() {
            args.time = self.first(&["GPUTCP_TIME"], parse_seconds)?;
            if args.time.is_none() {
                args.iterations =
                    self.first(&["GPUTCP_ITERATIONS", "UCCL_TCPX_PERF_ITERS"], parse_iterations)?;
            }
        }
        self.fill(&mut args.warmup, &["GPUTCP_WARMUP"], parse_warmup)?;
        self.fill(&mut args.streams, &["GPUTCP_STREAMS"], parse_streams)?;
        if args.streams.is_none() {
            args.streams = self.sockets_of_nccl()?;
        }
        self.fill(&mut args.channels, &["GPUTCP_CHANNELS", "UCCL_TCPX_NUM_CHANNELS"], parse_channels)?;
        let chunk = ["GPUTCP_CHUNK", "UCCL_TCPX_CHUNK_BYTES", "NCCL_P2P_NET_CHUNKSIZE"];
        self.fill(&mut args.chunk, &chunk, parse_chunk)?;
        self.fill(&mut args.window, &["GPUTCP_WINDOW"], parse_windows)?;
        self.complete_plugin(&mut args.plugin)?;
        let host_flag = kind(args) == Some(Memory::Host);
        self.complete_memory(args)?;
        // With --memory host there is nothing to unpack: a variable that says how must not turn that into an error.
        if !host_flag && args.unpack.is_none() {
            args.unpack = self.first(&["GPUTCP_UNPACK"], Unpack::parse)?;
            if args.unpack.is_none()
                && self.first(&["UCCL_TCPX_HOST_RECV_DEBUG"], parse_switch)? == Some(true)
            {
                args.unpack = Some(Unpack::None);
            }
            if args.unpack.is_none() && kind(args) != Some(Memory::Host) {
                args.unpack = self.first(&["UCCL_TCPX_UNPACK_IMPL"], Unpack::parse)?;
            }
        }
        self.fill(&mut args.segment, &["GPUTCP_SEGMENT"], parse_segment)?;
        self.fill(&mut args.slabs, &["GPUTCP_SLABS"], parse_slabs)?;
        self.fill(&mut args.congestion, &["GPUTCP_CONGESTION"], parse_congestion)?;
        self.fill(&mut args.sndbuf, &["GPUTCP_SNDBUF"], parse_socket_buffer)?;
        self.fill(&mut args.rcvbuf, &["GPUTCP_RCVBUF"], parse_socket_buffer)?;
        self.fill(&mut args.seed, &["GPUTCP_SEED"], parse_seed)?;
        self.fill(&mut args.timeout, &["GPUTCP_TIMEOUT"], parse_seconds)?;
        self.fill(&mut args.interval, &["GPUTCP_INTERVAL"], parse_seconds)
    }

    /// Fills in which plugin to use.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_plugin(&self, args: &mut PluginArgs) -> Result<(), Failure> {
        self.fill(&mut args.plugin, &["GPUTCP_PLUGIN", "UCCL_TCPX_PLUGIN_PATH"], PluginArg::parse)?;
        self.fill(&mut args.plugin_device, &["GPUTCP_PLUGIN_DEVICE"], parse_device)
    }

    /// Fills in the memory and the GPUs. A flag that names a GPU beats a variable that names other memory, and the reverse.
    fn complete_memory(&self, args: &mut MeasureArgs) -> Result<(), Failure> {
        if args.gpu.is_none() && args.peer_gpu.is_none() {
            self.fill(&mut args.memory, &["GPUTCP_MEMORY"], MemoryArg::parse)?;
        }
        if !matches!(kind(args), None | Some(Memory::Cuda)) {
            return Ok(());
        }
        if args.memory.as_ref().is_none_or(|memory| memory.gpu.is_none()) {
            self.fill(&mut args.gpu, &["GPUTCP_GPU"], Selector::parse)?;
        }
        self.fill(&mut args.peer_gpu, &["GPUTCP_PEER_GPU"], Selector::parse)
    }

    /// Fills in what the command line left open about addresses and ports.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_network(&self, args: &mut NetworkArgs) -> Result<(), Failure> {
        self.fill(&mut args.port, &["GPUTCP_PORT", "UCCL_TCPX_BOOTSTRAP_PORT_BASE"], parse_port)?;
        self.fill(&mut args.bind, &["GPUTCP_BIND"], parse_bind)?;
        self.fill(&mut args.bind, &["NCCL_SOCKET_IFNAME"], Bind::parse_nccl)?;
        self.fill(&mut args.key_file, &[KeyFile::PATH_VARIABLE], |path| Ok(path.into()))
    }

    /// The key that both ends must have: in the file, or else in the variable `GPUTCP_KEY`.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read, or is too short.
    pub fn key(&self, args: &NetworkArgs, talk: Talk) -> Result<Option<Key>, Failure> {
        match &args.key_file {
            Some(path) => key::read(path, talk).map(Some),
            None => {
                let value = self.0.get(KeyFile::KEY_VARIABLE).map(|value| Key::of(value.as_bytes()));
                value
                    .transpose()
                    .map_err(|what| Failure::Usage(format!("the variable {} {what}", KeyFile::KEY_VARIABLE)))
            }
        }
    }

    /// The key that the parent of a `--child-of` process drew for the session with it.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it is too short.
    pub fn session_key(&self) -> Result<Option<Key>, Failure> {
        let key = self.0.get(SESSION_KEY_VARIABLE).map(|value| Key::of(value.as_bytes())).transpose();
        key.map_err(|what| Failure::Usage(format!("the variable {SESSION_KEY_VARIABLE} {what}")))
    }

    /// Fills in what the command line left open about checking a plugin.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_check(&self, args: &mut CheckArgs) -> Result<(), Failure> {
        self.fill(&mut args.timeout, &["GPUTCP_TIMEOUT"], parse_seconds)
    }

    /// NCCL's sockets per connection: sockets per thread × threads.
    fn sockets_of_nccl(&self) -> Result<Option<u16>, Failure> {
        let (per_thread, threads) = ("NCCL_NSOCKS_PERTHREAD", "NCCL_SOCKET_NTHREADS");
        let (sockets, by) =
            (self.first(&[per_thread], parse_streams)?, self.first(&[threads], parse_streams)?);
        if sockets.is_none() && by.is_none() {
            return Ok(None);
        }
        let product = u32::from(sockets.unwrap_or(1)) * u32::from(by.unwrap_or(1));
        match parse_streams(&product.to_string()) {
            Ok(streams) => Ok(Some(streams)),
            Err(why) => Err(Failure::Usage(format!(
                "{per_thread} × {threads} asks for {product} sockets, but {why}: lower one of them, or give --streams"
            ))),
        }
    }

    fn fill<T>(
        &self,
        value: &mut Option<T>,
        names: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), Failure> {
        if value.is_none() {
            *value = self.first(names, parse)?;
        }
        Ok(())
    }

    /// The first of these variables that is set.
    fn first<T>(
        &self,
        names: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.0.get(*name)?))) else {
            return Ok(None);
        };
        let bad = |why: &str| {
            let shown: String =
                value.to_string_lossy().chars().take(40).flat_map(char::escape_default).collect();
            Failure::Usage(format!("the variable {name} is \"{shown}\", but {why}; correct or unset it"))
        };
        let text = value.to_str().ok_or_else(|| bad("that is no text"))?;
        parse(text).map(Some).map_err(|why| bad(&why))
    }
}

fn kind(args: &MeasureArgs) -> Option<Memory> {
    args.memory.as_ref().map(|memory| memory.kind)
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("a switch is 0 or 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(
            pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))),
        )
    }

    fn completed(pairs: &[(&str, &str)], mut args: MeasureArgs) -> Result<MeasureArgs, Failure> {
        environment(pairs).complete_measure(&mut args).map(|()| args)
    }

    #[test]
    fn our_names_come_before_the_seeds_names() {
        let pairs = [("UCCL_TCPX_PERF_SIZE", "1M"), ("GPUTCP_SIZE", "2M"), ("UCCL_TCPX_PERF_ITERS", "7")];
        let args = completed(&pairs, MeasureArgs::default()).unwrap();
        assert_eq!((args.size, args.iterations), (Some(2 << 20), Some(7)));
        let args = completed(&pairs, MeasureArgs { size: Some(5), ..Default::default() }).unwrap();
        assert_eq!(args.size, Some(5));
    }

    #[test]
    fn a_flag_beats_variables_that_contradict_it() {
        let pairs = [("GPUTCP_SIZE", "2M"), ("GPUTCP_TIME", "3"), ("UCCL_TCPX_UNPACK_IMPL", "d2d")];
        let flags = MeasureArgs {
            begin: Some(1),
            iterations: Some(9),
            memory: Some(Memory::Host.into()),
            ..Default::default()
        };
        let args = completed(&pairs, flags).unwrap();
        assert_eq!((args.size, args.time, args.unpack), (None, None, None));
    }

    #[test]
    fn a_flag_for_memory_beats_variables_for_gpus_and_the_reverse() {
        let pairs = [("GPUTCP_MEMORY", "cuda:1"), ("GPUTCP_GPU", "2"), ("GPUTCP_PEER_GPU", "3")];
        let gpus = |args: MeasureArgs| {
            let args = completed(&pairs, args).unwrap();
            (kind(&args), args.gpu.is_some(), args.peer_gpu.is_some())
        };
        assert_eq!(gpus(MeasureArgs::default()), (Some(Memory::Cuda), false, true));
        let soft = MeasureArgs { memory: Some(Memory::Soft.into()), ..Default::default() };
        assert_eq!(gpus(soft), (Some(Memory::Soft), false, false));
        let zero = MeasureArgs { gpu: Selector::parse("0").ok(), ..Default::default() };
        assert_eq!(gpus(zero), (None, true, true));
    }

    #[test]
    fn the_chunk_size_has_three_names() {
        let chunk = |pairs: &[(&str, &str)]| completed(pairs, MeasureArgs::default()).unwrap().chunk;
        let (a, b) = (("NCCL_P2P_NET_CHUNKSIZE", "131072"), ("UCCL_TCPX_CHUNK_BYTES", "262144"));
        assert_eq!(chunk(&[a]), Some(131_072));
        assert_eq!(chunk(&[a, b]), Some(262_144));
    }

    #[test]
    fn the_seeds_name_for_a_plugin_comes_last() {
        let named = |name: &str| PluginArg::Of { name: name.into(), version: None };
        let plugin = |pairs: &[(&str, &str)], args| completed(pairs, args).unwrap().plugin.plugin;
        let pairs = [("UCCL_TCPX_PLUGIN_PATH", "/old.so"), ("GPUTCP_PLUGIN", "/new.so")];
        assert_eq!(plugin(&pairs[..1], MeasureArgs::default()), Some(named("/old.so")));
        assert_eq!(plugin(&pairs, MeasureArgs::default()), Some(named("/new.so")));
        let none = PluginArgs { plugin: Some(PluginArg::None), plugin_device: None };
        let flag = MeasureArgs { plugin: none, ..Default::default() };
        assert_eq!(plugin(&pairs, flag), Some(PluginArg::None));
    }

    #[test]
    fn sockets_of_nccl_are_multiplied() {
        let streams =
            |pairs: &[(&str, &str)]| completed(pairs, MeasureArgs::default()).map(|args| args.streams);
        assert_eq!(streams(&[("NCCL_NSOCKS_PERTHREAD", "4"), ("NCCL_SOCKET_NTHREADS", "2")]), Ok(Some(8)));
        assert_eq!(streams(&[("NCCL_NSOCKS_PERTHREAD", "4")]), Ok(Some(4)));
        let error = streams(&[("NCCL_NSOCKS_PERTHREAD", "64"), ("NCCL_SOCKET_NTHREADS", "2")]).unwrap_err();
        assert!(error.to_string().contains("128 sockets"), "{error}");
    }

    #[test]
    fn receiving_into_host_memory_is_unpack_none() {
        let args = completed(&[("UCCL_TCPX_HOST_RECV_DEBUG", "1")], MeasureArgs::default()).unwrap();
        assert_eq!(args.unpack, Some(Unpack::None));
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        let error = completed(&[("GPUTCP_WINDOW", "99")], MeasureArgs::default()).unwrap_err();
        insta::assert_snapshot!(error, @r#"the variable GPUTCP_WINDOW is "99", but a window is 1 to 32 chunks, or SEND,RECV like 12,16; correct or unset it"#);
        let hostile = OsString::from_vec(b"\xff\x1b[31m64M".to_vec());
        let environment = Environment::from_pairs([("GPUTCP_SIZE".to_owned(), hostile)]);
        let error = environment.complete_measure(&mut MeasureArgs::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        let args = completed(&[("GPUTCP_SIZE", ""), ("UCCL_TCPX_PERF_SIZE", "1M")], MeasureArgs::default());
        assert_eq!(args.unwrap().size, Some(1 << 20));
    }
}
