//! The one error type of the crate: what went wrong, and what the caller does now.
//!
//! Bad records are never errors: they are dead letters. An [`Error`] stops the run.

use std::{fmt, io};

/// What the caller should do about an [`Error`]. Each kind has one exit code of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Fix the flags, the dataflow file or the paths; nothing was run. Exit code 2.
    Usage,
    /// Something outside failed, or the run was stopped; run it again. Exit code 1.
    Unavailable,
    /// The journal is damaged; nothing was written. Exit code 3.
    Corrupt,
    /// Another writer owns the journal; wait for it or stop it. Exit code 1.
    Fenced,
    /// More dead letters than the dataflow file allows. Exit code 4.
    TooManyDead,
    /// A bug in amend; please report it. Exit code 101.
    Internal,
}

impl ErrorKind {
    /// The exit code of a process that ends with this kind of error.
    ///
    /// ```
    /// assert_eq!(amend::ErrorKind::Usage.exit_code(), 2);
    /// ```
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Unavailable | ErrorKind::Fenced => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Corrupt => 3,
            ErrorKind::TooManyDead => 4,
            ErrorKind::Internal => 101,
        }
    }
}

/// Why a run could not start or go on.
///
/// The message is lower case, names what was attempted and quotes the user's text; a hint says
/// what to do, where that is known.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// As [`Error::to_text`]: this is what a `main` that returns an error shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl Error {
    /// An error of `kind` with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Wrong flags, dataflow file or paths.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something outside failed, or the run was stopped.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A damaged journal.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A journal that another writer owns.
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fenced, message)
    }

    /// A broken invariant of our own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The message, and the hint on a line of its own.
    ///
    /// ```
    /// let error = amend::Error::usage("no input").with_hint("name a file");
    /// assert_eq!(error.to_text(), "no input\nhint: name a file");
    /// ```
    pub fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self}\nhint: {hint}"),
            None => self.to_string(),
        }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the reader of our output has left: nothing to complain about.
    pub fn is_broken_pipe(&self) -> bool {
        let source = self
            .source
            .as_ref()
            .and_then(|source| source.downcast_ref::<io::Error>());
        source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do about it, in words, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
