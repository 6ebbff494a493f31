//! How a side of a check ends before its end.

/// Why a side stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The demand is not met: what was seen.
    Failed(String),
    /// The check does not apply: why.
    Skipped(String),
    /// The other side has stopped, and tells why itself.
    Alone,
}

/// The demand is not met.
pub(crate) fn fail<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(seen.into()))
}

/// The check does not apply.
pub(crate) fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// What a side saw that meets the demand, in words.
pub(crate) type Seen = Result<String, Stop>;
