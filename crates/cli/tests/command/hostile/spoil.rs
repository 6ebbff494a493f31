//! Spoils what is said in a session: a value of its text, a byte, a length, the kind, the order.

use gputcp_cli::session::{Header, Kind};
use gputcp_fuzz::{Rng, mutate, near};
use serde_json::{Map, Value, json};

/// The bytes in a frame's place, and whether the connection is broken off behind them.
pub(super) struct Spoiled {
    pub(super) bytes: Vec<u8>,
    pub(super) last: bool,
}

/// Spoils a frame.
pub(super) fn spoil(random: &mut Rng, kind: Kind, text: &[u8]) -> Spoiled {
    let whole = frame(kind, text);
    let mut last = false;
    let bytes = match random.u8(0..24) {
        0 => {
            let mut bytes = whole;
            mutate(random, &mut bytes[..Header::BYTES]);
            bytes
        }
        1 => {
            let mut bytes = whole;
            mutate(random, &mut bytes[Header::BYTES..]);
            bytes
        }
        2 => vec![],
        3 => whole.repeat(2),
        4 => {
            let other = random.choice(Kind::ALL).expect("some");
            let text = random.choice(["{}", "null", "[]", "\"\"", "0"]).expect("some");
            [frame(other, text.as_bytes()), whole].concat()
        }
        5 => {
            last = true;
            whole[..random.usize(..whole.len())].to_vec()
        }
        6 => {
            last = random.bool();
            let count = random.usize(..200);
            std::iter::repeat_with(|| random.u8(..)).take(count).collect()
        }
        7 => frame(random.choice(Kind::ALL).expect("some"), text),
        8 => frame(kind, odd_text(random).as_bytes()),
        _ => match serde_json::from_slice(text) {
            Ok(mut value) => {
                spoil_value(random, &mut value);
                frame(kind, value.to_string().as_bytes())
            }
            Err(_) => whole,
        },
    };
    Spoiled { bytes, last }
}

/// Returns a frame, whose text is cut to the bound of its kind.
pub(super) fn frame(kind: Kind, text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(kind.bytes_max() as usize)];
    [&Header { kind, bytes: text.len() as u32 }.encode(), text].concat()
}

/// Changes one value, wherever it is.
pub(super) fn spoil_value(random: &mut Rng, value: &mut Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.u8(0..10) > 0 => spoil_field(random, fields),
        Value::Array(items) if !items.is_empty() && random.u8(0..6) > 0 => {
            let at = random.usize(..items.len());
            match random.u8(0..4) {
                0 => drop(items.remove(at)),
                1 => {
                    let copy = items[at].clone();
                    items.extend(std::iter::repeat_n(copy, random.usize(1..80)));
                }
                _ => spoil_value(random, &mut items[at]),
            }
        }
        Value::Number(number) if random.u8(0..8) > 0 => {
            *value = match (number.as_u64(), random.u8(0..6)) {
                (Some(number), 0) => json!(-(number as i64)),
                (Some(number), 1) => json!(number as f64 + 0.5),
                (Some(number), _) => json!(no_memory(near(random, number))),
                _ => json!(random.f64()),
            }
        }
        Value::Bool(is) if random.u8(0..3) > 0 => *is = !*is,
        Value::String(text) if random.u8(0..3) > 0 => *value = json!(spoil_text(random, text)),
        _ => *value = anything(random),
    }
}

fn spoil_field(random: &mut Rng, fields: &mut Map<String, Value>) {
    let names: Vec<String> = fields.keys().cloned().collect();
    let name = random.choice(names).expect("it has some");
    if random.u8(0..12) == 0 {
        fields.remove(&name);
    } else if let Some(value) = fields.get_mut(&name) {
        spoil_value(random, value);
    }
}

/// Keeps sizes to no more memory than a test may take, or makes them more than there is.
const fn no_memory(number: u64) -> u64 {
    if number > 1 << 26 && number < 1 << 42 { number << 20 } else { number }
}

fn spoil_text(random: &mut Rng, text: &str) -> String {
    match random.u8(0..6) {
        0 => String::new(),
        1 => text.repeat(random.usize(1..20)),
        2 => "\u{1b}[31m\n\u{202e}\"\\".into(),
        3 => text.chars().rev().collect(),
        4 => {
            let mut bytes = text.as_bytes().to_vec();
            mutate(random, &mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => random
            .choice(["host", "soft", "cuda", "both", "round-trip", "raw", "plugin", "cuda:99", "ff"])
            .expect("some")
            .into(),
    }
}

fn anything(random: &mut Rng) -> Value {
    match random.u8(0..7) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!("text"),
        4 => json!(random.bool()),
        5 => json!(u64::MAX),
        _ => json!([[{ "a": [null] }]]),
    }
}

/// Returns text that is none of ours.
fn odd_text(random: &mut Rng) -> String {
    match random.u8(0..5) {
        0 => "[".repeat(4000),
        1 => r#"{"a":"#.repeat(700),
        2 => "1e999".into(),
        3 => "\u{0}".repeat(100),
        _ => format!(r#"{{"reason":"{}","code":300,"busy":1}}"#, "\\u0001".repeat(500)),
    }
}
