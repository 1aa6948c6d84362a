//! Rows that `COPY … TO STDOUT` sends in the binary format.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use gnomon_databases::postgres::copy_format::{END, HEADER, NULL_LENGTH, SIGNATURE};
use sqlx::error::BoxDynError;

use crate::table::postgres::Cells;

/// No server sends an extension of the header.
const HEADER_BYTES: usize = HEADER.len();

/// What has come and was not read yet. Rows and messages need not end together.
#[derive(Debug, Default)]
pub(super) struct Copied {
    bytes: Bytes,
    at: usize,
    has_begun: bool,
    has_ended: bool,
}

/// One row. It refers to what [`Copied`] holds.
#[derive(Debug)]
pub(super) struct CopiedRow<'a> {
    bytes: &'a [u8],
    cells: &'a [Option<Range<usize>>],
}

impl Copied {
    /// Takes what one message brought. It is copied only if it goes on with a
    /// row that an earlier one began.
    pub(super) fn push(&mut self, message: Bytes) {
        let rest = std::mem::take(&mut self.bytes).split_off(self.at);
        self.at = 0;
        self.bytes = if rest.is_empty() {
            message
        } else {
            let mut joined = BytesMut::from(rest);
            joined.extend_from_slice(&message);
            joined.freeze()
        };
    }

    /// The next row, if all of it has come. Its cells go to `cells`.
    pub(super) fn next<'a>(
        &'a mut self,
        cells: &'a mut Vec<Option<Range<usize>>>,
    ) -> Result<Option<CopiedRow<'a>>, BoxDynError> {
        if !self.has_begun {
            let Some(header) = self.bytes.get(..HEADER_BYTES) else {
                return Ok(None);
            };
            if !header.starts_with(SIGNATURE) {
                return Err("it is not PostgreSQL's binary format".into());
            }
            self.at = HEADER_BYTES;
            self.has_begun = true;
        }
        cells.clear();
        let mut at = self.at;
        let Some(columns) = self.take(&mut at).map(i16::from_be_bytes) else {
            return Ok(None);
        };
        if columns == END {
            self.at = at;
            self.has_ended = true;
            return Ok(None);
        }
        for _ in 0..columns {
            let Some(length) = self.take(&mut at).map(i32::from_be_bytes) else {
                return Ok(None);
            };
            if length == NULL_LENGTH {
                cells.push(None);
                continue;
            }
            let end = at + usize::try_from(length)?;
            if end > self.bytes.len() {
                return Ok(None);
            }
            cells.push(Some(at..end));
            at = end;
        }
        self.at = at;
        Ok(Some(CopiedRow {
            bytes: &self.bytes,
            cells,
        }))
    }

    /// Says so if rows are missing when no more messages come.
    pub(super) fn check_end(&self) -> Result<(), BoxDynError> {
        if self.has_ended {
            Ok(())
        } else {
            Err("the server's answer ends in the middle".into())
        }
    }

    fn take<const LENGTH: usize>(&self, at: &mut usize) -> Option<[u8; LENGTH]> {
        let bytes = self.bytes.get(*at..)?.first_chunk()?;
        *at += LENGTH;
        Some(*bytes)
    }
}

impl Cells for CopiedRow<'_> {
    fn cell(&self, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        let cell = (self.cells.get(column))
            .ok_or_else(|| sqlx::Error::ColumnNotFound(column.to_string()))?;
        Ok(cell.clone().and_then(|range| self.bytes.get(range)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows as a server sends them; `None` is a null.
    fn sent(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for row in rows {
            bytes.extend((row.len() as i16).to_be_bytes());
            for cell in *row {
                match cell {
                    None => bytes.extend(NULL_LENGTH.to_be_bytes()),
                    Some(cell) => {
                        bytes.extend((cell.len() as i32).to_be_bytes());
                        bytes.extend(*cell);
                    }
                }
            }
        }
        bytes.extend(END.to_be_bytes());
        bytes
    }

    #[test]
    fn rows_are_read_however_the_bytes_come() {
        let rows: [&[Option<&[u8]>]; 3] = [
            &[Some(b"one"), None, Some(b"")],
            &[],
            &[Some(b"\xff\xff"), Some(&[7; 300])],
        ];
        let bytes = sent(&rows);
        for message_bytes in 1..=bytes.len() {
            let (mut copied, mut cells, mut read) = (Copied::default(), Vec::new(), Vec::new());
            for message in bytes.chunks(message_bytes) {
                copied.push(Bytes::copy_from_slice(message));
                while let Some(row) = copied.next(&mut cells).unwrap() {
                    let columns = 0..row.cells.len();
                    let row = columns.map(|column| row.cell(column).unwrap().map(<[u8]>::to_vec));
                    read.push(row.collect::<Vec<_>>());
                }
            }
            let expected: Vec<Vec<Option<Vec<u8>>>> = rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.map(<[u8]>::to_vec)).collect())
                .collect();
            assert_eq!(read, expected, "{message_bytes} bytes a message");
        }
    }

    #[test]
    fn whole_rows_are_read_where_they_are() {
        let bytes = Bytes::from(sent(&[&[Some(b"one")]]));
        let row = HEADER_BYTES..bytes.len() - 2;
        let (mut copied, mut cells) = (Copied::default(), Vec::new());
        for message in [bytes.slice(..row.start), bytes.slice(row)] {
            copied.push(message.clone());
            copied.next(&mut cells).unwrap();
            assert_eq!(copied.bytes.as_ptr(), message.as_ptr());
        }
        assert_eq!(cells.len(), 1, "the row was read");
    }

    #[test]
    fn something_else_is_refused() {
        let mut copied = Copied::default();
        copied.push(Bytes::from_static(b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n"));
        assert!(copied.next(&mut Vec::new()).is_err());
    }

    #[test]
    fn an_answer_that_breaks_off_is_noticed() {
        let bytes = sent(&[&[Some(b"one")]]);
        for length in 0..=bytes.len() {
            let mut copied = Copied::default();
            copied.push(Bytes::copy_from_slice(&bytes[..length]));
            while copied.next(&mut Vec::new()).unwrap().is_some() {}
            assert_eq!(
                copied.check_end().is_ok(),
                length == bytes.len(),
                "{length} bytes"
            );
        }
    }
}
