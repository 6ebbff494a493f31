//! Events as text, in the format of Chrome's and Perfetto's trace viewers ("Trace Event Format"). Each end of
//! a connection is a process there, its callers and sockets are threads. Numbers are written without
//! allocating: a connection is in use meanwhile (invariant I4).
//!
//! Times are microseconds of `CLOCK_MONOTONIC`, with three decimals.

use std::io::Write as _;

use super::{
    event::{BACKGROUND, CALLER, CONTROL_IN, CONTROL_OUT, Event, Kind, STREAMS},
    tracks::Tracks,
};

/// Begins the document. `host` and `boot` are the system's.
pub(super) fn begin(text: &mut Vec<u8>, process: u32, host: &str, boot: &str) {
    put(text, format_args!("{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"));
    put(
        text,
        format_args!("{{\"ph\":\"M\",\"name\":\"gputcp_trace\",\"pid\":0,\"tid\":0,\"args\":{{\"format\":1,"),
    );
    put(text, format_args!("\"process\":{process},\"host\":"));
    string(text, host);
    put(text, format_args!(",\"boot\":"));
    string(text, boot);
    put(text, format_args!("}}}}"));
}

/// Names the end of a connection and its tracks.
pub(super) fn name(text: &mut Vec<u8>, tracks: &Tracks) {
    let (pid, end) = (tracks.pid(), if tracks.is_sender() { "send" } else { "receive" });
    meta(text, pid, 0, "gputcp_connection");
    put(text, format_args!("\"end\":\"{end}\",\"process\":{},\"connection\":", std::process::id()));
    string(text, tracks.connection());
    put(text, format_args!(",\"peer\":"));
    string(text, tracks.peer());
    put(text, format_args!(",\"streams\":{}}}}}", tracks.streams()));
    meta(text, pid, 0, "process_name");
    put(text, format_args!("\"name\":"));
    let way = if tracks.is_sender() { "to" } else { "from" };
    put(text, format_args!("\"{end} {way} "));
    escaped(text, tracks.peer());
    put(text, format_args!(", process {}, ", std::process::id()));
    escaped(text, tracks.connection());
    put(text, format_args!("\"}}}}"));
    let named = [
        (CALLER, "caller"),
        (CONTROL_IN, "control socket, read"),
        (CONTROL_OUT, "control socket, written"),
        (BACKGROUND, "background reader"),
    ];
    for (track, what) in named {
        meta(text, pid, track, "thread_name");
        put(text, format_args!("\"name\":\"{what}\"}}}}"));
    }
    for stream in 0..tracks.streams() {
        meta(text, pid, STREAMS + stream, "thread_name");
        put(text, format_args!("\"name\":\"stream {stream}\"}}}}"));
    }
}

/// Writes an event.
pub(super) fn event(text: &mut Vec<u8>, tracks: &Tracks, event: &Event) {
    let Event { kind, seq, offset, bytes, calls, empty, at, until, track } = *event;
    let end = if tracks.is_sender() { "send" } else { "receive" };
    let name = match kind {
        Kind::Posted | Kind::Seen => end,
        kind => kind.name(),
    };
    let phase = match kind {
        Kind::Posted => "b",
        Kind::Done => "n",
        Kind::Seen => "e",
        Kind::WriteBegins => "s",
        Kind::ReadBegins => "f",
        Kind::Woken => "i",
        _ => "X",
    };
    put(text, format_args!(",\n{{\"ph\":\"{phase}\",\"name\":\"{name}\",\"pid\":{},", tracks.pid()));
    put(text, format_args!("\"tid\":{track},\"ts\":{}.{:03}", at / 1000, at % 1000));
    match kind {
        Kind::Posted | Kind::Done | Kind::Seen => {
            put(text, format_args!(",\"cat\":\"message\",\"id2\":{{\"local\":\"{seq:#x}\"}},"));
            put(text, format_args!("\"args\":{{\"seq\":{seq},\"bytes\":{bytes}}}}}"));
        }
        Kind::WriteBegins | Kind::ReadBegins => {
            let arrow = arrow(tracks.hash(), seq, offset);
            let to = if kind == Kind::ReadBegins { "\"bp\":\"e\"," } else { "" };
            put(text, format_args!(",\"cat\":\"segment\",{to}\"id\":\"{arrow:#x}\","));
            put(text, format_args!("\"args\":{{\"seq\":{seq},\"offset\":{offset},\"bytes\":{bytes}}}}}"));
        }
        Kind::Woken => put(text, format_args!(",\"s\":\"t\"}}")),
        Kind::Rest(_) | Kind::Sleep(_) | Kind::Background => {
            duration(text, at, until);
            put(text, format_args!("}}"));
        }
        Kind::Announced | Kind::Heard => {
            duration(text, at, until);
            put(text, format_args!(",\"args\":{{\"seq\":{seq},\"bytes\":{bytes}}}}}"));
        }
        Kind::Stage | Kind::Unpack => {
            duration(text, at, until);
            put(text, format_args!(",\"args\":{{\"seq\":{seq},\"offset\":{offset},\"bytes\":{bytes}}}}}"));
        }
        Kind::Write | Kind::Read => {
            duration(text, at, until);
            put(text, format_args!(",\"args\":{{\"seq\":{seq},\"offset\":{offset},\"bytes\":{bytes},"));
            put(text, format_args!("\"calls\":{calls},\"empty\":{empty}}}}}"));
        }
    }
}

/// Says how many events found a ring full.
pub(super) fn left_out(text: &mut Vec<u8>, tracks: &Tracks, count: u64) {
    let (pid, at) = (tracks.pid(), super::now());
    put(text, format_args!(",\n{{\"ph\":\"i\",\"s\":\"p\",\"name\":\"left out: the ring was full\","));
    put(text, format_args!("\"pid\":{pid},\"tid\":{CALLER},\"ts\":{}.{:03},", at / 1000, at % 1000));
    put(text, format_args!("\"args\":{{\"events\":{count}}}}}"));
}

/// Says that the file takes no more.
pub(super) fn full(text: &mut Vec<u8>) {
    let at = super::now();
    put(text, format_args!(",\n{{\"ph\":\"i\",\"s\":\"g\",\"name\":\"left out: the file is full\","));
    put(text, format_args!("\"pid\":0,\"tid\":0,\"ts\":{}.{:03}}}", at / 1000, at % 1000));
}

/// Writes the counts of calls without a result, where they have changed, and the end of a connection.
pub(super) fn counts(text: &mut Vec<u8>, tracks: &Tracks) {
    let at = super::now();
    let pid = tracks.pid();
    if let Some((polls, empty)) = tracks.new_counts() {
        put(text, format_args!(",\n{{\"ph\":\"C\",\"name\":\"without result\",\"pid\":{pid},\"tid\":0,"));
        put(text, format_args!("\"ts\":{}.{:03},\"args\":{{", at / 1000, at % 1000));
        put(text, format_args!("\"tests\":{polls},\"control reads\":{empty}}}}}"));
    }
    if tracks.is_to_end() {
        put(text, format_args!(",\n{{\"ph\":\"i\",\"s\":\"p\",\"name\":\"closed\",\"pid\":{pid},"));
        put(text, format_args!("\"tid\":{CALLER},\"ts\":{}.{:03},", at / 1000, at % 1000));
        put(text, format_args!("\"args\":{{\"left_out\":{}}}}}", tracks.left_out()));
    }
}

fn meta(text: &mut Vec<u8>, pid: u32, track: u16, name: &str) {
    put(
        text,
        format_args!(",\n{{\"ph\":\"M\",\"name\":\"{name}\",\"pid\":{pid},\"tid\":{track},\"args\":{{"),
    );
}

fn duration(text: &mut Vec<u8>, at: u64, until: u64) {
    let long = until.saturating_sub(at);
    put(text, format_args!(",\"dur\":{}.{:03}", long / 1000, long % 1000));
}

/// Returns the number of the arrow between the two ends of a segment. Viewers keep 53 bits of it.
fn arrow(connection: u64, seq: u64, offset: u64) -> u64 {
    mixed(mixed(connection ^ seq) ^ offset) >> 12
}

/// Mixes the bits of a number (the finalizer of SplitMix64).
fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn string(text: &mut Vec<u8>, value: &str) {
    text.push(b'"');
    escaped(text, value);
    text.push(b'"');
}

fn escaped(text: &mut Vec<u8>, value: &str) {
    for char in value.chars() {
        match char {
            '"' | '\\' => put(text, format_args!("\\{char}")),
            char if char.is_control() => put(text, format_args!("\\u{:04x}", u32::from(char))),
            char => put(text, format_args!("{char}")),
        }
    }
}

fn put(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = text.write_fmt(what);
}

/// The most text between two checks for room: the names of a connection and its 64 streams.
pub(super) const EVENT_BYTES_MAX: usize = 16 << 10;
