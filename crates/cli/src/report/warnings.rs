//! Warnings about a result, and advice on them.

use super::{Row, Way};
use crate::{failure::Failure, settings::size::show_size};

/// Returns the warnings about one result.
#[must_use]
pub fn about(row: &Row) -> Vec<String> {
    let mut warnings = Vec::new();
    let what = what(row);
    if row.iterations < FEW {
        warnings.push(format!("only {} {what} were timed: give -n {FEW} or more", row.iterations));
    }
    if let Some(goodput) = row.goodput_gb_per_s
        && row.iterations >= FEW
        && goodput.stddev > WIDE * goodput.mean
    {
        let percent = 100.0 * goodput.stddev / goodput.mean;
        warnings.push(format!(
            "the goodput of {what} varies by {percent:.0} % (standard deviation): quiet the machine, or measure longer with -t"
        ));
    }
    if let Some(ceiling) = row.ceiling
        && ceiling.count >= 3
        && ceiling.max > 2.0 * ceiling.min
        && row.way != Way::RoundTrip
    {
        warnings.push(format!(
            "the raw ceiling of {what} ranged from {} to {} GB/s: its percentage is no better than that",
            ceiling.min, ceiling.max
        ));
    }
    if row.verified.is_none() {
        warnings.push(format!("nobody verified the {what}: drop --no-verify to trust them"));
    }
    warnings
}

/// Returns the name of what was timed, with its size.
fn what(row: &Row) -> String {
    let size = show_size(row.bytes);
    let many = match (row.one_sided, row.way) {
        (Some(one_sided), _) => one_sided.op.many(),
        (None, Way::RoundTrip) => "round trips",
        (None, _) => "messages",
    };
    if row.depth > 1 {
        format!("bursts of {} {many} of {size}", row.messages)
    } else {
        format!("{many} of {size}")
    }
}

/// Refuses a result that its link cannot carry: it is a mistake of the measurement, never a result.
///
/// # Errors
/// [`Failure::Run`] if it is so.
pub fn check_link(row: &Row, link: Option<(&str, f64)>) -> Result<(), Failure> {
    let (Some(gbit_per_s), Some((interface, bits_per_s))) = (row.goodput_gbit_per_s, link) else {
        return Ok(());
    };
    // A full-duplex link carries its rate each way.
    let capacity = if row.way == Way::Both { 2.0 * bits_per_s } else { bits_per_s };
    if gbit_per_s * 1e9 <= capacity {
        return Ok(());
    }
    Err(Failure::Run(format!(
        "{} came out at {gbit_per_s} Gb/s, but {interface} carries {} Gb/s: this is a mistake of the measurement, \
         or the data took another way; do not use it",
        what(row),
        capacity / 1e9
    )))
}

/// Below this, a median says little.
const FEW: u64 = 10;
/// A standard deviation above this part of the mean is worth a word.
const WIDE: f64 = 0.15;
