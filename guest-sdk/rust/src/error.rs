//! Why an event cannot be applied.

use std::fmt;
use std::panic::Location;

/// What the functions of a projection return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an event cannot be applied. The host receives it as a rejection of
/// that event, with the event's position and type and the place in the source
/// filled in, and does what the projection's policy says: `halt` or `park`.
///
/// Every [`std::error::Error`] becomes one by `?`. Use [`reject!`] for your
/// own reasons.
///
/// ```
/// use gnomon_sdk::Result;
///
/// fn quantity(text: &str) -> Result<i64> {
///     Ok(text.parse()?)
/// }
///
/// let error = quantity("many").unwrap_err();
/// assert_eq!(error.message(), "invalid digit found in string");
/// ```
///
/// [`reject!`]: crate::reject
pub struct Error {
    message: String,
    place: &'static Location<'static>,
}

impl Error {
    /// An error with this message.
    #[track_caller]
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            place: Location::caller(),
        }
    }

    /// The message, with the messages of what caused it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the source it arose: the `?`, or the [`reject!`].
    ///
    /// [`reject!`]: crate::reject
    #[must_use]
    pub const fn place(&self) -> &'static Location<'static> {
        self.place
    }
}

impl<E: std::error::Error> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self {
            message,
            place: Location::caller(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.place)
    }
}

/// Returns from `apply` with an [`Error`]: the event cannot be applied.
///
/// ```
/// # fn apply(total_cents: i64) -> gnomon_sdk::Result<()> {
/// if total_cents < 0 {
///     gnomon_sdk::reject!("the order has a negative total of {total_cents} cents");
/// }
/// # Ok(())
/// # }
/// # assert!(apply(-1).is_err());
/// ```
#[macro_export]
macro_rules! reject {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::core::format_args!($($message)+)))
    };
}
