//! The file of a trace, as a viewer reads it: connections, and the lives of their messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

/// The events of a file.
pub(crate) struct Document {
    events: Vec<Value>,
    left_out: u64,
}

/// The life of a message, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) send: Request,
    pub(crate) receive: Request,
    pub(crate) announced: u64,
    pub(crate) heard: u64,
    pub(crate) staged: Vec<Span>,
    pub(crate) written: Vec<Span>,
    pub(crate) read: Vec<Span>,
    pub(crate) unpacked: Vec<Span>,
    /// The starts and the ends of arrows.
    pub(crate) arrows: (Vec<String>, Vec<String>),
}

/// One end's request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) posted: u64,
    pub(crate) done: u64,
    pub(crate) seen: u64,
    pub(crate) bytes: u64,
}

/// A segment's way through a socket or a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) at: u64,
    pub(crate) until: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
    pub(crate) track: u64,
}

impl Document {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let left_out = document["otherData"]["left_out"].as_u64().unwrap();
        Self { events: document["traceEvents"].as_array().unwrap().clone(), left_out }
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns whether each connection says that it is closed, and that all its events are here.
    pub(crate) fn has_ended(&self) -> bool {
        let ended = self.named("closed").filter(|event| event["args"]["left_out"] == 0).count();
        ended == self.ends().len()
    }

    pub(crate) fn ends(&self) -> Vec<&str> {
        self.named("gputcp_connection").map(|event| event["args"]["end"].as_str().unwrap()).collect()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["name"] == name)
    }

    /// Checks what viewers demand: the fields of each event, and spans of a track that lie apart or one
    /// inside the other.
    pub(crate) fn check_shape(&self) {
        let mut tracks: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
        let named: BTreeSet<_> = self.named("thread_name").map(|event| (pid(event), tid(event))).collect();
        for event in &self.events {
            let phase = event["ph"].as_str().unwrap();
            assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
            assert!(phase == "M" || event["ts"].is_number(), "{event}");
            match phase {
                "X" => {
                    assert!(named.contains(&(pid(event), tid(event))), "no name: {event}");
                    tracks.entry((pid(event), tid(event))).or_default().push((at(event), until(event)));
                }
                "b" | "n" | "e" => assert!(event["id2"]["local"].is_string() && event["cat"].is_string()),
                "s" | "f" => assert!(event["id"].is_string() && event["cat"].is_string(), "{event}"),
                "M" | "i" | "C" => {}
                other => panic!("{other}: {event}"),
            }
        }
        for ((pid, tid), mut spans) in tracks {
            spans.sort_by_key(|&(at, until)| (at, u64::MAX - until));
            let mut open: Vec<u64> = vec![];
            for (at, until) in spans {
                open.retain(|&end| end > at);
                assert!(open.iter().all(|&end| until <= end), "{pid} {tid}: a span crosses another at {at}");
                open.push(until);
            }
        }
    }

    /// Returns the lives of the messages of the file's one connection, by sequence number.
    pub(crate) fn lives(&self) -> BTreeMap<u64, Life> {
        let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
        let ends: BTreeMap<_, _> = self
            .named("gputcp_connection")
            .map(|event| (pid(event), event["args"]["end"].as_str().unwrap()))
            .collect();
        for event in self.events.iter().filter(|event| event["args"]["seq"].is_u64()) {
            let life = lives.entry(event["args"]["seq"].as_u64().unwrap()).or_default();
            let end = ends[&pid(event)];
            match (event["ph"].as_str().unwrap(), event["name"].as_str().unwrap()) {
                (phase @ ("b" | "n" | "e"), _) => {
                    let request = if end == "send" { &mut life.send } else { &mut life.receive };
                    let time = match phase {
                        "b" => &mut request.posted,
                        "n" => &mut request.done,
                        _ => &mut request.seen,
                    };
                    assert_eq!(*time, 0, "twice: {event}");
                    *time = at(event);
                    if phase == "e" {
                        request.bytes = event["args"]["bytes"].as_u64().unwrap();
                    }
                }
                ("X", "announce") => life.announced = at(event),
                ("X", "hear announcement") => life.heard = at(event),
                ("X", "stage") => life.staged.push(span(event)),
                ("X", "write") => life.written.push(span(event)),
                ("X", "read") => life.read.push(span(event)),
                ("X", "unpack") => life.unpacked.push(span(event)),
                ("s", _) => life.arrows.0.push(event["id"].as_str().unwrap().to_owned()),
                ("f", _) => life.arrows.1.push(event["id"].as_str().unwrap().to_owned()),
                _ => panic!("{event}"),
            }
        }
        lives
    }
}

impl Life {
    /// Checks a message whose receive is posted first.
    pub(crate) fn check(&self, bytes: u64) {
        self.check_sums(bytes);
        self.check_sender();
        let Self { receive, announced, heard, read, unpacked, .. } = self;
        assert!(receive.posted < *announced && announced < heard, "{self:?}");
        let (first, last) = (first(read), last(read));
        assert!(receive.posted < first && first <= last, "{self:?}");
        assert!(self.first_write() < first && self.written.iter().all(|span| span.at < last), "{self:?}");
        assert!(unpacked.iter().all(|span| first <= span.at && span.until <= receive.done), "{self:?}");
        assert!(last <= receive.done && receive.done < receive.seen, "{self:?}");
        // Of this test, not of another day.
        assert!(receive.seen - receive.posted < 20_000_000_000, "{self:?}");
    }

    pub(crate) fn check_sender(&self) {
        let Self { send, staged, written, .. } = self;
        let last = written.iter().map(|span| span.until).max().unwrap();
        assert!(staged.iter().all(|span| send.posted < span.at && span.at < last), "{self:?}");
        assert!(staged.is_empty() || first(staged) < self.first_write(), "{self:?}");
        assert!(send.posted < self.first_write() && self.first_write() <= last, "{self:?}");
        assert!(last <= send.done && send.done < send.seen, "{self:?}");
    }

    /// Checks that all bytes are told once at each step, and each segment has its arrow.
    pub(crate) fn check_sums(&self, bytes: u64) {
        let sum = |spans: &[Span]| spans.iter().map(|span| span.bytes).sum::<u64>();
        assert_eq!((sum(&self.written), sum(&self.read)), (bytes, bytes), "{self:?}");
        assert_eq!((self.send.bytes, self.receive.bytes), (bytes, bytes), "{self:?}");
        for spans in [&self.staged, &self.unpacked].into_iter().filter(|spans| !spans.is_empty()) {
            assert_eq!(sum(spans), bytes, "{self:?}");
        }
        assert!(self.written.iter().all(|span| span.calls > 0), "{self:?}");
        let (mut from, mut to) = self.arrows.clone();
        from.sort();
        to.sort();
        assert_eq!((&from, from.len()), (&to, self.written.len()), "{self:?}");
    }

    pub(crate) fn tracks_written(&self) -> BTreeSet<u64> {
        self.written.iter().map(|span| span.track).collect()
    }

    fn first_write(&self) -> u64 {
        first(&self.written)
    }
}

fn first(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.at).min().unwrap()
}

fn last(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.until).max().unwrap()
}

fn span(event: &Value) -> Span {
    let calls = event["args"]["calls"].as_u64().unwrap_or(1);
    let bytes = event["args"]["bytes"].as_u64().unwrap();
    Span { at: at(event), until: until(event), bytes, calls, track: tid(event) }
}

fn pid(event: &Value) -> u64 {
    event["pid"].as_u64().unwrap()
}

fn tid(event: &Value) -> u64 {
    event["tid"].as_u64().unwrap()
}

fn at(event: &Value) -> u64 {
    (event["ts"].as_f64().unwrap() * 1000.0).round() as u64
}

fn until(event: &Value) -> u64 {
    at(event) + (event["dur"].as_f64().unwrap() * 1000.0).round() as u64
}
