//! Settings from the environment: our own names first, then the names that users of older tools have set.
//!
//! Values are as hostile as any input: a bad one ends the command with a sentence that names the variable. An
//! empty one counts as unset.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use crate::failure::Failure;

/// The variables that concern us, as they are when the command starts.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Returns the process's own environment.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// Makes an environment of these variables. Empty ones count as unset.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Makes an environment of these variables.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))))
    }

    /// Returns a variable's value, if it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// Fills in a value that is open yet, from the first of these variables that is set.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub(crate) fn fill<T>(
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

    /// Returns the value of the first of these variables that is set.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub(crate) fn first<T>(
        &self,
        names: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.get(name)?))) else {
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
