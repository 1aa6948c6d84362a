//! Messages to the host's log. The host adds the projection's name.
//!
//! Natively, in tests, they go to the standard error output.

use std::fmt::Display;

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// Worth knowing.
    Info,
    /// Something odd that was dealt with.
    Warn,
    /// Something that was not.
    Error,
}

/// Writes a message.
pub fn write(level: Level, message: impl Display) {
    #[cfg(target_family = "wasm")]
    crate::guest::log(level, &message.to_string());
    #[cfg(not(target_family = "wasm"))]
    #[expect(clippy::print_stderr, reason = "where tests look for it")]
    {
        eprintln!("{level:?}: {message}");
    }
}

macro_rules! levels {
    ($($(#[$doc:meta])+ $name:ident $level:ident;)+) => {$(
        $(#[$doc])+
        pub fn $name(message: impl Display) {
            write(Level::$level, message);
        }
    )+};
}

levels! {
    /// Writes a message at level trace.
    trace Trace;
    /// Writes a message at level debug.
    debug Debug;
    /// Writes a message at level info.
    info Info;
    /// Writes a message at level warn.
    warn Warn;
    /// Writes a message at level error.
    error Error;
}
