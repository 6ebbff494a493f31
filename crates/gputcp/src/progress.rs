//! "Not yet", as a type: a look at a request gives its result, or the request back.

/// The outcome of a test of a request.
#[must_use = "a request that is not done holds its slot"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T, R> {
    /// The request is done; its slot is free again.
    Done(T),
    /// Bytes are missing: test the request again.
    NotYet(R),
}

impl<T, R> Progress<T, R> {
    /// Returns the result of a request that is done.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(result) => Some(result),
            Self::NotYet(_) => None,
        }
    }

    /// Returns the request that is not done.
    #[must_use]
    pub fn not_yet(self) -> Option<R> {
        match self {
            Self::Done(_) => None,
            Self::NotYet(request) => Some(request),
        }
    }

    /// Changes the result of a request that is done.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Progress<U, R> {
        match self {
            Self::Done(result) => Progress::Done(change(result)),
            Self::NotYet(request) => Progress::NotYet(request),
        }
    }

    /// Changes the request that is not done.
    pub fn map_not_yet<S>(self, change: impl FnOnce(R) -> S) -> Progress<T, S> {
        match self {
            Self::Done(result) => Progress::Done(result),
            Self::NotYet(request) => Progress::NotYet(change(request)),
        }
    }

    /// Returns whether the request is done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}
