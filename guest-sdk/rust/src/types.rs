//! Types for columns that the standard library has none for. They know no
//! clock: a projection takes its times from its events.

mod decimal;
mod json;
mod text;
mod time;
mod uuid;

pub use decimal::{Decimal, ParseDecimalError};
pub use json::Json;
pub use time::{Date, ParseTimeError, Timestamp};
pub use uuid::{ParseUuidError, Uuid};
