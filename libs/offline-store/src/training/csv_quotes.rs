//! Whether each quote of a CSV file is closed, and nothing but the end of the value stands behind it.
//!
//! Readers of CSV take the end of the file for the end of a value, however it was opened, and add text behind a closing
//! quote to the value: rows would be lost, or a value be another one, without a word. So whoever reads a file has it checked
//! before. Quotes are taken as those readers take them (csv-core): one opens a value where it is its first character, and
//! is a character like any other further behind.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use larder_types::{Error, Result};
use memchr::{memchr, memchr_iter};

const QUOTE: u8 = b'"';

/// What readers pass over at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are looked through at once.
const BUFFER: usize = 64 << 10;

/// Reads all of it, in little memory.
///
/// # Errors
/// `INVALID_ARGUMENT` with the line of a quote that is never closed, or of text behind a closing one; lines are counted as
/// editors do, those within a value too. `FAILED_PRECONDITION` where the text cannot be read.
pub fn check_csv_quotes(text: impl Read) -> Result<()> {
    let unread = |error: io::Error| Error::failed_precondition(format!("cannot be read: {error}")).with_source(error);
    let mut text = BufReader::with_capacity(BUFFER, text);
    let mut quotes = Quotes { at: At::Plain, before: b'\n', line: 1 };
    let mut begin = Vec::new();
    text.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut begin).map_err(unread)?;
    if begin != BYTE_ORDER_MARK {
        quotes.read(&begin)?;
    }
    loop {
        let piece = match text.fill_buf() {
            Ok([]) => return quotes.end(),
            Ok(piece) => piece,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error)),
        };
        quotes.read(piece)?;
        let length = piece.len();
        text.consume(length);
    }
}

/// How far the text was read.
struct Quotes {
    at: At,
    /// The byte in front, where it is in no quotes.
    before: u8,
    line: u64,
}

#[derive(Clone, Copy)]
enum At {
    /// Outside of quotes.
    Plain,
    /// Within a value whose quote is in this line.
    Quoted { opened: u64 },
    /// Behind a quote within such a value: a second one makes both a character of it, anything else ends it.
    BehindQuote { opened: u64 },
}

impl Quotes {
    fn read(&mut self, mut rest: &[u8]) -> Result<()> {
        while let [next, behind @ ..] = rest {
            match self.at {
                At::BehindQuote { opened } if *next == QUOTE => {
                    self.at = At::Quoted { opened };
                    rest = behind;
                }
                At::BehindQuote { .. } if is_end(*next) => self.at = At::Plain,
                At::BehindQuote { opened } => return Err(text_behind(self.line, opened)),
                At::Plain | At::Quoted { .. } => rest = self.pass_quote(rest),
            }
        }
        Ok(())
    }

    /// Reads up to the next quote and that itself; gives what is left behind it.
    fn pass_quote<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let quote = memchr(QUOTE, text);
        let stretch = &text[..quote.unwrap_or(text.len())];
        self.line += memchr_iter(b'\n', stretch).count() as u64;
        self.before = stretch.last().copied().unwrap_or(self.before);
        let Some(quote) = quote else { return &[] };
        self.at = match self.at {
            At::Plain if is_end(self.before) => At::Quoted { opened: self.line },
            At::Plain => At::Plain,
            At::Quoted { opened } | At::BehindQuote { opened } => At::BehindQuote { opened },
        };
        self.before = QUOTE;
        &text[quote + 1..]
    }

    fn end(&self) -> Result<()> {
        match self.at {
            At::Quoted { opened } => Err(Error::invalid_argument(format!(
                "line {opened}: a quote opens a value here and is never closed: close it, and write a quote within the \
                 value as \"\""
            ))),
            At::Plain | At::BehindQuote { .. } => Ok(()),
        }
    }
}

/// Whether a value ends here and the next one begins behind it.
fn is_end(byte: u8) -> bool {
    matches!(byte, b',' | b'\n' | b'\r')
}

fn text_behind(line: u64, opened: u64) -> Error {
    let opened = if opened == line { String::new() } else { format!(" of the value that opens in line {opened}") };
    Error::invalid_argument(format!(
        "line {line}: text stands behind the closing quote{opened}: write a quote within a value as \"\""
    ))
}

#[cfg(test)]
mod tests {
    use csv::{QuoteStyle, Terminator, WriterBuilder};
    use expect_test::expect;
    use larder_types::ErrorCode;
    use proptest::prelude::*;

    use super::*;

    /// Gives so many bytes at once.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    /// However it comes, it is judged alike.
    fn check(text: &[u8]) -> Result<()> {
        let whole = check_csv_quotes(text);
        for length in [1, 2, 3, 7] {
            let error = |result: &Result<()>| result.as_ref().err().map(|error| error.message().to_owned());
            assert_eq!(error(&check_csv_quotes(Slow(text, length))), error(&whole), "{length} at once");
        }
        whole
    }

    #[test]
    fn quotes_that_are_closed_and_those_within_a_value_are_well() {
        for text in [
            "",
            "a,b\n1,2\n",
            "\"a\",\"b\"\r\n\"1\",\"\"\r\n",
            "\"a\"",
            "\"\"",
            "\u{feff}\"a\",b\n",
            "a\n\"1,\"\"2\"\"\n3\"\n",
            "a\n\"\"\"\"\n",
            // Not the first character of a value.
            "a\n5\" tall\n 5\"\n\u{feff}\"\nx\"\"y\"\n",
            "a\r\"1\"\r\"2\"\r",
        ] {
            assert!(check(text.as_bytes()).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn lines_are_told() {
        for (text, expected) in [
            (
                "a,b\n\n\"x\ny\",1\r\n1,\"5 inch\n1,2\n",
                expect![[
                    r#"line 5: a quote opens a value here and is never closed: close it, and write a quote within the value as """#
                ]],
            ),
            (
                "a\n\"\"\"",
                expect![[
                    r#"line 2: a quote opens a value here and is never closed: close it, and write a quote within the value as """#
                ]],
            ),
            (
                "a\n\"a\"b\n",
                expect![[r#"line 2: text stands behind the closing quote: write a quote within a value as """#]],
            ),
            (
                "\"a\" ,b\n",
                expect![[r#"line 1: text stands behind the closing quote: write a quote within a value as """#]],
            ),
            (
                "a\n\"5 inch\nx\n7,\"8\"\n",
                expect![[
                    r#"line 4: text stands behind the closing quote of the value that opens in line 2: write a quote within a value as """#
                ]],
            ),
        ] {
            let error = check(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            expected.assert_eq(error.message());
        }
    }

    fn writer(style: u8, terminator: u8) -> csv::Writer<Vec<u8>> {
        let style = [QuoteStyle::Necessary, QuoteStyle::Always, QuoteStyle::NonNumeric][usize::from(style)];
        let terminator = [Terminator::Any(b'\n'), Terminator::CRLF, Terminator::Any(b'\r')][usize::from(terminator)];
        WriterBuilder::new().flexible(true).quote_style(style).terminator(terminator).from_writer(Vec::new())
    }

    proptest! {
        #[test]
        fn whatever_a_writer_writes_is_well_and_a_cut_within_quotes_is_found(
            rows in prop::collection::vec(prop::collection::vec("[a1,\"\r\n \u{feff}]{0,6}", 1..4), 0..6),
            style in 0u8..3,
            terminator in 0u8..3,
            cut in "[a1,\"\r\n ]{0,6}",
            first in any::<bool>(),
        ) {
            let mut writer = writer(style, terminator);
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let mut text = writer.into_inner().unwrap();
            prop_assert!(check(&text).is_ok(), "{:?}", String::from_utf8_lossy(&text));
            if !first {
                text.extend_from_slice(b"1,");
            }
            let line = 1 + text.iter().filter(|byte| **byte == b'\n').count();
            text.push(QUOTE);
            text.extend_from_slice(cut.replace('"', "\"\"").as_bytes());
            let error = check(&text).unwrap_err();
            prop_assert!(error.message().starts_with(&format!("line {line}: a quote opens")), "{error}");
        }
    }
}
