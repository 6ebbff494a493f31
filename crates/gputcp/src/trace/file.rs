//! The file of a trace. It is whole JSON after each write: the next one begins where the events end, and
//! writes the end of the document again.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::FileExt as _,
    },
    path::{Path, PathBuf},
};

use super::{event::Event, json, ring, tracks::Tracks};
use crate::{Error, Result};

/// The file, and the buffers with which it is written.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// The end of the events in the file.
    end: u64,
    text: Vec<u8>,
    /// Empty between two drains.
    events: Vec<Event>,
    /// The events that found no room in a ring or in the file.
    left_out: u64,
    /// The number of those in the file.
    said: u64,
    /// The length at which the file takes no more events.
    limit: u64,
    is_full: bool,
    has_failed: bool,
}

/// Opens the file for a trace of this process, and returns its name too.
pub(super) fn open(path: &Path, process: u32) -> Result<(PathBuf, Output)> {
    let named = with_process(path, process);
    let is_named = named != path;
    for name in names(&named, process, is_named) {
        let failed = |error| Error::system(format!("write the trace {}", name.display()), error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name).map_err(failed)?;
        // Held as long as the trace writes.
        if file.try_lock().is_ok() {
            let output = file.set_len(0).and_then(|()| Output::new(file, process)).map_err(failed)?;
            return Ok((name, output));
        }
    }
    let busy = io::Error::other("others write to it, and to all names beside it");
    Err(Error::system(format!("write the trace {}", path.display()), busy))
}

/// Returns the name with the process's number in the place of `%p`.
fn with_process(path: &Path, process: u32) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"%p") {
            out.extend_from_slice(process.to_string().as_bytes());
            at += 2;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    OsString::from_vec(out).into()
}

/// Returns the names to try, in their order: several traces may be given one name.
fn names(path: &Path, process: u32, is_named: bool) -> impl Iterator<Item = PathBuf> {
    let with = |suffix: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let own = if is_named { String::new() } else { format!(".{process}") };
    let more = (1..=SAME_NAME_MAX)
        .map(|number| if number == 1 { own.clone() } else { format!("{own}.{number}") })
        .skip(usize::from(is_named));
    std::iter::once(path.to_owned()).chain(more.map(with).collect::<Vec<_>>())
}

impl Output {
    fn new(file: File, process: u32) -> io::Result<Self> {
        let mut output = Self {
            file,
            end: 0,
            text: Vec::with_capacity(TEXT_BYTES + json::EVENT_BYTES_MAX),
            events: ring::buffer(),
            left_out: 0,
            said: 0,
            limit: FILE_BYTES,
            is_full: false,
            has_failed: false,
        };
        // The boot tells whether two files have one clock: both processes are then of one machine.
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (host, boot) = (read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"));
        json::begin(&mut output.text, process, host.trim(), boot.trim());
        output.try_write()?;
        Ok(output)
    }

    /// Takes the events of a connection, as text.
    pub(super) fn drain(&mut self, tracks: &Tracks) {
        if tracks.is_to_name() {
            json::name(&mut self.text, tracks);
            self.make_room();
        }
        for ring in tracks.rings() {
            let mut events = std::mem::take(&mut self.events);
            let left_out = ring.exchange(&mut events);
            for event in &events {
                if self.is_full {
                    self.left_out += 1;
                    continue;
                }
                json::event(&mut self.text, tracks, event);
                self.make_room();
            }
            events.clear();
            self.events = events;
            if left_out > 0 {
                self.left_out += left_out;
                tracks.count_left_out(left_out);
                json::left_out(&mut self.text, tracks, left_out);
            }
        }
        if !self.is_full {
            json::counts(&mut self.text, tracks);
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        if self.text.len() >= TEXT_BYTES {
            self.write_out();
        }
    }

    /// Writes the text to the file, with the end of the document behind it.
    pub(super) fn write_out(&mut self) {
        if self.has_failed || (self.text.is_empty() && self.said == self.left_out) {
            self.text.clear();
            return;
        }
        if let Err(error) = self.try_write() {
            self.has_failed = true;
            tracing::warn!("the trace ends here, as its file cannot be written: {error}");
        }
        if !self.is_full && self.end >= self.limit {
            self.is_full = true;
            json::full(&mut self.text);
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let events = self.text.len();
        write!(self.text, "\n],\"otherData\":{{\"left_out\":{:>20}}}}}\n", self.left_out)?;
        let wrote = self.file.write_all_at(&self.text, self.end);
        self.text.clear();
        self.end += events as u64;
        self.said = self.left_out;
        wrote
    }
}

/// The text that is written at a time.
const TEXT_BYTES: usize = 256 << 10;
/// The length at which a file takes no more events: about 1.5 million.
const FILE_BYTES: u64 = 256 << 20;
/// The traces of a process that may be given one name.
const SAME_NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use gputcp_proto::frame::Control;

    use super::*;
    use crate::trace::{Trace, Tracer, ring::EVENTS};

    #[test]
    fn what_finds_no_room_is_counted_in_the_file() {
        let path = std::env::temp_dir().join(format!("gputcp-full-{}", std::process::id()));
        let trace = Trace::to_file(&path).unwrap();
        let tracer = Tracer::new(&trace, "a\"b".into(), "here\n", true, 1, 4);
        {
            // No thread empties the rings meanwhile.
            let _writer = crate::trace::lock(&trace.0.output);
            (0..EVENTS as u64 + 3).for_each(|seq| tracer.seen(seq, 8));
            tracer.woken(0);
        }
        trace.flush();
        tracer.seen(7, 8);
        tracer.heard(&Control::Ping, 0, 0);
        drop(tracer);
        let document: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let of = |name: &str| events.iter().filter(|event| event["name"] == name).collect::<Vec<_>>();
        assert_eq!((of("send").len(), of("wake").len()), (EVENTS + 1, 1));
        assert_eq!(of("left out: the ring was full")[0]["args"]["events"], 3);
        assert_eq!(of("closed")[0]["args"]["left_out"], 3);
        assert_eq!(document["otherData"]["left_out"], 3);
        assert_eq!(of("gputcp_connection")[0]["args"]["connection"], "a\"b");
    }

    #[test]
    fn a_full_file_says_so_and_counts() {
        let path = std::env::temp_dir().join(format!("gputcp-full-file-{}", std::process::id()));
        let trace = Trace::to_file(&path).unwrap();
        let tracer = Tracer::new(&trace, "a".into(), "b", false, 1, 4);
        tracer.seen(1, 8);
        trace.flush();
        {
            let mut output = crate::trace::lock(&trace.0.output);
            output.limit = output.end + 10;
        }
        for seq in 2..5 {
            tracer.seen(seq, 8);
            trace.flush();
        }
        drop(tracer);
        let document: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        assert_eq!(events.iter().filter(|event| event["ph"] == "e").count(), 2);
        assert!(events.iter().any(|event| event["name"] == "left out: the file is full"));
        assert_eq!(document["otherData"]["left_out"], 2);
    }

    #[test]
    fn names_have_the_process_where_asked_for_or_where_needed() {
        let first = |path: &str| -> Vec<String> {
            let named = with_process(Path::new(path), 7);
            let names = names(&named, 7, named != Path::new(path)).take(3);
            names.map(|name| name.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(first("a.json"), ["a.json", "a.json.7", "a.json.7.2"]);
        assert_eq!(first("a%p.json"), ["a7.json", "a7.json.2", "a7.json.3"]);
        assert_eq!(first("%"), ["%", "%.7", "%.7.2"]);
    }
}
