//! Typed rows: their schema, their columns and changes to them.

use std::marker::PhantomData;

use crate::cell::{Cell, IntoCell, Ordered, Summable};
use crate::error::{Error, Result};
use crate::value::{ColumnType, RawChange, Value};

/// A row of one table; made by [`derive(Row)`](derive@crate::Row).
pub trait Row: Sized {
    /// The primary key: the type of the `#[key]` field, or a tuple of the
    /// types of several.
    type Key;
    #[doc(hidden)]
    const SCHEMA: TableSchema;
    #[doc(hidden)]
    fn into_values(self) -> Vec<Value>;
    #[doc(hidden)]
    fn from_values(values: Vec<Value>) -> Result<Self>;
}

/// A declared table.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    pub name: &'static str,
    pub columns: &'static [ColumnSchema],
    pub primary_key: &'static [&'static str],
    pub indexes: &'static [&'static [&'static str]],
}

/// A declared column.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ColumnSchema {
    pub name: &'static str,
    pub column_type: ColumnType,
    pub nullable: bool,
}

impl ColumnSchema {
    /// The column of a field of type `T`.
    #[must_use]
    pub const fn of<T: Cell>(name: &'static str) -> Self {
        Self {
            name,
            column_type: T::TYPE,
            nullable: T::NULLABLE,
        }
    }
}

/// Takes the next cell of a row.
///
/// # Errors
/// When there is none, or it does not fit `T`.
#[doc(hidden)]
pub fn next_cell<T: Cell>(
    values: &mut std::vec::IntoIter<Value>,
    column: &'static str,
) -> Result<T> {
    let value = values
        .next()
        .ok_or_else(|| Error::new(format_args!("the row ends before column `{column}`")))?;
    T::from_value(value)
        .map_err(|error| Error::new(format_args!("column `{column}`: {}", error.message())))
}

/// A column of `R` outside of its primary key. [`derive(Row)`](derive@crate::Row)
/// makes one for each such field, as a constant of the field's name; its
/// methods make the changes that `patch` and `merge` take.
///
/// ```
/// use gnomon_sdk::prelude::*;
///
/// #[derive(Row)]
/// #[row(table = "accounts")]
/// struct Account {
///     #[key]
///     iban: String,
///     balance_cents: i64,
///     last_paid_at: Option<Timestamp>,
/// }
///
/// fn deposit(tables: &mut Tables, iban: &str, cents: i64, at: Timestamp) {
///     tables.merge(iban, [Account::balance_cents.add(cents), Account::last_paid_at.max(at)]);
/// }
/// ```
///
/// A change of another type, of another row or to the key does not compile:
///
/// ```compile_fail
/// # use gnomon_sdk::prelude::*;
/// # #[derive(Row)]
/// # #[row(table = "accounts")]
/// # struct Account { #[key] iban: String, balance_cents: i64 }
/// Account::balance_cents.set("plenty");
/// ```
///
/// ```compile_fail
/// # use gnomon_sdk::prelude::*;
/// # #[derive(Row)]
/// # #[row(table = "accounts")]
/// # struct Account { #[key] iban: String, balance_cents: i64 }
/// Account::iban.set("DE00");
/// ```
pub struct Column<R, T> {
    name: &'static str,
    of: PhantomData<fn(R, T)>,
}

impl<R, T: Cell> Column<R, T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            of: PhantomData,
        }
    }

    /// Replaces the value.
    pub fn set(self, value: impl IntoCell<T>) -> Change<R> {
        Change::new(RawChange::Set((self.name, value.into_cell())))
    }

    /// Adds to the value; null counts as zero. A sum that leaves the range of
    /// the column stops the projection at this event.
    #[expect(clippy::should_implement_trait, reason = "the contract's word")]
    pub fn add(self, value: impl IntoCell<T::Plain>) -> Change<R>
    where
        T: Summable,
    {
        Change::new(RawChange::Add((self.name, value.into_cell())))
    }

    /// Keeps the smaller of the column and the value; null is replaced.
    pub fn min(self, value: impl IntoCell<T::Plain>) -> Change<R>
    where
        T: Ordered,
    {
        Change::new(RawChange::Min((self.name, value.into_cell())))
    }

    /// Keeps the larger of the column and the value; null is replaced.
    pub fn max(self, value: impl IntoCell<T::Plain>) -> Change<R>
    where
        T: Ordered,
    {
        Change::new(RawChange::Max((self.name, value.into_cell())))
    }
}

/// A change to one column of a row; made by the methods of [`Column`].
#[derive(Clone, Debug)]
pub struct Change<R> {
    raw: RawChange,
    of: PhantomData<fn(R)>,
}

impl<R> Change<R> {
    fn new(raw: RawChange) -> Self {
        Self {
            raw,
            of: PhantomData,
        }
    }

    pub(crate) fn into_raw(self) -> RawChange {
        self.raw
    }
}

/// The rows in which the columns of an index equal some values.
/// [`derive(Row)`](derive@crate::Row) makes a function for each index that
/// gives one: `Order::by_customer_id("c7")` for `index(customer_id)`.
#[derive(Clone, Debug)]
pub struct Selection<R> {
    pub(crate) columns: &'static [&'static str],
    pub(crate) values: Vec<Value>,
    of: PhantomData<fn(R)>,
}

impl<R> Selection<R> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(columns: &'static [&'static str], values: Vec<Value>) -> Self {
        Self {
            columns,
            values,
            of: PhantomData,
        }
    }
}

/// What may be given as the primary key `K`: what may be given for its
/// column, or a tuple for a key of several.
pub trait IntoKey<K> {
    #[doc(hidden)]
    fn into_key(self) -> Vec<Value>;
}

impl<K: Cell, V: IntoCell<K>> IntoKey<K> for V {
    fn into_key(self) -> Vec<Value> {
        vec![self.into_cell()]
    }
}

/// The tables of a projection: a tuple of its rows.
pub trait TableSet {
    #[doc(hidden)]
    fn schemas() -> Vec<TableSchema>;
}

macro_rules! tuples {
    ($(($($part:ident $given:ident $value:ident),+))+) => {$(
        impl<$($part: Row),+> TableSet for ($($part,)+) {
            fn schemas() -> Vec<TableSchema> {
                vec![$($part::SCHEMA),+]
            }
        }

        impl<$($part: Cell, $given: IntoCell<$part>),+> IntoKey<($($part,)+)> for ($($given,)+) {
            fn into_key(self) -> Vec<Value> {
                let ($($value,)+) = self;
                vec![$($value.into_cell()),+]
            }
        }
    )+};
}

tuples! {
    (A GivenA a)
    (A GivenA a, B GivenB b)
    (A GivenA a, B GivenB b, C GivenC c)
    (A GivenA a, B GivenB b, C GivenC c, D GivenD d)
    (A GivenA a, B GivenB b, C GivenC c, D GivenD d, E GivenE e)
    (A GivenA a, B GivenB b, C GivenC c, D GivenD d, E GivenE e, F GivenF f)
    (A GivenA a, B GivenB b, C GivenC c, D GivenD d, E GivenE e, F GivenF f, G GivenG g)
    (A GivenA a, B GivenB b, C GivenC c, D GivenD d, E GivenE e, F GivenF f, G GivenG g, H GivenH h)
}
