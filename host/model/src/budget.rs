//! What one batch may still write, counted before it is held.

use crate::schema::Violation;
use crate::writes::WriteLimits;

/// The limits of a batch, and what it has used of them.
#[derive(Debug)]
pub struct Budget {
    limits: WriteLimits,
    writes: u64,
    bytes: u64,
}

impl Budget {
    /// Nothing is used yet.
    #[must_use]
    pub const fn new(limits: WriteLimits) -> Self {
        Self {
            limits,
            writes: 0,
            bytes: 0,
        }
    }

    /// Counts one write and what it passed.
    ///
    /// # Errors
    /// [`Violation::TooManyWrites`] or [`Violation::TooManyBytes`].
    pub fn write(&mut self, bytes: usize) -> Result<(), Violation> {
        self.writes += 1;
        if self.writes > self.limits.writes {
            return Err(Violation::TooManyWrites {
                limit: self.limits.writes,
            });
        }
        self.hold(bytes)
    }

    /// Counts what is held in memory from now on.
    ///
    /// # Errors
    /// [`Violation::TooManyBytes`].
    pub fn hold(&mut self, bytes: usize) -> Result<(), Violation> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > self.limits.bytes {
            return Err(Violation::TooManyBytes {
                limit: self.limits.bytes,
            });
        }
        Ok(())
    }

    /// How many bytes may still be held.
    #[must_use]
    pub fn room(&self) -> usize {
        let room = self.limits.bytes.saturating_sub(self.bytes);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Whether a guest can take a reply of so many bytes.
    ///
    /// # Errors
    /// [`Violation::LargeReply`].
    pub const fn check_reply(&self, bytes: usize) -> Result<(), Violation> {
        let limit = self.limits.reply_bytes;
        if bytes as u64 > limit {
            return Err(Violation::LargeReply { limit });
        }
        Ok(())
    }
}
