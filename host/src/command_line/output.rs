//! Where results go: standard output, whose reader may leave before the end.

use std::io::{self, ErrorKind, Write};

use anstream::adapter::strip_str;
use gnomon_model::readable::{Readable, indented};
use serde::Serialize;

use super::progress::LogWriter;
use super::style;

/// A writer for results.
///
/// A reader that has left, as in `gnomon … | head -1`, is no failure: what
/// nobody reads is dropped here, and the command goes on to its own end and exit
/// code. So no error that reaches a command's caller ever means a closed
/// standard output, and the same error of a *database's* connection is never
/// taken for one.
pub(super) struct Output<W> {
    writer: W,
    is_closed: bool,
}

/// Standard output, with colours on a terminal only, and safe to show whatever
/// is written.
pub(super) fn stdout() -> Output<Readable<anstream::Stdout>> {
    Output::new(Readable::new(anstream::stdout()))
}

/// Writes what standard output still holds back.
///
/// # Errors
/// When it cannot be written, for another reason than that its reader has left.
pub(super) fn finish() -> io::Result<()> {
    Output::new(io::stdout()).flush()
}

/// Tells people something that is no result. Nobody is left to be told if
/// standard error is gone. Of a text with several lines, which may quote others,
/// only the first begins like one of our own.
pub(super) fn say(text: &str) {
    let text = &*indented(text);
    let _ = if style::colours_on_stderr() {
        writeln!(LogWriter, "{text}")
    } else {
        writeln!(LogWriter, "{}", strip_str(text))
    };
}

/// Writes a result as JSON in one line, its keys in alphabetical order.
pub(super) fn write_json(output: &mut impl Write, result: &impl Serialize) -> anyhow::Result<()> {
    writeln!(output, "{}", serde_json::to_value(result)?)?;
    Ok(())
}

impl<W: Write> Output<W> {
    pub(super) const fn new(writer: W) -> Self {
        Self {
            writer,
            is_closed: false,
        }
    }

    /// Whether nobody reads any more, so that a command that would only go on
    /// writing may end.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.writer
    }

    /// What becomes of a write; `None` if nobody reads.
    fn judge<T>(&mut self, result: io::Result<T>) -> io::Result<Option<T>> {
        match result {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(None)
            }
            // The caller tries again.
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("the results cannot be written to standard output: {error}"),
            )),
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.writer.write(bytes);
        Ok(self.judge(written)?.unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.writer.flush();
        self.judge(flushed).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes some bytes, and then fails in one way.
    struct Fails(usize, ErrorKind);

    impl Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_is_dropped_silently() {
        let mut output = Output::new(Fails(3, ErrorKind::BrokenPipe));
        writeln!(output, "12345").unwrap();
        assert!(output.is_closed());
        writeln!(output, "12345").unwrap();
        output.flush().unwrap();
    }

    #[test]
    fn any_other_failure_is_one() {
        let mut output = Output::new(Fails(3, ErrorKind::StorageFull));
        let error = writeln!(output, "12345").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("standard output"), "{error}");
        assert!(!output.is_closed());
    }
}
